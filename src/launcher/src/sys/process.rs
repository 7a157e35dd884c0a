//! This process, and others.

use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int, c_uint};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr::{null, null_mut};
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::fs::{Access, Mode};
use rustix::process::{DumpableBehavior, Pid, PidfdFlags};
use rustix::thread::{CpuSet, UnshareFlags};

use sandbox_plan::Ending;

pub use rustix::process::{Resource, Signal};

use super::{check, done, owned};

static ARGUMENTS: AtomicPtr<*mut c_char> = AtomicPtr::new(null_mut());
static ARGUMENT_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Set by [`start`], whose caller promises what other functions of this module depend on.
static STARTED: AtomicBool = AtomicBool::new(false);
/// Set when standard input has got its one owner.
static INPUT_TAKEN: AtomicBool = AtomicBool::new(false);

/// Starts the launcher, as the first thing that `main` does.
///
/// # Safety
///
/// - `arguments` is the array of `count` strings that C passes to `main`.
/// - No other thread runs, and this crate starts none: [`clone_process`] and [`unshare`] depend on it.
/// - Nobody else owns a standard stream or a descriptor that this process was started with: [`take_input`] and
///   [`close_others`] depend on it.
pub unsafe fn start(count: c_int, arguments: *mut *mut c_char) {
    ARGUMENTS.store(arguments, Ordering::Relaxed);
    ARGUMENT_COUNT.store(usize::try_from(count).unwrap_or(0), Ordering::Relaxed);
    STARTED.store(true, Ordering::Relaxed);
    crate::launch();
}

/// Checks that this process is a launcher.
fn assert_started() {
    assert!(STARTED.load(Ordering::Relaxed), "only a process that was begun by `start` may do this");
}

/// Returns this process's arguments, of which the first is its own name.
pub fn arguments() -> impl Iterator<Item = OsString> {
    let arguments = ARGUMENTS.load(Ordering::Relaxed);
    (0..ARGUMENT_COUNT.load(Ordering::Relaxed)).map(move |index| {
        // SAFETY: C passes `main` an array of that many pointers to NUL-terminated strings, never freed.
        let argument = unsafe { CStr::from_ptr(*arguments.add(index)) };
        OsStr::from_bytes(argument.to_bytes()).to_owned()
    })
}

/// Overwrites this process's arguments, which everybody can read in its /proc/…/cmdline.
pub fn erase_arguments() {
    let arguments = ARGUMENTS.load(Ordering::Relaxed);
    for index in 0..ARGUMENT_COUNT.load(Ordering::Relaxed) {
        // SAFETY: C passes `main` an array of that many pointers to NUL-terminated strings, writable and never freed.
        // Nothing else in this single-threaded process reads them.
        unsafe {
            let argument = *arguments.add(index);
            let length = CStr::from_ptr(argument).count_bytes();
            slice::from_raw_parts_mut(argument.cast::<u8>(), length).fill(0);
        }
    }
}

/// Takes ownership of standard input.
///
/// # Panics
///
/// If it was taken before, in this process or in the one that this is a copy of.
pub fn take_input() -> OwnedFd {
    assert_started();
    assert!(!INPUT_TAKEN.swap(true, Ordering::Relaxed), "standard input has an owner already");
    // SAFETY: nobody owned the descriptor when this process started, and the flag keeps a second owner away.
    unsafe { OwnedFd::from_raw_fd(0) }
}

/// A stream that programs expect to be open.
#[derive(Clone, Copy)]
pub enum StandardStream {
    Input,
    Output,
    Errors,
}

/// Makes a standard stream another name for an open file, without the close-on-exec flag.
pub fn replace_stream(from: impl AsFd, stream: StandardStream) -> io::Result<()> {
    Ok(match stream {
        StandardStream::Input => rustix::stdio::dup2_stdin(from),
        StandardStream::Output => rustix::stdio::dup2_stdout(from),
        StandardStream::Errors => rustix::stdio::dup2_stderr(from),
    }?)
}

