//! Many calls leave no more behind than one.
//!
//! `SANDBOX_MCP_SOAK` says how many calls are made instead of a few hundred; a tenth as many are cancelled.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

use serde_json::json;

use crate::server;
use test_support::client::Server;

/// How long it may take until the last call is cleared away and sandboxes are ready again.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// More ready sandboxes than this are a leak. Each has two processes, their descriptors, and a group of each hierarchy.
const READY: usize = 4;

/// What could pile up.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Traces {
    /// Processes that came from the server, its own included.
    processes: usize,
    /// Descriptors of all of these.
    descriptors: usize,
    /// Mounts that this process sees.
    mounts: usize,
    /// Control groups of this server's launchers.
    groups: usize,
    /// Files of the project's in the directory for temporary ones.
    files: usize,
}

impl Traces {
    fn of(server: &Server) -> Self {
        let processes = descendants(server.pid);
        let entries = |path: &Path| fs::read_dir(path).map_or(0, std::iter::Iterator::count);
        Self {
            descriptors: processes.iter().map(|pid| entries(Path::new(&format!("/proc/{pid}/fd")))).sum(),
            mounts: fs::read_to_string("/proc/self/mountinfo").expect("read the mounts").lines().count(),
            groups: processes.iter().map(|pid| groups(Path::new("/sys/fs/cgroup"), *pid, 4)).sum(),
            files: fs::read_dir(env::temp_dir())
                .expect("list the directory for temporary files")
                .flatten()
                .filter(|entry| entry.file_name().to_string_lossy().starts_with("sandbox-mcp-"))
                .count(),
            processes: processes.len(),
        }
    }
}

/// A process and all that came from it.
fn descendants(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").expect("list /proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name, in parentheses, may hold anything.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_ascii_whitespace().nth(1)?.parse().ok());
        children.entry(parent.unwrap_or(0)).or_default().push(pid);
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found
}

/// The control groups below a directory that a launcher with this pid has made.
fn groups(directory: &Path, pid: u32, depth: usize) -> usize {
    let own = format!("sandbox-mcp-{pid}-");
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| {
        let is_own = entry.file_name().to_string_lossy().starts_with(&own);
        let deeper = if depth > 0 { groups(&entry.path(), pid, depth - 1) } else { 0 };
        usize::from(is_own) + deeper
    });
    below.sum()
}

/// Makes calls one after another, every tenth of which is cancelled at one moment or another.
fn calls(server: &Server, count: u64) {
    for number in 0..count {
        let id = server.begin_call("shell", json!({"main_sh": "echo $$ > /tmp/file; sleep 0.005 & echo done"}));
        if number % 10 == 9 {
            // Before, while and after it runs.
            sleep(Duration::from_micros(number * 7919 % 20_000));
            server.notify("notifications/cancelled", json!({"requestId": id, "reason": "the test says so"}));
        } else {
            assert_eq!(server.reply(id).text(), "done\n");
        }
    }
}

#[test]
fn many_calls_and_cancelled_ones_leave_no_more_than_a_few_did() {
    let soak = env::var("SANDBOX_MCP_SOAK").ok().map(|count| count.parse().expect("SANDBOX_MCP_SOAK is a number"));
    let server = server();
    // As many sandboxes are ready after this as such calls need.
    calls(&server, 100);
    sleep(Duration::from_secs(1));
    let before = Traces::of(&server);
    calls(&server, soak.unwrap_or(300));
    let begun = Instant::now();
    loop {
        let after = Traces::of(&server);
        // A busy machine may have made the server keep more sandboxes ready than before, up to a bound.
        let is_more = after.processes > before.processes + READY * 2
            || after.descriptors > before.descriptors + READY * 28
            || after.mounts > before.mounts
            || after.groups > before.groups + READY * 3
            || after.files > before.files;
        if !is_more {
            eprintln!("before: {before:?}\nafter: {after:?}");
            return;
        }
        assert!(begun.elapsed() < END_TIMEOUT, "before: {before:?}, after: {after:?}");
        sleep(Duration::from_millis(100));
    }
}
