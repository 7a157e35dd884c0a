//! Makes the plan of a sandbox from its specification: a pure function, except that it asks what the kernel has.
//!
//! The server uses it for the sandboxes of its launchers, and the launcher when it is the builder of a derivation,
//! whose variables hold the specification.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::machine::{Controlled, Machine, SocketBuffers, kernel_bounds_pids};
use crate::processors::ProcessorFiles;
use crate::seccomp;
use crate::view::{Bind, Link};
use crate::{
    Call, Directory, Namespace, Plan, Program, Replacement, Resource, Route, SandboxEnvironment, ServiceSpec, Step,
};

/// The specification of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSpec<'a> {
    /// The id of the tool, which is the host name inside.
    pub id: &'a str,
    /// The name of the user that programs run as.
    pub user: &'a str,
    /// The working directory; [`HOME`] or below.
    pub workdir: &'a Path,
    /// The permissions of the call's files.
    pub script_mode: u32,
    /// Whether the working directory is read-only.
    pub read_only: bool,
    pub resources: Resources,
    pub network: NetworkSpec,
    /// Programs that each call starts before its command.
    pub services: Vec<ServiceSpec>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Cores.
    pub cpu: u32,
    /// Megabytes of 2^20 bytes.
    pub memory_mb: u64,
    /// The size of the files that the sandbox holds at once, in the same megabytes. They are part of its memory, so that a
    /// program that fills them gets an error and is not killed.
    pub disk_mb: u64,
    pub processes: u64,
    /// Open files of one process.
    pub files: u64,
}

impl Resources {
    /// Returns the size of the private directories in bytes.
    pub fn disk(&self) -> u64 {
        self.disk_mb * MB
    }
}

/// Returns how much the files of a sandbox may take if nobody has decided it, in megabytes: half of its memory. It is never
/// 0, which the kernel takes for no limit.
pub const fn default_disk_mb(memory_mb: u64) -> u64 {
    if memory_mb < 2 { 1 } else { memory_mb / 2 }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkSpec {
    /// Only a loopback interface of its own.
    None,
    /// The host's network, with the files that programs need to resolve names.
    Host { files: Vec<(PathBuf, String)> },
    /// A loopback interface of its own with a gateway.
    Gateway {
        routes: Vec<Route>,
        listeners: Vec<SocketAddrV4>,
        resolver: SocketAddrV4,
        /// Lines of /etc/hosts.
        hosts: String,
        resolv_conf: String,
    },
}

/// The input of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallInput {
    pub command: Vec<String>,
    pub variables: Vec<(String, String)>,
    /// What the program reads from its standard input.
    pub input: Vec<u8>,
    pub files: Vec<CallFile>,
    pub deadline: Duration,
}

/// A file of the working directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallFile {
    /// Relative to the working directory.
    pub name: PathBuf,
    pub content: Vec<u8>,
    /// Whether everyone who may read it may also execute it.
    pub executable: bool,
}

impl CallFile {
    /// Returns the permissions of the file in a sandbox whose files have these.
    pub fn mode(executable: bool, script_mode: u32) -> u32 {
        if executable { script_mode | (script_mode & 0o444) >> 2 } else { script_mode }
    }
}

/// The home of every sandbox.
pub const HOME: &str = "/sandbox";

/// Where a program leaves files for its caller; the variable `OUT` names it.
pub const OUT: &str = "/sandbox/out";

/// The variables that every sandbox sets, some only in a pinned environment.
pub const VARIABLES: [&str; 10] =
    ["HOME", "LC_CTYPE", "LOCALE_ARCHIVE", "OUT", "PATH", "PWD", "SHELL", "TMPDIR", "TZDIR", "USER"];

/// A link to [`OUT`], for programs that were written for another well-known sandbox.
const OUT_ALIAS: &str = "/mnt/data";

