//! This process, and others.

use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int, c_uint, c_ulong};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr::{null, null_mut};
use std::slice;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::time::Duration;

use super::{check, done, owned};

static ARGUMENTS: AtomicPtr<*mut c_char> = AtomicPtr::new(null_mut());
static ARGUMENT_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Begins the process, as the first thing that `main` does.
///
/// # Safety
///
/// `arguments` is the array of `count` strings that C hands `main`, and no other thread runs.
pub unsafe fn start(count: c_int, arguments: *mut *mut c_char) {
    ARGUMENTS.store(arguments, Ordering::Relaxed);
    ARGUMENT_COUNT.store(usize::try_from(count).unwrap_or(0), Ordering::Relaxed);
    crate::launch();
}

/// This process's arguments, of which the first is its own name.
pub fn arguments() -> impl Iterator<Item = OsString> {
    let arguments = ARGUMENTS.load(Ordering::Relaxed);
    (0..ARGUMENT_COUNT.load(Ordering::Relaxed)).map(move |index| {
        // SAFETY: C hands `main` an array of that many pointers to NUL-terminated strings, never freed.
        let argument = unsafe { CStr::from_ptr(*arguments.add(index)) };
        OsStr::from_bytes(argument.to_bytes()).to_owned()
    })
}

/// Overwrites this process's arguments, which everybody can read in its /proc/…/cmdline.
pub fn erase_arguments() {
    let arguments = ARGUMENTS.load(Ordering::Relaxed);
    for index in 0..ARGUMENT_COUNT.load(Ordering::Relaxed) {
        // SAFETY: C hands `main` an array of that many pointers to NUL-terminated strings, writable and never freed.
        // Nothing else in this single-threaded process reads them.
        unsafe {
            let argument = *arguments.add(index);
            let length = CStr::from_ptr(argument).count_bytes();
            slice::from_raw_parts_mut(argument.cast::<u8>(), length).fill(0);
        }
    }
}

/// Takes hold of a standard stream that the process was started with. To be called once for each.
pub fn inherited(fd: RawFd) -> OwnedFd {
    // SAFETY: the descriptor was handed to this process at its start, and the caller is its only user.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Makes a standard stream another name of what `from` is, without the close-on-exec flag.
pub fn replace_stream(from: RawFd, stream: RawFd) -> io::Result<()> {
    assert!((0..=2).contains(&stream));
    // SAFETY: no pointer is followed, and standard streams stay open under the same number for whoever holds them.
    done(unsafe { libc::dup3(from, stream, 0) }.into())
}

/// Closes all descriptors from 3 on but `kept`. Objects that own one of the closed must not be used any more.
pub fn close_others(kept: Option<BorrowedFd>) -> io::Result<()> {
    let close = |first: c_uint, last: c_uint| {
        // SAFETY: no pointer is followed. The two callers do this first thing in a process, and do not come back to
        // the frames whose objects owned what is closed here.
        if first > last { Ok(()) } else { done(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }) }
    };
    match kept.map(|fd| fd.as_raw_fd() as c_uint) {
        Some(kept) => close(3, kept - 1).and_then(|()| close(kept + 1, c_uint::MAX)),
        None => close(3, c_uint::MAX),
    }
}

pub fn prctl(option: c_int, argument: c_ulong) -> io::Result<()> {
    // SAFETY: the options that are used here take integers only.
    done(unsafe { libc::prctl(option, argument, 0, 0, 0) }.into())
}

pub fn has_no_new_privileges() -> io::Result<bool> {
    // SAFETY: it takes nothing.
    Ok(check(unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) }.into())? == 1)
}

/// Names this process in listings.
pub fn set_name(name: &CStr) -> io::Result<()> {
    // SAFETY: the pointer is to a NUL-terminated string.
    done(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) }.into())
}

/// Leaves the terminal's session, so that its signals go to the server alone.
pub fn new_session() -> io::Result<()> {
    // SAFETY: it takes nothing.
    done(unsafe { libc::setsid() }.into())
}

/// Brings the few signals that matter here to a known state, whatever the parent made of them.
pub fn settle_signals() {
    // SAFETY: neither disposition is a function of ours; an all-zero sigset_t is the empty set, and the old set is
    // not asked for.
    unsafe {
        // A parent that ignores SIGCHLD would make children vanish unseen.
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        // The server may be gone when it is written to.
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        // A write beyond the limit on file sizes is an error then, which is reported.
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        let none: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, &none, null_mut());
    }
}

/// Brings all signals to their defaults, for a program that is to be executed.
pub fn default_signals() {
    const SIGNALS: c_int = 64;
    // The kernel's sigaction: handler, flags, restorer and mask, of which the default needs none.
    let default = [0u64; 4];
    for signal in 1..=SIGNALS {
        // The system call, since the C library refuses two signals that it takes for its own.
        // SAFETY: the pointer is to at least as many bytes as the kernel reads, and they name no function. The kernel
        // refuses the two signals that can't be changed.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), null::<u8>(), 8usize) };
    }
}

