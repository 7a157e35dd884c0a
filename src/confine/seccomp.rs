//! The seccomp filter of a program that has no namespaces around it, as tables.
//!
//! What is not named is allowed. Without namespaces the filter stands for some of them: it is the wall around the
//! network, and it keeps the program from the queues, limits and files of others that Landlock does not guard.

use std::collections::BTreeMap;

use libc::*;
use sandbox_launcher::Step;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, sock_filter,
};

use crate::sandbox::Network;
use crate::walls::Landlock;

/// What a filter depends on.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    pub network: Network,
    /// The filter guards what this version of Landlock does not.
    pub landlock: Option<Landlock>,
    /// Whether the program's user is the server's own, whose files lie around.
    pub own_user: bool,
}

impl Filter {
    pub const STRICTEST: Self = Self { network: Network::None, landlock: None, own_user: true };
}

/// Interfaces to the kernel that no program of a sandbox has a use for, and that have been ways out.
const KERNEL: &[c_long] = &[
    SYS_acct,
    SYS_add_key,
    SYS_adjtimex,
    SYS_bpf,
    SYS_chroot,
    SYS_clock_adjtime,
    SYS_clock_settime,
    SYS_delete_module,
    SYS_fanotify_init,
    SYS_finit_module,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fsopen,
    SYS_fspick,
    SYS_init_module,
    SYS_kcmp,
    SYS_kexec_file_load,
    SYS_kexec_load,
    SYS_keyctl,
    SYS_lookup_dcookie,
    SYS_mount,
    SYS_mount_setattr,
    SYS_move_mount,
    SYS_nfsservctl,
    SYS_open_by_handle_at,
    SYS_open_tree,
    SYS_perf_event_open,
    SYS_pidfd_getfd,
    SYS_pivot_root,
    SYS_process_madvise,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_ptrace,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_reboot,
    SYS_request_key,
    SYS_setdomainname,
    SYS_sethostname,
    SYS_setns,
    SYS_settimeofday,
    SYS_swapoff,
    SYS_swapon,
    SYS_syslog,
    SYS_umount2,
    SYS_userfaultfd,
    SYS_vhangup,
    SYS_vmsplice,
    OPEN_TREE_ATTR,
    #[cfg(target_arch = "x86_64")]
    SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    SYS_ustat,
];

/// Said not to exist, so that libraries use what came before: their arguments lie in memory, where no filter looks.
const UNKNOWN: &[c_long] =
    &[SYS_clone3, SYS_io_uring_enter, SYS_io_uring_register, SYS_io_uring_setup, STATMOUNT, LISTMOUNT];

/// System V's and POSIX's queues, semaphores and shared memory, which all processes of a user share.
const SHARED: &[c_long] = &[
    SYS_mq_open,
    SYS_mq_unlink,
    SYS_msgctl,
    SYS_msgget,
    SYS_msgrcv,
    SYS_msgsnd,
    SYS_semctl,
    SYS_semget,
    SYS_semop,
    SYS_semtimedop,
    SYS_shmat,
    SYS_shmctl,
    SYS_shmget,
];

/// What Landlock lets a user do to all files that are that user's: change owners and attributes, and watch what becomes
/// of them. Through an open file it stays allowed, since that was opened past Landlock; and so do times, which tell
/// nobody anything, and which every program that copies or unpacks files sets.
const METADATA: &[c_long] = &[
    SYS_fchownat,
    SYS_inotify_add_watch,
    SYS_lremovexattr,
    SYS_lsetxattr,
    SYS_removexattr,
    SYS_setxattr,
    SETXATTRAT,
    REMOVEXATTRAT,
    FILE_SETATTR,
    #[cfg(target_arch = "x86_64")]
    SYS_chown,
    #[cfg(target_arch = "x86_64")]
    SYS_lchown,
];

/// Modes are left open by Landlock too. Only these can be set, which open no file to others and close none to its
/// owner; with a umask of 077, they are what linkers and `chmod +x` ask for.
const MODES: &[Row] = &[
    (SYS_fchmodat, &[IsNot(2, 0o600), IsNot(2, 0o700)]),
    (SYS_fchmodat2, &[IsNot(2, 0o600), IsNot(2, 0o700)]),
    #[cfg(target_arch = "x86_64")]
    (SYS_chmod, &[IsNot(1, 0o600), IsNot(1, 0o700)]),
];

