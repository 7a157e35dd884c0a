//! Turns a job and a view into a plan without namespaces, for machines that do not allow them. It is a pure function,
//! except that it checks which files of the host exist.
//!
//! The program runs among the host's files. Landlock permits it to read the files of the view, and to write only in a
//! private directory. A seccomp filter blocks the network, other programs, and the operations that Landlock does not
//! cover. The paths `/sandbox` and `/tmp` of the tool's interface are in the private directory. The program learns the
//! true paths from its working directory and from `HOME`, `PWD` and `TMPDIR`.

mod seccomp;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use sandbox_plan::plan::CallFile;
use sandbox_plan::{Call, Plan, Program, Resource, SandboxEnvironment, ServiceReadiness, ServiceSpec, Step};

pub use self::seccomp::{Filter, filter};
use crate::call::definition::{Network, Sandbox};
use crate::call::job::Job;
use crate::sandbox::launch::Controls;
use crate::sandbox::plan::{self, HOME, OUT};
use crate::sandbox::view::{View, with_env};
use crate::sandbox::{host, host_network};
use sandbox_plan::landlock::Landlock;

/// The directory for temporary files in a sandbox.
pub const TMP: &str = "/tmp";

/// The files in which language runtimes look up properties of the machine. The rest of `/proc` shows other users'
/// processes.
const MACHINE_INFO_FILES: [&str; 8] = [
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/uptime",
    "/proc/version",
    "/sys/devices/system/cpu",
];
/// The files that programs on the host's network need to resolve names.
const RESOLVER_FILES: [&str; 6] =
    ["/etc/gai.conf", "/etc/host.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/services"];
const READABLE_DEVICES: [&str; 2] = ["/dev/random", "/dev/urandom"];
const WRITABLE_DEVICES: [&str; 3] = ["/dev/full", "/dev/null", "/dev/zero"];

/// Runs a command with a umask under which only its user can access the files that it creates. The seccomp filter stops
/// the program from setting other modes.
const UMASK_COMMAND: [&str; 4] = ["sh", "-c", "umask 077 && exec \"$@\"", "sh"];

/// The properties of this machine that a plan without namespaces depends on.
#[derive(Debug, Clone, Copy)]
pub struct HostSetup<'a> {
    /// The private directory of this job. It is empty.
    pub directory: &'a Path,
    pub controls: &'a Controls,
    /// The version of Landlock. `None` if the kernel does not support it.
    pub landlock: Option<Landlock>,
    /// Whether seccomp filters can be installed.
    pub seccomp: bool,
    /// The number of processes and threads that the program's user already has on this machine.
    pub processes: u64,
}

/// Returns the plan of a program without namespaces.
pub fn confined(job: &Job, view: &View, host_setup: &HostSetup) -> Plan {
    let paths = PathMap { directory: host_setup.directory };
    let (sandbox, controls) = (job.sandbox, host_setup.controls);
    let umask: &[&str] = if runs_as_server() { &UMASK_COMMAND } else { &[] };
    let mut variables = view.variables(sandbox);
    host_network::add_variables(&mut variables, sandbox, false);
    // The call's own arguments and variables are passed as they are.
    let mut own = view.command(sandbox, &job.input.args);
    let args = own.split_off(own.len() - job.input.args.len());
    let map = |variable| paths.map_variable(variable);
    let program = Program {
        arguments: [paths.map_command(umask, &own), args].concat(),
        variables: with_env(variables.into_iter().map(map).collect(), &job.input.env),
        directory: paths.host_path(Path::new(sandbox.workdir)),
        input: job.input.stdin.clone(),
    };
    let services = plan::services(sandbox).into_iter().map(|service| paths.map_service(umask, service)).collect();
    Plan {
        environment: SandboxEnvironment {
            namespaces: Vec::new(),
            identity: plan::identity(),
            view: Vec::new(),
            // Landlock rules require existing paths, so the private directory is filled before the walls.
            sandbox: private_directory(job, view, paths),
            walls: walls(sandbox, view, host_setup),
            cgroups: controls.cgroups(&sandbox.resources),
            watch: controls.watch(&sandbox.resources, plan::identity().host_uid),
            ahead: None,
            // The server reads the private directory itself.
            handed_over: vec![],
        },
        call: Call { steps: Vec::new(), services, program: Some(program), deadline: job.deadline },
    }
}

/// Returns the steps that confine the program, in the order in which they are applied.
fn walls(sandbox: &Sandbox, view: &View, host_setup: &HostSetup) -> Vec<Step> {
    let mut walls = limits(sandbox, host_setup);
    walls.extend([Step::NoNewPrivileges, Step::DropPrivileges]);
    if host_setup.landlock.is_some() {
        walls.push(landlock(sandbox, view, PathMap { directory: host_setup.directory }));
    }
    if host_setup.seccomp {
        let (bounds, network) = (host_setup.controls.bounds(), sandbox.network);
        let filter = Filter { bounds, network, landlock: host_setup.landlock, own_user: runs_as_server() };
        walls.push(Step::Seccomp { program: seccomp::filter(filter) });
    }
    walls
}

/// Returns whether programs run as the server's user, and could access the files of that user. Only a server that runs
/// as root can use another user.
pub fn runs_as_server() -> bool {
    plan::identity().host_uid == rustix::process::geteuid().as_raw()
}

/// Returns the host's path for a path of the sandbox, given the program's private directory.
pub fn host_path(directory: &Path, path: &str) -> PathBuf {
    PathMap { directory }.host_path(Path::new(path))
}

