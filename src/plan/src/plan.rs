//! From what a sandbox is to be, in the words of its definition, to the plan that makes it: a pure function, but for a look
//! at this kernel's version.
//!
//! Both ends use it: the server for the sandboxes of its launchers, and the launcher itself where it is the builder of a
//! derivation, whose variables are a definition in Nix's form.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::machine::{Controlled, Machine, SocketBuffers, kernel_bounds_pids};
use crate::seccomp;
use crate::view::{Bind, Link};
use crate::{Call, Directory, Environment, Namespace, Plan, Program, Resource, Route, Service, Step};

/// What a sandbox is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition<'a> {
    /// The name of the tool, which is the host name inside.
    pub id: &'a str,
    /// The name of the user that programs run as.
    pub user: &'a str,
    /// Where the files are; [`HOME`] or below.
    pub workdir: &'a Path,
    /// The permissions of the files that a caller gives.
    pub script_mode: u32,
    /// Whether the working directory is read-only.
    pub read_only: bool,
    pub resources: Resources,
    pub network: Network,
    /// What each call starts before its command.
    pub services: Vec<Service>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Cores.
    pub cpu: u32,
    /// Megabytes of 2^20 bytes.
    pub memory_mb: u64,
    pub processes: u64,
    /// Open files of one process.
    pub files: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// Nothing but a loopback interface of its own.
    None,
    /// The host's network, with the files that programs need there to resolve names.
    Host { files: Vec<(PathBuf, String)> },
    /// A loopback interface of its own, and a gateway there.
    Gateway {
        routes: Vec<Route>,
        listeners: Vec<SocketAddrV4>,
        resolver: SocketAddrV4,
        /// Lines of /etc/hosts.
        hosts: String,
        resolv_conf: String,
    },
}

/// What one call is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    pub command: Vec<String>,
    pub variables: Vec<(String, String)>,
    /// The files of the working directory, by their names in it.
    pub files: Vec<(PathBuf, Vec<u8>)>,
    pub deadline: Duration,
}

/// The home of every sandbox.
pub const HOME: &str = "/sandbox";

/// Where a program leaves files for its caller; the variable `OUT` names it.
pub const OUT: &str = "/sandbox/out";

/// Where programs put such files that were written for the best known sandbox of this kind: a link to [`OUT`].
const USUAL_OUT: &str = "/mnt/data";

/// The sandbox's user and group inside; every sandbox has its own user namespace, so they may share the number.
pub const USER: u32 = 1000;
/// Who programs are outside when the server is root: nobody.
pub const NOBODY: u32 = 65534;

const MB: u64 = 1 << 20;
/// The root holds directories, links and a few files of /etc.
const ROOT_SIZE: u64 = 4 * MB;
const ROOT_INODES: u64 = 16_384;
/// The directories that a sandbox has for itself. They share one bound. Each is a mount of its own, so that nothing can
/// be linked or moved from one into another, and artifacts can be left where the home is read-only.
const PRIVATE: [&str; 4] = [HOME, "/tmp", "/dev/shm", OUT];
/// Their share of the sandbox's memory, which they are part of: a program that fills them is told so, and does not die.
const SCRATCH_SHARE: u64 = 2;
/// How many queues of file events a sandbox may have, and files watched by them: enough for a tool that watches a project.
const INOTIFY_INSTANCES: u32 = 16;
const INOTIFY_WATCHES: u32 = 8192;
/// What TCP's buffers begin with, in bytes, as the kernel has it: at least, to send, and to receive.
const SMALLEST: u64 = 4096;
const TCP_SEND: u64 = 16_384;
const TCP_RECEIVE: u64 = 131_072;
/// How many files and directories a program may make in them.
const INODES: u64 = 65_536;

/// What one process may allocate, as a multiple of what the sandbox may use, where the launcher watches the use: the
/// runtimes of most languages allocate more than they use, and a refusal looks like their own fault.
const DATA_FACTOR: u64 = 16;

/// Where Landlock lets a program write, if the mount does. Threads name each other by files of /proc.
const WRITABLE: [&str; 8] = [HOME, OUT, "/tmp", "/dev/shm", "/proc", "/dev/null", "/dev/zero", "/dev/full"];
/// What /proc tells of the machine that is no program's business, below /proc.
const HIDDEN: [&str; 35] = [
    "acpi",
    "asound",
    "bootconfig",
    "buddyinfo",
    "cmdline",
    "config.gz",
    "diskstats",
    "driver",
    "interrupts",
    "iomem",
    "ioports",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "modules",
    "pagetypeinfo",
    "partitions",
    "pressure",
    "sched_debug",
    "schedstat",
    "scsi",
    "slabinfo",
    "swaps",
    "timer_list",
    "timer_stats",
    "tty",
    "vmallocinfo",
    "vmcore",
    "zoneinfo",
];
/// Below which the kernel gives out no number of a process a second time.
const RESERVED_PIDS: u64 = 300;

