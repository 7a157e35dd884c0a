//! The one loop over sandboxes: takes calls, gives each a sandbox, watches them all, and clears away.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sandbox_plan::{CALL_SIZE, Ending, Failure, Report, Usage};

use crate::mould::Mould;
use crate::pool::Pool;
use crate::sandbox::{Handover, Sandbox, tell};
use crate::sys::{self, Wait};
use crate::watch::Watcher;

pub struct Keeper<'server> {
    mould: Mould,
    /// Where calls come in. None: no more calls will come than there are.
    control: Option<&'server UnixStream>,
    /// Whoever closes what takes long to be closed.
    closer: Option<UnixStream>,
    /// Those whose death ends everything.
    wardens: Vec<OwnedFd>,
    sandboxes: Vec<Sandbox>,
    pool: Pool,
    watcher: Watcher,
}

impl<'server> Keeper<'server> {
    /// For all calls that come in by `control`.
    pub fn of_many(mould: Mould, control: &'server UnixStream, closer: UnixStream, pool: Pool) -> Self {
        Self { closer: Some(closer), ..Self::new(mould, Some(control), Vec::new(), pool) }
    }

    /// For one call, which is there already.
    pub fn of_one(mould: Mould, wardens: Vec<OwnedFd>) -> Self {
        Self::new(mould, None, wardens, Pool::default())
    }

    fn new(mould: Mould, control: Option<&'server UnixStream>, wardens: Vec<OwnedFd>, pool: Pool) -> Self {
        let watcher = Watcher::new(&mould.environment);
        Self { mould, control, closer: None, wardens, sandboxes: Vec::new(), pool, watcher }
    }

    /// Works until no call can come any more, or a warden is dead. Nothing of any sandbox is left then.
    pub fn work(&mut self) {
        while self.control.is_some() || !self.sandboxes.is_empty() {
            match self.turn() {
                Ok(true) => {}
                Ok(false) | Err(_) => break,
            }
        }
        for mut sandbox in self.sandboxes.drain(..) {
            sandbox.cancel();
            sandbox.finish().remains.let_go(None);
        }
    }

    /// One turn of the loop. False: a warden or the server is gone.
    fn turn(&mut self) -> io::Result<bool> {
        let wants = self.pool.wants(&self.sandboxes);
        let timeout = if wants { Some(Duration::ZERO) } else { self.patience() };
        let mut events: Vec<Wait> = self.wardens.iter().map(|warden| Wait::Readable(warden.as_fd())).collect();
        events.push(self.control.map_or(Wait::Nothing, |control| Wait::Readable(control.as_fd())));
        events.extend(self.sandboxes.iter().flat_map(Sandbox::events));
        let occurred = sys::wait(&events, timeout)?;
        let (wardens, occurred) = occurred.split_at(self.wardens.len());
        let (called, of_sandboxes) = occurred.split_at(1);
        if wardens.contains(&true) {
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

    /// Until when nothing has to be done unless something occurs.
    fn patience(&self) -> Option<Duration> {
        let ends = self.sandboxes.iter().filter_map(Sandbox::end);
        let next = ends.chain(self.watcher.next(&self.sandboxes)).chain(self.pool.next()).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn react(&mut self, occurred: &[bool]) {
        let mut index = 0;
        let ended = self.sandboxes.extract_if(.., |sandbox| {
            let [told, gone, hung_up] = [0, 1, 2].map(|event| occurred[3 * index + event]);
            index += 1;
            sandbox.react(told, gone, hung_up)
        });
        for sandbox in ended {
            let end = sandbox.finish();
            end.remains.let_go(self.closer.as_ref());
            if end.failure.is_some() {
                // What failed without a call would fail again. The next call tries for itself, and is told why.
                self.pool.pause();
            }
        }
    }

    /// Ends what is over its limits.
    fn look_around(&mut self) {
        for (index, limit) in self.watcher.look(&self.sandboxes) {
            let report = Report::Ended { ending: Ending::OverLimit { limit }, usage: Usage::default() };
            self.sandboxes[index].condemn(report);
        }
    }

    /// Takes the next call. False: there will be no more.
    fn take_call(&mut self) -> bool {
        let Some(control) = self.control else { return false };
        let mut header = [0; CALL_SIZE];
        match sys::receive_descriptors(control.as_fd(), &mut header) {
            Ok((CALL_SIZE, descriptors)) => {
                // Without its descriptors a call can't even be refused.
                if let Ok([call, stdout, stderr]) = <[OwnedFd; 3]>::try_from(descriptors) {
                    self.begin(Handover { call: call.into(), outputs: [stdout, stderr], header });
                }
                true
            }
            _ => false,
        }
    }

    /// Gives the call a sandbox of its own.
    pub fn begin(&mut self, handover: Handover) {
        self.pool.called(&self.sandboxes);
        let idle = self.sandboxes.iter().filter(|sandbox| sandbox.is_idle());
        let best = idle.max_by_key(|sandbox| sandbox.ready).map(|sandbox| sandbox.pid);
        if let Some(sandbox) = self.sandboxes.iter_mut().find(|sandbox| Some(sandbox.pid) == best) {
            return sandbox.give(handover);
        }
        match Sandbox::start(&mut self.mould, false) {
            Ok(mut sandbox) => {
                sandbox.give(handover);
                self.sandboxes.push(sandbox);
            }
            Err(failure) => refuse(&handover, failure),
        }
    }

    fn make_ready(&mut self) {
        match Sandbox::start(&mut self.mould, true) {
            Ok(sandbox) => self.sandboxes.push(sandbox),
            Err(_) => self.pool.pause(),
        }
    }
}

fn refuse(handover: &Handover, failure: Failure) {
    // If this fails, nobody is left to be told.
    let _ = tell(&handover.call, &Report::Failed(failure), &[]);
}
