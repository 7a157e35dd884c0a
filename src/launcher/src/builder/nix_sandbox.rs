//! Checks from inside whether Nix's build sandbox is on: clients can't ask the daemon for that, and Nix runs builders
//! without a sandbox if it can't make one.

use std::fs;
use std::path::Path;

use super::BuilderError;
use crate::sys;

/// Directories of the host that no build sandbox shows.
const HOST_DIRECTORIES: [&str; 2] = ["/nix/var/nix", "/home"];

/// Refuses to go on without Nix's build sandbox.
pub fn check() -> Result<(), BuilderError> {
    match sign_of_host() {
        None => Ok(()),
        Some(found) => Err(BuilderError::Unsandboxed(found)),
    }
}

/// Returns a sign that this process is not in a sandbox.
fn sign_of_host() -> Option<String> {
    if sys::own_pid() != 1 {
        return Some("the builder is among the host's processes".to_owned());
    }
    if let Some(path) = HOST_DIRECTORIES.iter().find(|path| Path::new(path).exists()) {
        return Some(format!("the builder finds the host's {path}"));
    }
    let Ok(interfaces) = fs::read_to_string("/proc/net/dev") else {
        return Some("the builder cannot read /proc/net/dev".to_owned());
    };
    // Two lines of titles, then one for each interface.
    let mut names = interfaces.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim);
    names.find(|name| *name != "lo").map(|name| format!("the builder has the host's network interface {name}"))
}
