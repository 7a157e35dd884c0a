//! The plan of a sandbox, as data, and the messages between the server and its launcher.
//!
//! The server makes a [`Plan`]. The launcher, a static binary with one thread, carries out its steps in order and runs
//! one program. Both link this library, so that each can read what the other has written.

#![cfg_attr(not(test), forbid(unsafe_code))]
// The tests of the seccomp filter call the kernel directly.
#![cfg_attr(test, allow(unsafe_code))]

mod bytes;
pub mod capture;
pub mod disk;
pub mod landlock;
pub mod left;
pub mod machine;
mod message;
mod phrase;
pub mod plan;
pub mod processors;
pub mod record;
pub mod seccomp;
pub mod variables;
pub mod view;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use message::{
    CALL_HEADER_BYTES, MAX_CALL_BYTES, MAX_REPORT_BYTES, call_header, decode, encode, encode_once, parse_call_header,
    read_message, write_message,
};

/// The first message to a launcher: what the server asks of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Make one sandbox. Its [`Call`] is the next message; the launcher's own output is the program's.
    Once(SandboxEnvironment),
    /// Serve many calls, each in a sandbox of its own. Up to `ready` sandboxes are made ahead of their calls.
    ///
    /// The launcher answers with [`Report::Ready`]. Each call is then passed by [`CALL_HEADER_BYTES`] bytes and three
    /// descriptors: a socket for the [`Call`] and its reports, and the files for the program's output and its errors.
    Serve { environment: SandboxEnvironment, ready: usize },
}

/// The part of a plan that is the same for every call: what the program sees, and how it is confined.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SandboxEnvironment {
    /// The namespaces to make. If there are none, only the steps confine the program.
    pub namespaces: Vec<Namespace>,
    /// The program's user, inside and outside.
    pub identity: Identity,
    /// Steps that a manager takes once for all sandboxes. The result is read-only in every sandbox.
    pub view: Vec<Step>,
    /// Steps that the first process of each sandbox takes ahead of the call.
    pub sandbox: Vec<Step>,
    /// Steps by which the program's process confines itself ahead of the call.
    pub walls: Vec<Step>,
    /// The program to start ahead of calls, if it can wait for them. Calls for other programs are carried out as well.
    pub ahead: Option<Ahead>,
    /// Control groups in which each sandbox gets a group of its own.
    pub cgroups: Vec<Cgroup>,
    /// Limits that no control group enforces, so that the launcher watches them.
    pub watch: Watch,
    /// Private directories of which the server gets descriptors with [`Report::Ended`], when no process can reach them.
    pub handed_over: Vec<PathBuf>,
}

/// The part of a plan that differs from call to call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Steps that the sandbox's first process takes before it gives up its privileges.
    pub steps: Vec<Step>,
    /// Programs to start before the call's own, each when the one before it is ready.
    pub services: Vec<ServiceSpec>,
    /// `None` if nothing is to be executed: the confined process looks around, and reports what it finds.
    pub program: Option<Program>,
    /// The wall-clock time after which everything in the sandbox is killed. It includes the start of the services.
    /// Setting the sandbox up may take the same time again.
    pub deadline: Duration,
}

/// Everything that is needed to run one program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub environment: SandboxEnvironment,
    pub call: Call,
}

/// A directory of the cgroup file system in which each sandbox gets a directory of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cgroup {
    pub directory: PathBuf,
    /// Files of the group and what to write into them, before a process is in it.
    pub settings: Vec<(String, String)>,
    /// Counters that show that a limit was met.
    pub alarms: Vec<Alarm>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Alarm {
    /// The file with the counter.
    pub file: String,
    /// The word before the number in its line.
    pub key: String,
    pub limit: Limit,
}

/// Limits that the launcher enforces by itself. `None` if there is no such limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Watch {
    /// Bytes of memory of all its processes, with their page tables, and of each tmpfs made by [`Step::Scratch`].
    pub memory: Option<u64>,
    /// Bytes of memory that each socket counts for, if the sandbox has a network namespace: the capacity of its
    /// buffers, since their use can't be read.
    pub socket: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Whether the kernel does not enforce the limit on processes, so that the launcher kills a sandbox that exceeds
    /// it.
    pub ends_forks: bool,
    /// Number of processors, which a control group may bound as well: programs start as many threads as they have
    /// processors. Different sandboxes get different ones.
    pub processors: Option<u32>,
}