/// What would change the machine.
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// The plan of a sandbox with all namespaces.
pub fn plan(definition: &Definition, binds: &[Bind], links: &[Link], machine: Machine, work: Work) -> Plan {
    Plan { environment: environment(definition, binds, links, machine), call: call(definition, work) }
}

/// What is the same for every call.
pub fn environment(definition: &Definition, binds: &[Bind], links: &[Link], machine: Machine) -> Environment {
    let mut namespaces =
        vec![Namespace::User, Namespace::Mount, Namespace::Pid, Namespace::Ipc, Namespace::Uts, Namespace::Cgroup];
    if definition.has_own_network() {
        namespaces.push(Namespace::Network);
    }
    let Machine { identity, controlled, cgroups, buffers } = machine;
    let watch = controlled.watch(&definition.resources, identity.host_uid, buffers);
    let mut handed_over = vec![PathBuf::from(OUT)];
    if !definition.read_only {
        handed_over.push(definition.workdir.to_owned());
    }
    Environment {
        namespaces,
        identity,
        view: view_steps(definition, binds, links),
        sandbox: sandbox_steps(definition, controlled, watch.ends_forks, buffers),
        walls: walls(&definition.resources, controlled),
        ahead: None,
        cgroups,
        watch,
        handed_over,
    }
}

impl Definition<'_> {
    fn has_own_network(&self) -> bool {
        !matches!(self.network, Network::Host { .. })
    }
}

/// What is the same for every call in this environment.
fn view_steps(definition: &Definition, binds: &[Bind], links: &[Link]) -> Vec<Step> {
    let mut steps =
        vec![Step::Tmpfs { target: "/".into(), size: ROOT_SIZE, inodes: ROOT_INODES, mode: 0o755, owned: false }];
    steps.extend(binds.iter().map(|bind| Step::Bind { source: bind.source.clone(), target: bind.target.clone() }));
    steps.extend(links.iter().map(|link| Step::Symlink { path: link.path.clone(), target: link.target.clone() }));
    // A host's own environment shows some of these files itself.
    let is_missing = |path: &Path| !binds.iter().any(|bind| bind.target == path);
    steps.extend(etc(definition).into_iter().filter(|(path, _)| is_missing(path)).map(|(path, content)| Step::File {
        path,
        content: content.into_bytes(),
        mode: 0o444,
        owned: false,
    }));
    steps.push(Step::Proc { target: "/proc".into() });
    for device in ["null", "zero", "full", "random", "urandom"] {
        steps.push(Step::Device { path: Path::new("/dev").join(device) });
    }
    for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        steps.push(Step::Symlink { path: Path::new("/dev").join(name), target: Path::new("/proc/self").join(target) });
    }
    steps.extend(PRIVATE.map(|path| Step::Directory { path: path.into(), mode: 0o755, owned: false }));
    // A toolchain of the host may lie there.
    if !binds.iter().any(|bind| bind.target.starts_with("/mnt")) {
        steps.push(Step::Symlink { path: USUAL_OUT.into(), target: OUT.into() });
    }
    steps.extend([Step::PivotRoot, Step::ReadOnly { target: "/".into() }]);
    steps
}

fn etc(definition: &Definition) -> Vec<(PathBuf, String)> {
    let user = definition.user;
    let mut files: Vec<(PathBuf, String)> = vec![
        (
            "/etc/passwd".into(),
            format!("{user}:x:{USER}:{USER}::{HOME}:/bin/sh\nnobody:x:{NOBODY}:{NOBODY}:Nobody:/:/bin/false\n"),
        ),
        ("/etc/group".into(), format!("{user}:x:{USER}:\nnogroup:x:{NOBODY}:\n")),
        ("/etc/nsswitch.conf".into(), "passwd: files\ngroup: files\nhosts: files dns\n".into()),
    ];
    match &definition.network {
        Network::None => files.push(("/etc/hosts".into(), own_hosts(definition))),
        Network::Gateway { hosts, resolv_conf, .. } => {
            files.push(("/etc/hosts".into(), own_hosts(definition) + hosts));
            files.push(("/etc/resolv.conf".into(), resolv_conf.clone()));
        }
        Network::Host { files: resolver } => files.extend(resolver.iter().cloned()),
    }
    files
}

/// The lines of /etc/hosts that name the sandbox itself.
fn own_hosts(definition: &Definition) -> String {
    format!("127.0.0.1 localhost {}\n::1 localhost\n", definition.id)
}

