//! What a program is refused that has no namespaces around it, besides what every program is.
//!
//! The filter stands for some of the namespaces: it is the wall around the network, and it keeps the program from the
//! queues, limits and files of others that Landlock does not guard.

use libc::{c_int, c_long};

use crate::call::definition::Network;
use sandbox_plan::landlock::Landlock;
use sandbox_plan::seccomp::{Bounds, Condition, RefusedSyscall, is, is_not, masked, stricter_filter};

/// What a filter depends on.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    pub bounds: Bounds,
    pub network: Network,
    /// The filter guards what this version of Landlock does not.
    pub landlock: Option<Landlock>,
    /// Whether the program's user is the server's own, whose files lie around.
    pub own_user: bool,
}

impl Filter {
    pub const STRICTEST: Self = Self {
        bounds: Bounds { memory: false, processors: false },
        network: Network::None,
        landlock: None,
        own_user: true,
    };
}

/// As Landlock answers.
const DENIED: c_int = libc::EACCES;

/// System V's and POSIX's queues, semaphores and shared memory, which all processes of a user share.
const SHARED: &[c_long] = &[
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_msgctl,
    libc::SYS_msgget,
    libc::SYS_msgrcv,
    libc::SYS_msgsnd,
    libc::SYS_semctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_shmget,
];

/// What Landlock lets a user do to all files that are that user's: change owners and attributes, and watch what becomes
/// of them. Through an open file it stays allowed, since that was opened past Landlock; and so do times, which tell
/// nobody anything, and which every program that copies or unpacks files sets.
const METADATA: &[c_long] = &[
    libc::SYS_fchownat,
    libc::SYS_inotify_add_watch,
    libc::SYS_lremovexattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_setxattr,
    SETXATTRAT,
    REMOVEXATTRAT,
    FILE_SETATTR,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
];

// The libc crate has not got them, or not for every architecture; a number is the same on all since Linux 5.1.
const FCHMODAT2: c_long = 452;
const SETXATTRAT: c_long = 463;
const REMOVEXATTRAT: c_long = 466;
const FILE_SETATTR: c_long = 469;

/// The calls that set a mode, with the place of that argument. Modes are left open by Landlock too.
const MODES: &[(c_long, u8)] = &[
    (libc::SYS_fchmodat, 2),
    (FCHMODAT2, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, 1),
];
/// The modes that can be set: they open no file to others and close none to its owner. With a umask of 077, they are
/// what linkers and `chmod +x` ask for.
const HARMLESS: [c_int; 2] = [0o600, 0o700];

/// The calls that open a file, with the place of the flags.
const OPENING: &[(c_long, u8)] = &[
    (libc::SYS_openat, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 1),
];

/// The filter, as the launcher takes it. It must be the last wall.
pub fn filter(filter: Filter) -> Vec<u8> {
    let mut more = Vec::new();
    let mut refuse = |call, cases: Vec<Vec<Condition>>| more.push(RefusedSyscall { call, errno: DENIED, cases });
    SHARED.iter().for_each(|call| refuse(*call, Vec::new()));
    // The limits of another process, which may be any of the same user.
    refuse(libc::SYS_prlimit64, vec![vec![is_not(0, 0)]]);
    refuse(libc::SYS_socketpair, pairs());
    refuse(libc::SYS_socket, sockets(filter.network));
    if filter.own_user {
        METADATA.iter().for_each(|call| refuse(*call, Vec::new()));
        MODES.iter().for_each(|(call, mode)| refuse(*call, vec![HARMLESS.map(|other| is_not(*mode, other)).into()]));
    }
    if !filter.landlock.is_some_and(Landlock::guards_content) {
        let emptied = (libc::O_TRUNC | libc::O_ACCMODE, libc::O_TRUNC | libc::O_RDONLY);
        OPENING.iter().for_each(|(call, flags)| refuse(*call, vec![vec![masked(*flags, emptied.0, emptied.1)]]));
        refuse(libc::SYS_truncate, Vec::new());
        // Its flags lie in memory, where a filter can't look.
        refuse(libc::SYS_openat2, Vec::new());
    }
    if !filter.landlock.is_some_and(Landlock::guards_signals) {
        // A filter can't tell whose process it is; this much it can: no signal to all.
        refuse(libc::SYS_kill, vec![vec![is(0, -1)]]);
    }
    stricter_filter(filter.bounds, more)
}

/// A connected pair is fine, but for datagrams, whose other end can be changed.
fn pairs() -> Vec<Vec<Condition>> {
    const TYPE: c_int = 0xf;
    let of_type = |kind| vec![masked(1, TYPE, kind)];
    vec![vec![is_not(0, libc::AF_UNIX)], of_type(libc::SOCK_DGRAM), of_type(libc::SOCK_RAW)]
}

/// Sockets of the family UNIX reach services of the host, such as Docker and D-Bus, which would carry out anything, and
/// Landlock does not guard them. Of the others, only a network namespace could be left for some hosts and ports alone.
fn sockets(network: Network) -> Vec<Vec<Condition>> {
    match network {
        Network::None | Network::Allow(_) => Vec::new(),
        Network::Bridge => vec![vec![is(0, libc::AF_UNIX)]],
    }
}
