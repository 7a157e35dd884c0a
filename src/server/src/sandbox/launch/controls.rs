//! Control groups, which limit the resources of sandboxes: version 2 in a subtree that is delegated to this process, or
//! version 1 if the server is root. Without them, the launcher polls the memory of processes itself, and seccomp
//! refuses the kinds of memory that cannot be measured that way.
//!
//! A controller is used only after a trial: a group was made and its limits were set.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs, io};

use sandbox_plan::machine::{Controlled, Machine, SocketBuffers};
use sandbox_plan::{Alarm, Cgroup, Identity, Limit, Watch};

use crate::call::definition::Resources;
use sandbox_plan::seccomp::Bounds;

/// The environment variable that turns control groups off, whatever its value.
pub const DISABLE_VARIABLE: &str = "SANDBOX_MCP_WITHOUT_CGROUPS";

const BYTES_PER_MB: u64 = 1 << 20;
/// The period in which the processor quota is measured: the kernel's default.
const CPU_PERIOD_MICROS: u64 = 100_000;

/// How long systemd may take to move this process into a scope.
const SCOPE_TIMEOUT: Duration = Duration::from_secs(2);

/// The controllers that limit sandboxes on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controls {
    /// The controllers, and the directories below which their groups are made.
    directories: Vec<(Controller, PathBuf)>,
    /// Why some controllers are missing. `None` if all are available.
    reason: Option<String>,
}

/// One hierarchy of control groups: the one of version 2, or one of version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Controller {
    /// Version 2.
    All,
    Memory,
    Processes,
    Processors,
}

impl Controls {
    /// Finds the controllers of this machine, and caches them. The first call may move this process into a new control
    /// group, and may block for [`SCOPE_TIMEOUT`].
    pub fn of_this_machine() -> &'static Self {
        // Root has other controllers than an ordinary user, and tests change the user of single threads.
        static FOUND: [OnceLock<Controls>; 2] = [OnceLock::new(), OnceLock::new()];
        FOUND[usize::from(rustix::process::geteuid().is_root())].get_or_init(|| {
            let controls = match env::var_os(DISABLE_VARIABLE) {
                Some(_) => Self::unavailable(format!("{DISABLE_VARIABLE} is set")),
                None => Self::find(),
            };
            if let Some(reason) = &controls.reason {
                tracing::info!("control groups: {reason}");
            }
            controls
        })
    }

    /// Returns no controllers, as on a machine without control groups.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self { directories: Vec::new(), reason: Some(reason.into()) }
    }

    fn find() -> Self {
        let hierarchies = match Hierarchy::all() {
            Ok(hierarchies) => hierarchies,
            Err(error) => return Self::unavailable(format!("cannot read them from /proc: {error}")),
        };
        let older = Self::version_1(&hierarchies);
        if older.has(Controller::Memory) {
            return older;
        }
        match version_2(&hierarchies) {
            Ok(directory) => Self { directories: vec![(Controller::All, directory)], reason: None },
            Err(reason) => {
                let reasons = [older.reason, Some(format!("version 2: {reason}"))];
                let reason = reasons.into_iter().flatten().collect::<Vec<_>>().join("; ");
                Self { reason: Some(reason), directories: older.directories }
            }
        }
    }

    fn version_1(hierarchies: &[Hierarchy]) -> Self {
        let mut directories = Vec::new();
        let mut refused = Vec::new();
        for (controller, name) in
            [(Controller::Memory, "memory"), (Controller::Processes, "pids"), (Controller::Processors, "cpu")]
        {
            let Some(hierarchy) = hierarchies.iter().find(|hierarchy| hierarchy.controls(name)) else { continue };
            match try_controller(controller, &hierarchy.own) {
                Ok(()) => directories.push((controller, hierarchy.own.clone())),
                Err(error) => refused.push(format!("{name}: {error}")),
            }
        }
        Self { directories, reason: (!refused.is_empty()).then(|| format!("version 1: {}", refused.join(", "))) }
    }

    /// Returns whether a controller is available.
    fn has(&self, controller: Controller) -> bool {
        self.directories.iter().any(|(known, _)| *known == controller || *known == Controller::All)
    }

    /// Returns why some resources are not limited by control groups. `None` if all are.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Returns the resources that are limited. The seccomp filter depends on them.
    pub fn bounds(&self) -> Bounds {
        self.controlled().bounds()
    }

    /// Returns whether a control group limits the number of processes.
    pub fn counts_processes(&self) -> bool {
        self.controlled().processes
    }

    /// Returns the groups of a sandbox with these resources.
    pub fn cgroups(&self, resources: &Resources) -> Vec<Cgroup> {
        self.directories.iter().map(|(controller, directory)| controller.cgroup(directory, resources)).collect()
    }

    /// Returns the resources that the launcher must watch itself, in sandboxes of this user.
    pub fn watch(&self, resources: &Resources, host_uid: u32) -> Watch {
        self.controlled().watch(resources, host_uid, SocketBuffers::of_this_machine())
    }

    /// Returns the resources that control groups limit.
    pub fn controlled(&self) -> Controlled {
        Controlled {
            memory: self.has(Controller::Memory),
            processes: self.has(Controller::Processes),
            processors: self.has(Controller::Processors),
        }
    }

    /// Returns the properties of this machine that a plan depends on.
    pub fn machine(&self, identity: Identity, resources: &Resources) -> Machine {
        let (controlled, cgroups) = (self.controlled(), self.cgroups(resources));
        Machine { identity, controlled, cgroups, buffers: SocketBuffers::of_this_machine() }
    }
}