/// What each sandbox has of its own, and is there ahead of the call.
fn sandbox_steps(
    definition: &Definition,
    controlled: Controlled,
    ends_forks: bool,
    buffers: SocketBuffers,
) -> Vec<Step> {
    let resources = &definition.resources;
    let directories =
        PRIVATE
            .map(|path| {
                if [HOME, OUT].contains(&path) { directory(path, 0o755, true) } else { directory(path, 0o1777, false) }
            })
            .into();
    let mut steps = vec![
        Step::Scratch { size: resources.memory_mb * MB / SCRATCH_SHARE, inodes: INODES, directories },
        Step::Proc { target: "/proc".into() },
        Step::Hostname { name: definition.id.into() },
    ];
    if definition.workdir != Path::new(HOME) {
        steps.push(Step::Directory { path: definition.workdir.into(), mode: 0o755, owned: true });
    }
    let set = |name: &str, value: String| Step::Setting { name: name.to_owned(), value };
    if definition.has_own_network() {
        steps.push(Step::Loopback);
        if let Network::Gateway { routes, listeners, resolver, .. } = &definition.network {
            let (routes, listeners) = (routes.clone(), listeners.clone());
            steps.push(Step::Gateway { routes, listeners, resolver: *resolver });
        }
        // A network that is the sandbox's own needs no privilege for ping and for low ports.
        steps.push(set("net/ipv4/ping_group_range", format!("{USER} {USER}")));
        steps.push(set("net/ipv4/ip_unprivileged_port_start", "0".to_owned()));
        if !controlled.memory {
            // TCP alone lets its buffers grow by itself, to 150 times the default.
            let SocketBuffers { send, receive } = buffers;
            steps.push(set("net/ipv4/tcp_wmem", format!("{SMALLEST} {} {send}", send.min(TCP_SEND))));
            steps.push(set("net/ipv4/tcp_rmem", format!("{SMALLEST} {} {receive}", receive.min(TCP_RECEIVE))));
        }
    }
    if ends_forks && kernel_bounds_pids() {
        // Numbers up to 300 are given out once only. The launcher ends the sandbox well before, if it comes to see it.
        steps.push(set("kernel/pid_max", (RESERVED_PIDS + resources.processes).to_string()));
    }
    steps.push(set("user/max_user_namespaces", "0".to_owned()));
    // These are counted against the host's user as well, who has but few for all programs together.
    steps.push(set("user/max_inotify_instances", INOTIFY_INSTANCES.to_string()));
    steps.push(set("user/max_inotify_watches", INOTIFY_WATCHES.to_string()));
    let below_proc = |names: &[&str]| names.iter().map(|name| Path::new("/proc").join(name)).collect();
    steps.push(Step::Mask { hidden: below_proc(&HIDDEN), read_only: below_proc(&READ_ONLY) });
    steps
}

fn directory(target: &str, mode: u32, owned: bool) -> Directory {
    Directory { target: target.into(), mode, owned }
}

/// What belongs to this call alone.
pub fn call(definition: &Definition, work: Work) -> Call {
    let workdir = definition.workdir;
    let file = |(name, content): (PathBuf, Vec<u8>)| {
        let (path, mode) = (workdir.join(name), definition.script_mode);
        Step::File { path, content, mode, owned: true }
    };
    let mut steps: Vec<Step> = work.files.into_iter().map(file).collect();
    if definition.read_only {
        steps.push(Step::ReadOnly { target: HOME.into() });
    }
    let program = program(definition, work.command, work.variables);
    Call { steps, services: definition.services.clone(), program: Some(program), deadline: work.deadline }
}

/// The program of a call.
pub fn program(definition: &Definition, command: Vec<String>, variables: Vec<(String, String)>) -> Program {
    Program { arguments: command, variables, directory: definition.workdir.into() }
}

/// What confines the program itself, in the order in which it is put up.
fn walls(resources: &Resources, controlled: Controlled) -> Vec<Step> {
    let mut steps = limits(resources, controlled);
    let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
    steps.extend([
        Step::NoNewPrivileges,
        Step::DropPrivileges,
        Step::Landlock { read: paths(&["/"]), write: paths(&WRITABLE), scoped: true, required: false },
        Step::Seccomp { program: seccomp::filter(controlled.bounds()) },
    ]);
    steps
}

/// The limits of each process.
pub fn limits(resources: &Resources, controlled: Controlled) -> Vec<Step> {
    let mut limits = vec![(Resource::OpenFiles, resources.files), (Resource::CoreSize, 0)];
    if !controlled.memory {
        limits.push((Resource::Data, resources.memory_mb * MB * DATA_FACTOR));
    }
    if !controlled.processes {
        limits.push((Resource::Processes, resources.processes));
    }
    limits.into_iter().map(|(resource, value)| Step::Limit { resource, value }).collect()
}
