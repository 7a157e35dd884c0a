//! The launcher as the builder of a derivation: runs one program in a sandbox inside Nix's, and writes the result into
//! the output. Its input is described in `sandbox_plan::variables`, its output in `sandbox_plan::record`.
//!
//! Nix's sandbox limits neither memory, processes, disk nor output, and allows a program much that none needs. So the
//! program is confined as by every other executor, by the same plan: this process makes the plan, and does for a copy
//! of itself what the server does for a launcher. It is the first process of Nix's pid namespace, so that its end ends
//! all.
//!
//! The build succeeds if the program ran, however it ended: Nix keeps the output of a build that succeeds, and leaves
//! remains of one that fails. It fails only if the program could not be run, with the reason as the last line of its
//! log.

mod call;
mod nix_sandbox;
mod output;

use std::env;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sandbox_plan::capture::Captured;
use sandbox_plan::left::{self, Left};
use sandbox_plan::record::{LOG_PREFIX, RunCost};
use sandbox_plan::{Ending, Failure, MAX_REPORT_BYTES, Plan, Report, Usage, decode, encode_once};

use sandbox_plan::variables::VariableError;
use thiserror::Error;

use crate::supervisor;
use crate::sys::{self, StandardStream, Wait};

/// The variable that names a builder's output, which only Nix sets.
pub const OUT: &str = "out";