// These are younger than the libc crate; a number is the same on all architectures since Linux 5.1.
const STATMOUNT: c_long = 457;
const LISTMOUNT: c_long = 458;
const SETXATTRAT: c_long = 463;
const REMOVEXATTRAT: c_long = 466;
const OPEN_TREE_ATTR: c_long = 467;
const FILE_SETATTR: c_long = 469;

/// A condition on an argument, by its place. Only its low 32 bits count, as they do for the kernel.
#[derive(Clone, Copy)]
enum Test {
    Is(u8, c_int),
    IsNot(u8, c_int),
    /// Under a mask it is this.
    Masked(u8, c_int, c_int),
}
use Test::{Is, IsNot, Masked};

/// Denied if all of the tests hold; a call that stands in several rows, if those of any row do.
type Row = (c_long, &'static [Test]);

const SOCKET_KIND: c_int = 0xf;

/// Denied in every filter, with these arguments.
const ALWAYS: &[Row] = &[
    (SYS_clone, &[Masked(0, CLONE_NEWCGROUP, CLONE_NEWCGROUP)]),
    (SYS_clone, &[Masked(0, CLONE_NEWIPC, CLONE_NEWIPC)]),
    (SYS_clone, &[Masked(0, CLONE_NEWNET, CLONE_NEWNET)]),
    (SYS_clone, &[Masked(0, CLONE_NEWNS, CLONE_NEWNS)]),
    (SYS_clone, &[Masked(0, CLONE_NEWPID, CLONE_NEWPID)]),
    (SYS_clone, &[Masked(0, CLONE_NEWUSER, CLONE_NEWUSER)]),
    (SYS_clone, &[Masked(0, CLONE_NEWUTS, CLONE_NEWUTS)]),
    (SYS_unshare, &[Masked(0, CLONE_NEWCGROUP, CLONE_NEWCGROUP)]),
    (SYS_unshare, &[Masked(0, CLONE_NEWIPC, CLONE_NEWIPC)]),
    (SYS_unshare, &[Masked(0, CLONE_NEWNET, CLONE_NEWNET)]),
    (SYS_unshare, &[Masked(0, CLONE_NEWNS, CLONE_NEWNS)]),
    (SYS_unshare, &[Masked(0, CLONE_NEWPID, CLONE_NEWPID)]),
    (SYS_unshare, &[Masked(0, CLONE_NEWTIME, CLONE_NEWTIME)]),
    (SYS_unshare, &[Masked(0, CLONE_NEWUSER, CLONE_NEWUSER)]),
    (SYS_unshare, &[Masked(0, CLONE_NEWUTS, CLONE_NEWUTS)]),
    // Typing for others into their terminal.
    (SYS_ioctl, &[Is(1, TIOCSTI as c_int)]),
    (SYS_ioctl, &[Is(1, TIOCLINUX as c_int)]),
    // Asking for the personality is fine.
    (SYS_personality, &[IsNot(0, 0), IsNot(0, -1)]),
    // The limits of another process, which may be any of the same user.
    (SYS_prlimit64, &[IsNot(0, 0)]),
    // A connected pair is fine, but for datagrams, whose other end can be changed.
    (SYS_socketpair, &[IsNot(0, AF_UNIX)]),
    (SYS_socketpair, &[Masked(1, SOCKET_KIND, SOCK_DGRAM)]),
    (SYS_socketpair, &[Masked(1, SOCKET_KIND, SOCK_RAW)]),
];

/// Without a network there are no sockets at all: those of the family UNIX reach services of the host, such as Docker
/// and D-Bus, which would carry out anything, and Landlock does not guard them.
const WITHOUT_NETWORK: &[Row] = &[(SYS_socket, &[])];

const WITH_NETWORK: &[Row] = &[
    (SYS_socket, &[IsNot(0, AF_INET), IsNot(0, AF_INET6), IsNot(0, AF_NETLINK)]),
    (SYS_socket, &[Is(0, AF_NETLINK), IsNot(2, NETLINK_ROUTE)]),
];

/// Before its third version, Landlock does not keep files from being emptied.
const WITHOUT_GUARD_OF_CONTENT: &[Row] = &[
    (SYS_truncate, &[]),
    (SYS_openat2, &[]),
    (SYS_openat, &[Masked(2, O_TRUNC | O_ACCMODE, O_TRUNC | O_RDONLY)]),
    #[cfg(target_arch = "x86_64")]
    (SYS_open, &[Masked(1, O_TRUNC | O_ACCMODE, O_TRUNC | O_RDONLY)]),
];

/// Before its sixth version, Landlock does not keep signals inside. This much a filter can do: no signal to all.
const WITHOUT_GUARD_OF_SIGNALS: &[Row] = &[(SYS_kill, &[Is(0, -1)])];

/// The steps that install the filter. It must be the last wall.
pub fn filter(filter: Filter) -> Result<Vec<Step>, BackendError> {
    let without_tests = |calls: &[c_long]| calls.iter().map(|call| (*call, &[][..])).collect::<Vec<Row>>();
    let mut denied = without_tests(&[KERNEL, SHARED].concat());
    denied.extend(ALWAYS);
    if filter.own_user {
        denied.extend(without_tests(METADATA));
        denied.extend(MODES);
    }
    denied.extend(match filter.network {
        // Only a network namespace could be left for some hosts and ports alone.
        Network::None | Network::Allow(_) => WITHOUT_NETWORK,
        Network::Bridge => WITH_NETWORK,
    });
    if !filter.landlock.is_some_and(Landlock::guards_content) {
        denied.extend(WITHOUT_GUARD_OF_CONTENT);
    }
    if !filter.landlock.is_some_and(Landlock::guards_signals) {
        denied.extend(WITHOUT_GUARD_OF_SIGNALS);
    }
    let programs = [compiled(&denied, EPERM)?, compiled(&without_tests(UNKNOWN), ENOSYS)?];
    Ok(programs.map(|program| Step::Seccomp { program: bytes(&program) }).into())
}

fn compiled(rows: &[Row], errno: c_int) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (call, tests) in rows {
        let of_call = rules.entry(*call).or_default();
        // A call without a rule is denied whatever its arguments are.
        if !tests.is_empty() {
            let conditions: Result<_, _> = tests.iter().map(|test| condition(*test)).collect();
            of_call.push(SeccompRule::new(conditions?)?);
        }
    }
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32), architecture)?;
    Ok([x32_is_unknown(), filter.try_into()?].concat())
}

