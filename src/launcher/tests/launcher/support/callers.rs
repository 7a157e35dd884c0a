//! Who starts the launcher in a test, and how.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fmt};

use sandbox_plan::Identity;

/// Who starts the launcher.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TestCaller {
    pub uid: u32,
    pub gid: u32,
    /// Not who runs the tests: the launcher's process has to become this user.
    becomes: bool,
    pub mode: LaunchMode,
}

/// How a sandbox comes to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LaunchMode {
    /// A launcher makes this one sandbox.
    Once,
    /// A manager is handed a call.
    Served,
}

impl fmt::Display for TestCaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}, {:?}", self.uid, self.mode)
    }
}

/// Who root becomes, in sandboxes and as an ordinary user.
const NOBODY: u32 = 65534;

/// Runs a test's body as everybody that this process can be.
pub fn as_everybody(body: impl Fn(TestCaller)) {
    let status = fs::read_to_string("/proc/self/status").expect("read /proc/self/status");
    let id = |key: &str| -> u32 {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("status has uids");
        line.split_whitespace().nth(1).and_then(|id| id.parse().ok()).expect("ids are numbers")
    };
    for mode in [LaunchMode::Once, LaunchMode::Served] {
        let me = TestCaller { uid: id("Uid:"), gid: id("Gid:"), becomes: false, mode };
        eprintln!("as {me}");
        body(me);
        if me.uid == 0 {
            let nobody = TestCaller { uid: NOBODY, gid: NOBODY, becomes: true, mode };
            eprintln!("as {nobody}");
            body(nobody);
        }
    }
}

/// Does the same for sandboxes without a pid namespace, which can't be served.
pub fn as_everybody_once(body: impl Fn(TestCaller)) {
    as_everybody(|caller| {
        if caller.mode == LaunchMode::Once {
            body(caller);
        }
    });
}

/// Does the same for what only a manager does.
pub fn as_everybody_served(body: impl Fn(TestCaller)) {
    as_everybody(|caller| {
        if caller.mode == LaunchMode::Served {
            body(caller);
        }
    });
}

impl TestCaller {
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Returns whether the kernel takes a sandbox's user for the machine's root, as for a builder of Nix under any
    /// number: no limit of processes is set for that one, and what is root's in /proc is its own.
    pub fn is_root_to_the_kernel(&self) -> bool {
        let map = fs::read_to_string("/proc/self/uid_map").expect("read /proc/self/uid_map");
        let numbers: Vec<&str> = map.split_whitespace().collect();
        !self.is_root() && numbers[1..] == ["0", "1"]
    }

    /// Returns the program's user: 1000 inside; outside it is nobody if root starts the launcher, otherwise the caller.
    pub fn identity(&self) -> Identity {
        let (host_uid, host_gid) = if self.is_root() { (NOBODY, NOBODY) } else { (self.uid, self.gid) };
        Identity { uid: 1000, gid: 100, host_uid, host_gid }
    }

    /// Returns the command that starts the launcher as this caller. It is run by its descriptor, so that the user need
    /// not be able to reach its directory.
    pub fn command(&self) -> Command {
        let mut command = Command::new(format!("/proc/self/fd/{}", launcher().as_raw_fd()));
        self.become_caller(command.env_clear());
        command
    }

    pub fn become_caller(&self, command: &mut Command) {
        if self.becomes {
            command.uid(self.uid).gid(self.gid);
        }
    }
}

/// Returns the launcher's binary, open in this process and all that it starts.
fn launcher() -> &'static OwnedFd {
    static LAUNCHER: OnceLock<OwnedFd> = OnceLock::new();
    LAUNCHER.get_or_init(|| {
        let path = env::var_os("SANDBOX_LAUNCHER_BIN").unwrap_or(env!("CARGO_BIN_EXE_sandbox-launcher").into());
        let file = File::open(path).expect("open the launcher");
        // SAFETY: no pointer is followed, and nobody else owns the new descriptor. Unlike try_clone, dup makes one
        // that stays open when a program is executed.
        unsafe { OwnedFd::from_raw_fd(libc::dup(file.as_raw_fd())) }
    })
}
