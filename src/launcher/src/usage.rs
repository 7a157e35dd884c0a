//! What processes use, as /proc tells it.

use std::collections::HashMap;
use std::fs;

/// The sum of what the processes of a sandbox use.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UsageSum {
    /// Bytes.
    pub memory: u64,
    pub threads: u64,
}

/// Adds up the processes at and below each of `roots`, which are pids and the keys of their sums.
pub fn sum_below(roots: &HashMap<i32, usize>) -> HashMap<usize, UsageSum> {
    sum(&processes(), roots)
}

/// Returns the number of threads of all processes in sight.
pub fn threads() -> u64 {
    processes().values().map(|process| process.threads).sum()
}

/// Returns the number of sockets of all kinds in a process's network namespace. Sockets that no descriptor leads to are
/// included, as long as somebody has yet to read what was sent through them.
pub fn sockets(pid: i32) -> u64 {
    fs::read_to_string(format!("/proc/{pid}/net/sockstat")).ok().and_then(|text| parse_sockets(&text)).unwrap_or(0)
}

fn parse_sockets(sockstat: &str) -> Option<u64> {
    sockstat.lines().find_map(|line| line.strip_prefix("sockets: used ")?.trim().parse().ok())
}

fn sum(processes: &HashMap<i32, ProcessStatus>, roots: &HashMap<i32, usize>) -> HashMap<usize, UsageSum> {
    let mut sums: HashMap<usize, UsageSum> = HashMap::new();
    for (pid, process) in processes {
        if let Some(root) = find_root(*pid, processes, roots) {
            let sum = sums.entry(root).or_default();
            sum.memory += process.memory;
            sum.threads += process.threads;
        }
    }
    sums
}

/// Returns the key of the root that a process is or descends from.
fn find_root(pid: i32, processes: &HashMap<i32, ProcessStatus>, roots: &HashMap<i32, usize>) -> Option<usize> {
    let mut ancestor = pid;
    // A pid can be another process's by now, so that parents could form a ring.
    for _ in 0..processes.len() {
        if let Some(root) = roots.get(&ancestor) {
            return Some(*root);
        }
        ancestor = processes.get(&ancestor)?.parent;
    }
    None
}

fn processes() -> HashMap<i32, ProcessStatus> {
    let mut processes = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok())
            && let Some(process) = read(pid)
        {
            processes.insert(pid, process);
        }
    }
    processes
}

#[derive(Debug, Default, PartialEq, Eq)]
struct ProcessStatus {
    parent: i32,
    threads: u64,
    /// Bytes of private memory and page tables. Pages of files are no process's own, and shared pages exist once.
    memory: u64,
}

/// Reads the status of a process. stat and statm are read a little faster, but leave out the page tables, which can't
/// be estimated by the size of the address space either: a single page here and there takes a table each.
fn read(pid: i32) -> Option<ProcessStatus> {
    fs::read(format!("/proc/{pid}/status")).ok().map(|status| parse(&status))
}

/// Parses a process's status. A process that has ended and was not reaped has no lines about memory.
fn parse(status: &[u8]) -> ProcessStatus {
    let mut process = ProcessStatus::default();
    // The name of the process is escaped, so that it is one line; bytes that are not text are in no line that matters.
    for line in status.split(|byte| *byte == b'\n') {
        let Some((key, value)) = str::from_utf8(line).ok().and_then(|line| line.split_once(':')) else { continue };
        let value = value.trim();
        match key {
            "PPid" => process.parent = value.parse().unwrap_or(0),
            "Threads" => process.threads = value.parse().unwrap_or(0),
            "RssAnon" | "VmPTE" => process.memory += bytes(value),
            _ => {}
        }
    }
    process
}

fn bytes(kilobytes: &str) -> u64 {
    kilobytes.strip_suffix(" kB").and_then(|count| count.parse::<u64>().ok()).unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_of_a_running_process_is_parsed() {
        let status = b"Name:\tsh\\nPPid:\t7\nState:\tS (sleeping)\nPPid:\t41\nThreads:\t3\n\
                       VmPTE:\t      52 kB\nVmRSS:\t 900 kB\nRssAnon:\t     100 kB\nRssShmem:\t 8 kB\n";
        assert_eq!(parse(status), ProcessStatus { parent: 41, threads: 3, memory: 152 << 10 });
    }

    #[test]
    fn status_of_a_zombie_or_garbage_has_no_memory() {
        assert_eq!(parse(b"Name:\tz\nState:\tZ\nPPid:\t2\nThreads:\t1\n").memory, 0);
        assert_eq!(parse(b"\xff\xfe: 1\nPPid\nThreads: many\nRssAnon: 5 MB\n"), ProcessStatus::default());
        assert_eq!(parse(b""), ProcessStatus::default());
    }

    #[test]
    fn processes_are_added_to_the_root_above_them() {
        let process = |parent| ProcessStatus { parent, threads: 1, memory: 10 };
        let processes = HashMap::from([
            (5, process(1)),
            (6, process(5)),
            (7, process(6)),
            (8, process(1)),
            // A ring.
            (20, process(21)),
            (21, process(20)),
        ]);
        let sums = sum(&processes, &HashMap::from([(5, 0), (8, 1)]));
        let expected = [(0, UsageSum { memory: 30, threads: 3 }), (1, UsageSum { memory: 10, threads: 1 })];
        assert_eq!(sums, HashMap::from(expected));
    }

    #[test]
    fn sockets_are_parsed_from_sockstat() {
        assert_eq!(parse_sockets("sockets: used 17\nTCP: inuse 2\n"), Some(17));
        assert_eq!(parse_sockets("TCP: inuse 2\n"), None);
    }
}
