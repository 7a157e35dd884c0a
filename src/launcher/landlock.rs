//! Confinement of file access by Landlock, which an unprivileged process can put on itself.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use sandbox_launcher::Failure;

use crate::fault;
use crate::sys::{self, LandlockRuleset};
use crate::tree::Tree;

const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIRECTORY: u64 = 1 << 3;
const TRUNCATE: u64 = 1 << 14;
const DEVICE_IOCTL: u64 = 1 << 15;

/// What can be allowed for a file; the rest only makes sense for a directory, and the kernel refuses it elsewhere.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | DEVICE_IOCTL;
const READ: u64 = EXECUTE | READ_FILE | READ_DIRECTORY;

const ABSTRACT_UNIX_SOCKETS: u64 = 1 << 0;
const SIGNALS: u64 = 1 << 1;

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
    let scopes = version >= 6;
    let attributes = LandlockRuleset {
        files: handled,
        network: 0,
        scoped: if scoped && scopes { ABSTRACT_UNIX_SOCKETS | SIGNALS } else { 0 },
    };
    // Elder kernels know fewer fields, and refuse a size that they don't know.
    let size = if scopes { size_of::<LandlockRuleset>() } else { size_of::<u64>() };
    let rules = sys::landlock_ruleset(&attributes, size).map_err(failed("make a set of rules"))?;
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
