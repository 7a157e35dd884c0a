//! Looks around from inside a sandbox: what a confined process finds in /proc, and what it can do.

use std::fs::{self, OpenOptions};
use std::io;

use sandbox_plan::Inside;

use crate::sys;

/// Returns what this process finds.
pub fn look() -> io::Result<Inside> {
    Ok(Inside {
        status: fs::read_to_string("/proc/self/status")?,
        namespaces: namespaces()?,
        breaches: breaches(),
        landlock: sys::landlock_version().ok(),
    })
}

fn namespaces() -> io::Result<Vec<String>> {
    ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"]
        .into_iter()
        .map(|name| Ok(fs::read_link(format!("/proc/self/ns/{name}"))?.to_string_lossy().into_owned()))
        .collect()
}

/// Tries one thing that each wall must prevent, and returns the names of walls that did not.
fn breaches() -> Vec<String> {
    let attempts: [(&str, bool); 4] = [
        ("user namespaces", sys::unshare(libc::CLONE_NEWUSER).is_ok()),
        ("capabilities", sys::set_hostname("breached").is_ok()),
        // Its permissions allow everybody to write, and a read-only mount does not restrict devices.
        ("landlock", OpenOptions::new().write(true).open("/dev/random").is_ok()),
        ("read-only root", OpenOptions::new().write(true).create_new(true).open("/breached").is_ok()),
    ];
    attempts.into_iter().filter(|(_, done)| *done).map(|(wall, _)| wall.to_owned()).collect()
}