impl Controller {
    /// Returns the settings and alarms of a sandbox's group.
    fn cgroup(self, directory: &Path, resources: &Resources) -> Cgroup {
        let memory = resources.memory_mb * BYTES_PER_MB;
        let quota = u64::from(resources.cpu) * CPU_PERIOD_MICROS;
        let set = |file: &str, value: String| (file.to_owned(), value);
        let alarm = |file: &str, key: &str, limit| Alarm { file: file.to_owned(), key: key.to_owned(), limit };
        let over_memory = Limit::Memory { bytes: memory };
        let over_processes = Limit::Processes { count: resources.processes };
        let (settings, alarms) = match self {
            Self::All => (
                vec![
                    set("memory.max", memory.to_string()),
                    set("memory.oom.group", "1".to_owned()),
                    set("pids.max", resources.processes.to_string()),
                    set("cpu.max", format!("{quota} {CPU_PERIOD_MICROS}")),
                ],
                vec![alarm("memory.events", "oom_kill ", over_memory), alarm("pids.events", "max ", over_processes)],
            ),
            Self::Memory => (
                vec![set("memory.limit_in_bytes", memory.to_string())],
                vec![alarm("memory.oom_control", "oom_kill ", over_memory)],
            ),
            Self::Processes => (
                vec![set("pids.max", resources.processes.to_string())],
                vec![alarm("pids.events", "max ", over_processes)],
            ),
            Self::Processors => (vec![set("cpu.cfs_quota_us", quota.to_string())], vec![]),
        };
        let mut cgroup = Cgroup { directory: directory.to_owned(), settings, alarms };
        // These files do not exist if the kernel does not account for swap, or is older than 5.14.
        let optional = match self {
            // Swapped memory counts towards the limit on memory.
            Self::All => vec![("memory.swap.max", 0), ("cpu.max.burst", quota)],
            Self::Memory => vec![("memory.memsw.limit_in_bytes", memory)],
            // An unused quota carries over to the next period. Most programs run for less than one period, and threads
            // that wait for the rest of the machine have it to spare.
            Self::Processors => vec![("cpu.cfs_burst_us", quota)],
            Self::Processes => vec![],
        };
        for (file, value) in optional {
            if has_file(directory, file) {
                cgroup.settings.push(set(file, value.to_string()));
            }
        }
        cgroup
    }
}

/// Returns whether the groups of a hierarchy have a file. The root group may lack a file that all others have.
fn has_file(directory: &Path, file: &str) -> bool {
    directory.join(file).exists()
        || fs::read_dir(directory)
            .is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(|entry| entry.path().join(file).exists())))
}