/// Maps paths of the sandbox to paths of the host.
#[derive(Clone, Copy)]
struct PathMap<'a> {
    directory: &'a Path,
}

impl PathMap<'_> {
    fn host_path(self, path: &Path) -> PathBuf {
        let mapped = [(HOME, "sandbox"), (TMP, "tmp"), (host::LINKS, "bin")];
        let below = |(old, new): (&str, &str)| Some(self.directory.join(new).join(path.strip_prefix(old).ok()?));
        let host_path = mapped.into_iter().find_map(below).unwrap_or_else(|| path.to_owned());
        // Collecting the components drops the final slash that joining an empty path adds.
        host_path.components().collect()
    }

    /// Maps a text if it is an absolute path.
    fn map_text(self, text: &str) -> String {
        if text.starts_with('/') { self.host_path(Path::new(text)).display().to_string() } else { text.to_owned() }
    }

    /// Maps the arguments that are absolute paths, or lists of paths with colons between, such as a class path.
    fn map_command(self, umask: &[&str], command: &[impl AsRef<str>]) -> Vec<String> {
        let map = |argument: &str| match argument.starts_with('/') {
            true => argument.split(':').map(|path| self.map_text(path)).collect::<Vec<_>>().join(":"),
            false => argument.to_owned(),
        };
        umask.iter().copied().chain(command.iter().map(AsRef::as_ref)).map(map).collect()
    }

    fn map_service(self, umask: &[&str], service: ServiceSpec) -> ServiceSpec {
        ServiceSpec {
            command: self.map_command(umask, &service.command),
            ready: match service.ready {
                ServiceReadiness::File { path } => ServiceReadiness::File { path: self.host_path(&path) },
                ready => ready,
            },
            logs: service.logs.iter().map(|log| self.host_path(log)).collect(),
            ..service
        }
    }

    fn map_variable(self, (name, value): (String, String)) -> (String, String) {
        // Directories of host programs are not mapped, even if they are below /tmp.
        let directory = |path: &str| if path == host::LINKS { self.map_text(path) } else { path.to_owned() };
        let value = match &*name {
            "PATH" => value.split(':').map(directory).collect::<Vec<_>>().join(":"),
            _ => self.map_text(&value),
        };
        (name, value)
    }
}

/// Returns the steps that fill the private directory.
fn private_directory(job: &Job, view: &View, paths: PathMap) -> Vec<Step> {
    let sandbox = job.sandbox;
    let directory = |path: PathBuf, mode| Step::Directory { path, mode, owned: true };
    let workdir = Path::new(sandbox.workdir);
    let umask = if runs_as_server() { 0o077 } else { 0 };
    let mut steps = vec![
        directory(paths.directory.to_owned(), 0o700),
        directory(paths.host_path(Path::new(TMP)), 0o700),
        directory(paths.host_path(Path::new(HOME)), 0o755 & !umask),
        directory(paths.host_path(Path::new(OUT)), 0o755 & !umask),
    ];
    if workdir != Path::new(HOME) {
        steps.push(directory(paths.host_path(workdir), 0o755 & !umask));
    }
    steps.extend(job.files.iter().map(|file| Step::File {
        path: paths.host_path(&workdir.join(file.name.as_path())),
        content: file.content.clone(),
        mode: CallFile::mode(file.executable, sandbox.script_mode) & !umask,
        owned: true,
    }));
    // The view's other links exist on the host already.
    let ours = view.links.iter().filter(|link| link.path.starts_with(host::LINKS));
    steps.extend(ours.map(|link| Step::Symlink { path: paths.host_path(&link.path), target: link.target.clone() }));
    steps.extend(view.launch.files.iter().map(|(path, content)| Step::File {
        path: paths.host_path(path),
        content: content.clone(),
        mode: 0o644 & !umask,
        owned: true,
    }));
    steps
}

/// Returns the resource limits of a sandbox, adapted to running without namespaces: the user's other processes count
/// towards the limit on processes, and a limit on file sizes replaces the size of a tmpfs.
fn limits(sandbox: &Sandbox, host_setup: &HostSetup) -> Vec<Step> {
    let adapted = |step| match step {
        Step::Limit { resource: Resource::Processes, value } => {
            Step::Limit { resource: Resource::Processes, value: value.saturating_add(host_setup.processes) }
        }
        other => other,
    };
    let largest_file = Step::Limit { resource: Resource::FileSize, value: sandbox.resources.memory_mb << 20 };
    sandbox_plan::plan::limits(&sandbox.resources, host_setup.controls.controlled())
        .into_iter()
        .map(adapted)
        .chain([largest_file])
        .collect()
}

fn landlock(sandbox: &Sandbox, view: &View, paths: PathMap) -> Step {
    let existing = |paths: &[&str]| paths.iter().map(PathBuf::from).filter(|path| path.exists()).collect::<Vec<_>>();
    let mut read: Vec<PathBuf> = view.binds.iter().map(|bind| bind.source.clone()).collect();
    read.extend(existing(&MACHINE_INFO_FILES));
    read.extend(existing(&READABLE_DEVICES));
    if !view.launch.files.is_empty() {
        read.push(paths.host_path(Path::new(host::LINKS)));
    }
    if sandbox.network == Network::Bridge {
        read.extend(existing(&RESOLVER_FILES));
    }
    let mut write = existing(&WRITABLE_DEVICES);
    write.extend([TMP, OUT].map(|path| paths.host_path(Path::new(path))));
    if sandbox.read_only { &mut read } else { &mut write }.push(paths.host_path(Path::new(HOME)));
    Step::Landlock { read, write, scoped: true, required: true }
}
