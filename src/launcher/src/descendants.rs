//! The end of a sandbox without a pid namespace: all descendants of this process are found and killed.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::Duration;

use sandbox_plan::Usage;

use crate::sys::{self, Signal};

/// Kills all descendants of this process, which must be a subreaper, and returns what they used.
///
/// A process whose parent dies becomes this process's child, so that no descendant is left when it has no child.
pub fn kill_all() -> Usage {
    let mut usage = Usage::default();
    loop {
        for process in stop_all() {
            signal(process, Signal::KILL);
        }
        loop {
            match sys::reap(-1, false) {
                Ok(Some(reaped)) => {
                    usage.cpu += reaped.cpu;
                    usage.peak_memory = usage.peak_memory.max(reaped.peak_memory);
                }
                Ok(None) => break,
                Err(_) => return usage,
            }
        }
        sleep(Duration::from_micros(500));
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Descendant {
    pid: i32,
    parent: i32,
}

/// Stops processes until no new ones turn up. If they were killed as they are found, a program that forks endlessly
/// would get new room under its limit of processes; stopped processes use it up.
fn stop_all() -> HashSet<Descendant> {
    const MAX_ROUNDS: usize = 100;
    let mut stopped = HashSet::new();
    for _ in 0..MAX_ROUNDS {
        let known = stopped.len();
        for process in all() {
            if stopped.insert(process) {
                signal(process, Signal::STOP);
            }
        }
        if stopped.len() == known {
            break;
        }
    }
    stopped
}

fn all() -> Vec<Descendant> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            && let Some(parent) = parent_of(pid)
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut parents = vec![sys::own_pid()];
    while let Some(parent) = parents.pop() {
        for pid in children.remove(&parent).unwrap_or_default() {
            found.push(Descendant { pid, parent });
            parents.push(pid);
        }
    }
    found
}

/// Returns the pid of a process's parent: the fourth field of stat, after a name in parentheses that may hold anything.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    str::from_utf8(&stat[name_end + 1..]).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Sends a signal, unless the pid is another process's by now: the parent is checked after the descriptor is open.
fn signal(process: Descendant, signal: Signal) {
    if let Ok(pidfd) = sys::open_pidfd(process.pid)
        && let Some(parent) = parent_of(process.pid)
        && (parent == process.parent || parent == sys::own_pid())
    {
        sys::send_signal(pidfd.as_fd(), signal);
    }
}
