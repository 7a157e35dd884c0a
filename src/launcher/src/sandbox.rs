//! One sandbox, as its keeper sees it: from the clone of its first process until all its processes are gone.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Write};
use std::mem::take;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sandbox_plan::{
    CALL_HEADER_BYTES, Ending, Failure, Limit, MAX_REPORT_BYTES, Namespace, Report, Usage, decode, encode,
    parse_call_header, write_message,
};

use crate::cgroup::Group;
use crate::descendants;
use crate::fault::failed;
use crate::init;
use crate::processors::ProcessorLoad;
use crate::sys::{self, Signal, Wait};
use crate::template::{InitArguments, SandboxTemplate, map_users};

/// A sandbox that is being made, is ready or runs a call.
pub struct SandboxInstance {
    pub pid: i32,
    pidfd: OwnedFd,
    /// Connects the keeper with pid 1.
    channel: UnixStream,
    received: Vec<u8>,
    pid_namespace: bool,
    /// The processors that its programs stay on; `None` if they may use all.
    pub processors: Option<Vec<usize>>,
    group: Group,
    /// Keeps its mount namespace. When the last reference to a mount namespace is dropped, the kernel waits for all
    /// processors. Without this descriptor, pid 1 would do so before its end can be seen.
    namespace: Option<OwnedFd>,
    /// A descriptor of the file system of its private directories.
    scratch: Option<OwnedFd>,
    /// The directories that the server gets in the end.
    handed_over: Vec<OwnedFd>,
    /// Whether everything is made that can be made before a call.
    pub ready: bool,
    call: Option<RunningCall>,
    /// Pid 1's last report, or the report that takes its place.
    last: Option<Report>,
    killed: bool,
    /// A limit that was met, for the program's end.
    noted: Cell<Option<Limit>>,
}

/// A call in its sandbox.
struct RunningCall {
    caller: UnixStream,
    /// The deadline; `None` if it overflows `Instant`.
    end: Option<Instant>,
    /// The time that a call may take, once for setting the sandbox up and once for running the program.
    allowance: Duration,
    started: bool,
    cancelled: bool,
}

/// The descriptors that a call comes with, and its header.
pub struct CallDescriptors {
    pub caller: UnixStream,
    /// Where the program's output and its errors go.
    pub outputs: [OwnedFd; 2],
    pub header: [u8; CALL_HEADER_BYTES],
}

impl SandboxInstance {
    /// Starts making a sandbox, `ahead` of its call or for a call that is waiting.
    /// Others load the processors as `load` says.
    pub fn start(template: &mut SandboxTemplate, load: &ProcessorLoad, ahead: bool) -> Result<Self, Failure> {
        let (channel, keeper) = UnixStream::pair().map_err(failed("make a socket pair"))?;
        channel.set_nonblocking(true).map_err(failed("make a socket pair"))?;
        let processors = template.next_processors(load)?;
        let group = template.groups.make(template.made)?;
        let cloned = sys::clone_process(template.at_clone).map_err(failed("make the sandbox's namespaces"));
        let (pid, pidfd) = match cloned {
            Ok(Some(child)) => child,
            Ok(None) => {
                let arguments = template.take_init_arguments(ahead, processors.clone());
                enter(arguments, &group, keeper, &template.null);
            }
            Err(failure) => {
                group.remove();
                return Err(failure);
            }
        };
        template.made += 1;
        let pid_namespace = template.at_clone & libc::CLONE_NEWPID != 0;
        let mut sandbox = Self {
            pid,
            pidfd,
            channel,
            received: Vec::new(),
            pid_namespace,
            processors,
            group,
            namespace: None,
            scratch: None,
            handed_over: Vec::new(),
            ready: false,
            call: None,
            last: None,
            killed: false,
            noted: Cell::new(None),
        };
        let started = sandbox.let_start(template);
        if let Err(failure) = started {
            sandbox.kill();
            sandbox.clear_away().1.release(None);
            return Err(failure);
        }
        Ok(sandbox)
    }

    /// Lets pid 1 start its work.
    fn let_start(&mut self, template: &SandboxTemplate) -> Result<(), Failure> {
        if template.environment.namespaces.contains(&Namespace::User) {
            map_users(self.pid, &template.environment.identity, template.sole_user)?;
        }
        // If pid 1 has ended already, its pidfd tells.
        let _ = self.channel.write_all(&[0]);
        Ok(())
    }

