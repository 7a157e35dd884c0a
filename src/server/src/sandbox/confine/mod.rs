//! Job and view → a plan without namespaces, for machines that have none: a pure function, but for a look at which of
//! the host's files exist.
//!
//! The program then runs among the host's files. Landlock shows it those of the view and lets it write in a private
//! directory alone, a seccomp filter keeps it off the network, from other programs and from what Landlock leaves open.
//! What the interface calls `/sandbox` and `/tmp` is in the private directory, under names that the program is told
//! by its working directory and by `HOME`, `PWD` and `TMPDIR`.

mod seccomp;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use sandbox_plan::{Call, Plan, Program, Resource, SandboxEnvironment, ServiceReadiness, ServiceSpec, Step};

pub use self::seccomp::{Filter, filter};
use crate::call::definition::{Network, Sandbox};
use crate::call::job::Job;
use crate::sandbox::host;
use crate::sandbox::launch::Controls;
use crate::sandbox::plan::{self, HOME, OUT};
use crate::sandbox::view::View;
use sandbox_plan::landlock::Landlock;

/// Where temporary files are in a sandbox.
pub const TMP: &str = "/tmp";

/// What runtimes want to know of the machine. The rest of `/proc` tells of other people's processes.
const MACHINE: [&str; 8] = [
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/uptime",
    "/proc/version",
    "/sys/devices/system/cpu",
];
/// What programs on the host's network need to resolve names.
const RESOLVER: [&str; 6] =
    ["/etc/gai.conf", "/etc/host.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/services"];
const READABLE_DEVICES: [&str; 2] = ["/dev/random", "/dev/urandom"];
const WRITABLE_DEVICES: [&str; 3] = ["/dev/full", "/dev/null", "/dev/zero"];

/// Starts a command with a umask, so that what it makes is its user's alone; other modes can't be set.
const WITH_MASK: [&str; 4] = ["sh", "-c", "umask 077 && exec \"$@\"", "sh"];

/// What a program without namespaces stands on.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// An empty directory that is this job's alone.
    pub directory: &'a Path,
    pub controls: &'a Controls,
    pub landlock: Option<Landlock>,
    pub seccomp: bool,
    /// How many processes and threads the program's user has on this machine already.
    pub processes: u64,
}

/// The plan of a program with no namespace around it.
pub fn confined(job: &Job, view: &View, ground: &Ground) -> Plan {
    let place = Place { directory: ground.directory };
    let (sandbox, controls) = (job.sandbox, ground.controls);
    let mask: &[&str] = if runs_as_server() { &WITH_MASK } else { &[] };
    let program = Program {
        arguments: place.moved_command(mask, &view.command(sandbox)),
        variables: view.variables(sandbox).into_iter().map(|variable| place.moved_variable(variable)).collect(),
        directory: place.of(Path::new(sandbox.workdir)),
    };
    let services = plan::services(sandbox).into_iter().map(|service| place.moved_service(mask, service)).collect();
    Plan {
        environment: SandboxEnvironment {
            namespaces: Vec::new(),
            identity: plan::identity(),
            view: Vec::new(),
            // Landlock can only name what is there.
            sandbox: private_directory(job, view, place),
            walls: walls(sandbox, view, ground),
            cgroups: controls.cgroups(&sandbox.resources),
            watch: controls.watch(&sandbox.resources, plan::identity().host_uid),
            // The private directory is the server's to read.
            ahead: None,
            handed_over: vec![],
        },
        call: Call { steps: Vec::new(), services, program: Some(program), deadline: job.deadline },
    }
}

/// What confines the program, in the order in which it is put up.
fn walls(sandbox: &Sandbox, view: &View, ground: &Ground) -> Vec<Step> {
    let mut walls = limits(sandbox, ground);
    walls.extend([Step::NoNewPrivileges, Step::DropPrivileges]);
    if ground.landlock.is_some() {
        walls.push(landlock(sandbox, view, Place { directory: ground.directory }));
    }
    if ground.seccomp {
        let (bounds, network) = (ground.controls.bounds(), sandbox.network);
        let filter = Filter { bounds, network, landlock: ground.landlock, own_user: runs_as_server() };
        walls.push(Step::Seccomp { program: seccomp::filter(filter) });
    }
    walls
}

/// Whether programs are the server's own user, whose files lie around: only a server that is root has another.
pub fn runs_as_server() -> bool {
    plan::identity().host_uid == rustix::process::geteuid().as_raw()
}

/// Where a path of the sandbox is on the host, when the program's private directory is this.
pub fn place(directory: &Path, path: &str) -> PathBuf {
    Place { directory }.of(Path::new(path))
}

/// Where the paths of a sandbox are on the host.
#[derive(Clone, Copy)]
struct Place<'a> {
    directory: &'a Path,
}