/// Makes a group and sets all its limits, to find out whether sandboxes can use the controller.
fn try_controller(controller: Controller, directory: &Path) -> io::Result<()> {
    let some = Resources { cpu: 1, memory_mb: 64, disk_mb: 32, processes: 16, files: 64 };
    let trial = directory.join(format!(
        "sandbox-mcp-trial-{}-{}",
        std::process::id(),
        rustix::thread::gettid().as_raw_nonzero()
    ));
    fs::create_dir(&trial)?;
    let cgroup = controller.cgroup(directory, &some);
    let settings = cgroup.settings.iter().try_for_each(|(file, value)| fs::write(trial.join(file), value));
    let result = settings.and_then(|()| {
        cgroup.alarms.iter().try_for_each(|alarm| fs::read_to_string(trial.join(&alarm.file)).map(drop))
    });
    fs::remove_dir(&trial)?;
    result
}

/// A mounted hierarchy, and this process's group in it.
struct Hierarchy {
    /// Empty for version 2.
    controllers: Vec<String>,
    /// The directory of this process's group.
    own: PathBuf,
}

impl Hierarchy {
    fn all() -> io::Result<Vec<Self>> {
        let groups = fs::read_to_string("/proc/self/cgroup")?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        Ok(Self::parse(&groups, &mounts))
    }

    fn parse(groups: &str, mounts: &str) -> Vec<Self> {
        let hierarchy = |line: &str| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, own) = (fields.next()?, fields.next()?);
            let controllers: Vec<String> =
                controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            let own = mounts.lines().find_map(|mount| find_below_mount(mount, &controllers, own))?;
            Some(Self { controllers, own })
        };
        groups.lines().filter_map(hierarchy).collect()
    }

    fn controls(&self, name: &str) -> bool {
        self.controllers.iter().any(|controller| controller == name)
    }
}

/// Returns the directory of a group below a mount of its hierarchy. `None` if the line of mountinfo is another mount.
/// Its fourth field is the root of the mount and the fifth the mount point. The type and the options follow after a
/// dash.
fn find_below_mount(mount: &str, controllers: &[String], own: &str) -> Option<PathBuf> {
    let (before, after) = mount.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let (root, point) = (before.next()?, before.next()?);
    let mut after = after.split(' ');
    let (kind, options) = (after.next()?, after.nth(1)?);
    let matches = match controllers {
        [] => kind == "cgroup2",
        names => kind == "cgroup" && names.iter().all(|name| options.split(',').any(|option| option == name)),
    };
    let below = if root == "/" { own } else { own.strip_prefix(root)? };
    matches.then(|| Path::new(point).join(below.trim_start_matches('/')))
}

/// Finds or makes a group of version 2 below which groups with all controllers can be made.
fn version_2(hierarchies: &[Hierarchy]) -> Result<PathBuf, String> {
    let own = |hierarchies: &[Hierarchy]| {
        hierarchies.iter().find(|hierarchy| hierarchy.controllers.is_empty()).map(|hierarchy| hierarchy.own.clone())
    };
    let first = own(hierarchies).ok_or("this kernel does not support it, or it is not mounted")?;
    let available = fs::read_to_string(first.join("cgroup.controllers"))
        .map_err(|error| format!("cannot read the controllers of {}: {error}", first.display()))?;
    if !available.split_whitespace().any(|name| name == "memory") {
        return Err(format!("{} has no memory controller: `{}`", first.display(), available.trim()));
    }
    let refused = match delegate_controllers(&first) {
        Ok(()) => return Ok(first),
        Err(error) => format!("{}: {error}", first.display()),
    };
    // The group contains other processes, or belongs to another user. Systemd can make one for this process.
    request_scope().map_err(|reason| format!("{refused}; {reason}"))?;
    let second =
        own(&Hierarchy::all().map_err(|error| error.to_string())?).ok_or("cannot find the group of this process")?;
    delegate_controllers(&second).map_err(|error| format!("{}: {error}", second.display()))?;
    Ok(second)
}