    /// Passes a call to pid 1. To be done once.
    pub fn give(&mut self, descriptors: CallDescriptors) {
        let CallDescriptors { caller, outputs: [stdout, stderr], header } = descriptors;
        // If pid 1 has ended already, its pidfd tells.
        let _ = sys::send_descriptors(self.channel.as_fd(), &[0], &[caller.as_fd(), stdout.as_fd(), stderr.as_fd()]);
        let allowance = parse_call_header(header);
        let end = Instant::now().checked_add(allowance);
        self.call = Some(RunningCall { caller, end, allowance, started: false, cancelled: false });
    }

    /// Returns the events to wait for: a report of pid 1, its end, and the end of the caller.
    pub fn events(&self) -> [Wait<'_>; 3] {
        let channel = if self.last.is_none() { Wait::Readable(self.channel.as_fd()) } else { Wait::Nothing };
        let caller = match &self.call {
            Some(call) if !call.cancelled => Wait::HungUp(call.caller.as_fd()),
            _ => Wait::Nothing,
        };
        [channel, Wait::Readable(self.pidfd.as_fd()), caller]
    }

    /// Returns when the keeper must look at it even if nothing occurs.
    pub fn end(&self) -> Option<Instant> {
        if self.killed { None } else { self.call.as_ref()?.end }
    }

    /// Reacts to the [`Self::events`] that occurred. Returns whether the sandbox has ended and is to be cleared away.
    pub fn react(&mut self, reported: bool, gone: bool, hung_up: bool) -> bool {
        if reported {
            self.listen();
        }
        if hung_up && let Some(call) = &mut self.call {
            call.cancelled = true;
            self.kill();
        }
        if self.end().is_some_and(|end| end <= Instant::now()) && self.last.is_none() {
            self.kill_with(Report::Ended { ending: Ending::TimedOut, usage: Usage::default() });
        }
        // Without a pid namespace, the keeper has to kill the program.
        gone || self.killed && !self.pid_namespace
    }

    /// Kills the sandbox and reports `report` instead of what pid 1 would report.
    pub fn kill_with(&mut self, report: Report) {
        if self.last.is_none() {
            self.last = Some(report);
            self.kill();
        }
    }

