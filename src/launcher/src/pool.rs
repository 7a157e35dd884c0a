//! How many sandboxes are made ahead of their calls: as many as were recently in use at once, and more while calls come
//! faster than sandboxes get ready. None are made before the first call, nor after a long time without calls.

use std::time::{Duration, Instant};

use crate::sandbox::SandboxInstance;

/// How long ready sandboxes are kept without a call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the demand is remembered.
const DEMAND_WINDOW: Duration = Duration::from_secs(30);
/// How long the start of a program ahead of its call is put off while other calls run: most have ended by then.
const AHEAD_DELAY: Duration = Duration::from_millis(250);

/// Decides how many sandboxes to have ready.
#[derive(Default)]
pub struct ReadyPool {
    /// The largest number to have ready.
    max_ready: usize,
    last_call: Option<Instant>,
    /// How many would have been enough recently.
    wanted: usize,
    wanted_since: Option<Instant>,
    /// Whether making one takes a processor for as long as a call does.
    slow: bool,
    /// Since when there have been fewer than there should be.
    short_since: Option<Instant>,
}

impl ReadyPool {
    /// Makes a pool. `slow`: programs are started ahead in the sandboxes.
    pub fn of(max_ready: usize, slow: bool) -> Self {
        Self { max_ready, slow, ..Self::default() }
    }

    /// Notes a call that is about to start.
    pub fn called(&mut self, sandboxes: &[SandboxInstance]) {
        let now = Instant::now();
        let at_once = sandboxes.len() - idle(sandboxes) + 1;
        if self.wanted_since.is_none_or(|since| now - since > DEMAND_WINDOW) {
            // Halved and not reset: the next burst may be about to come.
            self.wanted /= 2;
            self.wanted_since = Some(now);
        }
        self.wanted = self.wanted.max(at_once);
        if !sandboxes.iter().any(|sandbox| sandbox.is_idle() && sandbox.ready) {
            self.wanted = self.max_ready.min(self.wanted + 1);
        }
        self.last_call = Some(now);
    }

    /// Stops making sandboxes until the next call.
    pub fn pause(&mut self) {
        self.last_call = None;
    }

    /// Returns whether one more is to be made now.
    pub fn wants(&mut self, sandboxes: &[SandboxInstance]) -> bool {
        if idle(sandboxes) >= self.target() {
            self.short_since = None;
            return false;
        }
        let since = *self.short_since.get_or_insert_with(Instant::now);
        !self.slow || since.elapsed() >= AHEAD_DELAY || !sandboxes.iter().any(SandboxInstance::is_running)
    }

    /// Returns when there may be something to do even if no event occurs.
    pub fn next(&self) -> Option<Instant> {
        let later = self.short_since.filter(|_| self.slow).map(|since| since + AHEAD_DELAY);
        later.into_iter().chain(self.idle_end()).min()
    }

    /// Returns when the ready sandboxes will have waited for too long.
    fn idle_end(&self) -> Option<Instant> {
        if self.max_ready > 0 { Some(self.last_call? + IDLE_TIMEOUT) } else { None }
    }

    /// Cancels the ready sandboxes if they have waited for too long.
    pub fn shrink(&mut self, sandboxes: &mut [SandboxInstance]) {
        if self.idle_end().is_some_and(|end| end <= Instant::now()) {
            self.pause();
            sandboxes.iter_mut().filter(|sandbox| sandbox.is_idle()).for_each(SandboxInstance::cancel);
        }
    }

    fn target(&self) -> usize {
        if self.last_call.is_some() { self.max_ready.min(self.wanted) } else { 0 }
    }
}

fn idle(sandboxes: &[SandboxInstance]) -> usize {
    sandboxes.iter().filter(|sandbox| sandbox.is_idle()).count()
}
