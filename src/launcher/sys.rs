//! Every system call that Rust's standard library does not offer. All `unsafe` of the launcher is in this file.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_uint, c_ulong};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{null, null_mut};
use std::slice;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::time::Duration;

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn done(result: c_long) -> io::Result<()> {
    check(result).map(drop)
}

fn owned(result: c_long) -> io::Result<OwnedFd> {
    let fd = check(result)? as RawFd;
    // SAFETY: the kernel has just returned this descriptor to us, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

// ---- The process itself ----

static ARGUMENTS: AtomicPtr<*mut c_char> = AtomicPtr::new(null_mut());
static ARGUMENT_COUNT: AtomicUsize = AtomicUsize::new(0);

/// What the C library calls. Rust's own start-up would install handlers and allocate stacks that are of no use here,
/// and hides where the arguments lie.
// SAFETY: the name is that of C's entry point, and the signature is the one C asks for.
#[unsafe(no_mangle)]
pub extern "C" fn main(count: c_int, arguments: *mut *mut c_char) -> c_int {
    ARGUMENTS.store(arguments, Ordering::Relaxed);
    ARGUMENT_COUNT.store(usize::try_from(count).unwrap_or(0), Ordering::Relaxed);
    crate::launch();
    0
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
        let none: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, &none, null_mut());
    }
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

/// Starts a program with default signals in a session of its own, with fds 0 to 2; tells its pid.
///
/// The C library's posix_spawn shares this process's memory with the child until the exec, which is cheaper than a
/// fork by the copying of page tables, and it gives the exec's error back.
pub fn spawn(program: &CStr, arguments: &[CString], variables: &[CString]) -> io::Result<i32> {
    let list = |strings: &[CString]| -> Vec<*mut c_char> {
        strings.iter().map(|text| text.as_ptr().cast_mut()).chain([null_mut()]).collect()
    };
    let (arguments, variables) = (list(arguments), list(variables));
    let flags =
        libc::c_int::from(libc::POSIX_SPAWN_SETSID) | libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK;
    let mut pid = 0;
    // SAFETY: the attributes are initialised before use and destroyed after it. A sigset_t is a bit mask, of which
    // every value is valid. Both lists end with a null pointer and hold pointers to NUL-terminated strings that
    // outlive the call.
    let error = unsafe {
        let mut attributes: libc::posix_spawnattr_t = std::mem::zeroed();
        let none: libc::sigset_t = std::mem::zeroed();
        // Not sigfillset, which leaves out two signals of the C library's own; it would then have them ignored.
        let mut all = none;
        (&raw mut all).write_bytes(0xff, 1);
        libc::posix_spawnattr_init(&mut attributes);
        libc::posix_spawnattr_setflags(&mut attributes, flags as libc::c_short);
        libc::posix_spawnattr_setsigmask(&mut attributes, &none);
        libc::posix_spawnattr_setsigdefault(&mut attributes, &all);
        let error =
            libc::posix_spawn(&mut pid, program.as_ptr(), null(), &attributes, arguments.as_ptr(), variables.as_ptr());
        libc::posix_spawnattr_destroy(&mut attributes);
        error
    };
    if error == 0 { Ok(pid) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Whether this process may execute the file.
pub fn executable(path: &CStr) -> io::Result<()> {
    // SAFETY: the pointer is to a NUL-terminated string.
    done(unsafe { libc::access(path.as_ptr(), libc::X_OK) }.into())
}

// ---- Waiting ----

/// What to wait for on a descriptor.
#[derive(Clone, Copy)]
pub enum Wait<'fd> {
    /// There is something to read, or nothing will ever come.
    Readable(BorrowedFd<'fd>),
    /// The other end was closed, or shut for writing.
    HungUp(BorrowedFd<'fd>),
    Nothing,
}

/// Waits for one of the events; tells which occurred. None: the time is over. Without a timeout it waits for ever.
pub fn wait<const N: usize>(events: [Wait; N], timeout: Option<Duration>) -> io::Result<Option<[bool; N]>> {
    let mut polled = events.map(|event| match event {
        Wait::Readable(fd) => libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 },
        Wait::HungUp(fd) => libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 },
        Wait::Nothing => libc::pollfd { fd: -1, events: 0, revents: 0 },
    });
    // Rounded up, so that the time is over when the kernel says so.
    let milliseconds =
        timeout.map_or(-1, |time| c_int::try_from(time.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX));
    // SAFETY: the pointer and the count describe `polled`.
    match check(unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, milliseconds) }.into()) {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(polled.map(|fd| fd.revents != 0))),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Some([false; N])),
        Err(error) => Err(error),
    }
}

