//! Managers: launchers that serve many calls of one environment.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::{MaybeUninit, take};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use rustix::pipe::{PipeFlags, pipe_with};
use sandbox_plan::{
    CALL_HEADER_BYTES, Call, Identity, Inside, MAX_REPORT_BYTES, Order, Report, SandboxEnvironment, call_header,
    decode, encode,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{LaunchError, OnSockets, SHUTDOWN_TIMEOUT, SandboxRun, binary, chown_to_program};
use crate::call::cancelled::Cancelled;
use crate::call::capture::{self, Captured};
use crate::call::job::Output;

/// How many descriptors may come with one report: the kernel's own limit (SCM_MAX_FD).
const MAX_DESCRIPTORS: usize = 253;

/// The time limit for probing a sandbox from inside.
const PROBE_DEADLINE: Duration = Duration::from_secs(20);

/// A manager and its guard, the process that started it. Both exit when the control socket is closed, which happens
/// when this is dropped.
pub struct Manager {
    control: UnixStream,
    identity: Identity,
    /// The guard. Tokio reaps it after it was dropped.
    _guard: Child,
}

impl Manager {
    /// Starts a launcher and waits until it has mounted the environment's view. It keeps `ready` sandboxes prepared.
    pub async fn start(environment: &SandboxEnvironment, ready: usize) -> Result<Self, LaunchError> {
        let failed = |operation| move |cause| LaunchError::Start { operation, cause };
        let (ours, theirs) = StdUnixStream::pair().map_err(failed("make a socket for the launcher"))?;
        ours.set_nonblocking(true).map_err(failed("make a socket for the launcher"))?;
        let mut control = UnixStream::from_std(ours).map_err(failed("make a socket for the launcher"))?;
        let guard = Command::new(binary::launcher_path().map_err(failed("store the launcher"))?)
            .arg0("sandbox-launcher")
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed("start the launcher"))?;
        let order = Order::Serve { environment: environment.clone(), ready };
        let order = encode(&order).map_err(failed("encode the environment"))?;
        // If the launcher refuses the order, its report gives the reason.
        let _ = control.write_all(&order).await;
        match next_report(&mut control, &mut Vec::new()).await.map_err(|cause| LaunchError::Lost { cause })? {
            Report::Ready => Ok(Self { control, identity: environment.identity.clone(), _guard: guard }),
            Report::Failed(failure) => Err(LaunchError::Refused(failure)),
            _ => Err(LaunchError::Lost { cause: io::ErrorKind::InvalidData.into() }),
        }
    }

    /// Runs a call. When it returns, nothing of its sandbox is left. If the future is dropped, the manager removes the
    /// sandbox as soon as it sees the call's socket close.
    pub async fn run(
        &self,
        call: &Call,
        output: Output,
        on_sockets: OnSockets<'_>,
        cancelled: &CancellationToken,
    ) -> Result<SandboxRun, LaunchError> {
        let begun = Instant::now();
        let CallResult { report, handed_over, stdout, stderr } =
            self.converse(call, output, on_sockets, cancelled).await?;
        match report {
            Report::Ended { ending, usage } => {
                let mut handed_over = handed_over.into_iter();
                let (out, workdir) = (handed_over.next(), handed_over.next());
                Ok(SandboxRun { ending, usage, stdout, stderr, out, workdir, duration: begun.elapsed() })
            }
            report => Err(unexpected(report)),
        }
    }

    /// Makes a sandbox of this environment, and probes it from inside.
    pub async fn probe(&self) -> Result<Inside, LaunchError> {
        let call = Call { steps: Vec::new(), services: Vec::new(), program: None, deadline: PROBE_DEADLINE };
        match self.converse(&call, Output::Captured, &drop, &CancellationToken::new()).await?.report {
            Report::Found(inside) => Ok(inside),
            report => Err(unexpected(report)),
        }
    }

    /// Sends a call, and receives reports and output until it ends.
    async fn converse(
        &self,
        call: &Call,
        output: Output,
        on_sockets: OnSockets<'_>,
        cancelled: &CancellationToken,
    ) -> Result<CallResult, LaunchError> {
        let frame = encode(call).map_err(|cause| LaunchError::Start { operation: "encode the call", cause })?;
        let (socket, stdout, stderr) = self.submit(call, output).await?;
        let (mut started, mut descriptors, mut sockets) = (false, Vec::new(), Vec::new());
        let (to_stdout, prestarted_stdout) = oneshot::channel();
        let (to_stderr, prestarted_stderr) = oneshot::channel();
        let conversation = async {
            let mut outputs = Some([to_stdout, to_stderr]);
            // A sandbox that fails may not read the whole call. Its report gives the reason.
            let _ = write_all(&socket, &frame).await;
            let mut received = Vec::new();
            loop {
                match decode(&mut received, MAX_REPORT_BYTES)? {
                    Some(Report::Opened) => sockets = take(&mut descriptors),
                    Some(Report::Ahead) => forward_pipes(take(&mut descriptors), outputs.take())?,
                    // The outputs are kept until here: before, the call can still be retried with another manager.
                    Some(Report::Started) => {
                        started = true;
                        outputs = None;
                        on_sockets(take(&mut sockets));
                    }
                    Some(report) => return Ok(report),
                    None => receive(&socket, &mut received, &mut descriptors).await?,
                }
            }
        };
        let outputs = (capture(stdout, prestarted_stdout), capture(stderr, prestarted_stderr));
        let all = async { tokio::join!(conversation, outputs.0, outputs.1) };
        let result = tokio::select! {
            result = all => Some(result),
            () = cancelled.cancelled() => None,
        };
        let Some((report, stdout, stderr)) = result else {
            cancel(socket).await;
            return Err(Cancelled.into());
        };
        let lost = |cause| LaunchError::Lost { cause };
        match report {
            // The call has not started, so that it can be retried with another manager.
            Err(cause) if !started => Err(LaunchError::LostBeforeStart { cause }),
            report => Ok(CallResult {
                report: report.map_err(lost)?,
                handed_over: descriptors,
                stdout: stdout.map_err(lost)?,
                stderr: stderr.map_err(lost)?,
            }),
        }
    }

    /// Sends a new call's header and descriptors to the manager. Returns the call's socket and the pipes to read its
    /// output from.
    async fn submit(
        &self,
        call: &Call,
        output: Output,
    ) -> Result<(UnixStream, Option<Receiver>, Option<Receiver>), LaunchError> {
        let failed = |operation| move |cause| LaunchError::Start { operation, cause };
        let (socket, theirs) = UnixStream::pair().map_err(failed("make a socket for the call"))?;
        let stream = |own: fn() -> io::Result<OwnedFd>| -> io::Result<(Option<Receiver>, OwnedFd)> {
            match output {
                Output::Captured => {
                    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
                    chown_to_program(&writer, &self.identity);
                    Ok((Some(Receiver::from_owned_fd(reader)?), writer))
                }
                Output::Inherited => Ok((None, own()?)),
            }
        };
        let (stdout, stdout_end) = stream(|| io::stdout().as_fd().try_clone_to_owned())
            .map_err(failed("make a pipe for the program's output"))?;
        let (stderr, stderr_end) = stream(|| io::stderr().as_fd().try_clone_to_owned())
            .map_err(failed("make a pipe for the program's output"))?;
        let header = call_header(call.deadline);
        // If anything fails from here on, the manager has not received the call.
        let lost_before_start = |cause| LaunchError::LostBeforeStart { cause };
        let theirs = theirs.into_std().map_err(lost_before_start)?;
        let descriptors = [theirs.as_fd(), stdout_end.as_fd(), stderr_end.as_fd()];
        self.control
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
                let mut rights = SendAncillaryBuffer::new(&mut space);
                rights.push(SendAncillaryMessage::ScmRights(&descriptors));
                let sent =
                    rustix::net::sendmsg(&self.control, &[IoSlice::new(&header)], &mut rights, SendFlags::NOSIGNAL)?;
                if sent == CALL_HEADER_BYTES { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
            })
            .await
            .map_err(lost_before_start)?;
        Ok((socket, stdout, stderr))
    }
}

