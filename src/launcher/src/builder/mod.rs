//! The launcher as the builder of a derivation: runs one program in a sandbox of its own inside Nix's, and writes what
//! came of it into the output. What it finds is the contract of the server's run_derivation.rs.
//!
//! Nix's sandbox bounds neither memory nor processes, disk nor output, and lets a program do much that no program needs.
//! So the program gets all the walls that it has in every other executor, by the same plan: this process makes the plan
//! and is to its own copy what the server is to a launcher. It is the first process of Nix's pid namespace, whose end
//! is the end of all.
//!
//! A program that ran is a success, however it ended: Nix keeps what a build succeeded with, and leaves the rest of one
//! that did not lying about. Only where there is nothing to tell of a program does the build fail, with the reason as
//! the last line of its log.

mod call;
mod nix_sandbox;
mod output;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use std::{env, fmt};

use sandbox_plan::capture::Captured;
use sandbox_plan::left::{self, Left};
use sandbox_plan::record::Cost;
use sandbox_plan::{Ending, Failure, LARGEST_REPORT, Order, Plan, Report, Usage, call_header, decode, encode};

use crate::supervisor;
use crate::sys::{self, Stream as Standard, Wait};

/// The variable that names a builder's output, and that nobody but Nix sets.
pub const OUT: &str = "out";

/// Why there is nothing to tell of a program.
enum Refusal {
    /// Nix runs builders unsandboxed here: what was found that is the host's.
    Unsandboxed(String),
    /// The derivation is none of the server's.
    Variable {
        name: String,
        reason: String,
    },
    /// The kernel refused a step of the sandbox, or the start of the program.
    Sandbox(Failure),
    System {
        operation: &'static str,
        source: io::Error,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsandboxed(found) => write!(
                f,
                "Nix's build sandbox is off ({found}), and programs are not run without: set `sandbox = true` in \
                 /etc/nix/nix.conf, which Debian's package sets to false, and start the Nix daemon again"
            ),
            Self::Variable { name, reason } => write!(f, "the derivation's variable `{name}` {reason}"),
            Self::Sandbox(Failure { operation, errno }) => {
                write!(f, "the sandbox failed: cannot {operation}: {}", io::Error::from_raw_os_error(*errno))
            }
            Self::System { operation, source } => write!(f, "cannot {operation}: {source}"),
        }
    }
}

/// Names what was tried when it failed.
fn system(operation: &'static str) -> impl FnOnce(io::Error) -> Refusal {
    move |source| Refusal::System { operation, source }
}

/// Whether this process was started as a builder, whose arguments are the command, rather than by the server, which gives
/// none. A server that is in a build itself may have the variable.
pub fn is_meant() -> bool {
    env::var_os(OUT).is_some() && env::args_os().len() > 1
}

/// Builds, and ends the process with the status for Nix.
pub fn build() -> ! {
    let status = match realise() {
        Ok(cost) => {
            // Nobody but the reader of the log misses it.
            let _ = writeln!(io::stderr(), "{cost}");
            0
        }
        Err(refusal) => {
            let _ = writeln!(io::stderr(), "sandbox-mcp: {refusal}");
            1
        }
    };
    sys::exit(status)
}

fn realise() -> Result<Cost, Refusal> {
    nix_sandbox::check()?;
    let plan = call::plan()?;
    let begun = Instant::now();
    let run = Conversation::begin(&plan)?.finish(&plan)?;
    let duration = begun.elapsed();
    output::write(&run)?;
    Ok(Cost { duration, usage: run.usage })
}

/// How the program's run ended.
struct Run {
    ending: Ending,
    usage: Usage,
    stdout: Captured,
    stderr: Captured,
    /// The directory that it left artifacts in.
    artifacts: Option<OwnedFd>,
    /// What it left in its working directory.
    left: Left,
}

/// What passes between this process and the launcher that is its copy.
struct Conversation {
    control: UnixStream,
    received: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    last: Option<Report>,
    streams: [Stream; 2],
}

/// One of the program's outputs. None: it has come to its end.
struct Stream {
    pipe: Option<File>,
    captured: Captured,
}

impl Conversation {
    /// Starts a launcher of one sandbox, and tells it all.
    fn begin(plan: &Plan) -> Result<Self, Refusal> {
        let (mut control, theirs) = UnixStream::pair().map_err(system("make a socket pair"))?;
        let (stdout, stdout_end) = io::pipe().map_err(system("make a pipe"))?;
        let (stderr, stderr_end) = io::pipe().map_err(system("make a pipe"))?;
        if sys::clone_process(0).map_err(system("start the launcher"))?.is_none() {
            let placed = sys::replace_stream(&theirs, Standard::Input)
                .and_then(|()| sys::replace_stream(&stdout_end, Standard::Output))
                .and_then(|()| sys::replace_stream(&stderr_end, Standard::Errors));
            if placed.and_then(|()| sys::close_others(None)).is_ok() {
                supervisor::serve(UnixStream::from(sys::take_input()));
            }
            sys::exit(0);
        }
        let frame = || -> io::Result<Vec<u8>> {
            let order = encode(&Order::Once(plan.environment.clone()))?;
            Ok([order, call_header(plan.call.deadline).to_vec(), encode(&plan.call)?].concat())
        };
        let frame = frame().map_err(system("encode the plan"))?;
        drop((theirs, stdout_end, stderr_end));
        // A launcher that refuses the order closes the socket before it has read all of it, and its report says why.
        let _ = control.write_all(&frame);
        let stream = |pipe: io::PipeReader| Stream {
            pipe: Some(File::from(OwnedFd::from(pipe))),
            captured: Captured::default(),
        };
        let streams = [stream(stdout), stream(stderr)];
        Ok(Self { control, received: Vec::new(), descriptors: Vec::new(), last: None, streams })
    }

    /// Hears of the sandbox and takes what the program prints, until nothing of either is left.
    fn finish(mut self, plan: &Plan) -> Result<Run, Refusal> {
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
                Ok(Run { ending, usage, stdout, stderr, artifacts, left })
            }
            Some(Report::Failed(failure)) => Err(Refusal::Sandbox(failure)),
            _ => Err(system("hear from the launcher")(io::ErrorKind::InvalidData.into())),
        }
    }

    fn turn(&mut self) -> Result<(), Refusal> {
        let log = io::stderr();
        let mut events = vec![Wait::HungUp(log.as_fd())];
        events.push(if self.last.is_none() { Wait::Readable(self.control.as_fd()) } else { Wait::Nothing });
        let pipes = self.streams.iter().map(|stream| stream.pipe.as_ref());
        events.extend(pipes.map(|pipe| pipe.map_or(Wait::Nothing, |pipe| Wait::Readable(pipe.as_fd()))));
        let occurred = sys::wait(&events, None::<Duration>).map_err(system("wait for the program"))?;
        if occurred[0] {
            // Whoever wanted the result is gone, without having been able to end this process.
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
        while let Some(report) = decode(&mut self.received, LARGEST_REPORT)? {
            if report != Report::Started {
                self.last = Some(report);
            }
        }
        Ok(())
    }
}

impl Stream {
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
