//! Confinement of file access by Landlock, which an unprivileged process can put on itself.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use sandbox_plan::{Ending, Failure};

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

/// The rights that exist for files. The kernel refuses the other rights except for a directory.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | DEVICE_IOCTL;
const READ: u64 = EXECUTE | READ_FILE | READ_DIRECTORY;

const ABSTRACT_UNIX_SOCKETS: u64 = 1 << 0;
const SIGNALS: u64 = 1 << 1;
/// The first version that has these two.
const SCOPES: u32 = 6;

/// Returns all rights over files that a version of Landlock knows. Other rights are not confined.
fn rights(version: u32) -> u64 {
    match version {
        0 | 1 => (1 << 13) - 1,
        2 => (1 << 14) - 1,
        3 | 4 => (1 << 15) - 1,
        _ => (1 << 16) - 1,
    }
}

/// Confines this process and its descendants to reading what `read` names and doing anything with what `write` names.
///
/// TCP ports are not confined: the network namespace does that, and Landlock's rules would break servers on localhost.
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

/// Keeps signals and connections to abstract unix sockets inside, if the kernel can, and confines no files.
pub fn scope(scoped: bool) -> Result<(), Failure> {
    let failed = |what: &str| fault::failed(format!("confine signals by Landlock: {what}"));
    let version = sys::landlock_version().map_err(failed("find it in this kernel"))?;
    if !scoped || version < SCOPES {
        return Ok(());
    }
    let rules = ruleset(version, 0, scoped).map_err(failed("make a set of rules"))?;
    sys::landlock_restrict(rules.as_fd()).map_err(failed("enter it"))
}

/// Returns whether confining files would keep this process from moving and linking files between directories.
///
/// Once some layer of Landlock confines files, every layer must allow moving, also layers that do not mention files,
/// such as the one that Nix 2.34 puts around builders. There is no way to ask for this, so a copy of this process
/// tries.
pub fn would_prevent_moving(tree: &Tree) -> bool {
    match sys::clone_process(0) {
        Ok(None) => sys::exit(i32::from(moving_is_prevented(tree).unwrap_or(false))),
        Ok(Some((pid, _))) => {
            let reaped = sys::reap(pid, true).ok().flatten();
            reaped.is_some_and(|reaped| reaped.ending() == Ending::Exited { code: 1 })
        }
        Err(_) => false,
    }
}

fn moving_is_prevented(tree: &Tree) -> io::Result<bool> {
    let rules = ruleset(sys::landlock_version()?, MOVE, false)?;
    sys::landlock_allow(rules.as_fd(), MOVE, tree.open(Path::new("/"))?.as_fd())?;
    sys::landlock_restrict(rules.as_fd())?;
    let [from, to] = ["/tmp/.from", "/tmp/.to"];
    fs::create_dir(from)?;
    fs::create_dir(to)?;
    let moved = fs::rename(from, Path::new(to).join("moved"));
    // One of the two exists.
    let _ = fs::remove_dir(from);
    let _ = fs::remove_dir(Path::new(to).join("moved"));
    fs::remove_dir(to)?;
    Ok(moved.is_err_and(|error| error.raw_os_error() == Some(libc::EXDEV)))
}

fn ruleset(version: u32, files: u64, scoped: bool) -> io::Result<OwnedFd> {
    let scopes = version >= SCOPES;
    let scoped = if scoped && scopes { ABSTRACT_UNIX_SOCKETS | SIGNALS } else { 0 };
    let attributes = LandlockRuleset { files, network: 0, scoped };
    // Older kernels know fewer fields, and refuse a size that they don't know.
    let size = if scopes { size_of::<LandlockRuleset>() } else { size_of::<u64>() };
    sys::landlock_ruleset(&attributes, size)
}