/// The last report of a call, and its output.
struct CallResult {
    report: Report,
    /// The directories that the sandbox passed with the report.
    handed_over: Vec<OwnedFd>,
    stdout: Captured,
    stderr: Captured,
}

/// Writes all bytes to a socket.
async fn write_all(socket: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        socket.writable().await?;
        match socket.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits for more bytes of reports from the manager and the sandbox, and for the descriptors that may come with them.
async fn receive(socket: &UnixStream, received: &mut Vec<u8>, descriptors: &mut Vec<OwnedFd>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let count = socket
        .async_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
            let mut rights = RecvAncillaryBuffer::new(&mut space);
            let parts = &mut [IoSliceMut::new(&mut buffer)];
            let message = rustix::net::recvmsg(socket, parts, &mut rights, RecvFlags::CMSG_CLOEXEC)?;
            for rights in rights.drain() {
                if let RecvAncillaryMessage::ScmRights(more) = rights {
                    descriptors.extend(more);
                }
            }
            Ok(message.bytes)
        })
        .await?;
    received.extend(&buffer[..count]);
    if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Converts a report that should not end the conversation into an error.
fn unexpected(report: Report) -> LaunchError {
    match report {
        Report::Failed(failure) => LaunchError::Refused(failure),
        _ => LaunchError::Lost { cause: io::ErrorKind::InvalidData.into() },
    }
}