/// A limit that can end a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Limit {
    Memory { bytes: u64 },
    Processes { count: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Namespace {
    User,
    Mount,
    /// Without this namespace, a program of the launcher's own user can kill the launcher, unless Landlock is `scoped`.
    Pid,
    Network,
    Ipc,
    Uts,
    Cgroup,
}

/// The program's user and group, inside the sandbox and outside.
///
/// If `host_uid` and `host_gid` are the launcher's own, the user namespace has only this user, as it must for the
/// launcher of an ordinary user. There is no root inside then, and files belong to the program also without `owned`.
/// Otherwise the launcher is root, and root is mapped as well, so that steps can read what only root can. Without a
/// user namespace, the program's user is `host_uid`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// The user outside: an unprivileged one if the server runs as root, otherwise the server's own.
    pub host_uid: u32,
    pub host_gid: u32,
}

/// One action on the sandbox before the program starts. Paths are absolute and as the program will see them, symbolic
/// links included; only the sources of binds are paths of the host. Missing directories on the way to a path are made
/// with mode 0755, and belong to the sandbox's user if the step is `owned`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Step {
    /// Mounts a tmpfs of at most `size` bytes and `inodes` files, owned by the sandbox's user if `owned`.
    /// At `/` it becomes a new root, on which all further steps work.
    Tmpfs {
        target: PathBuf,
        size: u64,
        inodes: u64,
        mode: u32,
        owned: bool,
    },
    /// Mounts one tmpfs whose directories appear in several places, so that together they are limited to `size` bytes
    /// and `inodes` files.
    Scratch {
        size: u64,
        inodes: u64,
        directories: Vec<Directory>,
    },
    /// Shows `source` of the host at `target`, read-only, without set-uid programs and device files.
    /// The step may follow PivotRoot: the source is copied before.
    Bind {
        source: PathBuf,
        target: PathBuf,
    },
    /// Mounts the proc file system of the sandbox's pid namespace.
    Proc {
        target: PathBuf,
    },
    /// Mounts pseudo-terminals of the sandbox's own, at most so many at once. It is passed over if the kernel has none.
    Terminals {
        target: PathBuf,
        most: u32,
    },
    /// Hides files and directories of a proc file system, puts others of the sandbox's own files in their place, and
    /// makes others read-only. Paths that this kernel does not have are passed over.
    Mask {
        hidden: Vec<PathBuf>,
        replaced: Vec<Replacement>,
        read_only: Vec<PathBuf>,
    },
    /// Writes a setting of the kernel that belongs to one of the sandbox's namespaces (`user/max_user_namespaces`), by
    /// its path below /proc/sys.
    Setting {
        name: String,
        value: String,
    },
    /// Shows a device file of the host (`/dev/null`, …) at the same path.
    Device {
        path: PathBuf,
    },
    /// Makes a directory. An existing one gets the mode, and the owner if `owned`.
    Directory {
        path: PathBuf,
        mode: u32,
        owned: bool,
    },
    Symlink {
        path: PathBuf,
        target: PathBuf,
    },
    /// Writes a new file. An existing one is a failure.
    File {
        path: PathBuf,
        #[serde(with = "bytes")]
        content: Vec<u8>,
        mode: u32,
        owned: bool,
    },
    /// Makes the mount at `target` read-only. Mounts below it stay as they are.
    ReadOnly {
        target: PathBuf,
    },
    /// Makes the tree that was built so far the root, and detaches the host's.
    PivotRoot,
    Hostname {
        name: String,
    },
    /// Brings up the loopback interface of the sandbox's network namespace.
    Loopback,
    /// Routes addresses to the loopback interface, which is up, and opens sockets there for the server: the listeners
    /// in their order, the resolver's, and a raw one that sees the first packet of each TCP connection. Only the server
    /// gets them, with [`Report::Opened`].
    Gateway {
        routes: Vec<Route>,
        /// Addresses of TCP.
        listeners: Vec<SocketAddrV4>,
        /// An address of UDP.
        resolver: SocketAddrV4,
    },
    /// Sets a soft and hard limit, to the present hard limit if that is lower.
    Limit {
        resource: Resource,
        value: u64,
    },
    /// Gives up all capabilities, also those of the bounding set, and becomes the identity's user.
    DropPrivileges,
    NoNewPrivileges,
    /// Confines file access by Landlock: only files below the named paths can be reached. Those below `read` can be
    /// read and executed. `scoped` also keeps signals and connections to abstract unix sockets inside, if the kernel
    /// can.
    Landlock {
        read: Vec<PathBuf>,
        write: Vec<PathBuf>,
        scoped: bool,
        /// Whether it is a failure if the kernel has no Landlock.
        required: bool,
    },
    /// Installs a seccomp filter, given as the bytes of its `struct sock_filter` array.
    Seccomp {
        #[serde(with = "bytes")]
        program: Vec<u8>,
    },
}

/// A range of addresses that a network namespace treats as its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    pub network: Ipv4Addr,
    pub prefix: u8,
}

