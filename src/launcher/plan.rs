//! Job and view → the plan that the launcher carries out: a pure function, but for the host's resolver files.

use std::fs;
use std::path::{Path, PathBuf};

use sandbox_launcher::{Call, Directory, Environment, Identity, Namespace, Plan, Program, Resource, Step};

use crate::job::Job;
use crate::launch::{Controls, SocketBuffers};
use crate::network::gateway::Gateway;
use crate::sandbox::{Network, Sandbox};
use crate::seccomp;
use crate::view::View;

/// The home of every sandbox.
pub const HOME: &str = "/sandbox";

/// Where a program leaves files for its caller; the variable `OUT` names it.
pub const OUT: &str = "/sandbox/out";

/// The sandbox's user and group inside; every sandbox has its own user namespace, so they may share the number.
const USER: u32 = 1000;
/// Who programs are outside when the server is root: nobody.
const NOBODY: u32 = 65534;

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
const DATA_FACTOR: u64 = 4;

/// Where Landlock lets a program write, if the mount does. Threads name each other by files of /proc.
const WRITABLE: [&str; 8] = [HOME, OUT, "/tmp", "/dev/shm", "/proc", "/dev/null", "/dev/zero", "/dev/full"];
/// What /proc tells of the machine that is no program's business, below /proc.
const HIDDEN: [&str; 31] = [
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
    "zoneinfo",
];
/// Below which the kernel gives out no number of a process a second time.
const RESERVED_PIDS: u64 = 300;

/// What would change the machine.
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Files that a program on the host's network needs to resolve names, and that hold no secret.
const RESOLVER_FILES: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/services"];

/// The plan of a sandbox with all namespaces, held to its limits by what this machine has.
pub fn in_namespaces(job: &Job, view: &View) -> Plan {
    bounded_by(Controls::of_this_machine(), job, view)
}

/// The same, held to its limits by `controls`.
pub fn bounded_by(controls: &Controls, job: &Job, view: &View) -> Plan {
    let sandbox = job.sandbox;
    let mut namespaces =
        vec![Namespace::User, Namespace::Mount, Namespace::Pid, Namespace::Ipc, Namespace::Uts, Namespace::Cgroup];
    if sandbox.network != Network::Bridge {
        namespaces.push(Namespace::Network);
    }
    Plan {
        environment: Environment {
            namespaces,
            identity: identity(),
            view: view_steps(sandbox, view),
            sandbox: sandbox_steps(sandbox, controls),
            walls: walls(sandbox, controls),
            cgroups: controls.cgroups(&sandbox.resources),
            watch: controls.watch(&sandbox.resources, identity().host_uid),
            out: Some(OUT.into()),
        },
        call: Call { steps: call_steps(job), program: Some(program(sandbox, view)), deadline: job.deadline },
    }
}

fn program(sandbox: &Sandbox, view: &View) -> Program {
    Program {
        arguments: sandbox.command.iter().map(|argument| (*argument).to_owned()).collect(),
        variables: view.variables(sandbox),
        directory: sandbox.workdir.into(),
    }
}

pub(crate) fn identity() -> Identity {
    let (own_uid, own_gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let has_others = own_uid.is_root() && has_nobody("/proc/self/uid_map") && has_nobody("/proc/self/gid_map");
    let (host_uid, host_gid) = if has_others { (NOBODY, NOBODY) } else { (own_uid.as_raw(), own_gid.as_raw()) };
    Identity { uid: USER, gid: USER, host_uid, host_gid }
}

/// Whether the user nobody exists here: a user namespace may hold no user but one, who is called root.
fn has_nobody(map: &str) -> bool {
    let Ok(text) = fs::read_to_string(map) else { return false };
    text.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u32>().unwrap_or(0));
        let (first, _, count) = (numbers.next(), numbers.next(), numbers.next());
        first.zip(count).is_some_and(|(first, count)| (first..first.saturating_add(count)).contains(&NOBODY))
    })
}

