//! A look around from inside: what walls a confined process finds, by the kernel's word and by trying.

use std::fs::{self, OpenOptions};
use std::io;

use sandbox_plan::Inside;

use crate::sys;

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

/// Does what must not work, a wall at a time.
fn breaches() -> Vec<String> {
    let attempts: [(&str, bool); 4] = [
        ("user namespaces", sys::unshare(libc::CLONE_NEWUSER).is_ok()),
        ("capabilities", sys::set_hostname("breached").is_ok()),
        // Its permissions let everybody write to it, and a read-only mount does not matter to a device.
        ("landlock", OpenOptions::new().write(true).open("/dev/random").is_ok()),
        ("read-only root", OpenOptions::new().write(true).create_new(true).open("/breached").is_ok()),
    ];
    attempts.into_iter().filter(|(_, done)| *done).map(|(wall, _)| wall.to_owned()).collect()
}
