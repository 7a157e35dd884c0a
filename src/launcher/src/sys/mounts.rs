//! Mounts, and the names and devices of namespaces.

use std::ffi::{CStr, CString, c_char, c_int, c_uint};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::{null, null_mut};

use super::{done, owned};

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

/// A copy of the mount that a directory of it leads to, not attached anywhere yet.
pub fn copy_directory(directory: BorrowedFd) -> io::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as c_uint;
    // SAFETY: the pointer is to a NUL-terminated string.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, directory.as_raw_fd(), c"".as_ptr(), flags) })
}

/// Attaches at `target` a mount of what is at `source`, as restricted as the mount that it is found on. Both are files, or
/// both directories: else it is an error ([`io::ErrorKind::NotADirectory`]).
pub fn bind(source: &CStr, target: &CStr) -> io::Result<()> {
    // SAFETY: both pointers are to NUL-terminated strings; a bind looks at neither a type nor data.
    done(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), null(), libc::MS_BIND, null()) }.into())
}

/// How many bytes of a file system are in use.
pub fn bytes_used(file: BorrowedFd) -> io::Result<u64> {
    // SAFETY: an all-zero statfs is valid: every field is an integer.
    let mut facts: libc::statfs64 = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live statfs64.
    done(unsafe { libc::fstatfs64(file.as_raw_fd(), &raw mut facts) }.into())?;
    Ok((facts.f_blocks - facts.f_bfree.min(facts.f_blocks)) * facts.f_bsize as u64)
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

// ---- Names, network ----

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
