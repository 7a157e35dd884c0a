//! Mounts, and the names, devices and limits of namespaces and processes.

use std::ffi::{CStr, CString, c_int};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::mount::{FsMountFlags, FsOpenFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit};

pub use rustix::mount::MountAttrFlags;

use super::done;

pub const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;
pub const NO_SET_UID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
pub const NO_DEVICES: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
pub const NO_EXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;

/// `struct mount_attr`, since Linux 5.12; not in every version of the libc crate.
#[repr(C)]
#[derive(Default)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Calls mount_setattr, which rustix does not have.
fn change_mount(at: BorrowedFd, path: &CStr, flags: c_int, attributes: &MountAttributes) -> io::Result<()> {
    let (at, size) = (at.as_raw_fd(), size_of_val(attributes));
    // SAFETY: the pointers are to a NUL-terminated string and to a mount_attr whose size is given.
    done(unsafe { libc::syscall(libc::SYS_mount_setattr, at, path.as_ptr(), flags, &raw const *attributes, size) })
}

/// Sets attributes of a mount, and of all mounts below it if `recursive`.
pub fn restrict_mount(mount: BorrowedFd, set: MountAttrFlags, recursive: bool) -> io::Result<()> {
    let attributes = MountAttributes { set: set.bits().into(), ..MountAttributes::default() };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    change_mount(mount, c"", flags, &attributes)
}

/// Stops mounts of this namespace from appearing in other namespaces, and the other way round.
pub fn make_mounts_private() -> io::Result<()> {
    let attributes = MountAttributes { propagation: libc::MS_PRIVATE, ..MountAttributes::default() };
    change_mount(CWD, c"/", libc::AT_RECURSIVE, &attributes)
}

/// Copies the mounts at and below `path`. The copy is not attached anywhere yet.
pub fn copy_mount(path: &CStr) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    Ok(rustix::mount::open_tree(CWD, path, flags)?)
}

/// Copies the mount that a directory lies on, with that directory as its root. The copy is not attached anywhere yet.
pub fn copy_directory(directory: BorrowedFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(rustix::mount::open_tree(directory, c"", flags)?)
}

/// Attaches `source` at `target`, with the restrictions of the mount that it lies on. Both are files or both are
/// directories; otherwise the error is [`io::ErrorKind::NotADirectory`].
pub fn bind(source: &CStr, target: &CStr) -> io::Result<()> {
    Ok(rustix::mount::mount_bind(source, target)?)
}

/// Returns how many bytes of a file system are in use.
pub fn bytes_used(file: BorrowedFd) -> io::Result<u64> {
    let status = rustix::fs::fstatfs(file)?;
    Ok((status.f_blocks - status.f_bfree.min(status.f_blocks)) * status.f_bsize as u64)
}

/// Makes a file system that is not attached anywhere yet.
pub fn new_mount(kind: &CStr, options: &[(&CStr, CString)], attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(&context, *key, value)?;
    }
    rustix::mount::fsconfig_create(&context)?;
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Attaches a mount at `name` in `parent`, without following a link there; at `parent` itself if the name is empty.
pub fn attach_mount(mount: BorrowedFd, parent: BorrowedFd, name: &CStr) -> io::Result<()> {
    let to = if name.is_empty() { MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH } else { MoveMountFlags::empty() };
    Ok(rustix::mount::move_mount(mount, c"", parent, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | to)?)
}

/// Makes `root`, a mount, the root, and detaches the old root with all that is mounted there.
pub fn pivot_root(root: BorrowedFd) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    // With the same directory twice, the old root ends up on top of the new one, where umount finds it.
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir(c"/")?)
}

// ---- Names, network, limits ----

/// Sets the host name of this UTS namespace.
pub fn set_hostname(name: &str) -> io::Result<()> {
    Ok(rustix::system::sethostname(name.as_bytes())?)
}

/// Brings up the loopback interface of this network namespace.
pub fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_flags: libc::IFF_UP as libc::c_short };
    let mut request = libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as _;
    }
    // SAFETY: SIOCSIFFLAGS reads the name and the flags of an ifreq, which are set.
    done(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) }.into())
}

/// Sets a soft and hard limit of this process to `value`, or to the present hard limit if that is lower.
pub fn limit(resource: Resource, value: u64) -> io::Result<()> {
    let hard = rustix::process::getrlimit(resource).maximum.map_or(value, |hard| hard.min(value));
    Ok(rustix::process::setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })?)
}
