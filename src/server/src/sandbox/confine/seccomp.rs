//! The seccomp filter of programs without namespaces. It extends the filter of all sandboxes.
//!
//! The filter replaces some of the namespaces: it blocks the network, and the message queues, resource limits and files
//! of other programs that Landlock does not guard.

use libc::{c_int, c_long};

use crate::call::definition::Network;
use sandbox_plan::landlock::Landlock;
use sandbox_plan::seccomp::{Bounds, Condition, RefusedSyscall, is, is_not, masked, stricter_filter};

/// The settings of a filter.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    /// The resources that control groups limit.
    pub bounds: Bounds,
    pub network: Network,
    /// The version of Landlock that is applied too. The filter blocks what this version does not guard. `None` if
    /// Landlock is not applied.
    pub landlock: Option<Landlock>,
    /// Whether the program runs as the server's user, and could access the files of that user.
    pub own_user: bool,
}

impl Filter {
    /// The filter that blocks the most.
    pub const STRICTEST: Self = Self {
        bounds: Bounds { memory: false, processors: false },
        network: Network::None,
        landlock: None,
        own_user: true,
    };
}

/// The error of refused system calls. It is the same as Landlock's.
const DENIED: c_int = libc::EACCES;

/// The message queues, semaphores and shared memory of System V and POSIX, which all processes of a user share.
const IPC_CALLS: &[c_long] = &[
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

/// System calls that Landlock permits on all files of the user: changes of owners and attributes, and watches. The
/// variants on open files stay allowed, because Landlock checked when these were opened. Changes of times stay allowed
/// too: they reveal nothing, and every program that copies or unpacks files makes them.
const METADATA_CALLS: &[c_long] = &[
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

// The libc crate lacks these numbers on some architectures. Since Linux 5.1, new numbers are the same on all of them.
const FCHMODAT2: c_long = 452;
const SETXATTRAT: c_long = 463;
const REMOVEXATTRAT: c_long = 466;
const FILE_SETATTR: c_long = 469;

/// System calls that set a mode, with the index of that argument. Landlock does not guard modes either.
const MODE_CALLS: &[(c_long, u8)] = &[
    (libc::SYS_fchmodat, 2),
    (FCHMODAT2, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, 1),
];
/// The modes that may be set. They give other users no access, and do not take the owner's away. With a umask of 077,
/// linkers and `chmod +x` use them.
const HARMLESS_MODES: [c_int; 2] = [0o600, 0o700];

/// System calls that open a file, with the index of the flags.
const OPEN_CALLS: &[(c_long, u8)] = &[
    (libc::SYS_openat, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 1),
];

/// Compiles a filter for the launcher. It must be the last of the walls.
pub fn filter(filter: Filter) -> Vec<u8> {
    let mut more = Vec::new();
    let mut refuse = |call, cases: Vec<Vec<Condition>>| more.push(RefusedSyscall { call, errno: DENIED, cases });
    IPC_CALLS.iter().for_each(|call| refuse(*call, Vec::new()));
    // prlimit64 with a pid changes the limits of another process of the same user.
    refuse(libc::SYS_prlimit64, vec![vec![is_not(0, 0)]]);
    refuse(libc::SYS_socketpair, pairs());
    refuse(libc::SYS_socket, sockets(filter.network));
    if filter.own_user {
        METADATA_CALLS.iter().for_each(|call| refuse(*call, Vec::new()));
        MODE_CALLS
            .iter()
            .for_each(|(call, mode)| refuse(*call, vec![HARMLESS_MODES.map(|other| is_not(*mode, other)).into()]));
    }
    if !filter.landlock.is_some_and(Landlock::guards_content) {
        let emptied = (libc::O_TRUNC | libc::O_ACCMODE, libc::O_TRUNC | libc::O_RDONLY);
        OPEN_CALLS.iter().for_each(|(call, flags)| refuse(*call, vec![vec![masked(*flags, emptied.0, emptied.1)]]));
        refuse(libc::SYS_truncate, Vec::new());
        // The flags of openat2 are in memory, which a filter cannot read.
        refuse(libc::SYS_openat2, Vec::new());
    }
    if !filter.landlock.is_some_and(Landlock::guards_signals) {
        // A filter cannot tell whose process a pid is, but it can refuse signals to all processes.
        refuse(libc::SYS_kill, vec![vec![is(0, -1)]]);
    }
    stricter_filter(filter.bounds, more)
}

/// Returns the refused cases of `socketpair`. Stream pairs are harmless. A datagram socket could be connected to
/// another peer later.
fn pairs() -> Vec<Vec<Condition>> {
    const TYPE: c_int = 0xf;
    let of_type = |kind| vec![masked(1, TYPE, kind)];
    vec![vec![is_not(0, libc::AF_UNIX)], of_type(libc::SOCK_DGRAM), of_type(libc::SOCK_RAW)]
}

/// Returns the refused cases of `socket`; an empty list refuses all. UNIX sockets reach services of the host, such as
/// Docker and D-Bus, that can run arbitrary commands, and Landlock does not guard them. An allow-list of hosts and
/// ports needs a network namespace, so such a sandbox gets no sockets here.
fn sockets(network: Network) -> Vec<Vec<Condition>> {
    match network {
        Network::None | Network::Allow(_) => Vec::new(),
        Network::Bridge => vec![vec![is(0, libc::AF_UNIX)]],
    }
}
