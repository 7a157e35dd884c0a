//! The filter on this kernel: each test's calls are made by a thread that the filter confines.

use std::io;
use std::thread;

use super::*;

const BOUNDED: Bounds = Bounds { memory: true, processors: true };
const UNBOUNDED: Bounds = Bounds { memory: false, processors: false };

/// Returns the errno of a system call with these arguments, and zeros for the others; 0 if it succeeds.
fn call(number: libc::c_long, arguments: &[i64]) -> i32 {
    let mut all = [0i64; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    let [a, b, c, d, e, f] = all;
    // SAFETY: no test passes an address, so that the kernel follows none but null, which it refuses.
    if unsafe { libc::syscall(number, a, b, c, d, e, f) } == -1 {
        io::Error::last_os_error().raw_os_error().expect("the kernel's own error")
    } else {
        0
    }
}

fn confined<T: Send>(bounds: Bounds, body: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let confined = scope.spawn(|| {
            seccompiler::apply_filter(&program(table(bounds))).expect("install the filter");
            body()
        });
        confined.join().expect("the thread lives")
    })
}

#[test]
fn calls_of_the_table_are_refused_with_their_errors() {
    let always = || ALWAYS.iter().chain(ALWAYS_HERE);
    let answers = confined(BOUNDED, || always().map(|(number, _)| call(*number, &[])).collect::<Vec<_>>());
    for ((number, errno), answer) in always().zip(answers) {
        assert_eq!(answer, *errno, "system call {number}");
    }
}

#[test]
fn ordinary_calls_are_allowed() {
    confined(UNBOUNDED, || {
        assert_eq!(call(libc::SYS_getpid, &[]), 0);
        assert_eq!(call(libc::SYS_openat, &[-1, 0]), libc::EFAULT);
        assert_eq!(call(libc::SYS_ioctl, &[-1, 0x5401]), libc::EBADF);
        let private = i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        assert_eq!(call(libc::SYS_mmap, &[0, 4096, 0, private, -1]), 0);
        assert_eq!(call(libc::SYS_mmap, &[0, 4096, 0, libc::MAP_SHARED.into(), -1]), libc::EBADF);
        thread::scope(|scope| scope.spawn(|| ()).join().expect("a thread is started"));
    });
}

#[test]
fn new_namespaces_are_refused_one_by_one_and_together() {
    confined(BOUNDED, || {
        for flag in NEW_NAMESPACES {
            assert_eq!(call(libc::SYS_unshare, &[flag.into()]), libc::EPERM, "{flag:x}");
            assert_eq!(call(libc::SYS_clone, &[i64::from(flag | libc::SIGCHLD)]), libc::EPERM, "{flag:x}");
            assert_eq!(call(libc::SYS_unshare, &[i64::from(flag | libc::CLONE_FS)]), libc::EPERM, "{flag:x}");
        }
        assert_eq!(call(libc::SYS_unshare, &[CLONE_NEWTIME.into()]), libc::EPERM);
        assert_eq!(call(libc::SYS_unshare, &[libc::CLONE_FS.into()]), 0);
    });
}

#[test]
fn high_bits_of_an_argument_do_not_evade_the_filter() {
    const HIGH: i64 = 1 << 32;
    confined(BOUNDED, || {
        assert_eq!(call(libc::SYS_ioctl, &[-1, HIGH | 0x5412]), libc::EPERM);
        assert_eq!(call(libc::SYS_ioctl, &[-1, HIGH | 0x541c]), libc::EPERM);
        assert_eq!(
            call(libc::SYS_socket, &[HIGH | i64::from(libc::AF_ALG), libc::SOCK_SEQPACKET.into()]),
            libc::EAFNOSUPPORT
        );
        assert_eq!(call(libc::SYS_unshare, &[HIGH | i64::from(libc::CLONE_NEWUSER)]), libc::EPERM);
    });
}

