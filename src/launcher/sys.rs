//! Every system call that Rust's standard library does not offer. All `unsafe` of the launcher is in this file.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::time::Duration;

use libc::{c_int, c_long, c_uint, c_ulong};

pub fn c_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(result: c_long) -> io::Result<OwnedFd> {
    let fd = check(result)? as RawFd;
    // SAFETY: the kernel has just returned this descriptor to us, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A new process: in the parent its pid and pidfd, in the child nothing.
pub fn clone_process(namespaces: u64) -> io::Result<Option<(i32, OwnedFd)>> {
    // SAFETY: an all-zero clone_args is valid: every field is an integer, and 0 means "not asked for".
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    let mut pidfd: c_int = -1;
    arguments.flags = namespaces | libc::CLONE_PIDFD as u64;
    arguments.pidfd = &raw mut pidfd as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM this is a fork: the child gets its own copy of the memory, and this process has one
    // thread, so no lock can be held by a thread that the child lacks.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) })?;
    if pid == 0 { Ok(None) } else { Ok(Some((pid as i32, owned(pidfd.into())?))) }
}

pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for the two descriptors.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    Ok((owned(ends[0].into())?, owned(ends[1].into())?))
}

/// Waits until one of the descriptors can be read or is hung up; tells which. None: the time is over.
pub fn wait_readable<const N: usize>(fds: [Option<RawFd>; N], timeout: Option<Duration>) -> io::Result<Option<[bool; N]>> {
    let mut polled = fds.map(|fd| libc::pollfd { fd: fd.unwrap_or(-1), events: libc::POLLIN, revents: 0 });
    // Rounded up, so that the deadline has passed when the time is over.
    let milliseconds = timeout.map_or(-1, |time| c_int::try_from(time.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX));
    // SAFETY: the pointer and the count describe `polled`.
    match check(unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, milliseconds) }.into()) {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(polled.map(|fd| fd.revents != 0))),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Some([false; N])),
        Err(error) => Err(error),
    }
}

/// One read; None where nothing is there to read.
pub fn read(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length describe `buffer`.
    Ok(check(unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) } as c_long)? as usize)
}

pub fn write_all(fd: RawFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: the pointer and the length describe `bytes`.
        match check(unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) } as c_long) {
            Ok(count) => bytes = &bytes[count as usize..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub fn kill_by_pidfd(pidfd: &OwnedFd) {
    // SAFETY: no pointer is followed. An error means that the process is gone already.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), libc::SIGKILL, null::<u8>(), 0) };
}

pub fn kill(pid: i32) {
    // SAFETY: no pointer is followed. An error means that the process is gone already.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

pub fn own_pid() -> i32 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::getpid() }
}

/// A child that ended: its pid, wait status and the resources that it and its own children took.
pub struct Reaped {
    pub pid: i32,
    pub status: c_int,
    pub cpu: Duration,
    pub peak_memory: u64,
}

/// Waits for a child (-1: any). None: there is no child, or none has ended and `block` is false.
pub fn reap(pid: i32, block: bool) -> io::Result<Option<Reaped>> {
    let mut status = 0;
    // SAFETY: an all-zero rusage is valid: every field is an integer.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live variables of the right type.
        match check(unsafe { libc::wait4(pid, &mut status, if block { 0 } else { libc::WNOHANG }, &mut usage) }.into()) {
            Ok(0) => return Ok(None),
            Ok(pid) => {
                let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
                return Ok(Some(Reaped {
                    pid: pid as i32,
                    status,
                    cpu: time(usage.ru_utime) + time(usage.ru_stime),
                    peak_memory: usage.ru_maxrss as u64 * 1024,
                }));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

pub fn prctl(option: c_int, argument: c_ulong) -> io::Result<()> {
    // SAFETY: the options used here take integers only.
    check(unsafe { libc::prctl(option, argument, 0, 0, 0) }.into()).map(drop)
}

pub fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: c_ulong, data: &CStr) -> io::Result<()> {
    // SAFETY: all pointers are to NUL-terminated strings that live for the call.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) }.into()).map(drop)
}

pub fn unmount_detached(target: &CStr) -> io::Result<()> {
    // SAFETY: the pointer is to a NUL-terminated string.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) }.into()).map(drop)
}

pub fn pivot_root(new: &CStr, old: &CStr) -> io::Result<()> {
    // SAFETY: both pointers are to NUL-terminated strings.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, new.as_ptr(), old.as_ptr()) }).map(drop)
}

/// A copy of the mount tree at `path`, not attached anywhere yet.
pub fn open_tree(path: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_RECURSIVE as c_uint;
    // SAFETY: the pointer is to a NUL-terminated string.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// `struct mount_attr` of the kernel.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Sets attributes on a detached mount and all below it.
pub fn set_mount_attributes(mount: &OwnedFd, set: u64) -> io::Result<()> {
    let attributes = MountAttributes { set, clear: 0, propagation: 0, user_namespace: 0 };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the pointers are to a NUL-terminated string and to a mount_attr whose size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of_val(&attributes),
        )
    })
    .map(drop)
}

/// Attaches a detached mount at `target`.
pub fn move_mount(mount: &OwnedFd, target: &CStr) -> io::Result<()> {
    const FROM_EMPTY_PATH: c_uint = 0x4;
    // SAFETY: both pointers are to NUL-terminated strings.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            FROM_EMPTY_PATH,
        )
    })
    .map(drop)
}

