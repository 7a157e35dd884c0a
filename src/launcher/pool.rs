//! How many sandboxes are made ahead of their calls: as many as lately were in use at once, and more as long as calls come
//! faster than sandboxes get ready. None before the first call, and none any more when calls have stayed away for long.

use std::time::{Duration, Instant};

use crate::sandbox::Sandbox;

/// How long a ready sandbox waits for a call that does not come.
const IDLE: Duration = Duration::from_secs(300);
/// How long the demand is remembered.
const MEMORY: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct Pool {
    /// The most to have ready.
    most: usize,
    last_call: Option<Instant>,
    /// How many would have been enough of late.
    wanted: usize,
    wanted_since: Option<Instant>,
}

impl Pool {
    pub fn of(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Notes a call that is about to begin.
    pub fn called(&mut self, sandboxes: &[Sandbox]) {
        let now = Instant::now();
        let at_once = sandboxes.len() - idle(sandboxes) + 1;
        if self.wanted_since.is_none_or(|since| now - since > MEMORY) {
            // Halved rather than forgotten: the next burst may be about to come.
            self.wanted /= 2;
            self.wanted_since = Some(now);
        }
        self.wanted = self.wanted.max(at_once);
        if !sandboxes.iter().any(|sandbox| sandbox.is_idle() && sandbox.ready) {
            self.wanted = self.most.min(self.wanted + 1);
        }
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
        if self.last_call.is_some() { self.most.min(self.wanted) } else { 0 }
    }
}

fn idle(sandboxes: &[Sandbox]) -> usize {
    sandboxes.iter().filter(|sandbox| sandbox.is_idle()).count()
}
