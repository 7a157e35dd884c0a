//! The system calls that a program is refused, as a table, and the filter that refuses them.
//!
//! Everything is allowed except what the table names: programs use many system calls, and fail in strange ways if a
//! common one is missing. The table names calls that reach kernel code which namespaces do not confine, or by which
//! programs have escaped from containers. The error is that of a kernel without the feature if there is one, so that
//! programs fall back as they do on an older kernel.
//!
//! The filter has two parts. numbers.rs assembles the first, a binary search over the numbers of system calls; change
//! it only to make the search faster. seccompiler compiles the second, for the calls whose arguments matter.

use std::collections::BTreeMap;

use numbers::{Verdict, Verdicts};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    sock_filter,
};

mod numbers;

/// Which limits control groups enforce. Without them the filter must refuse more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// All memory is limited. Otherwise memory that belongs to no process is refused.
    pub memory: bool,
    /// Processor time is limited. Otherwise a program must stay on its processors.
    pub processors: bool,
}

const NOT_PERMITTED: i32 = libc::EPERM;
/// The error of a kernel without the call.
const NOT_THERE: i32 = libc::ENOSYS;
/// The call seems to succeed, and has no effect.
const IGNORED: i32 = 0;

/// A system call that is refused, with its error.
pub struct RefusedSyscall {
    pub call: libc::c_long,
    pub errno: i32,
    /// The cases in which it is refused; always if there are none.
    pub cases: Vec<Vec<Condition>>,
}

/// A condition on one argument. In a case, all of its conditions hold.
#[derive(Clone)]
pub struct Condition {
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
}

/// Holds if an argument has this value.
pub const fn is(argument: u8, value: i32) -> Condition {
    Condition { argument, operator: SeccompCmpOp::Eq, value: value as u32 as u64 }
}

/// Holds if an argument does not have this value.
pub const fn is_not(argument: u8, value: i32) -> Condition {
    Condition { argument, operator: SeccompCmpOp::Ne, value: value as u32 as u64 }
}

/// Holds if all bits of `value` are set.
const fn has(argument: u8, value: i32) -> Condition {
    Condition { argument, operator: SeccompCmpOp::MaskedEq(value as u32 as u64), value: value as u32 as u64 }
}

/// Holds if the bits of `mask` have this value.
pub const fn masked(argument: u8, mask: i32, value: i32) -> Condition {
    Condition { argument, operator: SeccompCmpOp::MaskedEq(mask as u32 as u64), value: value as u32 as u64 }
}