// ---- Files below a directory that is taken for the root ----

/// Opens what `path` names when `root` is the root: no link and no `..` leads out of it. Nothing is read.
pub fn open_in_root(root: BorrowedFd, path: &CStr, directory: bool) -> io::Result<OwnedFd> {
    // SAFETY: an all-zero open_how is valid: every field is an integer.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC | if directory { libc::O_DIRECTORY } else { 0 }) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT;
    // SAFETY: the pointers are to a NUL-terminated string and to an open_how whose size is given.
    owned(unsafe {
        libc::syscall(libc::SYS_openat2, root.as_raw_fd(), path.as_ptr(), &raw const how, size_of_val(&how))
    })
}

pub fn make_directory(parent: BorrowedFd, name: &CStr, mode: u32) -> io::Result<()> {
    // SAFETY: the pointer is to a NUL-terminated string.
    done(unsafe { libc::mkdirat(parent.as_raw_fd(), name.as_ptr(), mode) }.into())
}

pub fn make_symlink(parent: BorrowedFd, name: &CStr, target: &CStr) -> io::Result<()> {
    // SAFETY: both pointers are to NUL-terminated strings.
    done(unsafe { libc::symlinkat(target.as_ptr(), parent.as_raw_fd(), name.as_ptr()) }.into())
}

/// Makes an empty file without opening it.
pub fn make_file(parent: BorrowedFd, name: &CStr) -> io::Result<()> {
    // SAFETY: the pointer is to a NUL-terminated string.
    done(unsafe { libc::mknodat(parent.as_raw_fd(), name.as_ptr(), libc::S_IFREG | 0o444, 0) }.into())
}

/// Makes a file and opens it for writing. What is there already, be it a dangling link, is an error.
pub fn create_file(parent: BorrowedFd, name: &CStr, mode: u32) -> io::Result<OwnedFd> {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC;
    // SAFETY: the pointer is to a NUL-terminated string.
    owned(unsafe { libc::openat(parent.as_raw_fd(), name.as_ptr(), flags, mode as c_uint) }.into())
}

/// Opens a directory that was made in `parent`; a link in its place is an error.
pub fn open_directory(parent: BorrowedFd, name: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the pointer is to a NUL-terminated string.
    owned(unsafe { libc::openat(parent.as_raw_fd(), name.as_ptr(), flags) }.into())
}

pub fn change_owner(file: BorrowedFd, uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: no pointer is followed.
    done(unsafe { libc::fchown(file.as_raw_fd(), uid, gid) }.into())
}

pub fn change_mode(file: BorrowedFd, mode: u32) -> io::Result<()> {
    // SAFETY: no pointer is followed.
    done(unsafe { libc::fchmod(file.as_raw_fd(), mode) }.into())
}

