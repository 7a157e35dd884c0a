//! The plan of a sandbox, as data, and the messages between the server and its launcher.
//!
//! The server makes a [`Plan`]; the launcher, a static binary with one thread, applies its steps in order and runs
//! one program. Both ends link this library, so a plan that one end can write is a plan that the other can read.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// All that the launcher needs to know to run one program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Which namespaces are made. An empty list means none: the walls are then what the steps say alone.
    pub namespaces: Vec<Namespace>,
    /// Who the program is, inside and outside.
    pub identity: Identity,
    /// Steps that are the same for every call in this environment.
    pub view: Vec<Step>,
    /// Steps of this call alone.
    pub call: Vec<Step>,
    pub program: Program,
    /// How long the program may run by the wall clock, before everything in the sandbox is killed.
    pub deadline: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    User,
    Mount,
    Pid,
    Network,
    Ipc,
    Uts,
    Cgroup,
}

/// The program's user and group inside the sandbox, and what they are outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// The user outside. When the server runs as root this is an unprivileged user, else the server's own.
    pub host_uid: u32,
    pub host_gid: u32,
}

/// One thing that is done to the sandbox before the program starts. Paths are as the program will see them,
/// except for the sources of binds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Mounts a tmpfs of at most `size` bytes and `inodes` files, owned by the sandbox's user if `writable`.
    Tmpfs { target: PathBuf, size: u64, inodes: u64, mode: u32, owned: bool },
    /// Shows `source` of the host at `target`, read-only, without set-uid programs and device files.
    Bind { source: PathBuf, target: PathBuf },
    /// Mounts the proc file system of the sandbox's pid namespace.
    Proc { target: PathBuf },
    /// A device file of the host (`/dev/null`, …) at the same path.
    Device { path: PathBuf },
    Directory { path: PathBuf, mode: u32, owned: bool },
    Symlink { path: PathBuf, target: PathBuf },
    File { path: PathBuf, content: Vec<u8>, mode: u32, owned: bool },
    /// Makes what is mounted at `target` read-only from here on.
    ReadOnly { target: PathBuf },
    /// Makes the tree that was built so far the root, and lets go of the host's.
    PivotRoot,
    Hostname { name: String },
    /// Brings up the loopback interface of the sandbox's network namespace.
    Loopback,
    Limit { resource: Resource, value: u64 },
    /// Gives up all capabilities, of the bounding set too, and becomes the identity's user.
    DropPrivileges,
    NoNewPrivileges,
    /// Confines file access by Landlock: what is not named is not reachable. `scoped` also shuts abstract unix
    /// sockets and signals to the outside where the kernel can.
    Landlock { read: Vec<PathBuf>, write: Vec<PathBuf>, scoped: bool },
    /// Installs a seccomp filter, given as the bytes of its `struct sock_filter` array.
    Seccomp { program: Vec<u8> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resource {
    /// Bytes of private writable memory (RLIMIT_DATA).
    Data,
    Processes,
    OpenFiles,
    /// Bytes of one file (RLIMIT_FSIZE).
    FileSize,
    CoreSize,
    /// Seconds of processor time of one process.
    CpuTime,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The program is looked up along `PATH` of `variables` when it holds no slash.
    pub arguments: Vec<String>,
    pub variables: Vec<(String, String)>,
    pub directory: PathBuf,
}

/// What the launcher tells the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// Every step was applied, and the program is about to start.
    Started,
    /// The program ended; nothing of the sandbox is left.
    Ended { ending: Ending, usage: Usage },
    /// The sandbox could not be made, and nothing of it is left.
    Failed(Failure),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    Exited { code: i32 },
    Signalled { signal: i32 },
    /// The deadline passed and everything was killed.
    TimedOut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time of all processes, user and system.
    pub cpu: Duration,
    /// Largest resident set of one process, in bytes.
    pub peak_memory: u64,
}

/// A step, or the start of the program, that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was tried, as a phrase that names its path: `bind /nix/store/… at /nix/store/…`.
    pub operation: String,
    pub errno: i32,
}

/// The largest plan that is read. A plan holds the call's files.
pub const LARGEST_PLAN: usize = 256 << 20;
/// The largest report that is read.
pub const LARGEST_REPORT: usize = 1 << 20;

/// A message as it goes over the control socket: its length as a little-endian `u32`, then the message.
pub fn encode<M: Serialize>(message: &M) -> io::Result<Vec<u8>> {
    let mut frame = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
    let length = u32::try_from(frame.len() - 4).map_err(|_| io::Error::other("the message is longer than 4 GB"))?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// Takes the first whole message off the front of what was received so far.
pub fn decode<M: for<'de> Deserialize<'de>>(received: &mut Vec<u8>, largest: usize) -> io::Result<Option<M>> {
    let Some(length) = received.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes) as usize) else {
        return Ok(None);
    };
    if length > largest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes, {largest} at most")));
    }
    let Some(body) = received.get(4..4 + length) else { return Ok(None) };
    let message = postcard::from_bytes(body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    received.drain(..4 + length);
    Ok(Some(message))
}
