//! The plan of a sandbox, as data, and the messages between the server and its launcher.
//!
//! The server makes a [`Plan`]; the launcher, a static binary with one thread, applies its steps in order and runs
//! one program. Both ends link this library, so a plan that one end can write is a plan that the other can read.

mod bytes;
pub mod capture;
pub mod landlock;
pub mod left;
pub mod machine;
mod message;
mod phrase;
pub mod plan;
pub mod record;
pub mod seccomp;
pub mod view;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use message::{
    CALL_SIZE, LARGEST_CALL, LARGEST_REPORT, call_header, decode, encode, parse_call_header, read_message,
    write_message,
};

/// What the server asks of a launcher, and the first message to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// To make one sandbox. The [`Call`] for it is the next message; the launcher's own output is the program's.
    Once(Environment),
    /// To serve many calls, each in a sandbox of its own, of which up to `ready` are made ahead of their calls.
    ///
    /// The launcher answers with [`Report::Ready`]. Each call is then handed over by [`CALL_SIZE`] bytes and three
    /// descriptors: a socket for the [`Call`] and its reports, and what gets the program's output and its errors.
    Serve { environment: Environment, ready: usize },
}

/// What is the same for every call: the walls, and what is seen inside of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Environment {
    /// Which namespaces are made. An empty list means none: the walls are then what the steps say alone.
    pub namespaces: Vec<Namespace>,
    /// Who the program is, inside and outside.
    pub identity: Identity,
    /// Steps that a manager takes once, ahead of all sandboxes: what they make is read-only in every sandbox.
    pub view: Vec<Step>,
    /// Steps of each sandbox, taken by its first process ahead of the call.
    pub sandbox: Vec<Step>,
    /// Steps that the program's process takes ahead of the call; from then on it is confined.
    pub walls: Vec<Step>,
    /// The program of every call, if it can be started before there is one. A call for another is carried out all the same.
    pub ahead: Option<Ahead>,
    /// Control groups that each sandbox gets one of.
    pub cgroups: Vec<Cgroup>,
    /// What is watched where no control group bounds it.
    pub watch: Watch,
    /// Private directories that the server gets a descriptor of each of with [`Report::Ended`], when nothing else can reach
    /// them any more.
    pub handed_over: Vec<PathBuf>,
}

/// One program, and what is made for it alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Steps of this call, taken by the sandbox's first process before it gives up its privileges.
    pub steps: Vec<Step>,
    /// What is started before the program, each when the one before it is ready.
    pub services: Vec<Service>,
    /// None: nothing is executed. The confined process looks around, and what it finds is reported.
    pub program: Option<Program>,
    /// How long the program may run by the wall clock, its services' start included, before everything in the sandbox is
    /// killed. Setting the sandbox up may take as long once more.
    pub deadline: Duration,
}

/// All that is needed to run one program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub environment: Environment,
    pub call: Call,
}

/// A directory of the cgroup file system in which each sandbox gets a directory of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cgroup {
    pub directory: PathBuf,
    /// What is written into which of its files, before a process is in it.
    pub settings: Vec<(String, String)>,
    /// Counters that tell that a limit was met: the file, the word that the count stands behind, and the limit.
    pub alarms: Vec<Alarm>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Alarm {
    pub file: String,
    pub key: String,
    pub limit: Limit,
}

/// Limits that the launcher holds a sandbox to by looking at it again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Watch {
    /// Bytes of memory of all its processes, their page tables included, and of its tmpfs that are [`Step::Scratch`].
    pub memory: Option<u64>,
    /// Bytes of memory that each socket counts for, if the sandbox has a network namespace: the most that its buffers
    /// can hold, since nobody can see what they do hold.
    pub socket: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Whether nobody refuses a sandbox more processes than that, so that it is ended when it has them.
    pub ends_forks: bool,
    /// Processors; which ones, differs from sandbox to sandbox.
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
    /// Without it a program that is the launcher's own user can kill the launcher, unless Landlock is `scoped`.
    Pid,
    Network,
    Ipc,
    Uts,
    Cgroup,
}

