//! One sandbox, as its keeper sees it: from the clone of its first process until nothing of it is left.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Write};
use std::mem::take;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sandbox_plan::{
    CALL_SIZE, Ending, Environment, Failure, LARGEST_REPORT, Limit, Namespace, Report, Usage, decode, encode,
    parse_call_header, write_message,
};

use crate::cgroup::Group;
use crate::descendants;
use crate::fault::failed;
use crate::init::{self, Birth};
use crate::mould::{Mould, map_users};
use crate::sys::{self, Signal, Wait};

pub struct Sandbox {
    pub pid: i32,
    pidfd: OwnedFd,
    /// The other end is pid 1's, and nobody else's.
    channel: UnixStream,
    received: Vec<u8>,
    pid_namespace: bool,
    group: Group,
    /// Keeps its mount namespace. When the last reference to one goes, the kernel waits for all processors, which pid 1
    /// would otherwise do before anybody sees its end.
    namespace: Option<OwnedFd>,
    /// Of the file system of its private directories.
    scratch: Option<OwnedFd>,
    /// The directories that are the server's in the end.
    handed_over: Vec<OwnedFd>,
    /// All is made that can be made before a call.
    pub ready: bool,
    pub run: Option<Run>,
    /// Pid 1's last word, or why it can't have one any more.
    last: Option<Report>,
    killed: bool,
    noted: Cell<Option<Limit>>,
}

/// A call in its sandbox.
pub struct Run {
    call: UnixStream,
    /// None: beyond the end of time.
    end: Option<Instant>,
    allowance: Duration,
    started: bool,
    cancelled: bool,
}

/// What a call comes with.
pub struct Handover {
    pub call: UnixStream,
    pub outputs: [OwnedFd; 2],
    pub header: [u8; CALL_SIZE],
}

impl Sandbox {
    /// Begins a sandbox, `ahead` of its call or for one that is waiting.
    pub fn start(mould: &mut Mould, ahead: bool) -> Result<Self, Failure> {
        let (channel, keeper) = UnixStream::pair().map_err(failed("make a socket pair"))?;
        channel.set_nonblocking(true).map_err(failed("make a socket pair"))?;
        let group = mould.groups.make(mould.made)?;
        let processors = mould.next_processors();
        let cloned = sys::clone_process(mould.at_clone).map_err(failed("make the sandbox's namespaces"));
        let (pid, pidfd) = match cloned {
            Ok(Some(child)) => child,
            Ok(None) => {
                let birth = Birth {
                    environment: Environment {
                        view: take(&mut mould.environment.view),
                        sandbox: take(&mut mould.environment.sandbox),
                        walls: take(&mut mould.environment.walls),
                        ahead: take(&mut mould.environment.ahead).filter(|_| ahead),
                        ..mould.environment.clone()
                    },
                    namespaces: mould.at_birth,
                    sole_user: mould.sole_user,
                    processors,
                };
                enter(birth, &group, keeper, &mould.null);
            }
            Err(failure) => {
                group.remove();
                return Err(failure);
            }
        };
        mould.made += 1;
        let pid_namespace = mould.at_clone & libc::CLONE_NEWPID != 0;
        let mut sandbox = Self {
            pid,
            pidfd,
            channel,
            received: Vec::new(),
            pid_namespace,
            group,
            namespace: None,
            scratch: None,
            handed_over: Vec::new(),
            ready: false,
            run: None,
            last: None,
            killed: false,
            noted: Cell::new(None),
        };
        let released = sandbox.release(mould);
        if let Err(failure) = released {
            sandbox.kill();
            sandbox.clear_away().1.let_go(None);
            return Err(failure);
        }
        Ok(sandbox)
    }

    /// Lets pid 1 go to work.
    fn release(&mut self, mould: &Mould) -> Result<(), Failure> {
        if mould.environment.namespaces.contains(&Namespace::User) {
            map_users(self.pid, &mould.environment.identity, mould.sole_user)?;
        }
        // If pid 1 is gone already, the watch finds out.
        let _ = self.channel.write_all(&[0]);
        Ok(())
    }

    /// Gives it a call. To be done once.
    pub fn give(&mut self, handover: Handover) {
        let Handover { call, outputs: [stdout, stderr], header } = handover;
        // If pid 1 is gone already, the watch finds out.
        let _ = sys::send_descriptors(self.channel.as_fd(), &[0], &[call.as_fd(), stdout.as_fd(), stderr.as_fd()]);
        let allowance = parse_call_header(header);
        let end = Instant::now().checked_add(allowance);
        self.run = Some(Run { call, end, allowance, started: false, cancelled: false });
    }