/// What is the same for every call in this environment.
fn view_steps(sandbox: &Sandbox, view: &View) -> Vec<Step> {
    let mut steps =
        vec![Step::Tmpfs { target: "/".into(), size: ROOT_SIZE, inodes: ROOT_INODES, mode: 0o755, owned: false }];
    steps.extend(view.binds.iter().map(|bind| Step::Bind { source: bind.source.clone(), target: bind.target.clone() }));
    steps.extend(view.links.iter().map(|link| Step::Symlink { path: link.path.clone(), target: link.target.clone() }));
    // A host's own environment shows some of these files itself.
    let is_missing = |path: &Path| !view.binds.iter().any(|bind| bind.target == path);
    steps.extend(etc(sandbox).into_iter().filter(|(path, _)| is_missing(path)).map(|(path, content)| Step::File {
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
    steps.extend([Step::PivotRoot, Step::ReadOnly { target: "/".into() }]);
    steps
}

fn etc(sandbox: &Sandbox) -> Vec<(PathBuf, String)> {
    let user = sandbox.user;
    let mut files: Vec<(PathBuf, String)> = vec![
        (
            "/etc/passwd".into(),
            format!("{user}:x:{USER}:{USER}::{HOME}:/bin/sh\nnobody:x:{NOBODY}:{NOBODY}:Nobody:/:/bin/false\n"),
        ),
        ("/etc/group".into(), format!("{user}:x:{USER}:\nnogroup:x:{NOBODY}:\n")),
        ("/etc/nsswitch.conf".into(), "passwd: files\ngroup: files\nhosts: files dns\n".into()),
    ];
    match sandbox.network {
        Network::None => files.push(("/etc/hosts".into(), own_hosts(sandbox))),
        Network::Allow(entries) => {
            let gateway = Gateway::of(entries);
            files.push(("/etc/hosts".into(), own_hosts(sandbox) + &gateway.hosts));
            files.push(("/etc/resolv.conf".into(), gateway.resolv_conf));
        }
        Network::Bridge => {
            for path in RESOLVER_FILES {
                if let Ok(content) = fs::read_to_string(path) {
                    files.push((path.into(), content));
                }
            }
        }
    }
    files
}

/// The lines of /etc/hosts that name the sandbox itself.
fn own_hosts(sandbox: &Sandbox) -> String {
    format!("127.0.0.1 localhost {}\n::1 localhost\n", hostname(sandbox))
}

fn hostname(sandbox: &Sandbox) -> &'static str {
    sandbox.id
}

/// What each sandbox has of its own, and is there ahead of the call.
fn sandbox_steps(sandbox: &Sandbox, controls: &Controls) -> Vec<Step> {
    let directories =
        PRIVATE
            .map(|path| {
                if [HOME, OUT].contains(&path) { directory(path, 0o755, true) } else { directory(path, 0o1777, false) }
            })
            .into();
    let mut steps = vec![
        Step::Scratch { size: sandbox.resources.memory_mb * MB / SCRATCH_SHARE, inodes: INODES, directories },
        Step::Proc { target: "/proc".into() },
        Step::Hostname { name: hostname(sandbox).into() },
    ];
    let set = |name: &str, value: String| Step::Setting { name: name.to_owned(), value };
    if sandbox.network != Network::Bridge {
        steps.push(Step::Loopback);
        if let Network::Allow(entries) = sandbox.network {
            let Gateway { routes, listeners, resolver, .. } = Gateway::of(entries);
            steps.push(Step::Gateway { routes, listeners, resolver });
        }
        // A network that is the sandbox's own needs no privilege for ping and for low ports.
        steps.push(set("net/ipv4/ping_group_range", format!("{USER} {USER}")));
        steps.push(set("net/ipv4/ip_unprivileged_port_start", "0".to_owned()));
        if !controls.bounds().memory {
            // TCP alone lets its buffers grow by itself, to 150 times the default.
            let SocketBuffers { send, receive } = SocketBuffers::of_this_machine();
            steps.push(set("net/ipv4/tcp_wmem", format!("{SMALLEST} {} {send}", send.min(TCP_SEND))));
            steps.push(set("net/ipv4/tcp_rmem", format!("{SMALLEST} {} {receive}", receive.min(TCP_RECEIVE))));
        }
    }
    if controls.watch(&sandbox.resources, identity().host_uid).ends_forks && Controls::kernel_bounds_pids() {
        // Numbers up to 300 are given out once only. The launcher ends the sandbox well before, if it comes to see it.
        steps.push(set("kernel/pid_max", (RESERVED_PIDS + sandbox.resources.processes).to_string()));
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
fn call_steps(job: &Job) -> Vec<Step> {
    let sandbox = job.sandbox;
    let mut steps = Vec::new();
    let workdir = Path::new(sandbox.workdir);
    if workdir != Path::new(HOME) {
        steps.push(Step::Directory { path: workdir.into(), mode: 0o755, owned: true });
    }
    steps.extend(job.files.iter().map(|file| Step::File {
        path: workdir.join(file.name.as_path()),
        content: file.content.as_bytes().to_vec(),
        mode: sandbox.script_mode,
        owned: true,
    }));
    if sandbox.read_only {
        steps.push(Step::ReadOnly { target: HOME.into() });
    }
    steps
}

/// What confines the program itself, in the order in which it is put up.
fn walls(sandbox: &Sandbox, controls: &Controls) -> Vec<Step> {
    let mut steps = limits(sandbox, controls);
    let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
    steps.extend([
        Step::NoNewPrivileges,
        Step::DropPrivileges,
        Step::Landlock { read: paths(&["/"]), write: paths(&WRITABLE), scoped: true, required: false },
        Step::Seccomp { program: seccomp::filter(controls.bounds()) },
    ]);
    steps
}

pub(crate) fn limits(sandbox: &Sandbox, controls: &Controls) -> Vec<Step> {
    let resources = sandbox.resources;
    let mut limits = vec![(Resource::OpenFiles, resources.files), (Resource::CoreSize, 0)];
    if !controls.bounds().memory {
        limits.push((Resource::Data, resources.memory_mb * MB * DATA_FACTOR));
    }
    if !controls.counts_processes() {
        limits.push((Resource::Processes, resources.processes));
    }
    limits.into_iter().map(|(resource, value)| Step::Limit { resource, value }).collect()
}
