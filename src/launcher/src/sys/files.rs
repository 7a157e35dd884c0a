//! Files below a directory that is taken for the root.

use std::ffi::{CStr, c_int, c_uint};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{done, owned};
use crate::tree::c_string;

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

/// Opens a file for reading, if it is a regular one and no link is on the way to it.
pub fn open_regular(path: &Path) -> io::Result<OwnedFd> {
    let name = c_string(path.as_os_str().as_bytes())?;
    // SAFETY: an all-zero open_how is valid: every field is an integer.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    // Whoever opens a FIFO otherwise waits for its other end.
    how.flags = (libc::O_RDONLY | libc::O_NONBLOCK | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_NO_SYMLINKS;
    // SAFETY: the pointers are to a NUL-terminated string and to an open_how whose size is given.
    let file = owned(unsafe {
        libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, name.as_ptr(), &raw const how, size_of_val(&how))
    })?;
    if kind(file.as_fd())? == libc::S_IFREG { Ok(file) } else { Err(io::Error::from_raw_os_error(libc::EINVAL)) }
}

/// A new file of a directory that has no name there, to be read, and to be written at its end.
pub fn unnamed_file(directory: &Path) -> io::Result<OwnedFd> {
    let name = c_string(directory.as_os_str().as_bytes())?;
    let flags = libc::O_TMPFILE | libc::O_RDWR | libc::O_APPEND | libc::O_CLOEXEC;
    // SAFETY: the pointer is to a NUL-terminated string.
    owned(unsafe { libc::open(name.as_ptr(), flags, 0o600 as c_uint) }.into())
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
    Ok(kind(file)? == libc::S_IFDIR)
}

/// The part of a file's mode that tells what it is.
fn kind(file: BorrowedFd) -> io::Result<u32> {
    // SAFETY: an all-zero stat is valid: every field is an integer.
    let mut facts: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live stat.
    done(unsafe { libc::fstat(file.as_raw_fd(), &mut facts) }.into())?;
    Ok(facts.st_mode & libc::S_IFMT)
}

/// Opens a file of a directory; a link in its place is an error.
pub fn open_file(parent: BorrowedFd, name: &CStr, flags: c_int) -> io::Result<OwnedFd> {
    let flags = flags | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the pointer is to a NUL-terminated string, and without O_CREAT there is no mode to be read.
    owned(unsafe { libc::openat(parent.as_raw_fd(), name.as_ptr(), flags) }.into())
}

pub fn remove_directory(parent: BorrowedFd, name: &CStr) -> io::Result<()> {
    // SAFETY: the pointer is to a NUL-terminated string.
    done(unsafe { libc::unlinkat(parent.as_raw_fd(), name.as_ptr(), libc::AT_REMOVEDIR) }.into())
}
