//! Counts what a user runs already: without a user namespace, the limit on processes counts those too.

use std::fs;
use std::path::Path;

/// Counts the processes and threads of a user on this machine, as far as this process may see them. This blocks.
pub fn processes(uid: u32) -> u64 {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| of_user(&entry.path(), uid)).sum()
}

/// Counts the threads of one process, if it is the user's.
fn of_user(process: &Path, uid: u32) -> Option<u64> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next();
    let is_theirs = field("Uid:")?.parse::<u32>().ok()? == uid;
    is_theirs.then(|| field("Threads:")?.parse().ok())?
}