#[test]
fn socket_families_other_than_common_ones_are_refused() {
    confined(BOUNDED, || {
        for family in 0..48 {
            let expected = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK].contains(&family);
            let answer = call(libc::SYS_socket, &[family.into(), libc::SOCK_DGRAM.into()]);
            assert_eq!(answer != libc::EAFNOSUPPORT, expected, "family {family}: {answer}");
        }
        let datagram = i64::from(libc::SOCK_DGRAM | libc::SOCK_CLOEXEC);
        assert_eq!(call(libc::SYS_socket, &[libc::AF_NETLINK.into(), libc::SOCK_RAW.into(), 0]), 0);
        for protocol in 1..32 {
            let answer = call(libc::SYS_socket, &[libc::AF_NETLINK.into(), datagram, protocol]);
            assert_eq!(answer, libc::EPROTONOSUPPORT, "netlink {protocol}");
        }
        for family in [libc::AF_INET, libc::AF_INET6] {
            for raw in [libc::SOCK_RAW, libc::SOCK_RAW | libc::SOCK_NONBLOCK] {
                assert_eq!(
                    call(libc::SYS_socket, &[family.into(), raw.into(), libc::IPPROTO_ICMP.into()]),
                    libc::EPERM
                );
            }
            let sctp = [family.into(), libc::SOCK_STREAM.into(), libc::IPPROTO_SCTP.into()];
            assert_eq!(call(libc::SYS_socket, &sctp), libc::EPROTONOSUPPORT);
        }
        // Ping's own; whether the user may have it, the kernel decides.
        let ping = call(libc::SYS_socket, &[libc::AF_INET.into(), datagram, libc::IPPROTO_ICMP.into()]);
        assert!([0, libc::EACCES].contains(&ping), "{ping}");
    });
}

#[test]
fn personality_can_be_read_and_not_changed() {
    confined(BOUNDED, || {
        assert_eq!(call(libc::SYS_personality, &[0xffff_ffff]), 0);
        assert_eq!(call(libc::SYS_personality, &[0]), 0);
        assert_eq!(call(libc::SYS_personality, &[0x0040_0000]), libc::EPERM);
    });
}

#[test]
fn limits_of_the_first_process_cannot_be_set() {
    confined(BOUNDED, || {
        assert_eq!(call(libc::SYS_prlimit64, &[1, 0]), libc::EPERM);
        assert_eq!(call(libc::SYS_prlimit64, &[1 + (1 << 32), 0]), libc::EPERM);
        for own in [0, std::process::id().into()] {
            assert_eq!(call(libc::SYS_prlimit64, &[own, 0]), 0);
        }
    });
}