pub fn is_directory(file: BorrowedFd) -> io::Result<bool> {
    // SAFETY: an all-zero stat is valid: every field is an integer.
    let mut facts: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live stat.
    done(unsafe { libc::fstat(file.as_raw_fd(), &mut facts) }.into())?;
    Ok(facts.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

// ---- Mounts ----

// `struct mount_attr` and its flags are as old as Linux 5.12, and not in every version of the libc crate.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

pub const READ_ONLY: u64 = 0x1;
pub const NO_SET_UID: u64 = 0x2;
pub const NO_DEVICES: u64 = 0x4;
pub const NO_EXEC: u64 = 0x8;

fn change_mount(at: RawFd, path: &CStr, flags: c_int, attributes: &MountAttributes) -> io::Result<()> {
    let size = size_of_val(attributes);
    // SAFETY: the pointers are to a NUL-terminated string and to a mount_attr whose size is given.
    done(unsafe { libc::syscall(libc::SYS_mount_setattr, at, path.as_ptr(), flags, &raw const *attributes, size) })
}

/// Sets attributes of a mount, and of all below it if `recursive`.
pub fn restrict_mount(mount: BorrowedFd, set: u64, recursive: bool) -> io::Result<()> {
    let attributes = MountAttributes { set, clear: 0, propagation: 0, user_namespace: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    change_mount(mount.as_raw_fd(), c"", flags, &attributes)
}

/// Stops mounts of this namespace from showing up in others, and the other way round.
pub fn make_mounts_private() -> io::Result<()> {
    let attributes = MountAttributes { set: 0, clear: 0, propagation: libc::MS_PRIVATE, user_namespace: 0 };
    change_mount(libc::AT_FDCWD, c"/", libc::AT_RECURSIVE, &attributes)
}

/// A copy of the mounts at and below `path`, not attached anywhere yet.
pub fn copy_mount(path: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_RECURSIVE as c_uint;
    // SAFETY: the pointer is to a NUL-terminated string.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// A new file system, not attached anywhere yet.
pub fn new_mount(kind: &CStr, options: &[(&CStr, CString)], attributes: u64) -> io::Result<OwnedFd> {
    const CLOSE_ON_EXEC: c_uint = 1;
    const SET_STRING: c_uint = 1;
    const CREATE: c_uint = 6;
    // SAFETY: the pointer is to a NUL-terminated string.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), CLOSE_ON_EXEC) })?;
    let configure = |command: c_uint, key: *const c_char, value: *const c_char| {
        // SAFETY: both pointers are null or to NUL-terminated strings, as the command asks for.
        done(unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, key, value, 0) })
    };
    for (key, value) in options {
        configure(SET_STRING, key.as_ptr(), value.as_ptr())?;
    }
    configure(CREATE, null(), null())?;
    // SAFETY: no pointer is followed.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), CLOSE_ON_EXEC, attributes as c_uint) })
}

/// Attaches a mount at `name` in `parent`, without following a link there.
pub fn attach_mount(mount: BorrowedFd, parent: BorrowedFd, name: &CStr) -> io::Result<()> {
    const FROM_EMPTY_PATH: c_uint = 0x4;
    const TO_EMPTY_PATH: c_uint = 0x40;
    let flags = FROM_EMPTY_PATH | if name.is_empty() { TO_EMPTY_PATH } else { 0 };
    let (mount, parent) = (mount.as_raw_fd(), parent.as_raw_fd());
    // SAFETY: both pointers are to NUL-terminated strings.
    done(unsafe { libc::syscall(libc::SYS_move_mount, mount, c"".as_ptr(), parent, name.as_ptr(), flags) })
}

/// Makes `root`, a mount, the root, and detaches the old one with all that is mounted there.
pub fn pivot_root(root: BorrowedFd) -> io::Result<()> {
    // SAFETY: no pointer is followed.
    done(unsafe { libc::fchdir(root.as_raw_fd()) }.into())?;
    // With the same directory twice, the old root ends up on top of the new one, where umount finds it.
    // SAFETY: all pointers are to NUL-terminated strings.
    unsafe {
        done(libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()))?;
        done(libc::umount2(c".".as_ptr(), libc::MNT_DETACH).into())?;
        done(libc::chdir(c"/".as_ptr()).into())
    }
}

// ---- Names, network, limits ----

pub fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `name`.
    done(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into())
}

/// Brings the loopback interface of this network namespace up.
pub fn loopback_up() -> io::Result<()> {
    // SAFETY: no pointer is followed.
    let socket = owned(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into())?;
    // SAFETY: an all-zero ifreq is valid: a name of NULs and a union of integers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, and this is one.
    done(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) }.into())
}

