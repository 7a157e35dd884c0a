//! Every system call that Rust's standard library does not offer. All `unsafe` of the launcher's library is in this
//! directory.
//!
//! Most calls go through rustix, whose functions are safe. Written out by hand are only those that rustix does not
//! have, or offers as `unsafe` too.

#![allow(unsafe_code)]

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

/// Returns the result of a system call, or the error that the kernel gave for it.
fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn done(result: c_long) -> io::Result<()> {
    check(result).map(drop)
}

/// Takes ownership of the descriptor that a system call has returned.
///
/// # Safety
///
/// `result` is the result of a system call that makes a new descriptor, which nobody else owns.
unsafe fn owned(result: c_long) -> io::Result<OwnedFd> {
    let fd = check(result)? as RawFd;
    // SAFETY: by the contract above.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
