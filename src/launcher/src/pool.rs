//! How many sandboxes are made ahead of their calls: as many as lately were in use at once, and more as long as calls come
//! faster than sandboxes get ready. None before the first call, and none any more when calls have stayed away for long.

use std::time::{Duration, Instant};

use crate::sandbox::Sandbox;

/// How long a ready sandbox waits for a call that does not come.
const IDLE: Duration = Duration::from_secs(300);
/// How long the demand is remembered.
const MEMORY: Duration = Duration::from_secs(30);
/// For how long a program that is started ahead leaves the processors to calls: most have ended by then.
const HEAD_START: Duration = Duration::from_millis(250);

#[derive(Default)]
pub struct Pool {
    /// The most to have ready.
    most: usize,
    last_call: Option<Instant>,
    /// How many would have been enough of late.
    wanted: usize,
    wanted_since: Option<Instant>,
    /// Whether making one takes a processor for as long as a call does.
    slow: bool,
    /// Since when there are fewer than there should be.
    short_since: Option<Instant>,
}

impl Pool {
    /// `slow`: programs are started ahead in the sandboxes.
    pub fn of(most: usize, slow: bool) -> Self {
        Self { most, slow, ..Self::default() }
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

    /// Whether one more is to be made now.
    pub fn wants(&mut self, sandboxes: &[Sandbox]) -> bool {
        if idle(sandboxes) >= self.target() {
            self.short_since = None;
            return false;
        }
        let since = *self.short_since.get_or_insert_with(Instant::now);
        !self.slow || since.elapsed() >= HEAD_START || !sandboxes.iter().any(Sandbox::is_running)
    }

    /// When there may be something to do without anything having occurred.
    pub fn next(&self) -> Option<Instant> {
        let later = self.short_since.filter(|_| self.slow).map(|since| since + HEAD_START);
        later.into_iter().chain(self.idle_end()).min()
    }

    /// When those that are ready have waited for too long.
    fn idle_end(&self) -> Option<Instant> {
        if self.most > 0 { Some(self.last_call? + IDLE) } else { None }
    }

    /// Lets all go that have waited for too long.
    pub fn shrink(&mut self, sandboxes: &mut [Sandbox]) {
        if self.idle_end().is_some_and(|end| end <= Instant::now()) {
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