/// Leads all standard streams to /dev/null and closes all other descriptors but `kept`.
///
/// To be called first thing in a copy of a process, which must not go back to frames whose objects own descriptors.
pub fn detach(null: &File, kept: BorrowedFd) -> io::Result<()> {
    for stream in [StandardStream::Input, StandardStream::Output, StandardStream::Errors] {
        replace_stream(null, stream)?;
    }
    close_others(Some(kept))
}

/// Closes all descriptors from 3 on but `kept`. Objects that own a closed descriptor must not be used again.
pub fn close_others(kept: Option<BorrowedFd>) -> io::Result<()> {
    assert_started();
    let close = |first: c_uint, last: c_uint| {
        // SAFETY: no pointer is followed. The callers do this first thing in a process, and do not go back to the
        // frames whose objects own what is closed here.
        if first > last { Ok(()) } else { done(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }) }
    };
    match kept.map(|fd| fd.as_raw_fd() as c_uint) {
        Some(kept) => close(3, kept - 1).and_then(|()| close(kept + 1, c_uint::MAX)),
        None => close(3, c_uint::MAX),
    }
}

/// Sets whether other processes of the same user may trace this process and look into its /proc directory.
pub fn set_dumpable(dumpable: bool) -> io::Result<()> {
    let behavior = if dumpable { DumpableBehavior::Dumpable } else { DumpableBehavior::NotDumpable };
    Ok(rustix::process::set_dumpable_behavior(behavior)?)
}

/// Has the kernel kill this process when its parent dies. A change of user cancels this.
pub fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Makes this process the parent of its descendants whose own parent dies.
pub fn become_subreaper() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Sets the name that this process has in listings.
pub fn set_name(name: &CStr) -> io::Result<()> {
    Ok(rustix::thread::set_name(name)?)
}

/// Begins a session, so that the terminal's signals go to the server only.
pub fn new_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Brings the few signals that matter here to a known state, whatever this process has inherited.
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

/// Resets all signals to their defaults, for a program that is about to be executed.
pub fn default_signals() {
    const SIGNALS: c_int = 64;
    // The kernel's sigaction: handler, flags, restorer and mask, of which the default needs none.
    let default = [0u64; 4];
    for signal in 1..=SIGNALS {
        // The system call, since the C library refuses two signals that it uses itself.
        // SAFETY: the pointer is to at least as many bytes as the kernel reads, and they name no function. The kernel
        // refuses the two signals that can't be changed.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), null::<u8>(), 8usize) };
    }
}

/// Moves this process into new namespaces, given as clone's flags.
pub fn unshare(namespaces: c_int) -> io::Result<()> {
    assert_started();
    let flags = UnshareFlags::from_bits_retain(namespaces.cast_unsigned());
    // SAFETY: this process has one thread, so that no other thread keeps what this one leaves.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Returns the processors that this process may run on.
pub fn processors() -> io::Result<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|index| set.is_set(*index)).collect())
}

/// Returns the processor that this process runs on just now.
pub fn current_processor() -> usize {
    rustix::thread::sched_getcpu()
}

/// Keeps this process and its descendants on these processors.
pub fn run_on(processors: impl IntoIterator<Item = usize>) -> io::Result<()> {
    let mut set = CpuSet::new();
    processors.into_iter().filter(|index| *index < CpuSet::MAX_CPU).for_each(|index| set.set(index));
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// Sets the permissions that new files do not get.
pub fn set_umask(mask: u32) {
    rustix::process::umask(Mode::from_raw_mode(mask));
}

/// Returns the user and group that this process acts as.
pub fn own_identity() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Returns this process's pid.
pub fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_pid()
}

/// Returns the parent's pid; `None` if the parent is outside of this process's pid namespace.
pub fn parent_pid() -> Option<i32> {
    rustix::process::getppid().map(Pid::as_raw_pid)
}

/// Ends this process at once, without running destructors.
pub fn exit(code: c_int) -> ! {
    // SAFETY: it takes an integer and does not return.
    unsafe { libc::_exit(code) }
}

