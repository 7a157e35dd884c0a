//! Whether Nix's build sandbox is on, found out from inside: no client of a daemon can ask for that, and Nix falls back
//! on running builders without where it can't make one.

use std::fs;
use std::path::Path;

use super::Refusal;
use crate::sys;

/// What no build sandbox shows.
const HOSTS_OWN: [&str; 2] = ["/nix/var/nix", "/home"];

pub fn check() -> Result<(), Refusal> {
    match missing() {
        None => Ok(()),
        Some(found) => Err(Refusal::Unsandboxed(found)),
    }
}

/// What is the host's and should not be here.
fn missing() -> Option<String> {
    if sys::own_pid() != 1 {
        return Some("the builder is among the host's processes".to_owned());
    }
    if let Some(path) = HOSTS_OWN.iter().find(|path| Path::new(path).exists()) {
        return Some(format!("the builder finds the host's {path}"));
    }
    let Ok(interfaces) = fs::read_to_string("/proc/net/dev") else {
        return Some("the builder is told nothing of its network".to_owned());
    };
    // Two lines of titles, then one for each interface.
    let mut names = interfaces.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim);
    names.find(|name| *name != "lo").map(|name| format!("the builder has the host's network interface {name}"))
}
