//! A launcher that serves one environment, and the calls that are handed over to it.

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
    CALL_SIZE, Call, Identity, Inside, LARGEST_REPORT, Order, Report, SandboxEnvironment, call_header, decode, encode,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{GRACE, LaunchError, OnSockets, Run, binary, give};
use crate::call::capture::{self, Captured};
use crate::call::job::Output;

/// The most descriptors that come with one report: as many as the kernel takes.
const MOST_DESCRIPTORS: usize = 253;

/// How long a look around may take.
const LOOK: Duration = Duration::from_secs(20);

/// A manager and its guard, which end when this is dropped: the control socket's end is theirs.
pub struct Manager {
    control: UnixStream,
    identity: Identity,
    /// The guard. It is waited for by tokio when it is dropped.
    _guard: Child,
}

impl Manager {
    /// Starts a launcher and waits until it has made the environment's view. `ready` is how many sandboxes it may make
    /// ahead of calls.
    pub async fn start(environment: &SandboxEnvironment, ready: usize) -> Result<Self, LaunchError> {
        let failed = |operation| move |source| LaunchError::Start { operation, source };
        let (ours, theirs) = StdUnixStream::pair().map_err(failed("make a socket for the launcher"))?;
        ours.set_nonblocking(true).map_err(failed("make a socket for the launcher"))?;
        let mut control = UnixStream::from_std(ours).map_err(failed("make a socket for the launcher"))?;
        let guard = Command::new(binary::launcher().map_err(failed("store the launcher"))?)
            .arg0("sandbox-launcher")
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed("start the launcher"))?;
        let order = Order::Serve { environment: environment.clone(), ready };
        let order = encode(&order).map_err(failed("encode the environment"))?;
        // A launcher that refuses the order says why.
        let _ = control.write_all(&order).await;
        match next_report(&mut control, &mut Vec::new()).await.map_err(|source| LaunchError::Lost { source })? {
            Report::Ready => Ok(Self { control, identity: environment.identity.clone(), _guard: guard }),
            Report::Failed(failure) => Err(LaunchError::Refused(failure)),
            _ => Err(LaunchError::Lost { source: io::ErrorKind::InvalidData.into() }),
        }
    }

    /// Carries a call out. Whatever way it returns, nothing of its sandbox is left; if the future is dropped, the
    /// manager clears the sandbox away as soon as it sees the call's socket close.
    pub async fn run(
        &self,
        call: &Call,
        output: Output,
        on_sockets: OnSockets<'_>,
        cancelled: &CancellationToken,
    ) -> Result<Run, LaunchError> {
        let begun = Instant::now();
        let Told { report, handed_over, stdout, stderr } = self.converse(call, output, on_sockets, cancelled).await?;
        match report {
            Report::Ended { ending, usage } => {
                let mut handed_over = handed_over.into_iter();
                let (out, workdir) = (handed_over.next(), handed_over.next());
                Ok(Run { ending, usage, stdout, stderr, out, workdir, duration: begun.elapsed() })
            }
            report => Err(unexpected(report)),
        }
    }

    /// Looks around in a sandbox of this environment.
    pub async fn look(&self) -> Result<Inside, LaunchError> {
        let call = Call { steps: Vec::new(), services: Vec::new(), program: None, deadline: LOOK };
        match self.converse(&call, Output::Captured, &drop, &CancellationToken::new()).await?.report {
            Report::Found(inside) => Ok(inside),
            report => Err(unexpected(report)),
        }
    }

    /// Sees a call to its end.
    async fn converse(
        &self,
        call: &Call,
        output: Output,
        on_sockets: OnSockets<'_>,
        cancelled: &CancellationToken,
    ) -> Result<Told, LaunchError> {
        let frame = encode(call).map_err(|source| LaunchError::Start { operation: "encode the call", source })?;
        let (socket, stdout, stderr) = self.hand_over(call, output).await?;
        let (mut started, mut descriptors, mut sockets) = (false, Vec::new(), Vec::new());
        let (to_stdout, from_ahead_stdout) = oneshot::channel();
        let (to_stderr, from_ahead_stderr) = oneshot::channel();
        let conversation = async {
            let mut outputs = Some([to_stdout, to_stderr]);
            // A sandbox that fails does so before it has read all of the call, and its report says why.
            let _ = send(&socket, &frame).await;
            let mut received = Vec::new();
            loop {
                match decode(&mut received, LARGEST_REPORT)? {
                    Some(Report::Opened) => sockets = take(&mut descriptors),
                    Some(Report::Ahead) => hand_over(take(&mut descriptors), outputs.take())?,
                    // Not sooner: a call that has not started may go to another manager.
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
        let outputs = (capture(stdout, from_ahead_stdout), capture(stderr, from_ahead_stderr));
        let all = async { tokio::join!(conversation, outputs.0, outputs.1) };
        let result = tokio::select! {
            result = all => Some(result),
            () = cancelled.cancelled() => None,
        };
        let Some((report, stdout, stderr)) = result else {
            gone(socket).await;
            return Err(LaunchError::Cancelled);
        };
        let lost = |source| LaunchError::Lost { source };
        match report {
            // Nothing has begun, so that the call can go to another manager.
            Err(source) if !started => Err(LaunchError::Unbegun { source }),
            report => Ok(Told {
                report: report.map_err(lost)?,
                handed_over: descriptors,
                stdout: stdout.map_err(lost)?,
                stderr: stderr.map_err(lost)?,
            }),
        }
    }

    /// Sends what a call comes with. Its socket is returned, and the ends to read its output from.
    async fn hand_over(
        &self,
        call: &Call,
        output: Output,
    ) -> Result<(UnixStream, Option<Receiver>, Option<Receiver>), LaunchError> {
        let failed = |operation| move |source| LaunchError::Start { operation, source };
        let (socket, theirs) = UnixStream::pair().map_err(failed("make a socket for the call"))?;
        let stream = |own: fn() -> io::Result<OwnedFd>| -> io::Result<(Option<Receiver>, OwnedFd)> {
            match output {
                Output::Captured => {
                    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
                    give(&writer, &self.identity);
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
        // Whatever goes wrong here, the manager has not got the call.
        let unbegun = |source| LaunchError::Unbegun { source };
        let theirs = theirs.into_std().map_err(unbegun)?;
        let descriptors = [theirs.as_fd(), stdout_end.as_fd(), stderr_end.as_fd()];
        self.control
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
                let mut rights = SendAncillaryBuffer::new(&mut space);
                rights.push(SendAncillaryMessage::ScmRights(&descriptors));
                let sent =
                    rustix::net::sendmsg(&self.control, &[IoSlice::new(&header)], &mut rights, SendFlags::NOSIGNAL)?;
                if sent == CALL_SIZE { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
            })
            .await
            .map_err(unbegun)?;
        Ok((socket, stdout, stderr))
    }
}

/// What came of a call.
struct Told {
    report: Report,
    /// The directories that came with the report.
    handed_over: Vec<OwnedFd>,
    stdout: Captured,
    stderr: Captured,
}

async fn send(socket: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
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

/// Waits for more of what the manager and the sandbox say, and for the descriptors that may come with it.
async fn receive(socket: &UnixStream, received: &mut Vec<u8>, descriptors: &mut Vec<OwnedFd>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let count = socket
        .async_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
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

fn unexpected(report: Report) -> LaunchError {
    match report {
        Report::Failed(failure) => LaunchError::Refused(failure),
        _ => LaunchError::Lost { source: io::ErrorKind::InvalidData.into() },
    }
}

/// Tells the manager that the call is cancelled, and waits until it has cleared the sandbox away.
async fn gone(mut socket: UnixStream) {
    let _ = socket.shutdown().await;
    let drained = async { while !matches!(socket.read(&mut [0; 512]).await, Ok(0) | Err(_)) {} };
    if tokio::time::timeout(GRACE, drained).await.is_err() {
        tracing::warn!("a cancelled sandbox was not cleared away within {GRACE:?}");
    }
}

/// Reads what comes with a call's own pipe, or by the one of a program that was started ahead.
async fn capture(stream: Option<Receiver>, ahead: oneshot::Receiver<OwnedFd>) -> io::Result<Captured> {
    let captured = match stream {
        Some(stream) => capture::read(stream).await?,
        None => Captured::default(),
    };
    match ahead.await {
        Ok(pipe) => capture::read(Receiver::from_owned_fd(pipe)?).await,
        Err(_) => Ok(captured),
    }
}

/// Gives the pipes of a program that was started ahead to those who read them.
fn hand_over(pipes: Vec<OwnedFd>, readers: Option<[oneshot::Sender<OwnedFd>; 2]>) -> io::Result<()> {
    let pipes = <[OwnedFd; 2]>::try_from(pipes).map_err(|_| io::ErrorKind::InvalidData)?;
    for (reader, pipe) in readers.into_iter().flatten().zip(pipes) {
        // One that reads no more needs no pipe.
        let _ = reader.send(pipe);
    }
    Ok(())
}

/// The report that ends the conversation.
pub async fn last_report(from: &mut (impl AsyncReadExt + Unpin), started: &mut bool) -> io::Result<Report> {
    let mut received = Vec::new();
    loop {
        match next_report(from, &mut received).await? {
            Report::Started => *started = true,
            report => return Ok(report),
        }
    }
}

async fn next_report(from: &mut (impl AsyncReadExt + Unpin), received: &mut Vec<u8>) -> io::Result<Report> {
    loop {
        if let Some(report) = decode(received, LARGEST_REPORT)? {
            return Ok(report);
        }
        if from.read_buf(received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