fn condition(test: Test) -> Result<SeccompCondition, BackendError> {
    let low = |value: c_int| u64::from(value as u32);
    let (argument, operator, value) = match test {
        Is(argument, value) => (argument, SeccompCmpOp::Eq, low(value)),
        IsNot(argument, value) => (argument, SeccompCmpOp::Ne, low(value)),
        Masked(argument, mask, value) => (argument, SeccompCmpOp::MaskedEq(low(mask)), low(value)),
    };
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

/// On x86_64 each call has a second number with this bit, of which the tables know nothing.
#[cfg(target_arch = "x86_64")]
fn x32_is_unknown() -> BpfProgram {
    const X32: u32 = 0x4000_0000;
    const NUMBER_IN_SECCOMP_DATA: u32 = 0;
    let instruction = |code: u32, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    vec![
        instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, NUMBER_IN_SECCOMP_DATA),
        instruction(BPF_JMP | BPF_JSET | BPF_K, 0, 1, X32),
        instruction(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS as u32),
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn x32_is_unknown() -> BpfProgram {
    Vec::new()
}

/// As the launcher takes it.
fn bytes(program: &[sock_filter]) -> Vec<u8> {
    let instruction = |filter: &sock_filter| {
        let [c0, c1] = filter.code.to_ne_bytes();
        let [k0, k1, k2, k3] = filter.k.to_ne_bytes();
        [c0, c1, filter.jt, filter.jf, k0, k1, k2, k3]
    };
    program.iter().flat_map(instruction).collect()
}