/// The sandbox's user and group inside. Every sandbox has its own user namespace, so all can have the same number.
pub const USER: u32 = 1000;
/// The user and group of programs outside if the server is root: nobody.
pub const NOBODY: u32 = 65534;

const MB: u64 = 1 << 20;
/// The root holds directories, links and a few files of /etc.
const ROOT_BYTES: u64 = 4 * MB;
const ROOT_INODES: u64 = 16_384;
/// The private directories of a sandbox, which share one limit. Each is a mount of its own, so that files can't be
/// linked or moved from one to another, and artifacts can be written while the home is read-only.
const PRIVATE: [&str; 4] = [HOME, "/tmp", "/dev/shm", OUT];
/// The number of inotify instances and watches of a sandbox: enough for a tool that watches a project.
const INOTIFY_INSTANCES: u32 = 16;
const INOTIFY_WATCHES: u32 = 8192;
/// The initial sizes of TCP's buffers in bytes, as in the kernel: the minimum, and the defaults for sending and
/// receiving.
const TCP_MIN_BYTES: u64 = 4096;
const TCP_SEND_BYTES: u64 = 16_384;
const TCP_RECEIVE_BYTES: u64 = 131_072;
/// The number of files and directories in the private directories.
pub const SCRATCH_INODES: u64 = 65_536;

/// The limit on what one process may allocate, as a multiple of the sandbox's memory, if the launcher watches its use:
/// most language runtimes allocate more than they use, and fail with misleading errors if they can't.
const DATA_FACTOR: u64 = 16;

/// Where Landlock allows writing, if the mount does. Threads name each other by writing to /proc.
const WRITABLE: [&str; 9] = [HOME, OUT, "/tmp", "/dev/shm", "/dev/pts", "/proc", "/dev/null", "/dev/zero", "/dev/full"];
/// The device that stands for a process's own terminal, of which a program has none before it makes one.
const OWN_TERMINAL: &str = "/dev/tty";
/// Where pseudo-terminals are, and how many a sandbox can have at once. The kernel has a few thousand for all.
const TERMINALS: &str = "/dev/pts";
const MAX_TERMINALS: u32 = 64;
/// Files of /proc with facts about the machine, which are hidden.
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
/// The kernel uses pids below this number only once.
const RESERVED_PIDS: u64 = 300;

/// Files of /proc that count processors, each with the sandbox's own file that replaces it.
const CPUINFO: [&str; 2] = ["/proc/cpuinfo", "/run/sandbox/cpuinfo"];
const STAT: [&str; 2] = ["/proc/stat", "/run/sandbox/stat"];

/// Files of /proc that would change the machine.
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Returns the plan of a sandbox with all namespaces.
pub fn plan(definition: &SandboxSpec, binds: &[Bind], links: &[Link], machine: Machine, work: CallInput) -> Plan {
    Plan { environment: environment(definition, binds, links, machine), call: call(definition, work) }
}