// ---- Other processes ----

/// Makes a copy of this process, in new namespaces given as clone's flags. Returns its pid and pidfd in the parent, and
/// `None` in the copy.
///
/// # Panics
///
/// If this process was not begun by [`start`], whose caller promises that it has one thread.
pub fn clone_process(namespaces: c_int) -> io::Result<Option<(i32, OwnedFd)>> {
    assert_started();
    // The older clone, since containers answer clone3 with ENOSYS: filters can't look into its arguments.
    let flags = namespaces | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: c_int = -1;
    // SAFETY: without CLONE_VM this is a fork: the copy gets its own memory, and as this process has one thread no
    // lock can be held by a thread that the copy lacks. A null stack means the current one. The third argument is
    // where CLONE_PIDFD puts the descriptor, which is new; the order of the last two differs by architecture, but both
    // are null.
    unsafe {
        let pid =
            check(libc::syscall(libc::SYS_clone, flags, null::<u8>(), &raw mut pidfd, null::<u8>(), null::<u8>()))?;
        if pid == 0 { Ok(None) } else { Ok(Some((pid as i32, owned(pidfd.into())?))) }
    }
}

/// Opens a descriptor of a process, which stays that process's when its pid is used again.
pub fn open_pidfd(pid: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid).filter(|pid| pid.as_raw_pid() > 0).ok_or(rustix::io::Errno::INVAL)?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// Sends a signal to exactly this process, unless it has ended.
pub fn send_signal(pidfd: BorrowedFd, signal: Signal) {
    // An error means that the process has ended.
    let _ = rustix::process::pidfd_send_signal(pidfd, signal);
}

/// A child that has ended, with the resources that it and its own children used.
pub struct Reaped {
    pub pid: i32,
    /// As wait4 returns it.
    status: c_int,
    /// Processor time, user and system.
    pub cpu: Duration,
    /// Largest resident set, in bytes.
    pub peak_memory: u64,
}

impl Reaped {
    /// Returns how the child ended.
    pub fn ending(&self) -> Ending {
        if libc::WIFSIGNALED(self.status) {
            Ending::Signalled { signal: libc::WTERMSIG(self.status) }
        } else {
            Ending::Exited { code: libc::WEXITSTATUS(self.status) }
        }
    }
}

/// Reaps a child (-1: any). Returns `None` if none has ended yet and `block` is false.
pub fn reap(pid: i32, block: bool) -> io::Result<Option<Reaped>> {
    let flags = libc::__WALL | if block { 0 } else { libc::WNOHANG };
    let mut status = 0;
    // SAFETY: an all-zero rusage is valid, as every field is an integer; both pointers are to live variables of the
    // right type.
    let (result, usage) = rustix::io::retry_on_intr(|| unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        match check(libc::wait4(pid, &mut status, flags, &mut usage).into()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(rustix::io::Errno::INTR),
            result => Ok((result, usage)),
        }
    })?;
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    Ok(match result? {
        0 => None,
        pid => Some(Reaped {
            pid: pid as i32,
            status,
            cpu: time(usage.ru_utime) + time(usage.ru_stime),
            peak_memory: usage.ru_maxrss as u64 * 1024,
        }),
    })
}

/// Becomes another program, with fds 0 to 2 as they are. Returns only if that fails.
pub fn execute(program: &CStr, arguments: &[CString], variables: &[CString]) -> io::Error {
    let list = |strings: &[CString]| -> Vec<*const c_char> {
        strings.iter().map(|text| text.as_ptr()).chain([null()]).collect()
    };
    let (arguments, variables) = (list(arguments), list(variables));
    // SAFETY: both lists end with a null pointer and hold pointers to NUL-terminated strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), variables.as_ptr()) };
    io::Error::last_os_error()
}

/// Checks that this process may execute the file.
pub fn check_executable(path: &CStr) -> io::Result<()> {
    Ok(rustix::fs::access(path, Access::EXEC_OK)?)
}
