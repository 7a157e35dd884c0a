//! Looks at running sandboxes again and again: for limits that no control group enforces, and for the alarms of control
//! groups.
//!
//! The closer the memory is to its limit, the sooner the next look: memory can't grow faster than the machine
//! fills it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use sandbox_plan::{Limit, Namespace, SandboxEnvironment, Watch};

use crate::sandbox::SandboxInstance;
use crate::usage::{UsageSum, sockets, sum_below};

/// The time from a program's start to the first look at it.
const FIRST_LOOK_DELAY: Duration = Duration::from_millis(10);
/// The bounds of the time between two looks.
const MIN_INTERVAL: Duration = Duration::from_millis(3);
const MAX_INTERVAL: Duration = Duration::from_millis(100);
/// The longest time between two looks at a sandbox whose number of processes the kernel does not bound: it can make
/// some ten a millisecond.
const MAX_INTERVAL_WITHOUT_FORK_LIMIT: Duration = Duration::from_millis(4);
/// Processes of a sandbox that are not the program's: pid 1 and the worker.
const OWN_PROCESSES: u64 = 2;
/// Bytes that the processes of a sandbox can fill in a second, by a generous estimate.
const FILL_RATE_BYTES_PER_SECOND: u64 = 4 << 30;

/// Looks at the sandboxes of one keeper.
pub struct Watcher {
    watch: Watch,
    /// Whether control groups have alarms to look at.
    has_alarms: bool,
    next: Cell<Option<Instant>>,
}

/// What a look at one sandbox shows.
struct Look {
    /// A limit that the sandbox must be killed for.
    exceeded: Option<Limit>,
    /// A limit that was met, which explains the program's end if it ends.
    met: Option<Limit>,
    /// When to look again at the latest.
    again_in: Duration,
}

impl Watcher {
    pub fn new(environment: &SandboxEnvironment) -> Self {
        let has_alarms = environment.cgroups.iter().any(|cgroup| !cgroup.alarms.is_empty());
        let mut watch = environment.watch;
        // Without a network namespace the sockets that can be counted are those of the whole machine.
        watch.socket = watch.socket.filter(|_| environment.namespaces.contains(&Namespace::Network));
        Self { watch, has_alarms, next: Cell::new(None) }
    }

    /// Returns when to look, if anything is running that must be looked at.
    pub fn next(&self, sandboxes: &[SandboxInstance]) -> Option<Instant> {
        if !self.has_work() || !sandboxes.iter().any(SandboxInstance::is_running) {
            self.next.set(None);
            return None;
        }
        let next = self.next.get().unwrap_or_else(|| Instant::now() + FIRST_LOOK_DELAY);
        self.next.set(Some(next));
        Some(next)
    }

    /// Returns which sandboxes have exceeded which limit, if it is time to look.
    pub fn look(&mut self, sandboxes: &[SandboxInstance]) -> Vec<(usize, Limit)> {
        if self.next.get().is_none_or(|next| next > Instant::now()) {
            return Vec::new();
        }
        let running: Vec<usize> = (0..sandboxes.len()).filter(|index| sandboxes[*index].is_running()).collect();
        let mut usages = if self.counts_processes() {
            sum_below(&running.iter().map(|index| (sandboxes[*index].pid, *index)).collect())
        } else {
            Default::default()
        };
        let mut interval = if self.watch.ends_forks { MAX_INTERVAL_WITHOUT_FORK_LIMIT } else { MAX_INTERVAL };
        let mut exceeded = Vec::new();
        for index in running {
            let look = self.look_at(&sandboxes[index], &usages.remove(&index).unwrap_or_default());
            exceeded.extend(look.exceeded.map(|limit| (index, limit)));
            if let Some(limit) = look.met {
                sandboxes[index].note(limit);
            }
            interval = interval.min(look.again_in);
        }
        self.next.set(Some(Instant::now() + interval));
        exceeded
    }

    fn has_work(&self) -> bool {
        self.has_alarms || self.counts_processes()
    }

    fn counts_processes(&self) -> bool {
        self.watch.memory.is_some() || self.watch.processes.is_some()
    }

    fn look_at(&self, sandbox: &SandboxInstance, usage: &UsageSum) -> Look {
        let (memory, again_in) = match self.watch.memory {
            Some(limit) => check_memory(self.memory_used(sandbox, usage), limit),
            None => (None, MAX_INTERVAL),
        };
        let memory = memory.or_else(|| memory_alarm(sandbox));
        let (processes, met) = check_processes(&self.watch, usage.threads);
        Look { exceeded: memory.or(processes), met, again_in }
    }

    /// Adds up the memory of a sandbox: that of its processes and private directories, and the most that its sockets
    /// can hold. In bytes.
    fn memory_used(&self, sandbox: &SandboxInstance, usage: &UsageSum) -> u64 {
        // Before it is ready, its network namespace can be another's.
        let socket = self.watch.socket.filter(|_| sandbox.ready);
        let buffers = socket.map_or(0, |size| sockets(sandbox.pid).saturating_mul(size));
        usage.memory.saturating_add(sandbox.scratch_used()).saturating_add(buffers)
    }
}

/// Returns whether a limit is exceeded, and after which time it can be at the earliest. In bytes.
fn check_memory(used: u64, limit: u64) -> (Option<Limit>, Duration) {
    match limit.checked_sub(used) {
        None => (Some(Limit::Memory { bytes: limit }), MAX_INTERVAL),
        Some(free) => {
            let filled_in = Duration::from_micros(free / (FILL_RATE_BYTES_PER_SECOND / 1_000_000));
            (None, filled_in.clamp(MIN_INTERVAL, MAX_INTERVAL))
        }
    }
}

/// Returns whether the limit on processes is exceeded, and whether it is met. A program may stay at the limit, unless
/// the kernel does not enforce it.
fn check_processes(watch: &Watch, threads: u64) -> (Option<Limit>, Option<Limit>) {
    let met = watch.processes.filter(|count| threads >= *count);
    let exceeded = met.filter(|count| watch.ends_forks && threads > count + OWN_PROCESSES);
    let limit = |count| Limit::Processes { count };
    (exceeded.map(limit), met.map(limit))
}

/// Returns the memory limit that a control group has enforced. Its limit on processes does not end a program.
fn memory_alarm(sandbox: &SandboxInstance) -> Option<Limit> {
    sandbox.alarm().filter(|limit| matches!(limit, Limit::Memory { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_near_the_limit_is_looked_at_sooner() {
        let limit = 8 << 30;
        let (none, far) = check_memory(0, limit);
        let (_, near) = check_memory(limit - (64 << 20), limit);
        let (_, at) = check_memory(limit, limit);
        assert_eq!((none, far, at), (None, MAX_INTERVAL, MIN_INTERVAL));
        assert!(near > MIN_INTERVAL && near < MAX_INTERVAL, "{near:?}");
    }

    #[test]
    fn memory_beyond_the_limit_exceeds_it() {
        assert_eq!(check_memory(11, 10).0, Some(Limit::Memory { bytes: 10 }));
        assert_eq!(check_memory(10, 10).0, None);
    }

    #[test]
    fn processes_at_the_limit_are_noted_and_not_ended() {
        let watch = Watch { processes: Some(10), ..Watch::default() };
        let limit = Some(Limit::Processes { count: 10 });
        assert_eq!(check_processes(&watch, 9), (None, None));
        assert_eq!(check_processes(&watch, 50), (None, limit));
        let ends = Watch { ends_forks: true, ..watch };
        assert_eq!(check_processes(&ends, 12), (None, limit));
        assert_eq!(check_processes(&ends, 13), (limit, limit));
    }
}
