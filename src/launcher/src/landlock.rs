//! Confinement of file access by Landlock, which an unprivileged process can put on itself.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use sandbox_plan::Failure;

use crate::fault;
use crate::sys::{self, LandlockRuleset};
use crate::tree::Tree;

const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIRECTORY: u64 = 1 << 3;
const MOVE: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const DEVICE_IOCTL: u64 = 1 << 15;

/// What can be allowed for a file; the rest only makes sense for a directory, and the kernel refuses it elsewhere.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | DEVICE_IOCTL;
const READ: u64 = EXECUTE | READ_FILE | READ_DIRECTORY;

const ABSTRACT_UNIX_SOCKETS: u64 = 1 << 0;
const SIGNALS: u64 = 1 << 1;
/// The first version that has these two.
const SCOPES: u32 = 6;

/// All rights over files that a version of Landlock knows. A right that is not among them is not confined.
fn rights(version: u32) -> u64 {
    match version {
        0 | 1 => (1 << 13) - 1,
        2 => (1 << 14) - 1,
        3 | 4 => (1 << 15) - 1,
        _ => (1 << 16) - 1,
    }
}

/// Confines this process and all that come from it to what the two lists name.
///
/// TCP ports are left alone: the network namespace is that wall, and Landlock's would break servers on localhost.
pub fn confine(tree: &Tree, read: &[PathBuf], write: &[PathBuf], scoped: bool) -> Result<(), Failure> {
    let failed = |what: &str| fault::failed(format!("confine file access by Landlock: {what}"));
    let version = sys::landlock_version().map_err(failed("find it in this kernel"))?;
    let handled = rights(version);
    let rules = ruleset(version, handled, scoped).map_err(failed("make a set of rules"))?;
    for (paths, access) in [(read, READ), (write, handled)] {
        for path in paths {
            let allow = || -> io::Result<()> {
                let file = tree.open(path)?;
                let possible = if sys::is_directory(file.as_fd())? { handled } else { handled & OF_FILES };
                sys::landlock_allow(rules.as_fd(), access & possible, file.as_fd())
            };
            allow().map_err(failed(&format!("allow {}", path.display())))?;
        }
    }
    sys::landlock_restrict(rules.as_fd()).map_err(failed("enter it"))
}

/// Shuts abstract unix sockets and signals to the outside where the kernel can, and confines no files.
pub fn scope(scoped: bool) -> Result<(), Failure> {
    let failed = |what: &str| fault::failed(format!("confine signals by Landlock: {what}"));
    let version = sys::landlock_version().map_err(failed("find it in this kernel"))?;
    if !scoped || version < SCOPES {
        return Ok(());
    }
    let rules = ruleset(version, 0, scoped).map_err(failed("make a set of rules"))?;
    sys::landlock_restrict(rules.as_fd()).map_err(failed("enter it"))
}

/// Whether files could not be moved from one directory to another any more, nor be linked, if this process confined files.
///
/// To move is barred by each layer that does not allow it, even by one that says nothing of files, such as the layer that
/// Nix 2.34 puts around builders; but only once some layer confines files. A copy of this process tries.
pub fn would_bar_moving(tree: &Tree) -> bool {
    match sys::clone_process(0) {
        Ok(None) => sys::exit(i32::from(moving_is_barred(tree).unwrap_or(false))),
        Ok(Some((pid, _))) => {
            sys::reap(pid, true).is_ok_and(|reaped| reaped.is_some_and(|reaped| reaped.status == 1 << 8))
        }
        Err(_) => false,
    }
}

fn moving_is_barred(tree: &Tree) -> io::Result<bool> {
    let rules = ruleset(sys::landlock_version()?, MOVE, false)?;
    sys::landlock_allow(rules.as_fd(), MOVE, tree.open(Path::new("/"))?.as_fd())?;
    sys::landlock_restrict(rules.as_fd())?;
    let [from, to] = ["/tmp/.from", "/tmp/.to"];
    fs::create_dir(from)?;
    fs::create_dir(to)?;
    let moved = fs::rename(from, Path::new(to).join("moved"));
    // The one or the other is there.
    let _ = fs::remove_dir(from);
    let _ = fs::remove_dir(Path::new(to).join("moved"));
    fs::remove_dir(to)?;
    Ok(moved.is_err_and(|error| error.raw_os_error() == Some(libc::EXDEV)))
}

fn ruleset(version: u32, files: u64, scoped: bool) -> io::Result<OwnedFd> {
    let scopes = version >= SCOPES;
    let scoped = if scoped && scopes { ABSTRACT_UNIX_SOCKETS | SIGNALS } else { 0 };
    let attributes = LandlockRuleset { files, network: 0, scoped };
    // Elder kernels know fewer fields, and refuse a size that they don't know.
    let size = if scopes { size_of::<LandlockRuleset>() } else { size_of::<u64>() };
    sys::landlock_ruleset(&attributes, size)
}