pub fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `name`.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}

/// Brings the loopback interface of this network namespace up.
pub fn loopback_up() -> io::Result<()> {
    // SAFETY: no pointer is followed.
    let socket = owned(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into())?;
    // SAFETY: an all-zero ifreq is valid: a name of NULs and a union of integers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, and this is one.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) }.into()).map(drop)
}

pub fn set_limit(resource: c_uint, value: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: value, rlim_max: value };
    // SAFETY: the pointer is to a live rlimit; the old limit is not asked for.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, null_mut::<u8>()) }).map(drop)
}

pub fn hard_limit(resource: c_uint) -> io::Result<u64> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit; no new limit is given.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, null::<u8>(), &raw mut limit) })?;
    Ok(limit.rlim_max)
}

/// Gives up all supplementary groups. Without the right to do so there is nothing to be done.
pub fn clear_groups() -> io::Result<()> {
    // SAFETY: a count of 0 makes the kernel follow no pointer.
    check(unsafe { libc::syscall(libc::SYS_setgroups, 0, null::<u32>()) }).map(drop)
}

/// Becomes a user and a group, for good.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // The system calls as such: there is one thread, and the C library's wrappers would look for more.
    // SAFETY: no pointer is followed.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: no pointer is followed.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// Empties the effective, permitted and inheritable capability sets.
pub fn clear_capabilities() -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let sets = [0u32; 6];
    // SAFETY: the header is a version and a pid, and version 3 reads two times three 32-bit sets.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) }).map(drop)
}

/// `struct landlock_ruleset_attr` of the kernel.
#[repr(C)]
pub struct LandlockRuleset {
    pub handled_files: u64,
    pub handled_network: u64,
    pub scoped: u64,
}

/// The newest version of Landlock that the kernel speaks.
pub fn landlock_version() -> io::Result<u32> {
    const VERSION: c_uint = 1;
    // SAFETY: with the version flag the pointer must be null and the size 0.
    Ok(check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, null::<u8>(), 0, VERSION) })? as u32)
}

pub fn landlock_ruleset(attributes: &LandlockRuleset, size: usize) -> io::Result<OwnedFd> {
    assert!(size <= size_of::<LandlockRuleset>());
    // SAFETY: the pointer is to at least `size` bytes.
    owned(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const *attributes, size, 0) })
}

pub fn landlock_allow(ruleset: &OwnedFd, access: u64, beneath: RawFd) -> io::Result<()> {
    #[repr(C, packed)]
    struct PathBeneath {
        access: u64,
        parent: i32,
    }
    const PATH_BENEATH: c_int = 1;
    let rule = PathBeneath { access, parent: beneath };
    // SAFETY: the pointer is to a landlock_path_beneath_attr, which is packed.
    check(unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), PATH_BENEATH, &raw const rule, 0) })
        .map(drop)
}

pub fn landlock_restrict(ruleset: &OwnedFd) -> io::Result<()> {
    // SAFETY: no pointer is followed.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) }).map(drop)
}

/// Installs a seccomp filter: an array of `struct sock_filter`, as bytes.
pub fn install_seccomp(program: &[u8]) -> io::Result<()> {
    let instructions: Vec<libc::sock_filter> = program
        .chunks_exact(8)
        .map(|bytes| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    if instructions.len() * 8 != program.len() || instructions.len() > u16::MAX as usize {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let filter = libc::sock_fprog { len: instructions.len() as u16, filter: instructions.as_ptr().cast_mut() };
    // SAFETY: the pointer is to a sock_fprog that describes `instructions`; the kernel only reads it.
    check(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter, 0, 0) }.into()).map(drop)
}

/// Duplicates `from` onto `to`, to be kept over an exec.
pub fn duplicate_onto(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: no pointer is followed; the callers replace only standard streams, which nothing here owns.
    check(unsafe { libc::dup2(from, to) }.into()).map(drop)
}

/// Marks every descriptor from 3 on to be closed by the next exec.
pub fn close_on_exec_from_3() -> io::Result<()> {
    // SAFETY: no pointer is followed.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

pub fn new_session() -> io::Result<()> {
    // SAFETY: it takes nothing.
    check(unsafe { libc::setsid() }.into()).map(drop)
}

/// All signals at their default and none blocked, as a program expects to find them.
pub fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is no function of ours. Numbers that can't be set are refused, which is no loss.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: an all-zero sigset_t is the empty set on Linux, and the old set is not asked for.
    unsafe {
        let empty: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, &empty, null_mut());
    }
}

/// Becomes another program. It returns only the error.
pub fn exec(program: &CStr, arguments: &[CString], variables: &[CString]) -> io::Error {
    let list = |strings: &[CString]| strings.iter().map(|text| text.as_ptr()).chain([null()]).collect::<Vec<_>>();
    let (arguments, variables) = (list(arguments), list(variables));
    // SAFETY: both lists end with a null pointer and hold pointers to NUL-terminated strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), variables.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends this process at once.
pub fn exit(code: c_int) -> ! {
    // SAFETY: it takes an integer and does not return.
    unsafe { libc::_exit(code) }
}