/// Moves this process into new namespaces of its own.
pub fn unshare(namespaces: c_int) -> io::Result<()> {
    // SAFETY: it takes an integer; this process has one thread, so that nobody else is affected.
    done(unsafe { libc::unshare(namespaces) }.into())
}

/// The processors that this process may run on.
pub fn processors() -> io::Result<Vec<usize>> {
    // SAFETY: an all-zero cpu_set_t is valid: a bit mask.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer and the size describe `set`.
    done(unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) }.into())?;
    // SAFETY: the numbers are below the size of the set.
    Ok((0..libc::CPU_SETSIZE as usize).filter(|index| unsafe { libc::CPU_ISSET(*index, &set) }).collect())
}

/// Keeps this process, and all that come from it, on these processors.
pub fn run_on(processors: impl IntoIterator<Item = usize>) -> io::Result<()> {
    // SAFETY: an all-zero cpu_set_t is valid: a bit mask.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for index in processors.into_iter().filter(|index| *index < libc::CPU_SETSIZE as usize) {
        // SAFETY: the number is below the size of the set.
        unsafe { libc::CPU_SET(index, &mut set) };
    }
    // SAFETY: the pointer and the size describe `set`.
    done(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) }.into())
}

pub fn set_umask(mask: u32) {
    // SAFETY: it takes an integer and cannot fail.
    unsafe { libc::umask(mask) };
}

/// The user and group that this process acts as.
pub fn own_identity() -> (u32, u32) {
    // SAFETY: they take nothing and cannot fail.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

pub fn own_pid() -> i32 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::getpid() }
}

/// The parent's pid; 0 if it is outside of this process's pid namespace.
pub fn parent_pid() -> i32 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::getppid() }
}

/// Ends this process at once, without running destructors.
pub fn exit(code: c_int) -> ! {
    // SAFETY: it takes an integer and does not return.
    unsafe { libc::_exit(code) }
}

// ---- Other processes ----

/// A copy of this process in new namespaces: in the parent its pid and pidfd, in the copy nothing.
pub fn clone_process(namespaces: c_int) -> io::Result<Option<(i32, OwnedFd)>> {
    // The elder clone, since containers answer clone3 with ENOSYS: filters can't look into its arguments.
    let flags = namespaces | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: c_int = -1;
    // SAFETY: without CLONE_VM this is a fork: the copy gets its own memory, and as this process has one thread no
    // lock can be held by a thread that the copy lacks. A null stack means the current one. The third argument is
    // where CLONE_PIDFD puts the descriptor; the order of the last two differs by architecture, but both are null.
    let pid = check(unsafe {
        libc::syscall(libc::SYS_clone, flags, null::<u8>(), &raw mut pidfd, null::<u8>(), null::<u8>())
    })?;
    if pid == 0 { Ok(None) } else { Ok(Some((pid as i32, owned(pidfd.into())?))) }
}

pub fn open_pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointer is followed. The descriptor is close-on-exec by definition.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// Sends a signal to exactly this process. An error means that it is gone already.
pub fn send_signal(pidfd: BorrowedFd, signal: c_int) {
    // SAFETY: a null siginfo asks for the one that kill(2) would send.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, null::<u8>(), 0) };
}

/// A child that ended: its pid, wait status and the resources that it and its own children took.
pub struct Reaped {
    pub pid: i32,
    pub status: c_int,
    pub cpu: Duration,
    pub peak_memory: u64,
}

/// Waits for a child (-1: any). None: none has ended yet, and `block` is false.
pub fn reap(pid: i32, block: bool) -> io::Result<Option<Reaped>> {
    let flags = libc::__WALL | if block { 0 } else { libc::WNOHANG };
    let mut status = 0;
    // SAFETY: an all-zero rusage is valid: every field is an integer.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live variables of the right type.
        match check(unsafe { libc::wait4(pid, &mut status, flags, &mut usage) }.into()) {
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

/// Becomes another program, with fds 0 to 2 as they are. Returns only the error.
pub fn execute(program: &CStr, arguments: &[CString], variables: &[CString]) -> io::Error {
    let list = |strings: &[CString]| -> Vec<*const c_char> {
        strings.iter().map(|text| text.as_ptr()).chain([null()]).collect()
    };
    let (arguments, variables) = (list(arguments), list(variables));
    // SAFETY: both lists end with a null pointer and hold pointers to NUL-terminated strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), variables.as_ptr()) };
    io::Error::last_os_error()
}

/// Whether this process may execute the file.
pub fn executable(path: &CStr) -> io::Result<()> {
    // SAFETY: the pointer is to a NUL-terminated string.
    done(unsafe { libc::access(path.as_ptr(), libc::X_OK) }.into())
}
