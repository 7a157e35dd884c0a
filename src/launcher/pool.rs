//! How many sandboxes are made ahead of their calls: as many as were lately in use at once, and one more. None before
//! the first call, and none any more when calls have stayed away for long.

use std::time::{Duration, Instant};

use crate::sandbox::Sandbox;

/// How long a ready sandbox waits for a call that does not come.
const IDLE: Duration = Duration::from_secs(300);
/// How long the number of calls at once is remembered.
const MEMORY: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct Pool {
    /// The most to have ready.
    most: usize,
    last_call: Option<Instant>,
    /// The most calls at once since then.
    peak: usize,
    peak_since: Option<Instant>,
}

impl Pool {
    pub fn of(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Notes a call that is about to begin.
    pub fn called(&mut self, sandboxes: &[Sandbox]) {
        let now = Instant::now();
        let at_once = sandboxes.len() - idle(sandboxes) + 1;
        if self.peak_since.is_none_or(|since| now - since > MEMORY) {
            // Halved rather than forgotten: the next burst may be about to come.
            self.peak /= 2;
            self.peak_since = Some(now);
        }
        self.peak = self.peak.max(at_once);
        self.last_call = Some(now);
    }

    /// Makes no more until the next call.
    pub fn pause(&mut self) {
        self.last_call = None;
    }

    /// Whether one more is to be made.
    pub fn wants(&self, sandboxes: &[Sandbox]) -> bool {
        idle(sandboxes) < self.target()
    }

    /// When [`Self::shrink`] may have something to do.
    pub fn next(&self) -> Option<Instant> {
        if self.most > 0 { Some(self.last_call? + IDLE) } else { None }
    }

    /// Lets all go that have waited for too long.
    pub fn shrink(&mut self, sandboxes: &mut [Sandbox]) {
        if self.next().is_some_and(|next| next <= Instant::now()) {
            self.pause();
            sandboxes.iter_mut().filter(|sandbox| sandbox.is_idle()).for_each(Sandbox::cancel);
        }
    }

    fn target(&self) -> usize {
        if self.last_call.is_some() { self.most.min(self.peak + 1) } else { 0 }
    }
}

fn idle(sandboxes: &[Sandbox]) -> usize {
    sandboxes.iter().filter(|sandbox| sandbox.is_idle()).count()
}