/// Refused for all arguments.
const ALWAYS: &[(libc::c_long, i32)] = &[
    // Keys belong to users of the host.
    (libc::SYS_add_key, NOT_PERMITTED),
    (libc::SYS_keyctl, NOT_PERMITTED),
    (libc::SYS_request_key, NOT_PERMITTED),
    // Large interfaces with many past vulnerabilities.
    (libc::SYS_bpf, NOT_PERMITTED),
    (libc::SYS_perf_event_open, NOT_PERMITTED),
    (libc::SYS_userfaultfd, NOT_PERMITTED),
    (libc::SYS_vmsplice, NOT_PERMITTED),
    (libc::SYS_io_uring_setup, NOT_THERE),
    (libc::SYS_io_uring_enter, NOT_THERE),
    (libc::SYS_io_uring_register, NOT_THERE),
    // Access to other processes.
    (libc::SYS_ptrace, NOT_PERMITTED),
    (libc::SYS_process_vm_readv, NOT_PERMITTED),
    (libc::SYS_process_vm_writev, NOT_PERMITTED),
    (libc::SYS_process_madvise, NOT_PERMITTED),
    (libc::SYS_kcmp, NOT_PERMITTED),
    (libc::SYS_pidfd_getfd, NOT_PERMITTED),
    // Mounts, roots and namespaces.
    (libc::SYS_mount, NOT_PERMITTED),
    (libc::SYS_umount2, NOT_PERMITTED),
    (libc::SYS_mount_setattr, NOT_PERMITTED),
    (libc::SYS_open_tree, NOT_PERMITTED),
    (libc::SYS_move_mount, NOT_PERMITTED),
    (libc::SYS_fsopen, NOT_PERMITTED),
    (libc::SYS_fsconfig, NOT_PERMITTED),
    (libc::SYS_fsmount, NOT_PERMITTED),
    (libc::SYS_fspick, NOT_PERMITTED),
    (libc::SYS_pivot_root, NOT_PERMITTED),
    (libc::SYS_chroot, NOT_PERMITTED),
    (libc::SYS_setns, NOT_PERMITTED),
    (STATMOUNT, NOT_THERE),
    (LISTMOUNT, NOT_THERE),
    (OPEN_TREE_ATTR, NOT_PERMITTED),
    // Its flags are in memory, where a filter can't read them.
    (libc::SYS_clone3, NOT_THERE),
    // The kernel itself, and the machine.
    (libc::SYS_kexec_load, NOT_PERMITTED),
    (libc::SYS_init_module, NOT_PERMITTED),
    (libc::SYS_finit_module, NOT_PERMITTED),
    (libc::SYS_delete_module, NOT_PERMITTED),
    (libc::SYS_reboot, NOT_PERMITTED),
    (libc::SYS_swapon, NOT_PERMITTED),
    (libc::SYS_swapoff, NOT_PERMITTED),
    (libc::SYS_syslog, NOT_PERMITTED),
    (libc::SYS_acct, NOT_PERMITTED),
    (libc::SYS_vhangup, NOT_PERMITTED),
    (libc::SYS_settimeofday, NOT_PERMITTED),
    (libc::SYS_clock_settime, NOT_PERMITTED),
    (libc::SYS_clock_adjtime, NOT_PERMITTED),
    (libc::SYS_adjtimex, NOT_PERMITTED),
    // Access to files by other means than paths.
    (libc::SYS_open_by_handle_at, NOT_PERMITTED),
    (libc::SYS_name_to_handle_at, NOT_PERMITTED),
    (libc::SYS_fanotify_init, NOT_PERMITTED),
    (libc::SYS_quotactl, NOT_PERMITTED),
    (libc::SYS_quotactl_fd, NOT_PERMITTED),
    (libc::SYS_lookup_dcookie, NOT_PERMITTED),
    // Memory that the kernel itself can't read.
    (MEMFD_SECRET, NOT_THERE),
];

// Not in every version of the libc crate.
const MEMFD_SECRET: libc::c_long = 447;
const STATMOUNT: libc::c_long = 457;
const LISTMOUNT: libc::c_long = 458;
const OPEN_TREE_ATTR: libc::c_long = 467;

#[cfg(target_arch = "x86_64")]
const ALWAYS_HERE: &[(libc::c_long, i32)] = &[
    (libc::SYS_kexec_file_load, NOT_PERMITTED),
    (libc::SYS_iopl, NOT_PERMITTED),
    (libc::SYS_ioperm, NOT_PERMITTED),
    (libc::SYS_modify_ldt, NOT_PERMITTED),
    (libc::SYS_uselib, NOT_THERE),
    (libc::SYS_ustat, NOT_THERE),
    (libc::SYS_sysfs, NOT_THERE),
    (libc::SYS__sysctl, NOT_THERE),
    (libc::SYS_nfsservctl, NOT_THERE),
];
#[cfg(target_arch = "aarch64")]
const ALWAYS_HERE: &[(libc::c_long, i32)] =
    &[(libc::SYS_kexec_file_load, NOT_PERMITTED), (libc::SYS_nfsservctl, NOT_THERE)];

/// Memory that belongs to no process. System V's messages and semaphores are in the kernel's own memory.
const UNCHARGED: &[libc::c_long] = &[libc::SYS_memfd_create, libc::SYS_shmget, libc::SYS_msgget, libc::SYS_semget];

