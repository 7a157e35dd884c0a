//! Files below a directory that serves as the root.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

/// Opens the file that `path` names when `root` is the root: no link and no `..` leads out of it. Nothing is read.
pub fn open_in_root(root: BorrowedFd, path: &CStr, directory: bool) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | if directory { OFlags::DIRECTORY } else { OFlags::empty() };
    Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?)
}

/// Makes a directory, whose mode the process's mask may restrict.
pub fn make_directory(parent: BorrowedFd, name: &CStr, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(mode))?)
}

/// Makes a symbolic link.
pub fn make_symlink(parent: BorrowedFd, name: &CStr, target: &CStr) -> io::Result<()> {
    Ok(rustix::fs::symlinkat(target, parent, name)?)
}

/// Makes an empty file without opening it.
pub fn make_file(parent: BorrowedFd, name: &CStr) -> io::Result<()> {
    Ok(rustix::fs::mknodat(parent, name, FileType::RegularFile, Mode::from_raw_mode(0o444), 0)?)
}

/// Makes a file and opens it for writing. An existing file of that name, even a dangling link, is an error.
pub fn create_file(parent: BorrowedFd, name: &CStr, mode: u32) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(mode))?)
}

/// Opens a file for reading if it is a regular one and no component of its path is a link.
pub fn open_regular(path: &Path) -> io::Result<OwnedFd> {
    // Without O_NONBLOCK, opening a FIFO waits for its other end.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    if kind(file.as_fd())? == FileType::RegularFile { Ok(file) } else { Err(rustix::io::Errno::INVAL.into()) }
}

/// Makes a file in a directory without giving it a name there; it can be read, and written at its end.
pub fn unnamed_file(directory: &Path) -> io::Result<OwnedFd> {
    let (flags, mode) = (OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC, Mode::from_raw_mode(0o600));
    match rustix::fs::open(directory, flags | OFlags::TMPFILE, mode) {
        // Some file systems have only files with names.
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
            let path = directory.join(format!(".unnamed-{}", std::process::id()));
            let file = rustix::fs::open(&path, flags | OFlags::CREATE | OFlags::EXCL, mode)?;
            rustix::fs::unlink(&path)?;
            Ok(file)
        }
        opened => Ok(opened?),
    }
}

/// Opens a directory that was made in `parent`; a link in its place is an error.
pub fn open_directory(parent: BorrowedFd, name: &CStr) -> io::Result<OwnedFd> {
    open_file(parent, name, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens an existing file of a directory; a link in its place is an error.
pub fn open_file(parent: BorrowedFd, name: &CStr, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(parent, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

/// Changes the owner of an open file.
pub fn change_owner(file: BorrowedFd, uid: u32, gid: u32) -> io::Result<()> {
    Ok(rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
}

/// Changes the mode of an open file.
pub fn change_mode(file: BorrowedFd, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?)
}

/// Returns whether an open file is a directory.
pub fn is_directory(file: BorrowedFd) -> io::Result<bool> {
    Ok(kind(file)? == FileType::Directory)
}

fn kind(file: BorrowedFd) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode))
}

/// Removes an empty directory.
pub fn remove_directory(parent: BorrowedFd, name: &CStr) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}
