//! Starts the launcher, gives it a plan and sees the run to its end.

mod binary;
pub mod controls;
mod manager;
mod pool;
#[cfg(test)]
mod tests;
mod walls;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::fs::{Gid, Uid};
use sandbox_plan::{Ending, Failure, Identity, Inside, Plan, Report, Usage, encode_once};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::call::capture::{self, Captured};
use crate::call::job::Output;

pub use binary::LAUNCHER;
pub use controls::Controls;
pub use pool::Pool;
pub use walls::{Layer, Wall, Walls, probe};

/// How long a launcher may take to clear its sandbox away after it was told to.
const GRACE: Duration = Duration::from_secs(5);

/// How a run ended.
#[derive(Debug)]
pub struct Run {
    pub ending: Ending,
    pub usage: Usage,
    pub stdout: Captured,
    pub stderr: Captured,
    /// The directory that the program left artifacts in, to be read now that nothing else can reach it.
    pub out: Option<OwnedFd>,
    /// Likewise its working directory, if it could write there.
    pub workdir: Option<OwnedFd>,
    pub duration: Duration,
}

/// Who gets the sockets that a sandbox's gateway has opened, as its program starts. They are in the order of the step,
/// and the last of them are missing where this process has no room for more descriptors.
pub type OnSockets<'a> = &'a (dyn Fn(Vec<OwnedFd>) + Send + Sync);

/// Why there was no run to its end.
#[derive(Debug)]
pub enum LaunchError {
    /// The launcher could not be started.
    Start {
        operation: &'static str,
        source: io::Error,
    },
    /// The kernel refused a step of the sandbox, or the start of the program.
    Refused(Failure),
    /// The launcher was lost, with what it had said last.
    Lost {
        source: io::Error,
    },
    /// The launcher was lost before it began with the call.
    Unbegun {
        source: io::Error,
    },
    Cancelled,
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { operation, source } => write!(f, "cannot {operation}: {source}"),
            Self::Refused(Failure { operation, errno }) => {
                write!(f, "the sandbox failed: cannot {operation}: {}", io::Error::from_raw_os_error(*errno))
            }
            Self::Lost { source } | Self::Unbegun { source } => {
                write!(f, "the launcher of the sandbox was lost: {source}")
            }
            Self::Cancelled => f.write_str("the call was cancelled"),
        }
    }
}

impl std::error::Error for LaunchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start { source, .. } | Self::Lost { source } | Self::Unbegun { source } => Some(source),
            Self::Refused(_) | Self::Cancelled => None,
        }
    }
}

/// Runs a plan. Whatever way it returns, nothing of the sandbox is left; if the future is dropped, the launcher
/// clears the sandbox away as soon as it sees the control socket close.
pub async fn run(plan: &Plan, output: Output, cancelled: &CancellationToken) -> Result<Run, LaunchError> {
    let begun = Instant::now();
    let (mut child, control) = start(output)?;
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    let identity = &plan.environment.identity;
    stdout.iter().for_each(|pipe| give(pipe, identity));
    stderr.iter().for_each(|pipe| give(pipe, identity));
    let (mut reports, mut orders) = control.into_split();
    let frame = encode_once(plan).map_err(|source| LaunchError::Start { operation: "encode the plan", source })?;
    let mut started = false;
    let conversation = async {
        // A launcher that refuses the order closes the socket before it has read all of it, and its report says why.
        let _ = orders.write_all(&frame).await;
        drop(frame);
        manager::last_report(&mut reports, &mut started).await
    };
    let capture = async |stream: Option<Pipe>| match stream {
        Some(stream) => capture::read(stream).await,
        None => Ok(Captured::default()),
    };
    let all = async { tokio::join!(conversation, capture(stdout.map(Pipe::Out)), capture(stderr.map(Pipe::Err))) };
    let result = tokio::select! {
        result = all => Some(result),
        () = cancelled.cancelled() => None,
    };
    // Closing the socket tells the launcher to clear away; after its last report it ends by itself.
    drop((reports, orders));
    end(&mut child).await;
    let Some((report, stdout, stderr)) = result else { return Err(LaunchError::Cancelled) };
    let lost = |source| LaunchError::Lost { source };
    match report.map_err(lost)? {
        Report::Ended { ending, usage } => Ok(Run {
            ending,
            usage,
            stdout: stdout.map_err(lost)?,
            stderr: stderr.map_err(lost)?,
            // The launcher does not hand it over yet.
            out: None,
            workdir: None,
            duration: begun.elapsed(),
        }),
        Report::Failed(failure) => Err(LaunchError::Refused(failure)),
        Report::Ready | Report::Opened | Report::Ahead | Report::Started | Report::Found(_) => {
            Err(lost(io::ErrorKind::UnexpectedEof.into()))
        }
    }
}

/// Makes the sandbox of a plan without a program, and returns what is found inside it.
///
/// # Errors
///
/// As those of [`run`].
pub async fn look(plan: &Plan) -> Result<Inside, LaunchError> {
    let (mut child, mut control) = start(Output::Captured)?;
    let frame = encode_once(plan).map_err(|source| LaunchError::Start { operation: "encode the plan", source })?;
    // As in `run`.
    let _ = control.write_all(&frame).await;
    let report = manager::last_report(&mut control, &mut false).await;
    drop(control);
    end(&mut child).await;
    match report.map_err(|source| LaunchError::Lost { source })? {
        Report::Found(inside) => Ok(inside),
        Report::Failed(failure) => Err(LaunchError::Refused(failure)),
        _ => Err(LaunchError::Lost { source: io::ErrorKind::InvalidData.into() }),
    }
}

/// Waits for the launcher's end. One that does not come to it is killed, which takes its sandbox along.
async fn end(child: &mut Child) {
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        tracing::warn!("a launcher did not end within {GRACE:?} and was killed");
        let _ = child.kill().await;
    }
}

/// Makes a pipe the program's own: `echo > /dev/stdout` opens it anew, which the kernel grants its owner alone.
fn give(pipe: impl AsFd, identity: &Identity) {
    let (user, group) = (Uid::from_raw(identity.host_uid), Gid::from_raw(identity.host_gid));
    // What is in the pipe arrives all the same.
    let _ = rustix::fs::fchown(pipe, Some(user), Some(group));
}

fn start(output: Output) -> Result<(Child, UnixStream), LaunchError> {
    let failed = |operation| move |source| LaunchError::Start { operation, source };
    let (ours, theirs) = StdUnixStream::pair().map_err(failed("make a socket for the launcher"))?;
    ours.set_nonblocking(true).map_err(failed("make a socket for the launcher"))?;
    let ours = UnixStream::from_std(ours).map_err(failed("make a socket for the launcher"))?;
    let stream = || match output {
        Output::Captured => Stdio::piped(),
        Output::Inherited => Stdio::inherit(),
    };
    let child = Command::new(binary::launcher().map_err(failed("store the launcher"))?)
        .arg0("sandbox-launcher")
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(stream())
        .stderr(stream())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed("start the launcher"))?;
    Ok((child, ours))
}

/// The program's output streams, which have a type each.
enum Pipe {
    Out(tokio::process::ChildStdout),
    Err(tokio::process::ChildStderr),
}

impl tokio::io::AsyncRead for Pipe {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Out(stream) => std::pin::Pin::new(stream).poll_read(context, buffer),
            Self::Err(stream) => std::pin::Pin::new(stream).poll_read(context, buffer),
        }
    }
}