#[test]
fn unlimited_memory_of_no_process_is_refused() {
    let shared = i64::from(libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    let shared = [0, 4096, 0, shared, -1];
    confined(UNBOUNDED, || {
        for number in UNCHARGED {
            assert_eq!(call(*number, &[]), libc::ENOSYS, "{number}");
        }
        assert_eq!(call(libc::SYS_mmap, &shared), libc::EPERM);
    });
    confined(BOUNDED, || {
        assert_eq!(call(libc::SYS_memfd_create, &[]), libc::EFAULT);
        assert_eq!(call(libc::SYS_mmap, &shared), 0);
    });
}

#[test]
fn unlimited_socket_buffers_cannot_be_enlarged() {
    let wish = |socket: i32, option| {
        let size: libc::c_int = 65536;
        // SAFETY: the value is an int that outlives the call, of the length that is given.
        let answer = unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, option, (&raw const size).cast(), 4) };
        if answer == -1 { io::Error::last_os_error().raw_os_error() } else { Some(0) }
    };
    let size = |socket: i32, option| {
        let (mut size, mut length): (libc::c_int, libc::socklen_t) = (0, 4);
        // SAFETY: the value is an int that outlives the call, of the length that is given.
        let answer =
            unsafe { libc::getsockopt(socket, libc::SOL_SOCKET, option, (&raw mut size).cast(), &raw mut length) };
        assert_eq!(answer, 0);
        size
    };
    let sizes_change = |bounds| {
        confined(bounds, || {
            let (socket, _other) = std::os::unix::net::UnixDatagram::pair().expect("make a socket pair");
            let socket = std::os::fd::AsRawFd::as_raw_fd(&socket);
            [libc::SO_SNDBUF, libc::SO_RCVBUF].map(|option| {
                let before = size(socket, option);
                assert_eq!(wish(socket, option), Some(0), "programs take an error for the end");
                size(socket, option) != before
            })
        })
    };
    assert_eq!(sizes_change(UNBOUNDED), [false, false]);
    assert_eq!(sizes_change(BOUNDED), [true, true]);
    let others = confined(UNBOUNDED, || {
        let option = |level: i32, option: i32| call(libc::SYS_setsockopt, &[-1, level.into(), option.into()]);
        assert_eq!(option(libc::SOL_SOCKET, libc::SO_REUSEADDR), libc::EBADF);
        assert_eq!(option(libc::IPPROTO_TCP, libc::SO_SNDBUF), libc::EBADF);
        [libc::SO_SNDBUFFORCE, libc::SO_RCVBUFFORCE].map(|number| option(libc::SOL_SOCKET, number))
    });
    assert_eq!(others, [libc::EPERM, libc::EPERM]);
}

#[test]
fn unlimited_processor_time_keeps_the_affinity() {
    assert_eq!(confined(UNBOUNDED, || call(libc::SYS_sched_setaffinity, &[])), libc::EPERM);
    assert_ne!(confined(BOUNDED, || call(libc::SYS_sched_setaffinity, &[0, 0, 0])), libc::EPERM);
    assert_ne!(confined(UNBOUNDED, || call(libc::SYS_sched_getaffinity, &[0, 0, 0])), libc::EPERM);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn calls_of_x32_are_refused_as_missing() {
    const X32: libc::c_long = 0x4000_0000;
    confined(BOUNDED, || {
        for number in [libc::SYS_getpid, libc::SYS_ptrace, 512, 547] {
            assert_eq!(call(X32 | number, &[]), libc::ENOSYS, "{number}");
        }
    });
}

#[test]
fn number_search_takes_few_instructions() {
    let (number, architecture) = (0, 4);
    let steps = |call: u32| {
        let program = program(table(UNBOUNDED));
        let (mut accumulator, mut at, mut steps) = (0, 0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            (at, steps) = (at + 1, steps + 1);
            match u32::from(code) {
                // The field is one of two as long as only numbers are looked at.
                code if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                    accumulator = match k {
                        k if k == number => call,
                        k if k == architecture => numbers::AUDIT_ARCH,
                        _ => return (None, steps),
                    }
                }
                code if code == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => {
                    at += usize::from(if accumulator == k { jt } else { jf });
                }
                code if code == libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K => {
                    at += usize::from(if accumulator >= k { jt } else { jf });
                }
                code if code == libc::BPF_JMP | libc::BPF_JA => at += k as usize,
                code if code == libc::BPF_RET | libc::BPF_K => return (Some(k), steps),
                code => panic!("instruction {code:#x}"),
            }
        }
    };
    let allowed = Some(libc::SECCOMP_RET_ALLOW);
    for call in 0..1024 {
        let expected = table(UNBOUNDED).into_iter().find(|refusal| refusal.call == libc::c_long::from(call));
        let (answer, steps) = steps(call);
        match expected {
            None => assert!(answer == allowed && steps < 16, "{call}: {answer:?} in {steps} steps"),
            Some(RefusedSyscall { errno, cases, .. }) if cases.is_empty() => {
                assert_eq!(answer, Some(libc::SECCOMP_RET_ERRNO | errno as u32), "{call}");
            }
            Some(_) => assert_eq!(answer, None, "{call}"),
        }
    }
}