impl Place<'_> {
    fn of(self, path: &Path) -> PathBuf {
        let moved = [(HOME, "sandbox"), (TMP, "tmp"), (host::LINKS, "bin")];
        let below = |(old, new): (&str, &str)| Some(self.directory.join(new).join(path.strip_prefix(old).ok()?));
        // Joining nothing would add a slash.
        let place = moved.into_iter().find_map(below).unwrap_or_else(|| path.to_owned());
        place.components().collect()
    }

    /// A text that may be a path of the sandbox.
    fn moved(self, text: &str) -> String {
        if text.starts_with('/') { self.of(Path::new(text)).display().to_string() } else { text.to_owned() }
    }

    fn moved_command(self, mask: &[&str], command: &[impl AsRef<str>]) -> Vec<String> {
        let command = command.iter().map(AsRef::as_ref);
        mask.iter().copied().chain(command).map(|argument| self.moved(argument)).collect()
    }

    fn moved_service(self, mask: &[&str], service: ServiceSpec) -> ServiceSpec {
        ServiceSpec {
            command: self.moved_command(mask, &service.command),
            ready: match service.ready {
                ServiceReadiness::File { path } => ServiceReadiness::File { path: self.of(&path) },
                ready => ready,
            },
            logs: service.logs.iter().map(|log| self.of(log)).collect(),
            ..service
        }
    }

    fn moved_variable(self, (name, value): (String, String)) -> (String, String) {
        // Programs of the host are where they are, be it below /tmp.
        let directory = |path: &str| if path == host::LINKS { self.moved(path) } else { path.to_owned() };
        let value = match &*name {
            "PATH" => value.split(':').map(directory).collect::<Vec<_>>().join(":"),
            _ => self.moved(&value),
        };
        (name, value)
    }
}

fn private_directory(job: &Job, view: &View, place: Place) -> Vec<Step> {
    let sandbox = job.sandbox;
    let directory = |path: PathBuf, mode| Step::Directory { path, mode, owned: true };
    let workdir = Path::new(sandbox.workdir);
    let mask = if runs_as_server() { 0o077 } else { 0 };
    let mut steps = vec![
        directory(place.directory.to_owned(), 0o700),
        directory(place.of(Path::new(TMP)), 0o700),
        directory(place.of(Path::new(HOME)), 0o755 & !mask),
        directory(place.of(Path::new(OUT)), 0o755 & !mask),
    ];
    if workdir != Path::new(HOME) {
        steps.push(directory(place.of(workdir), 0o755 & !mask));
    }
    steps.extend(job.files.iter().map(|file| Step::File {
        path: place.of(&workdir.join(file.name.as_path())),
        content: file.content.as_bytes().to_vec(),
        mode: sandbox.script_mode & !mask,
        owned: true,
    }));
    // The view's other links are the host's own.
    let ours = view.links.iter().filter(|link| link.path.starts_with(host::LINKS));
    steps.extend(ours.map(|link| Step::Symlink { path: place.of(&link.path), target: link.target.clone() }));
    steps.extend(view.launch.files.iter().map(|(path, content)| Step::File {
        path: place.of(path),
        content: content.clone(),
        mode: 0o644 & !mask,
        owned: true,
    }));
    steps
}

/// The limits of every sandbox, but without namespaces the user's other processes count too, and no tmpfs bounds what
/// is written.
fn limits(sandbox: &Sandbox, ground: &Ground) -> Vec<Step> {
    let adapted = |step| match step {
        Step::Limit { resource: Resource::Processes, value } => {
            Step::Limit { resource: Resource::Processes, value: value.saturating_add(ground.processes) }
        }
        other => other,
    };
    let largest_file = Step::Limit { resource: Resource::FileSize, value: sandbox.resources.memory_mb << 20 };
    sandbox_plan::plan::limits(&sandbox.resources, ground.controls.controlled())
        .into_iter()
        .map(adapted)
        .chain([largest_file])
        .collect()
}

fn landlock(sandbox: &Sandbox, view: &View, place: Place) -> Step {
    let existing = |paths: &[&str]| paths.iter().map(PathBuf::from).filter(|path| path.exists()).collect::<Vec<_>>();
    let mut read: Vec<PathBuf> = view.binds.iter().map(|bind| bind.source.clone()).collect();
    read.extend(existing(&MACHINE));
    read.extend(existing(&READABLE_DEVICES));
    if !view.launch.files.is_empty() {
        read.push(place.of(Path::new(host::LINKS)));
    }
    if sandbox.network == Network::Bridge {
        read.extend(existing(&RESOLVER));
    }
    let mut write = existing(&WRITABLE_DEVICES);
    write.extend([TMP, OUT].map(|path| place.of(Path::new(path))));
    if sandbox.read_only { &mut read } else { &mut write }.push(place.of(Path::new(HOME)));
    Step::Landlock { read, write, scoped: true, required: true }
}