impl Route {
    /// Returns whether an address is in the range.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.network.to_bits() ^ address.to_bits()).leading_zeros() >= self.prefix.into()
    }
}

/// A file that [`Step::Mask`] puts in the place of another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Replacement {
    pub path: PathBuf,
    /// A file of the sandbox.
    pub by: PathBuf,
}

/// One place where a [`Step::Scratch`] appears.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Directory {
    pub target: PathBuf,
    pub mode: u32,
    pub owned: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Resource {
    /// Bytes of private writable memory (RLIMIT_DATA) of one process.
    Data,
    /// Processes and threads of the user: in a user namespace those of the sandbox, including the launcher's pid 1;
    /// otherwise all of `host_uid` on the machine.
    Processes,
    OpenFiles,
    /// Bytes of one file (RLIMIT_FSIZE).
    FileSize,
    CoreSize,
    /// Seconds of processor time of one process.
    CpuTime,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Program {
    /// The program is looked up along `PATH` of `variables` if it contains no slash.
    pub arguments: Vec<String>,
    pub variables: Vec<(String, String)>,
    pub directory: PathBuf,
    /// What it reads from its standard input, which is /dev/null if this is empty.
    #[serde(with = "bytes")]
    pub input: Vec<u8>,
}

/// A program that can be started before there is a call for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ahead {
    pub program: Program,
    /// Variables that it gets in addition to its own, or instead of them. They tell it to read nothing of the call and
    /// to print nothing before its standard input has ended.
    pub variables: Vec<(String, String)>,
}

impl Program {
    /// Returns the directory for its temporary files.
    pub fn temporary_directory(&self) -> &Path {
        let variable = self.variables.iter().find(|(name, _)| name == "TMPDIR");
        variable.map_or(Path::new("/tmp"), |(_, value)| Path::new(value))
    }
}

/// A program that runs beside the call's own, from before its start until its end. It is confined like the program, and
/// has the program's variables and working directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Its name in messages.
    pub name: String,
    /// The program, which is looked up like that of a call, and its arguments.
    pub command: Vec<String>,
    pub ready: ServiceReadiness,
    /// How long it may take to get ready.
    pub deadline: Duration,
    /// Files that it logs to, by their absolute paths. Their last lines are shown if it does not start.
    pub logs: Vec<PathBuf>,
    /// Words that mark a line of these files as an error. Such lines are shown after the program's end.
    pub errors: Vec<String>,
}

/// The event that shows that a service is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceReadiness {
    /// Its command has exited with status 0, leaving a daemon behind.
    Returned,
    /// A TCP port of the loopback interface accepts connections.
    Port { port: u16 },
    /// A file exists, given by its absolute path.
    File { path: PathBuf },
}

/// A message from the launcher to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The launcher serves calls.
    Ready,
    /// Carries the sockets of a [`Step::Gateway`], ahead of the start. Not sent without that step.
    Opened,
    /// Carries two pipes with the output and the errors of a program that was started ahead of the call. Nothing is
    /// written to the descriptors that came with the call.
    Ahead,
    /// Every step was applied, and the program, or a service before it, is about to start.
    Started,
    /// The program has ended, and no process of the sandbox is left.
    Ended { ending: Ending, usage: Usage },
    /// What was found by a call without a program. No process of the sandbox is left.
    Found(Inside),
    /// The sandbox could not be made, or the program not started. No process of it is left.
    Failed(Failure),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    Exited {
        code: i32,
    },
    Signalled {
        signal: i32,
    },
    /// A service did not get ready, as the program's standard error says. The program was not started.
    Unready,
    /// The deadline has passed, and everything was killed.
    TimedOut,
    /// A limit was met, and ended the program.
    OverLimit {
        limit: Limit,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time of all processes, user and system, including the making of the sandbox.
    pub cpu: Duration,
    /// Largest resident set of one process, in bytes. Includes pid 1, and with it the files of the plan.
    pub peak_memory: u64,
}

/// What a process finds inside a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    /// The text of /proc/self/status.
    pub status: String,
    /// Each of the process's namespaces, by the name and number that the kernel gives it (`net:[4026531840]`).
    pub namespaces: Vec<String>,
    /// The names of walls that did not prevent what they must.
    pub breaches: Vec<String>,
    /// The version of Landlock that this kernel supports; `None` if it supports none.
    pub landlock: Option<u32>,
}

/// A step, or the start of a program, that the kernel has refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("cannot {operation}: {}", std::io::Error::from_raw_os_error(*errno))]
pub struct Failure {
    /// What was tried, as a verb and its object: `bind /nix/store/… at /nix/store/…`.
    pub operation: String,
    pub errno: i32,
}