/// The program's user and group inside the sandbox, and what they are outside.
///
/// Where `host_uid` and `host_gid` are the launcher's own, the user namespace holds this one user, as it must for
/// an ordinary user's launcher; there is no root inside, and what a step makes without `owned` is the program's all
/// the same. Otherwise the launcher is root, and root is mapped too, so that steps reach what root alone can read.
/// Without a user namespace the program is `host_uid`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// The user outside. When the server runs as root this is an unprivileged user, else the server's own.
    pub host_uid: u32,
    pub host_gid: u32,
}

/// One thing that is done to the sandbox before the program starts. Paths are absolute and as the program will see
/// them, symbolic links included, except for the sources of binds, which are the host's. Directories that are missing
/// on the way to a path are made, with mode 0755, and are the sandbox's user's if the step is `owned`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Step {
    /// Mounts a tmpfs of at most `size` bytes and `inodes` files, owned by the sandbox's user if `owned`.
    /// At `/` it begins a new root, into which all further steps go.
    Tmpfs {
        target: PathBuf,
        size: u64,
        inodes: u64,
        mode: u32,
        owned: bool,
    },
    /// Mounts one tmpfs whose directories appear in several places, so that together they hold no more than `size`
    /// bytes and `inodes` files.
    Scratch {
        size: u64,
        inodes: u64,
        directories: Vec<Directory>,
    },
    /// Shows `source` of the host at `target`, read-only, without set-uid programs and device files.
    /// The source may be named after PivotRoot as well: it is taken before.
    Bind {
        source: PathBuf,
        target: PathBuf,
    },
    /// Mounts the proc file system of the sandbox's pid namespace.
    Proc {
        target: PathBuf,
    },
    /// Hides files and directories of a proc file system, and makes others read-only. What this kernel does not have
    /// is passed over.
    Mask {
        hidden: Vec<PathBuf>,
        read_only: Vec<PathBuf>,
    },
    /// Writes a setting of the kernel that belongs to one of the sandbox's namespaces (`user/max_user_namespaces`), by
    /// its path below /proc/sys.
    Setting {
        name: String,
        value: String,
    },
    /// A device file of the host (`/dev/null`, …) at the same path.
    Device {
        path: PathBuf,
    },
    /// A directory. One that is there already gets the mode, and the owner if `owned`.
    Directory {
        path: PathBuf,
        mode: u32,
        owned: bool,
    },
    Symlink {
        path: PathBuf,
        target: PathBuf,
    },
    /// A new file; one that is there already is a failure.
    File {
        path: PathBuf,
        #[serde(with = "bytes")]
        content: Vec<u8>,
        mode: u32,
        owned: bool,
    },
    /// Makes what is mounted at `target` read-only from here on; what is mounted below it stays as it is.
    ReadOnly {
        target: PathBuf,
    },
    /// Makes the tree that was built so far the root, and lets go of the host's.
    PivotRoot,
    Hostname {
        name: String,
    },
    /// Brings up the loopback interface of the sandbox's network namespace.
    Loopback,
    /// Leads addresses to the loopback interface, which is up, and opens sockets there for the server: the listeners in
    /// their order, then the resolver's, then a raw one that sees the first packet of each TCP connection. They go to
    /// the server with [`Report::Opened`], and nobody else has them.
    Gateway {
        routes: Vec<Route>,
        /// Addresses of TCP.
        listeners: Vec<SocketAddrV4>,
        /// An address of UDP.
        resolver: SocketAddrV4,
    },
    /// Sets a limit, soft and hard, or the hard limit that stands already where that is lower.
    Limit {
        resource: Resource,
        value: u64,
    },
    /// Gives up all capabilities, of the bounding set too, and becomes the identity's user.
    DropPrivileges,
    NoNewPrivileges,
    /// Confines file access by Landlock: what is not named is not reachable. What is below `read` can be read and
    /// executed. `scoped` also shuts abstract unix sockets and signals to the outside where the kernel can.
    Landlock {
        read: Vec<PathBuf>,
        write: Vec<PathBuf>,
        scoped: bool,
        /// Otherwise a kernel without Landlock is put up with.
        required: bool,
    },
    /// Installs a seccomp filter, given as the bytes of its `struct sock_filter` array.
    Seccomp {
        #[serde(with = "bytes")]
        program: Vec<u8>,
    },
}

