//! Every system call that Rust's standard library does not offer. All `unsafe` of the launcher is in this directory.

mod confine;
mod files;
mod gateway;
mod mounts;
mod process;
mod sockets;

use std::ffi::c_long;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

pub use confine::*;
pub use files::*;
pub use gateway::{open as open_sockets, route_to_loopback};
pub use mounts::*;
pub use process::*;
pub use sockets::*;

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