/// Options by which a socket can hold more than by default. The kernel silently cuts a size to its own limit, so the
/// filter ignores the request: many programs give up on an error.
const BUFFER_SIZES: &[(libc::c_int, i32)] = &[
    (libc::SO_SNDBUF, IGNORED),
    (libc::SO_RCVBUF, IGNORED),
    (libc::SO_SNDBUFFORCE, NOT_PERMITTED),
    (libc::SO_RCVBUFFORCE, NOT_PERMITTED),
];

/// The flags of clone and unshare that make namespaces. Not CLONE_NEWTIME, whose bit is part of the signal in clone.
const NEW_NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];
const CLONE_NEWTIME: i32 = 0x80;

fn table(bounds: Bounds) -> Vec<RefusedSyscall> {
    let always = |(call, errno): &(libc::c_long, i32)| RefusedSyscall { call: *call, errno: *errno, cases: Vec::new() };
    let mut table: Vec<RefusedSyscall> = ALWAYS.iter().chain(ALWAYS_HERE).map(always).collect();
    let mut refuse = |call, errno, cases| table.push(RefusedSyscall { call, errno, cases });
    let flags = |flags: &[i32]| flags.iter().map(|flag| vec![has(0, *flag)]).collect::<Vec<_>>();
    refuse(libc::SYS_clone, NOT_PERMITTED, flags(&NEW_NAMESPACES));
    refuse(libc::SYS_unshare, NOT_PERMITTED, flags(&[&NEW_NAMESPACES[..], &[CLONE_NEWTIME]].concat()));
    // Writing to a terminal's input and to the console's selection, and protocols on a terminal, which are kernel code
    // that few programs need, and that is loaded on demand.
    refuse(libc::SYS_ioctl, NOT_PERMITTED, [TIOCSTI, TIOCLINUX, TIOCSETD].map(|request| vec![is(1, request)]).into());
    // 0 is the usual personality, and -1 asks for it.
    refuse(libc::SYS_personality, NOT_PERMITTED, vec![vec![is_not(0, 0), is_not(0, -1)]]);
    // A limit on processor time would kill the first process, which may be the same user's.
    refuse(libc::SYS_prlimit64, NOT_PERMITTED, vec![vec![is(0, 1)]]);
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        refuse(call, libc::EAFNOSUPPORT, families());
        refuse(call, NOT_PERMITTED, raw_sockets());
        refuse(call, libc::EPROTONOSUPPORT, protocols());
    }
    if !bounds.memory {
        UNCHARGED.iter().for_each(|call| refuse(*call, NOT_THERE, Vec::new()));
        let shared = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        refuse(libc::SYS_mmap, NOT_PERMITTED, vec![vec![masked(3, libc::MAP_TYPE | libc::MAP_ANONYMOUS, shared)]]);
        for (option, errno) in BUFFER_SIZES {
            refuse(libc::SYS_setsockopt, *errno, vec![vec![is(1, libc::SOL_SOCKET), is(2, *option)]]);
        }
    }
    if !bounds.processors {
        refuse(libc::SYS_sched_setaffinity, NOT_PERMITTED, Vec::new());
    }
    table
}

const TIOCSTI: i32 = 0x5412;
const TIOCLINUX: i32 = 0x541c;
const TIOCSETD: i32 = 0x5423;

/// Refuses all families but four. The others are kernel code that few programs need, and that is loaded on demand.
fn families() -> Vec<Vec<Condition>> {
    vec![[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK].map(|family| is_not(0, family)).into()]
}

/// Refuses raw sockets, by which a program can forge packets.
fn raw_sockets() -> Vec<Vec<Condition>> {
    const TYPE: i32 = 0xf;
    [libc::AF_INET, libc::AF_INET6].map(|family| vec![is(0, family), masked(1, TYPE, libc::SOCK_RAW)]).into()
}