/// Returns the part of a plan that is the same for every call.
pub fn environment(definition: &SandboxSpec, binds: &[Bind], links: &[Link], machine: Machine) -> SandboxEnvironment {
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
    SandboxEnvironment {
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

impl SandboxSpec<'_> {
    fn has_own_network(&self) -> bool {
        !matches!(self.network, NetworkSpec::Host { .. })
    }
}

/// Returns the steps that make the view.
fn view_steps(definition: &SandboxSpec, binds: &[Bind], links: &[Link]) -> Vec<Step> {
    let mut steps =
        vec![Step::Tmpfs { target: "/".into(), size: ROOT_BYTES, inodes: ROOT_INODES, mode: 0o755, owned: false }];
    steps.extend(binds.iter().map(|bind| Step::Bind { source: bind.source.clone(), target: bind.target.clone() }));
    steps.extend(links.iter().map(|link| Step::Symlink { path: link.path.clone(), target: link.target.clone() }));
    // The environment may have some of these files.
    let is_missing =
        |path: &Path| !binds.iter().any(|bind| bind.target == path) && !links.iter().any(|link| link.path == path);
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
    if has_own_terminal() {
        steps.push(Step::Device { path: OWN_TERMINAL.into() });
    }
    steps.push(Step::Directory { path: TERMINALS.into(), mode: 0o755, owned: false });
    steps.push(Step::Symlink { path: "/dev/ptmx".into(), target: "pts/ptmx".into() });
    for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        steps.push(Step::Symlink { path: Path::new("/dev").join(name), target: Path::new("/proc/self").join(target) });
    }
    steps.extend(PRIVATE.map(|path| Step::Directory { path: path.into(), mode: 0o755, owned: false }));
    steps.push(Step::Symlink { path: "/var/tmp".into(), target: "/tmp".into() });
    steps.push(Step::Directory { path: "/run".into(), mode: 0o755, owned: false });
    // A toolchain of the host may be there.
    if !binds.iter().any(|bind| bind.target.starts_with("/mnt")) {
        steps.push(Step::Symlink { path: OUT_ALIAS.into(), target: OUT.into() });
    }
    let ProcessorFiles { cpuinfo, stat, sys } = ProcessorFiles::of_this_machine(definition.resources.cpu);
    let proc = [(CPUINFO, cpuinfo), (STAT, stat)].map(|([_, path], content)| (path.into(), content));
    steps.extend(proc.into_iter().chain(sys).map(|(path, content)| Step::File {
        path,
        content: content.into_bytes(),
        mode: 0o444,
        owned: false,
    }));
    steps.extend([Step::PivotRoot, Step::ReadOnly { target: "/".into() }]);
    steps
}

/// Returns the files of /etc.
fn etc(definition: &SandboxSpec) -> Vec<(PathBuf, String)> {
    let user = definition.user;
    let mut files: Vec<(PathBuf, String)> = vec![
        (
            "/etc/passwd".into(),
            format!(
                "root:x:0:0:root:/:/bin/false\n\
                 {user}:x:{USER}:{USER}::{HOME}:/bin/sh\n\
                 nobody:x:{NOBODY}:{NOBODY}:Nobody:/:/bin/false\n"
            ),
        ),
        ("/etc/group".into(), format!("root:x:0:\n{user}:x:{USER}:\nnogroup:x:{NOBODY}:\n")),
        ("/etc/hostname".into(), format!("{}\n", definition.id)),
        ("/etc/nsswitch.conf".into(), "passwd: files\ngroup: files\nhosts: files dns\n".into()),
    ];
    match &definition.network {
        NetworkSpec::None => files.push(("/etc/hosts".into(), own_hosts(definition))),
        NetworkSpec::Gateway { hosts, resolv_conf, .. } => {
            files.push(("/etc/hosts".into(), own_hosts(definition) + hosts));
            files.push(("/etc/resolv.conf".into(), resolv_conf.clone()));
        }
        NetworkSpec::Host { files: resolver } => files.extend(resolver.iter().cloned()),
    }
    files
}

/// Returns the lines of /etc/hosts that name the sandbox itself.
fn own_hosts(definition: &SandboxSpec) -> String {
    format!("127.0.0.1 localhost {}\n::1 localhost\n", definition.id)
}