    /// What to wait for: pid 1's word, its end, and the end of whoever called.
    pub fn events(&self) -> [Wait<'_>; 3] {
        let channel = if self.last.is_none() { Wait::Readable(self.channel.as_fd()) } else { Wait::Nothing };
        let caller = match &self.run {
            Some(run) if !run.cancelled => Wait::HungUp(run.call.as_fd()),
            _ => Wait::Nothing,
        };
        [channel, Wait::Readable(self.pidfd.as_fd()), caller]
    }

    /// When the keeper must look at it, whatever happens.
    pub fn end(&self) -> Option<Instant> {
        if self.killed { None } else { self.run.as_ref()?.end }
    }

    /// Reacts to what occurred of [`Self::events`]. True: the sandbox has come to its end, and is to be cleared away.
    pub fn react(&mut self, told: bool, gone: bool, hung_up: bool) -> bool {
        if told {
            self.listen();
        }
        if hung_up && let Some(run) = &mut self.run {
            run.cancelled = true;
            self.kill();
        }
        if self.end().is_some_and(|end| end <= Instant::now()) && self.last.is_none() {
            self.condemn(Report::Ended { ending: Ending::TimedOut, usage: Usage::default() });
        }
        // Without a pid namespace, the program's end is to be seen to by the keeper.
        gone || self.killed && !self.pid_namespace
    }

    /// Ends it with a word that is not pid 1's.
    pub fn condemn(&mut self, report: Report) {
        if self.last.is_none() {
            self.last = Some(report);
            self.kill();
        }
    }

    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        let hung_up = match sys::receive_descriptors(self.channel.as_fd(), &mut buffer) {
            Ok((count, descriptors)) => {
                self.received.extend(&buffer[..count]);
                let mut descriptors = descriptors.into_iter();
                self.namespace = descriptors.next().or(self.namespace.take());
                self.scratch = descriptors.next().or(self.scratch.take());
                self.handed_over.extend(descriptors);
                count == 0
            }
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        };
        while self.last.is_none() {
            match decode(&mut self.received, LARGEST_REPORT) {
                Ok(Some(report)) => self.hear(report),
                Ok(None) if !hung_up => break,
                Ok(None) | Err(_) => self.condemn(self.lost()),
            }
        }
    }

    fn hear(&mut self, report: Report) {
        match (report, &mut self.run) {
            (Report::Ready, _) => self.ready = true,
            (Report::Started, Some(run)) => {
                run.started = true;
                run.end = Instant::now().checked_add(run.allowance);
            }
            (report, _) => self.condemn(report),
        }
    }

    /// Pid 1 was killed before it could say more. Without a pid namespace the program can do that.
    fn lost(&self) -> Report {
        match &self.run {
            Some(run) if run.started => {
                Report::Ended { ending: Ending::Signalled { signal: libc::SIGKILL }, usage: Usage::default() }
            }
            _ => Report::Failed(Failure {
                operation: "set the sandbox up: its first process was killed".to_owned(),
                errno: libc::ECHILD,
            }),
        }
    }

    pub fn kill(&mut self) {
        self.killed = true;
        sys::send_signal(self.pidfd.as_fd(), Signal::KILL);
    }

    /// Ends it without an answer.
    pub fn cancel(&mut self) {
        if let Some(run) = &mut self.run {
            run.cancelled = true;
        }
        self.kill();
    }

    pub fn is_idle(&self) -> bool {
        self.run.is_none() && !self.killed && self.last.is_none()
    }

    pub fn is_running(&self) -> bool {
        self.run.is_some() && !self.killed
    }

    /// Remembers a limit that was met, for the program's end.
    pub fn note(&self, limit: Limit) {
        self.noted.set(Some(limit));
    }

    /// How full its private directories are.
    pub fn scratch_used(&self) -> u64 {
        self.scratch.as_ref().and_then(|scratch| sys::bytes_used(scratch.as_fd()).ok()).unwrap_or(0)
    }

    /// The limit that a control group has met.
    pub fn alarm(&self) -> Option<Limit> {
        self.group.alarm()
    }

    /// Waits until no process of the sandbox is left, and tells the caller how it ended.
    pub fn finish(mut self) -> End {
        if self.last.is_none() {
            // What pid 1 said last may not have been heard yet.
            self.listen();
        }
        let alarm = self.group.alarm().or(self.noted.get());
        let told = self.last.take().unwrap_or_else(|| self.lost());
        let run = self.run.take();
        let handed_over = take(&mut self.handed_over);
        // Whatever the end was: the report says that nothing is left.
        let (usage, remains) = self.clear_away();
        let report = over_limit(with_usage(told, usage), alarm);
        let failure = match (run, report) {
            (Some(run), report) => {
                let handed_over: Vec<_> = match report {
                    Report::Ended { .. } => handed_over.iter().map(OwnedFd::as_fd).collect(),
                    _ => Vec::new(),
                };
                if !run.cancelled {
                    // If this fails, nobody is left to be told.
                    let _ = tell(&run.call, &report, &handed_over);
                }
                None
            }
            (None, Report::Failed(failure)) => Some(failure),
            (None, _) => None,
        };
        End { failure, remains }
    }

    fn clear_away(self) -> (Usage, Remains) {
        let usage = if self.pid_namespace {
            // Pid 1 is gone when all others of its namespace are.
            match sys::reap(self.pid, true) {
                Ok(Some(reaped)) => Usage { cpu: reaped.cpu, peak_memory: reaped.peak_memory },
                _ => Usage::default(),
            }
        } else {
            descendants::kill_all()
        };
        (
            usage,
            Remains { descriptors: [self.namespace, self.scratch].into_iter().flatten().collect(), group: self.group },
        )
    }
}