/// Cancels a call, and waits until the manager has removed its sandbox.
async fn cancel(mut socket: UnixStream) {
    let _ = socket.shutdown().await;
    let drained = async { while !matches!(socket.read(&mut [0; 512]).await, Ok(0) | Err(_)) {} };
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, drained).await.is_err() {
        tracing::warn!("a cancelled sandbox was not removed within {SHUTDOWN_TIMEOUT:?}");
    }
}

/// Captures the output of a call: from the call's own pipe, or from the pipe of a program that was started ahead.
async fn capture(stream: Option<Receiver>, prestarted: oneshot::Receiver<OwnedFd>) -> io::Result<Captured> {
    let captured = match stream {
        Some(stream) => capture::read(stream).await?,
        None => Captured::default(),
    };
    match prestarted.await {
        Ok(pipe) => capture::read(Receiver::from_owned_fd(pipe)?).await,
        Err(_) => Ok(captured),
    }
}

/// Passes the pipes of a program that was started ahead to their readers.
fn forward_pipes(pipes: Vec<OwnedFd>, readers: Option<[oneshot::Sender<OwnedFd>; 2]>) -> io::Result<()> {
    let pipes = <[OwnedFd; 2]>::try_from(pipes).map_err(|_| io::ErrorKind::InvalidData)?;
    for (reader, pipe) in readers.into_iter().flatten().zip(pipes) {
        // Sending fails only if the reader has already stopped.
        let _ = reader.send(pipe);
    }
    Ok(())
}

/// Receives reports until the one that ends the conversation.
pub async fn last_report(from: &mut (impl AsyncReadExt + Unpin), started: &mut bool) -> io::Result<Report> {
    let mut received = Vec::new();
    loop {
        match next_report(from, &mut received).await? {
            Report::Started => *started = true,
            report => return Ok(report),
        }
    }
}

/// Receives one report.
async fn next_report(from: &mut (impl AsyncReadExt + Unpin), received: &mut Vec<u8>) -> io::Result<Report> {
    loop {
        if let Some(report) = decode(received, MAX_REPORT_BYTES)? {
            return Ok(report);
        }
        if from.read_buf(received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