/// Addresses that a network namespace takes for its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    pub network: Ipv4Addr,
    pub prefix: u8,
}

impl Route {
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.network.to_bits() ^ address.to_bits()).leading_zeros() >= self.prefix.into()
    }
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
    /// Processes and threads of the user. In a user namespace these are the sandbox's, of which the launcher's pid 1
    /// is one; without it they are all of `host_uid` on the machine.
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
    /// The program is looked up along `PATH` of `variables` when it holds no slash.
    pub arguments: Vec<String>,
    pub variables: Vec<(String, String)>,
    pub directory: PathBuf,
}

/// A program that can be started before there is a call for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ahead {
    pub program: Program,
    /// Variables that it gets then, besides or instead of its own. They tell it to look at nothing that is the call's, and
    /// to print nothing, before its standard input has come to an end.
    pub variables: Vec<(String, String)>,
}

impl Program {
    /// Where it is to put temporary files.
    pub fn temporary_directory(&self) -> &Path {
        let variable = self.variables.iter().find(|(name, _)| name == "TMPDIR");
        variable.map_or(Path::new("/tmp"), |(_, value)| Path::new(value))
    }
}

/// A program that runs beside the call's own, behind the same walls, from before its start until its end. It has the
/// program's variables and working directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// What messages call it.
    pub name: String,
    /// Looked up as a program's arguments are.
    pub command: Vec<String>,
    pub ready: Readiness,
    /// How long it may take to get ready.
    pub deadline: Duration,
    /// Files that it logs to, by their absolute paths. Their last lines are shown if it does not start.
    pub logs: Vec<PathBuf>,
    /// Words of which a line of these files has one if it tells of an error. Such lines are shown after the program's
    /// end.
    pub errors: Vec<String>,
}

/// How it is known that a service is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Readiness {
    /// Its command has come to its end, with success: it leaves a daemon behind.
    Returned,
    /// A TCP port of the loopback interface accepts connections.
    Port { port: u16 },
    /// A file is there, by its absolute path.
    File { path: PathBuf },
}

/// What the launcher tells the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// Calls can be handed over.
    Ready,
    /// The sockets of a [`Step::Gateway`] come with this, ahead of the start. A sandbox without one does not say this.
    Opened,
    /// The program was started ahead of the call. Its output and its errors come by the two pipes with this, and not by
    /// what came with the call.
    Ahead,
    /// Every step was applied, and the program, or a service before it, is about to start.
    Started,
    /// The program ended; nothing of the sandbox is left.
    Ended { ending: Ending, usage: Usage },
    /// What was found where no program was to be run; nothing of the sandbox is left.
    Found(Inside),
    /// The sandbox could not be made or the program not be started, and nothing of it is left.
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
    /// A service did not get ready, which the program's standard error tells of. The program was not started.
    Unready,
    /// The deadline passed and everything was killed.
    TimedOut,
    /// A limit was met, which ended the program or made everything be killed.
    OverLimit {
        limit: Limit,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time of all processes, user and system, from the making of the sandbox on.
    pub cpu: Duration,
    /// Largest resident set of one process, in bytes. Large files in the plan count once, since pid 1 wrote them.
    pub peak_memory: u64,
}

/// What a process in a sandbox finds around itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    /// The text of /proc/self/status.
    pub status: String,
    /// Each of the process's namespaces, by the name and number that the kernel gives it (`net:[4026531840]`).
    pub namespaces: Vec<String>,
    /// Which of the things that a wall stops were tried and done all the same, by the wall's name.
    pub breaches: Vec<String>,
    /// The version of Landlock that this kernel speaks; None where it speaks none.
    pub landlock: Option<u32>,
}

/// A step, or the start of the program, that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was tried, as a phrase that names its path: `bind /nix/store/… at /nix/store/…`.
    pub operation: String,
    pub errno: i32,
}