/// Returns the steps of each sandbox.
fn sandbox_steps(
    definition: &SandboxSpec,
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
        Step::Scratch { size: resources.disk(), inodes: SCRATCH_INODES, directories },
        Step::Proc { target: "/proc".into() },
        Step::Terminals { target: TERMINALS.into(), most: MAX_TERMINALS },
        Step::Hostname { name: definition.id.into() },
    ];
    if definition.workdir != Path::new(HOME) {
        steps.push(Step::Directory { path: definition.workdir.into(), mode: 0o755, owned: true });
    }
    let set = |name: &str, value: String| Step::Setting { name: name.to_owned(), value };
    if definition.has_own_network() {
        steps.push(Step::Loopback);
        if let NetworkSpec::Gateway { routes, listeners, resolver, .. } = &definition.network {
            let (routes, listeners) = (routes.clone(), listeners.clone());
            steps.push(Step::Gateway { routes, listeners, resolver: *resolver });
        }
        // Ping and low ports need no privilege in a network namespace of the sandbox's own.
        steps.push(set("net/ipv4/ping_group_range", format!("{USER} {USER}")));
        steps.push(set("net/ipv4/ip_unprivileged_port_start", "0".to_owned()));
        if !controlled.memory {
            // Only TCP lets its buffers grow without a request, to 150 times the default.
            let SocketBuffers { send, receive } = buffers;
            steps.push(set("net/ipv4/tcp_wmem", format!("{TCP_MIN_BYTES} {} {send}", send.min(TCP_SEND_BYTES))));
            steps.push(set(
                "net/ipv4/tcp_rmem",
                format!("{TCP_MIN_BYTES} {} {receive}", receive.min(TCP_RECEIVE_BYTES)),
            ));
        }
    }
    if ends_forks && kernel_bounds_pids() {
        // Usually the launcher kills the sandbox well before; this bounds a fork bomb between two looks.
        steps.push(set("kernel/pid_max", (RESERVED_PIDS + resources.processes).to_string()));
    }
    steps.push(set("user/max_user_namespaces", "0".to_owned()));
    // These also count against the host's user, who has few of them for all programs together.
    steps.push(set("user/max_inotify_instances", INOTIFY_INSTANCES.to_string()));
    steps.push(set("user/max_inotify_watches", INOTIFY_WATCHES.to_string()));
    let below_proc = |names: &[&str]| names.iter().map(|name| Path::new("/proc").join(name)).collect();
    let replaced = [CPUINFO, STAT].map(|[path, by]| Replacement { path: path.into(), by: by.into() }).into();
    steps.push(Step::Mask { hidden: below_proc(&HIDDEN), replaced, read_only: below_proc(&READ_ONLY) });
    steps
}

fn directory(target: &str, mode: u32, owned: bool) -> Directory {
    Directory { target: target.into(), mode, owned }
}

/// Returns the part of a plan that is specific to one call.
pub fn call(definition: &SandboxSpec, work: CallInput) -> Call {
    let workdir = definition.workdir;
    let file = |CallFile { name, content, executable }| {
        let (path, mode) = (workdir.join(name), CallFile::mode(executable, definition.script_mode));
        Step::File { path, content, mode, owned: true }
    };
    let mut steps: Vec<Step> = work.files.into_iter().map(file).collect();
    if definition.read_only {
        steps.push(Step::ReadOnly { target: HOME.into() });
    }
    let program = Program { input: work.input, ..program(definition, work.command, work.variables) };
    Call { steps, services: definition.services.clone(), program: Some(program), deadline: work.deadline }
}

/// Returns the program of a call without input.
pub fn program(definition: &SandboxSpec, command: Vec<String>, variables: Vec<(String, String)>) -> Program {
    Program { arguments: command, variables, directory: definition.workdir.into(), input: Vec::new() }
}

/// Returns the steps that confine the program, in their order.
fn walls(resources: &Resources, controlled: Controlled) -> Vec<Step> {
    let mut steps = limits(resources, controlled);
    let own_terminal: &[&str] = if has_own_terminal() { &[OWN_TERMINAL] } else { &[] };
    let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
    steps.extend([
        Step::NoNewPrivileges,
        Step::DropPrivileges,
        Step::Landlock {
            read: paths(&["/"]),
            write: paths(&[&WRITABLE, own_terminal].concat()),
            scoped: true,
            required: false,
        },
        Step::Seccomp { program: seccomp::filter(controlled.bounds()) },
    ]);
    steps
}

/// Returns whether the machine has the device. A container may lack it.
fn has_own_terminal() -> bool {
    Path::new(OWN_TERMINAL).exists()
}

/// Returns the steps that limit each process.
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
