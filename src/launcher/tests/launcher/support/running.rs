//! A server's end of the launcher.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sandbox_plan::{
    Call, Ending, Failure, MAX_REPORT_BYTES, Order, Plan, Report, SandboxEnvironment, call_header, encode, encode_once,
    read_message,
};

use super::{LaunchMode, TestCaller};
use crate::descriptors::send;

impl TestCaller {
    pub fn start(&self, plan: &Plan) -> Running {
        self.start_by(self.command(), plan)
    }

    /// Starts `command`, which becomes or starts the launcher, and gives it the plan.
    pub fn start_by(&self, command: Command, plan: &Plan) -> Running {
        match self.mode {
            LaunchMode::Once => start_once(command, plan),
            LaunchMode::Served => start_served(command, plan),
        }
    }

    /// Starts a launcher that serves the plan's environment.
    pub fn serve(&self, environment: &SandboxEnvironment, ready: usize) -> Served {
        Served::start(self.command(), environment, ready)
    }

    /// Runs a plan to its end.
    pub fn run(&self, plan: &Plan) -> LauncherOutcome {
        self.start(plan).finish()
    }

    /// Runs a script in the usual sandbox to its end.
    pub fn sh(&self, script: &str) -> LauncherOutcome {
        self.run(&self.plan(script))
    }
}

fn start_once(mut command: Command, plan: &Plan) -> Running {
    let (mut control, theirs) = UnixStream::pair().expect("make a socket pair");
    command.stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("start the launcher");
    // The command keeps its end of the socket, which must be the launcher's alone.
    drop(command);
    let output = [read_all(child.stdout.take().unwrap()), read_all(child.stderr.take().unwrap())];
    // A launcher that is killed while it reads is the test's own doing.
    let _ = control.write_all(&encode_once(plan).expect("encode the plan"));
    Running { child, control: Some(Control { call: control, _manager: None }), output, early: None }
}

fn start_served(command: Command, plan: &Plan) -> Running {
    let mut served = Served::start(command, &plan.environment, 1);
    let early = served.failure.take().map(Report::Failed);
    let (call, output) = served.hand_over(&plan.call);
    let Served { child, control, .. } = served;
    Running { child, control: Some(Control { call, _manager: Some(control) }), output, early }
}

/// A launcher that serves an environment.
pub struct Served {
    pub child: Child,
    pub control: UnixStream,
    /// Why it does not.
    pub failure: Option<Failure>,
}

impl Served {
    fn start(mut command: Command, environment: &SandboxEnvironment, ready: usize) -> Self {
        let (mut control, theirs) = UnixStream::pair().expect("make a socket pair");
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("start the launcher");
        drop(command);
        let order = Order::Serve { environment: environment.clone(), ready };
        let _ = control.write_all(&encode(&order).expect("encode the order"));
        let failure = match read_message(&mut control, MAX_REPORT_BYTES) {
            Ok(Some(Report::Ready)) => None,
            Ok(Some(Report::Failed(failure))) => Some(failure),
            other => panic!("the manager is not ready: {other:?}"),
        };
        Self { child, control, failure }
    }

    /// Begins a call.
    fn hand_over(&self, call: &Call) -> (UnixStream, [JoinHandle<(String, Instant)>; 2]) {
        let (mut ours, output) = self.connect(call.deadline);
        // A sandbox that fails does so before it has read all of it.
        let _ = ours.write_all(&encode(call).expect("encode the call"));
        (ours, output)
    }

    fn connect(&self, deadline: Duration) -> (UnixStream, [JoinHandle<(String, Instant)>; 2]) {
        let (ours, theirs) = UnixStream::pair().expect("make a socket pair");
        let (stdout, stdout_end) = io::pipe().expect("make a pipe");
        let (stderr, stderr_end) = io::pipe().expect("make a pipe");
        send(
            &self.control,
            &call_header(deadline),
            [theirs.as_raw_fd(), stdout_end.as_raw_fd(), stderr_end.as_raw_fd()],
        );
        drop((theirs, stdout_end, stderr_end));
        (ours, [read_all(stdout), read_all(stderr)])
    }

    /// Begins a call, whose `Running` is not to be asked for its launcher.
    pub fn begin(&self, call: &Call) -> Calling {
        let (call, output) = self.hand_over(call);
        Calling { call, output }
    }

