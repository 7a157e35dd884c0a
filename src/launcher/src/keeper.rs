//! The loop over all sandboxes of a launcher: takes calls, gives each a sandbox, watches the sandboxes, and clears them
//! away.

use std::cmp::Reverse;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sandbox_plan::{CALL_HEADER_BYTES, Ending, Failure, Report, Usage};

use crate::pool::ReadyPool;
use crate::processors::ProcessorLoad;
use crate::sandbox::{CallDescriptors, SandboxInstance, send_report};
use crate::sys::{self, Wait};
use crate::template::SandboxTemplate;
use crate::watch::Watcher;

/// Keeps the sandboxes of a launcher.
pub struct Keeper<'server> {
    template: SandboxTemplate,
    /// Where calls come in; `None` for a launcher of one sandbox, whose call is there already.
    control: Option<&'server UnixStream>,
    /// Leads to a process that closes descriptors whose closing is slow.
    reaper_socket: Option<UnixStream>,
    /// Pidfds; if one becomes readable, everything is torn down.
    parents: Vec<OwnedFd>,
    sandboxes: Vec<SandboxInstance>,
    pool: ReadyPool,
    watcher: Watcher,
}

impl<'server> Keeper<'server> {
    /// Makes a keeper for all calls that come in by `control`.
    pub fn of_many(
        template: SandboxTemplate,
        control: &'server UnixStream,
        reaper_socket: UnixStream,
        pool: ReadyPool,
    ) -> Self {
        Self { reaper_socket: Some(reaper_socket), ..Self::new(template, Some(control), Vec::new(), pool) }
    }

    /// Makes a keeper for one call, which is there already.
    pub fn of_one(template: SandboxTemplate, parents: Vec<OwnedFd>) -> Self {
        Self::new(template, None, parents, ReadyPool::default())
    }

    fn new(
        template: SandboxTemplate,
        control: Option<&'server UnixStream>,
        parents: Vec<OwnedFd>,
        pool: ReadyPool,
    ) -> Self {
        let watcher = Watcher::new(&template.environment);
        Self { template, control, reaper_socket: None, parents, sandboxes: Vec::new(), pool, watcher }
    }

    /// Works until no more calls can come, or a parent has died. No process of a sandbox is left then.
    pub fn work(&mut self) {
        while self.control.is_some() || !self.sandboxes.is_empty() {
            match self.turn() {
                Ok(true) => {}
                Ok(false) | Err(_) => break,
            }
        }
        for mut sandbox in self.sandboxes.drain(..) {
            sandbox.cancel();
            sandbox.finish().remains.release(None);
        }
    }

    /// Does one turn of the loop. Returns false if a parent or the server is gone.
    fn turn(&mut self) -> io::Result<bool> {
        let wants = self.pool.wants(&self.sandboxes);
        let timeout = if wants { Some(Duration::ZERO) } else { self.time_to_next_look() };
        let mut events: Vec<Wait> = self.parents.iter().map(|parent| Wait::Readable(parent.as_fd())).collect();
        events.push(self.control.map_or(Wait::Nothing, |control| Wait::Readable(control.as_fd())));
        events.extend(self.sandboxes.iter().flat_map(SandboxInstance::events));
        let occurred = sys::wait(&events, timeout)?;
        let (parents, occurred) = occurred.split_at(self.parents.len());
        let (called, of_sandboxes) = occurred.split_at(1);
        if parents.contains(&true) {
            return Ok(false);
        }
        self.react(of_sandboxes);
        self.look_around();
        if called[0] && !self.take_call() {
            return Ok(false);
        }
        // Only when there is nothing better to do.
        if wants && !occurred.contains(&true) {
            self.make_ready();
        }
        self.pool.shrink(&mut self.sandboxes);
        Ok(true)
    }

    /// Returns the time in which nothing has to be done unless an event occurs; `None` if it has no end.
    fn time_to_next_look(&self) -> Option<Duration> {
        let ends = self.sandboxes.iter().filter_map(SandboxInstance::end);
        let next = ends.chain(self.watcher.next(&self.sandboxes)).chain(self.pool.next()).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Lets each sandbox react to its events, and finishes those that have ended.
    fn react(&mut self, occurred: &[bool]) {
        let mut index = 0;
        let ended = self.sandboxes.extract_if(.., |sandbox| {
            let [reported, gone, hung_up] = [0, 1, 2].map(|event| occurred[3 * index + event]);
            index += 1;
            sandbox.react(reported, gone, hung_up)
        });
        for sandbox in ended {
            let end = sandbox.finish();
            end.remains.release(self.reaper_socket.as_ref());
            if end.failure.is_some() {
                // The next sandbox would fail as well. The next call tries for itself, and gets the reason.
                self.pool.pause();
            }
        }
    }

    /// Kills sandboxes that have exceeded a limit.
    fn look_around(&mut self) {
        for (index, limit) in self.watcher.look(&self.sandboxes) {
            let report = Report::Ended { ending: Ending::OverLimit { limit }, usage: Usage::default() };
            self.sandboxes[index].kill_with(report);
        }
    }

    /// Takes the next call. Returns false if there will be no more.
    fn take_call(&mut self) -> bool {
        let Some(control) = self.control else { return false };
        let mut header = [0; CALL_HEADER_BYTES];
        match sys::receive_descriptors(control.as_fd(), &mut header) {
            Ok((CALL_HEADER_BYTES, descriptors)) => {
                // A call without its descriptors can't even be refused.
                if let Ok([caller, stdout, stderr]) = <[OwnedFd; 3]>::try_from(descriptors) {
                    self.begin(CallDescriptors { caller: caller.into(), outputs: [stdout, stderr], header });
                }
                true
            }
            _ => false,
        }
    }

    /// Gives the call a sandbox of its own.
    pub fn begin(&mut self, descriptors: CallDescriptors) {
        self.pool.called(&self.sandboxes);
        let idle = self.sandboxes.iter().filter(|sandbox| sandbox.is_idle());
        let load = self.load();
        let calls = |sandbox: &SandboxInstance| load.calls_on(sandbox.processors.as_deref().unwrap_or_default());
        let best = idle.max_by_key(|sandbox| (sandbox.ready, Reverse(calls(sandbox)))).map(|sandbox| sandbox.pid);
        if let Some(sandbox) = self.sandboxes.iter_mut().find(|sandbox| Some(sandbox.pid) == best) {
            return sandbox.give(descriptors);
        }
        match SandboxInstance::start(&mut self.template, &load, false) {
            Ok(mut sandbox) => {
                sandbox.give(descriptors);
                self.sandboxes.push(sandbox);
            }
            Err(failure) => refuse(&descriptors, failure),
        }
    }

    /// Returns how many sandboxes stay on each processor.
    fn load(&self) -> ProcessorLoad {
        let mut load = ProcessorLoad::default();
        for sandbox in &self.sandboxes {
            load.add(sandbox.processors.as_deref().unwrap_or_default(), !sandbox.is_idle());
        }
        load
    }

    /// Starts making a sandbox ahead of its call.
    fn make_ready(&mut self) {
        let load = self.load();
        match SandboxInstance::start(&mut self.template, &load, true) {
            Ok(sandbox) => self.sandboxes.push(sandbox),
            Err(_) => self.pool.pause(),
        }
    }
}

/// Reports to the caller why there is no sandbox for its call.
fn refuse(descriptors: &CallDescriptors, failure: Failure) {
    // If this fails, the caller is gone.
    let _ = send_report(&descriptors.caller, &Report::Failed(failure), &[]);
}