/// Allows of netlink only interfaces and routes (protocol 0), and of IP only common protocols, ping included.
fn protocols() -> Vec<Vec<Condition>> {
    let usual = [0, libc::IPPROTO_ICMP, libc::IPPROTO_TCP, libc::IPPROTO_UDP, libc::IPPROTO_ICMPV6];
    let unusual = |family| -> Vec<Condition> {
        [is(0, family)].into_iter().chain(usual.map(|protocol| is_not(2, protocol))).collect()
    };
    vec![vec![is(0, libc::AF_NETLINK), is_not(2, libc::NETLINK_ROUTE)], unusual(libc::AF_INET), unusual(libc::AF_INET6)]
}

/// Returns the filter, as an array of the kernel's `struct sock_filter`.
pub fn filter(bounds: Bounds) -> Vec<u8> {
    stricter_filter(bounds, Vec::new())
}

/// Returns a filter that refuses more than the table.
pub fn stricter_filter(bounds: Bounds, more: Vec<RefusedSyscall>) -> Vec<u8> {
    let mut refusals = table(bounds);
    refusals.extend(more);
    program(refusals).iter().flat_map(bytes).collect()
}

fn bytes(instruction: &sock_filter) -> [u8; 8] {
    let [code0, code1] = instruction.code.to_ne_bytes();
    let [k0, k1, k2, k3] = instruction.k.to_ne_bytes();
    [code0, code1, instruction.jt, instruction.jf, k0, k1, k2, k3]
}

/// Assembles the part for the numbers, followed by a part for each error that depends on arguments. seccompiler's
/// filters have one error each, and installing several filters would cost more time than one.
fn program(refusals: Vec<RefusedSyscall>) -> BpfProgram {
    let (always, sometimes): (Vec<_>, Vec<_>) = refusals.into_iter().partition(|refusal| refusal.cases.is_empty());
    let asked = sometimes.iter().map(|refusal| (refusal.call as u32, Verdict::Ask));
    // The calls that are always refused come last, and replace entries of the same number.
    let refused = always.iter().map(|refusal| (refusal.call as u32, Verdict::Refuse(refusal.errno)));
    let mut program = Verdicts::new(&asked.chain(refused).collect()).program();

    let mut by_errno: BTreeMap<i32, BTreeMap<i64, Vec<SeccompRule>>> = BTreeMap::new();
    for RefusedSyscall { call, errno, cases } in sometimes {
        by_errno.entry(errno).or_default().entry(call).or_default().extend(cases.into_iter().map(rule));
    }
    let last = by_errno.len() - 1;
    for (index, (errno, rules)) in by_errno.into_iter().enumerate() {
        let mut part = compile(rules, errno);
        if index < last {
            fall_through(&mut part);
        }
        program.extend(part);
    }
    program
}

fn rule(case: Vec<Condition>) -> SeccompRule {
    // Only the low 32 bits: all of these arguments are ints, and the kernel ignores the rest of the register.
    let condition = |Condition { argument, operator, value }| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
            .expect("an argument's number is below 6")
    };
    SeccompRule::new(case.into_iter().map(condition).collect()).expect("a case has a condition")
}

fn compile(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> BpfProgram {
    let architecture = std::env::consts::ARCH.try_into().expect("the launcher is built for no other architecture");
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32), architecture)
        .and_then(TryInto::try_into)
        .expect("the table makes a filter")
}

const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;

/// Makes a program continue behind its end instead of allowing a call.
fn fall_through(program: &mut BpfProgram) {
    let length = program.len();
    for (index, instruction) in program.iter_mut().enumerate() {
        if instruction.code == RETURN && instruction.k == libc::SECCOMP_RET_ALLOW {
            *instruction = sock_filter { code: JUMP, jt: 0, jf: 0, k: (length - index - 1) as u32 };
        }
    }
}

#[cfg(test)]
mod tests;
