//! Looks at running sandboxes again and again: for limits that no control group sees to, and for what the control groups
//! have to say.
//!
//! The closer the memory is to its limit, the sooner the next look: memory can't grow faster than the machine writes it.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use sandbox_plan::{Environment, Limit, Namespace, Watch};

use crate::sandbox::Sandbox;

const FIRST_LOOK: Duration = Duration::from_millis(10);
const SHORTEST: Duration = Duration::from_millis(3);
const LONGEST: Duration = Duration::from_millis(100);
/// Between looks at a sandbox that can have as many processes as it likes: it makes some ten a millisecond.
const AT_FORKS: Duration = Duration::from_millis(4);
/// Processes of a sandbox that are not the program's.
const OWN_PROCESSES: u64 = 2;
/// Bytes a second that the processes of a sandbox can fill with their data, by a generous estimate.
const FASTEST: u64 = 4 << 30;

pub struct Watcher {
    watch: Watch,
    alarms: bool,
    next: Cell<Option<Instant>>,
}

impl Watcher {
    pub fn new(environment: &Environment) -> Self {
        let alarms = environment.cgroups.iter().any(|cgroup| !cgroup.alarms.is_empty());
        let mut watch = environment.watch;
        // Without a network namespace the sockets that can be counted are those of the whole machine.
        watch.socket = watch.socket.filter(|_| environment.namespaces.contains(&Namespace::Network));
        Self { watch, alarms, next: Cell::new(None) }
    }

    /// When to look, if anything is running that must be looked at.
    pub fn next(&self, sandboxes: &[Sandbox]) -> Option<Instant> {
        if !self.looks() || !sandboxes.iter().any(Sandbox::is_running) {
            self.next.set(None);
            return None;
        }
        let next = self.next.get().unwrap_or_else(|| Instant::now() + FIRST_LOOK);
        self.next.set(Some(next));
        Some(next)
    }

    /// Tells which sandboxes are over which limit, if it is time to look.
    pub fn look(&mut self, sandboxes: &[Sandbox]) -> Vec<(usize, Limit)> {
        if self.next.get().is_none_or(|next| next > Instant::now()) {
            return Vec::new();
        }
        let running: Vec<usize> = (0..sandboxes.len()).filter(|index| sandboxes[*index].is_running()).collect();
        let mut uses = HashMap::new();
        if self.watch.memory.is_some() || self.watch.processes.is_some() {
            uses = survey(running.iter().map(|index| (sandboxes[*index].pid, *index)).collect());
        }
        let mut pause = LONGEST;
        let mut over = Vec::new();
        for index in running {
            let sandbox = &sandboxes[index];
            let used = uses.remove(&index).unwrap_or_default();
            if let Some(limit) = self.memory(sandbox, &used, &mut pause).or_else(|| memory_alarm(sandbox)) {
                over.push((index, limit));
            }
            if let Some(count) = self.watch.processes
                && used.threads >= count
            {
                sandbox.note(Limit::Processes { count });
                if self.watch.ends_forks && used.threads > count + OWN_PROCESSES {
                    over.push((index, Limit::Processes { count }));
                }
            }
        }
        if self.watch.ends_forks {
            pause = pause.min(AT_FORKS);
        }
        self.next.set(Some(Instant::now() + pause));
        over
    }

    fn looks(&self) -> bool {
        self.alarms || self.watch.memory.is_some() || self.watch.processes.is_some()
    }

    fn memory(&self, sandbox: &Sandbox, used: &Use, pause: &mut Duration) -> Option<Limit> {
        let bytes = self.watch.memory?;
        // Before it is ready, its network namespace can be another's.
        let socket = self.watch.socket.filter(|_| sandbox.ready);
        let buffers = socket.map_or(0, |size| sockets(sandbox.pid).saturating_mul(size));
        let total = used.memory.saturating_add(sandbox.scratch_used()).saturating_add(buffers);
        if total > bytes {
            return Some(Limit::Memory { bytes });
        }
        let fills_in = Duration::from_micros((bytes - total) / (FASTEST / 1_000_000));
        *pause = (*pause).min(fills_in.max(SHORTEST));
        None
    }
}

/// Too many processes are refused; what is done about it is the program's affair until it ends.
fn memory_alarm(sandbox: &Sandbox) -> Option<Limit> {
    sandbox.alarm().filter(|limit| matches!(limit, Limit::Memory { .. }))
}

/// What the processes of a sandbox use.
#[derive(Default)]
struct Use {
    /// Bytes.
    memory: u64,
    threads: u64,
}

/// Adds up the processes below each of `roots`, which are pids and what to call them.
fn survey(roots: HashMap<i32, usize>) -> HashMap<usize, Use> {
    let processes = processes();
    let mut uses: HashMap<usize, Use> = HashMap::new();
    for (pid, process) in &processes {
        let mut ancestor = *pid;
        // A pid can be another process's by now, so that parents could form a ring.
        for _ in 0..processes.len() {
            if let Some(root) = roots.get(&ancestor) {
                let used = uses.entry(*root).or_default();
                used.memory += process.memory;
                used.threads += process.threads;
                break;
            }
            match processes.get(&ancestor) {
                Some(process) => ancestor = process.parent,
                None => break,
            }
        }
    }
    uses
}

/// Threads of all processes in sight.
pub fn threads() -> u64 {
    processes().values().map(|process| process.threads).sum()
}

fn processes() -> HashMap<i32, Process> {
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

#[derive(Default)]
struct Process {
    parent: i32,
    threads: u64,
    /// Bytes that are its own: what is read from files is nobody's memory, and what is shared is there once.
    memory: u64,
}

/// One file tells all. What stat and statm tell is read a little faster, but leaves out the page tables, which can't be
/// estimated by the size of the addresses either: a single page here and there takes a table each.
fn read(pid: i32) -> Option<Process> {
    fs::read(format!("/proc/{pid}/status")).ok().map(|status| parse(&status))
}

/// A process that has ended and was not reaped has no memory, and no lines that tell of it.
fn parse(status: &[u8]) -> Process {
    let mut process = Process::default();
    // Its name is escaped, so that it is one line, and what is not text is in no line that matters.
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

/// Sockets of all kinds in a process's network namespace, those included that no descriptor leads to any more while
/// somebody has yet to read what they sent.
fn sockets(pid: i32) -> u64 {
    let count = |text: String| text.lines().find_map(|line| line.strip_prefix("sockets: used ")?.trim().parse().ok());
    fs::read_to_string(format!("/proc/{pid}/net/sockstat")).ok().and_then(count).unwrap_or(0)
}