/// The reason why a build fails.
#[derive(Debug, Error)]
enum BuilderError {
    /// Nix runs builders without a sandbox here, as what was found of the host shows.
    #[error(
        "Nix's build sandbox is off ({0}), and programs are not run without: set `sandbox = true` in /etc/nix/nix.conf, \
         which Debian's package sets to false, and start the Nix daemon again"
    )]
    Unsandboxed(String),
    /// The derivation was not made by the server.
    #[error(transparent)]
    Variable(#[from] VariableError),
    /// The kernel refused a step of the sandbox, or the start of the program.
    #[error("the sandbox failed: {0}")]
    Sandbox(Failure),
    #[error("cannot {operation}: {cause}")]
    System { operation: &'static str, cause: io::Error },
}

/// Returns a function that makes a [`BuilderError`] of an error. `operation` says what was tried.
fn system(operation: &'static str) -> impl FnOnce(io::Error) -> BuilderError {
    move |cause| BuilderError::System { operation, cause }
}

/// Returns whether this process was started as a builder, whose arguments are the command. The server passes no
/// arguments; a server that runs in a build itself may have the variable.
pub fn is_meant() -> bool {
    env::var_os(OUT).is_some() && env::args_os().len() > 1
}

/// Runs the build, and ends the process with the status for Nix.
pub fn build() -> ! {
    let status = match realise() {
        Ok(cost) => {
            // If this fails, only the log lacks the line.
            let _ = writeln!(io::stderr(), "{cost}");
            0
        }
        Err(refusal) => {
            let _ = writeln!(io::stderr(), "{LOG_PREFIX}{refusal}");
            1
        }
    };
    sys::exit(status)
}

fn realise() -> Result<RunCost, BuilderError> {
    nix_sandbox::check()?;
    let plan = call::plan()?;
    let begun = Instant::now();
    let run = Conversation::begin(&plan)?.finish(&plan)?;
    let duration = begun.elapsed();
    output::write(&run)?;
    Ok(RunCost { duration, usage: run.usage })
}

/// The result of the program's run.
struct ProgramRun {
    ending: Ending,
    usage: Usage,
    stdout: Captured,
    stderr: Captured,
    /// The directory with its artifacts.
    artifacts: Option<OwnedFd>,
    /// The files that it left in its working directory.
    left: Left,
}

/// The conversation between this process and the launcher, a copy of it.
struct Conversation {
    control: UnixStream,
    received: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    last: Option<Report>,
    streams: [CapturedPipe; 2],
}

/// One of the program's outputs.
struct CapturedPipe {
    /// `None` if it has come to its end.
    pipe: Option<File>,
    captured: Captured,
}

impl Conversation {
    /// Starts a launcher of one sandbox, and sends it the plan.
    fn begin(plan: &Plan) -> Result<Self, BuilderError> {
        let (mut control, theirs) = UnixStream::pair().map_err(system("make a socket pair"))?;
        let (stdout, stdout_end) = io::pipe().map_err(system("make a pipe"))?;
        let (stderr, stderr_end) = io::pipe().map_err(system("make a pipe"))?;
        if sys::clone_process(0).map_err(system("start the launcher"))?.is_none() {
            let placed = sys::replace_stream(&theirs, StandardStream::Input)
                .and_then(|()| sys::replace_stream(&stdout_end, StandardStream::Output))
                .and_then(|()| sys::replace_stream(&stderr_end, StandardStream::Errors));
            if placed.and_then(|()| sys::close_others(None)).is_ok() {
                supervisor::serve(UnixStream::from(sys::take_input()));
            }
            sys::exit(0);
        }
        let frame = encode_once(plan).map_err(system("encode the plan"))?;
        drop((theirs, stdout_end, stderr_end));
        // A launcher that refuses the order closes the socket before it has read everything; its report has the reason.
        let _ = control.write_all(&frame);
        let stream = |pipe: io::PipeReader| CapturedPipe {
            pipe: Some(File::from(OwnedFd::from(pipe))),
            captured: Captured::default(),
        };
        let streams = [stream(stdout), stream(stderr)];
        Ok(Self { control, received: Vec::new(), descriptors: Vec::new(), last: None, streams })
    }

    /// Receives reports and the program's output until both have come to their end.
    fn finish(mut self, plan: &Plan) -> Result<ProgramRun, BuilderError> {
        while self.last.is_none() || self.streams.iter().any(|stream| stream.pipe.is_some()) {
            self.turn()?;
        }
        let [stdout, stderr] = self.streams.map(|stream| stream.captured);
        match self.last {
            Some(Report::Ended { ending, usage }) => {
                let mut handed_over = self.descriptors.into_iter();
                let (artifacts, workdir) = (handed_over.next(), handed_over.next());
                let left = match (workdir, &plan.call.program) {
                    (Some(workdir), Some(program)) => left::find(workdir.as_fd(), &program.directory, &plan.call.steps),
                    _ => Left::default(),
                };
                Ok(ProgramRun { ending, usage, stdout, stderr, artifacts, left })
            }
            Some(Report::Failed(failure)) => Err(BuilderError::Sandbox(failure)),
            _ => Err(system("hear from the launcher")(io::ErrorKind::InvalidData.into())),
        }
    }

    fn turn(&mut self) -> Result<(), BuilderError> {
        let log = io::stderr();
        let mut events = vec![Wait::HungUp(log.as_fd())];
        events.push(if self.last.is_none() { Wait::Readable(self.control.as_fd()) } else { Wait::Nothing });
        let pipes = self.streams.iter().map(|stream| stream.pipe.as_ref());
        events.extend(pipes.map(|pipe| pipe.map_or(Wait::Nothing, |pipe| Wait::Readable(pipe.as_fd()))));
        let occurred = sys::wait(&events, None::<Duration>).map_err(system("wait for the program"))?;
        if occurred[0] {
            // The client is gone, and could not end this process.
            sys::exit(1);
        }
        if occurred[1] {
            self.listen().map_err(system("hear from the launcher"))?;
        }
        for (stream, readable) in self.streams.iter_mut().zip(&occurred[2..]) {
            if *readable {
                stream.take().map_err(system("read what the program prints"))?;
            }
        }
        Ok(())
    }

    fn listen(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        let (count, descriptors) = sys::receive_descriptors(self.control.as_fd(), &mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.received.extend(&buffer[..count]);
        self.descriptors.extend(descriptors);
        while let Some(report) = decode(&mut self.received, MAX_REPORT_BYTES)? {
            if report != Report::Started {
                self.last = Some(report);
            }
        }
        Ok(())
    }
}

impl CapturedPipe {
    fn take(&mut self) -> io::Result<()> {
        let mut buffer = [0; 64 << 10];
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        match pipe.read(&mut buffer)? {
            0 => self.pipe = None,
            count => self.captured.push(&buffer[..count]),
        }
        Ok(())
    }
}