/// Enables the controllers of a group for the groups below it, and moves this process into one of these: a group cannot
/// have both processes and groups with controllers.
fn delegate_controllers(group: &Path) -> io::Result<()> {
    let leaf = group.join(format!("sandbox-mcp-{}", std::process::id()));
    let is_root = !group.join("cgroup.type").exists();
    if !is_root {
        fs::create_dir(&leaf)?;
        if let Err(error) = fs::write(leaf.join("cgroup.procs"), std::process::id().to_string()) {
            fs::remove_dir(&leaf)?;
            return Err(error);
        }
    }
    let result = fs::write(group.join("cgroup.subtree_control"), "+memory +pids +cpu")
        .and_then(|()| try_controller(Controller::All, group));
    if result.is_err() && !is_root {
        fs::write(group.join("cgroup.procs"), std::process::id().to_string())?;
        fs::remove_dir(&leaf)?;
    }
    result
}

/// Asks systemd for a delegated scope, and waits until this process is in it.
fn request_scope() -> Result<(), String> {
    let name = format!("sandbox-mcp-{}.scope", std::process::id());
    let mut busctl = Command::new("busctl");
    if !rustix::process::geteuid().is_root() {
        busctl.arg("--user");
    }
    let service = "org.freedesktop.systemd1";
    busctl
        .args(["call", service, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "StartTransientUnit"])
        .args(["ssa(sv)a(sa(sv))", &name, "fail", "2", "Delegate", "b", "true"])
        .args(["PIDs", "au", "1", &std::process::id().to_string(), "0"])
        .stdin(Stdio::null());
    let output = busctl.output().map_err(|error| format!("cannot ask systemd for a scope: busctl: {error}"))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
        return Err(format!("systemd refused a scope: {message}"));
    }
    let begin = Instant::now();
    while !fs::read_to_string("/proc/self/cgroup").is_ok_and(|groups| groups.contains(&name)) {
        if begin.elapsed() > SCOPE_TIMEOUT {
            return Err(format!("systemd did not move this process into {name} within {SCOPE_TIMEOUT:?}"));
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_is_found_below_the_mount_of_its_hierarchy() {
        let groups = "9:name=systemd:/\n4:memory:/a/b\n2:cpu,cpuacct:/docker/x/y\n0::/user.slice/session.scope\n";
        let mounts = "30 20 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw\n\
                      31 20 0:26 / /sys/fs/cgroup/memory rw,nosuid shared:1 - cgroup cgroup rw,memory\n\
                      32 20 0:27 /docker/x /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n";
        let found = Hierarchy::parse(groups, mounts);
        let own =
            |name: &str| found.iter().find(|hierarchy| hierarchy.controls(name)).map(|h| h.own.display().to_string());
        assert_eq!(own("memory").as_deref(), Some("/sys/fs/cgroup/memory/a/b"));
        assert_eq!(own("cpu").as_deref(), Some("/sys/fs/cgroup/cpu/y"));
        assert_eq!(own("pids"), None);
        let newer = found.iter().find(|hierarchy| hierarchy.controllers.is_empty()).expect("version 2 is there");
        assert_eq!(newer.own, Path::new("/sys/fs/cgroup/unified/user.slice/session.scope"));
    }

    #[test]
    fn resources_without_control_group_are_watched_or_refused() {
        let resources = Resources { cpu: 1, memory_mb: 256, disk_mb: 128, processes: 64, files: 256 };
        let unavailable = Controls::unavailable("");
        let socket = Some(SocketBuffers::of_this_machine().capacity());
        let watch =
            Watch { memory: Some(256 << 20), socket, processes: Some(64), ends_forks: false, processors: Some(1) };
        assert_eq!((unavailable.watch(&resources, 65534), unavailable.cgroups(&resources)), (watch, vec![]));
        assert_eq!(unavailable.bounds(), Bounds { memory: false, processors: false });
        let all = Controls { directories: vec![(Controller::All, "/sys/fs/cgroup/x".into())], reason: None };
        assert_eq!(all.watch(&resources, 0), Watch { processors: Some(1), ..Watch::default() });
        assert_eq!(all.bounds(), Bounds { memory: true, processors: true });
    }
}