    pub fn run(&self, call: &Call) -> LauncherOutcome {
        self.begin(call).finish()
    }

    /// Begins a call and never says what it is. The second value keeps it waiting.
    pub fn begin_silent(&self, deadline: Duration) -> (Calling, UnixStream) {
        let (call, output) = self.connect(deadline);
        let keep = call.try_clone().expect("copy a socket");
        (Calling { call, output }, keep)
    }
}

/// A call of a launcher that serves more than one.
pub struct Calling {
    pub call: UnixStream,
    output: [JoinHandle<(String, Instant)>; 2],
}

impl Calling {
    /// Returns the next report; `None` if the manager is gone, or has closed the socket.
    pub fn report(&mut self) -> Option<Report> {
        read_message(&mut self.call, MAX_REPORT_BYTES).ok().flatten()
    }

    pub fn finish(mut self) -> LauncherOutcome {
        last_report(&mut self.call, None, self.output)
    }
}

/// Reads all of a pipe on a thread of its own. Returns the text, and when it ended.
pub fn read_all(mut pipe: impl Read + Send + 'static) -> JoinHandle<(String, Instant)> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("read the program's output");
        (String::from_utf8_lossy(&bytes).into_owned(), Instant::now())
    })
}

/// The sockets whose end cancels the call.
pub struct Control {
    call: UnixStream,
    /// Kept open only.
    _manager: Option<UnixStream>,
}

impl Control {
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.call.shutdown(how)
    }
}

/// A launcher at work on one call.
pub struct Running {
    pub child: Child,
    pub control: Option<Control>,
    output: [JoinHandle<(String, Instant)>; 2],
    early: Option<Report>,
}

impl Running {
    /// Returns the socket of the one call.
    pub fn call(&self) -> &UnixStream {
        &self.control.as_ref().expect("the control socket is open").call
    }

    pub fn report(&mut self) -> io::Result<Option<Report>> {
        match self.early.take() {
            Some(report) => Ok(Some(report)),
            None => {
                read_message(&mut self.control.as_mut().expect("the control socket is open").call, MAX_REPORT_BYTES)
            }
        }
    }

    /// Waits for the end, and for the launcher to be gone.
    pub fn finish(mut self) -> LauncherOutcome {
        let mut control = self.control.take().expect("the control socket is open");
        let outcome = last_report(&mut control.call, self.early.take(), self.output);
        drop(control);
        self.child.wait().expect("wait for the launcher");
        outcome
    }
}

fn last_report(
    call: &mut UnixStream,
    early: Option<Report>,
    output: [JoinHandle<(String, Instant)>; 2],
) -> LauncherOutcome {
    let mut started = false;
    let report = loop {
        match early.clone().map_or_else(|| read_message(call, MAX_REPORT_BYTES), |report| Ok(Some(report))) {
            Ok(Some(Report::Opened | Report::Ahead)) => {}
            Ok(Some(Report::Started)) => started = true,
            Ok(report) => break report,
            Err(error) => panic!("read the launcher's report: {error}"),
        }
    };
    let ended = Instant::now();
    let [(stdout, closed), (stderr, _)] = output.map(|reader| reader.join().expect("read output"));
    LauncherOutcome { started, report, stdout, stderr, closed_before_end: ended.saturating_duration_since(closed) }
}

#[derive(Debug)]
pub struct LauncherOutcome {
    pub started: bool,
    /// `None` if the launcher ended without a report.
    pub report: Option<Report>,
    pub stdout: String,
    pub stderr: String,
    /// How long before the report the program's output ended.
    pub closed_before_end: Duration,
}

impl LauncherOutcome {
    pub fn ending(&self) -> Ending {
        match &self.report {
            Some(Report::Ended { ending, .. }) => *ending,
            _ => panic!("the program did not end: {self:?}"),
        }
    }

    /// Returns what a program that exits with 0 wrote.
    #[track_caller]
    pub fn text(&self) -> &str {
        assert_eq!(self.ending(), Ending::Exited { code: 0 }, "{self:?}");
        self.stdout.trim_end()
    }

    /// Returns the operation and the errno of a sandbox that could not be made.
    #[track_caller]
    pub fn failure(&self) -> (&str, i32) {
        match &self.report {
            Some(Report::Failed(failure)) => (&failure.operation, failure.errno),
            _ => panic!("the launcher did not fail: {self:?}"),
        }
    }
}