/// Lowers a limit of this process, soft and hard, to `value`, or to the hard limit where that is lower already.
pub fn limit(resource: c_uint, value: u64) -> io::Result<()> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit64; a null pointer says that no new limit is set.
    done(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, null::<u8>(), &raw mut limit) })?;
    limit.rlim_max = limit.rlim_max.min(value);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the pointer is to a live rlimit64; a null pointer says that the old limit is not asked for.
    done(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, null_mut::<u8>()) })
}

// ---- Privileges ----

// The system calls as such: the C library's wrappers would look for other threads to do the same to.

pub fn clear_groups() -> io::Result<()> {
    // SAFETY: with a count of 0 the kernel follows no pointer.
    done(unsafe { libc::syscall(libc::SYS_setgroups, 0, null::<u32>()) })
}

pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: no pointer is followed.
    done(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: no pointer is followed.
    done(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
}

/// Header of capget and capset: version 3, which has 64 bits a set in two halves, and this process.
const CAPABILITY_HEADER: [u32; 2] = [0x2008_0522, 0];

/// The effective capabilities 0 to 31.
pub fn effective_capabilities() -> io::Result<u32> {
    let mut header = CAPABILITY_HEADER;
    let mut sets = [0u32; 6];
    // SAFETY: version 3 writes two times three 32-bit sets, and may write the header.
    done(unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) })?;
    Ok(sets[0])
}

/// Empties the effective, permitted and inheritable sets, and with them the ambient one.
pub fn clear_capabilities() -> io::Result<()> {
    let sets = [0u32; 6];
    // SAFETY: version 3 reads two times three 32-bit sets.
    done(unsafe { libc::syscall(libc::SYS_capset, CAPABILITY_HEADER.as_ptr(), sets.as_ptr()) })
}

// ---- Landlock ----

/// `struct landlock_ruleset_attr` of version 6.
#[repr(C)]
pub struct LandlockRuleset {
    pub files: u64,
    pub network: u64,
    pub scoped: u64,
}

/// The newest version of Landlock that the kernel speaks.
pub fn landlock_version() -> io::Result<u32> {
    const VERSION: c_uint = 1;
    // SAFETY: with the version flag, the kernel asks for a null pointer and no size.
    Ok(check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, null::<u8>(), 0usize, VERSION) })? as u32)
}

/// The kernel knows the first `size` bytes of the attributes.
pub fn landlock_ruleset(attributes: &LandlockRuleset, size: usize) -> io::Result<OwnedFd> {
    assert!(size <= size_of_val(attributes));
    // SAFETY: the pointer is to at least `size` bytes.
    owned(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const *attributes, size, 0) })
}

pub fn landlock_allow(ruleset: BorrowedFd, access: u64, beneath: BorrowedFd) -> io::Result<()> {
    #[repr(C, packed)]
    struct PathBeneath {
        access: u64,
        parent: i32,
    }
    const PATH_BENEATH: c_int = 1;
    let rule = PathBeneath { access, parent: beneath.as_raw_fd() };
    // SAFETY: the pointer is to a landlock_path_beneath_attr, which is packed.
    done(unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), PATH_BENEATH, &raw const rule, 0) })
}

pub fn landlock_restrict(ruleset: BorrowedFd) -> io::Result<()> {
    // SAFETY: no pointer is followed.
    done(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })
}

// ---- Seccomp ----

/// Installs a filter, given as the bytes of an array of `struct sock_filter`.
pub fn install_seccomp(program: &[u8]) -> io::Result<()> {
    let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
    let (instructions, rest) = program.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(invalid());
    }
    let mut instructions: Vec<libc::sock_filter> = instructions
        .iter()
        .map(|&[code0, code1, jt, jf, k0, k1, k2, k3]| libc::sock_filter {
            code: u16::from_ne_bytes([code0, code1]),
            jt,
            jf,
            k: u32::from_ne_bytes([k0, k1, k2, k3]),
        })
        .collect();
    let len = instructions.len().try_into().map_err(|_| invalid())?;
    let filter = libc::sock_fprog { len, filter: instructions.as_mut_ptr() };
    // SAFETY: the pointer is to a sock_fprog that describes `instructions`.
    done(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) })
}