/// How a sandbox came to its end.
pub struct End {
    /// Why it failed, if no call was there to be told.
    pub failure: Option<Failure>,
    pub remains: Remains,
}

/// What is to be let go of when the caller has its answer.
pub struct Remains {
    descriptors: Vec<OwnedFd>,
    group: Group,
}

impl Remains {
    /// The last reference to file systems and a mount namespace takes long to drop, so that it is `closer`'s to do.
    pub fn let_go(self, closer: Option<&UnixStream>) {
        if let Some(closer) = closer {
            let descriptors: Vec<BorrowedFd> = self.descriptors.iter().map(OwnedFd::as_fd).collect();
            // If there is no room, they are dropped here.
            let _ = sys::send_descriptors(closer.as_fd(), &[0], &descriptors);
        }
        drop(self.descriptors);
        self.group.remove();
    }
}

/// What pid 1 and its children took includes the processes that were killed at the end; but its memory held the call,
/// so that the program's peak is better told by pid 1, if it could.
fn with_usage(report: Report, usage: Usage) -> Report {
    match report {
        Report::Ended { ending, usage: told } => {
            let peak_memory = if told == Usage::default() { usage.peak_memory } else { told.peak_memory };
            Report::Ended { ending, usage: Usage { cpu: usage.cpu, peak_memory } }
        }
        report => report,
    }
}

/// A limit that was met explains an end that would otherwise be a bare signal or status. A status of success is no better:
/// shells tell it of programs that could not start what they were to start.
fn over_limit(report: Report, alarm: Option<Limit>) -> Report {
    match (report, alarm) {
        (Report::Ended { ending, usage }, Some(limit)) => {
            let explained = match limit {
                Limit::Memory { .. } => true,
                Limit::Processes { .. } => ending != Ending::TimedOut,
            };
            Report::Ended { ending: if explained { Ending::OverLimit { limit } } else { ending }, usage }
        }
        // The call's files alone were too much.
        (Report::Failed(Failure { errno: libc::ECHILD, .. }), Some(limit @ Limit::Memory { .. })) => {
            Report::Ended { ending: Ending::OverLimit { limit }, usage: Usage::default() }
        }
        (report, _) => report,
    }
}

/// Sends a report without waiting: whoever does not read must not hold the others up.
pub fn tell(call: &UnixStream, report: &Report, handed_over: &[BorrowedFd]) -> io::Result<()> {
    sys::send_descriptors(call.as_fd(), &encode(report)?, handed_over)
}

fn enter(birth: Birth, group: &Group, mut keeper: UnixStream, null: &File) -> ! {
    if let Err(failure) = group.join() {
        let _ = write_message(&mut keeper, &Report::Failed(failure));
        sys::exit(1);
    }
    match sys::detach(null, keeper.as_fd()) {
        Ok(()) => init::run(birth, keeper),
        Err(_) => sys::exit(1),
    }
}