    /// Receives the reports that pid 1 has sent, and the descriptors that come with them.
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
            match decode(&mut self.received, MAX_REPORT_BYTES) {
                Ok(Some(report)) => self.hear(report),
                Ok(None) if !hung_up => break,
                Ok(None) | Err(_) => self.kill_with(self.lost()),
            }
        }
    }

    fn hear(&mut self, report: Report) {
        match (report, &mut self.call) {
            (Report::Ready, _) => self.ready = true,
            (Report::Started, Some(call)) => {
                call.started = true;
                call.end = Instant::now().checked_add(call.allowance);
            }
            (report, _) => self.kill_with(report),
        }
    }

    /// Returns the report of a sandbox whose pid 1 was killed before its last report. Without a pid namespace the
    /// program can do that.
    fn lost(&self) -> Report {
        match &self.call {
            Some(call) if call.started => {
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

    /// Kills the sandbox, and reports nothing to the caller.
    pub fn cancel(&mut self) {
        if let Some(call) = &mut self.call {
            call.cancelled = true;
        }
        self.kill();
    }

    pub fn is_idle(&self) -> bool {
        self.call.is_none() && !self.killed && self.last.is_none()
    }

    pub fn is_running(&self) -> bool {
        self.call.is_some() && !self.killed
    }

    /// Notes a limit that was met, to report it if the program ends.
    pub fn note(&self, limit: Limit) {
        self.noted.set(Some(limit));
    }

    /// Returns how full its private directories are, in bytes.
    pub fn scratch_used(&self) -> u64 {
        self.scratch.as_ref().and_then(|scratch| sys::bytes_used(scratch.as_fd()).ok()).unwrap_or(0)
    }

    /// Returns the limit that a control group says was met.
    pub fn alarm(&self) -> Option<Limit> {
        self.group.alarm()
    }

    /// Waits until no process of the sandbox is left, and reports to the caller how it ended.
    pub fn finish(mut self) -> SandboxEnd {
        if self.last.is_none() {
            // Its last report may not have been received yet.
            self.listen();
        }
        let alarm = self.group.alarm().or(self.noted.get());
        let last = self.last.take().unwrap_or_else(|| self.lost());
        let call = self.call.take();
        let handed_over = take(&mut self.handed_over);
        // Before any report, which says that nothing is left.
        let (usage, remains) = self.clear_away();
        let report = over_limit(with_usage(last, usage), alarm);
        let failure = match (call, report) {
            (Some(call), report) => {
                let handed_over: Vec<_> = match report {
                    Report::Ended { .. } => handed_over.iter().map(OwnedFd::as_fd).collect(),
                    _ => Vec::new(),
                };
                if !call.cancelled {
                    // If this fails, the caller is gone.
                    let _ = send_report(&call.caller, &report, &handed_over);
                }
                None
            }
            (None, Report::Failed(failure)) => Some(failure),
            (None, _) => None,
        };
        SandboxEnd { failure, remains }
    }

    fn clear_away(self) -> (Usage, Remains) {
        let usage = if self.pid_namespace {
            // Pid 1 ends after all other processes of its namespace.
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

/// The end of a sandbox.
pub struct SandboxEnd {
    /// Why it failed, if there was no call to report this to.
    pub failure: Option<Failure>,
    pub remains: Remains,
}

/// What is released after the caller has its answer, because that takes long.
pub struct Remains {
    descriptors: Vec<OwnedFd>,
    group: Group,
}

impl Remains {
    /// Releases everything. Dropping the last reference to a file system or a mount namespace is slow, so the process
    /// at the other end of `reaper_socket` does it, if there is one.
    pub fn release(self, reaper_socket: Option<&UnixStream>) {
        if let Some(reaper_socket) = reaper_socket {
            let descriptors: Vec<BorrowedFd> = self.descriptors.iter().map(OwnedFd::as_fd).collect();
            // If the socket is full, they are dropped here.
            let _ = sys::send_descriptors(reaper_socket.as_fd(), &[0], &descriptors);
        }
        drop(self.descriptors);
        self.group.remove();
    }
}

/// Completes a report by what pid 1 and its children used, as its parent sees it. That includes processes that were
/// killed at the end; but pid 1's own memory held the call, so the program's peak is taken from pid 1's report if it
/// has one.
fn with_usage(report: Report, usage: Usage) -> Report {
    match report {
        Report::Ended { ending, usage: reported } => {
            let peak_memory = if reported == Usage::default() { usage.peak_memory } else { reported.peak_memory };
            Report::Ended { ending, usage: Usage { cpu: usage.cpu, peak_memory } }
        }
        report => report,
    }
}

/// Replaces an ending by the limit that was met, which explains it better than a signal or a status. This holds for
/// status 0 too: a shell can return it although it could not start a program.
fn over_limit(report: Report, alarm: Option<Limit>) -> Report {
    match (report, alarm) {
        (Report::Ended { ending, usage }, Some(limit)) => {
            let explained = match limit {
                Limit::Memory { .. } => true,
                Limit::Processes { .. } => ending != Ending::TimedOut,
            };
            Report::Ended { ending: if explained { Ending::OverLimit { limit } } else { ending }, usage }
        }
        // The call's files were too large.
        (Report::Failed(Failure { errno: libc::ECHILD, .. }), Some(limit @ Limit::Memory { .. })) => {
            Report::Ended { ending: Ending::OverLimit { limit }, usage: Usage::default() }
        }
        (report, _) => report,
    }
}

/// Sends a report without waiting: a caller that does not read must not delay other calls.
pub fn send_report(caller: &UnixStream, report: &Report, handed_over: &[BorrowedFd]) -> io::Result<()> {
    sys::send_descriptors(caller.as_fd(), &encode(report)?, handed_over)
}

/// Turns the copy of the keeper into pid 1.
fn enter(arguments: InitArguments, group: &Group, mut keeper: UnixStream, null: &File) -> ! {
    if let Err(failure) = group.join() {
        let _ = write_message(&mut keeper, &Report::Failed(failure));
        sys::exit(1);
    }
    match sys::detach(null, keeper.as_fd()) {
        Ok(()) => init::run(arguments, keeper),
        Err(_) => sys::exit(1),
    }
}
