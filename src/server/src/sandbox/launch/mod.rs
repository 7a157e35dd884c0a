//! Starts launchers, and runs calls in the sandboxes that they make.
//!
//! There are two ways. [`run`] starts a launcher for one plan. [`ManagerPool`] keeps a launcher for each environment,
//! its manager, which prepares sandboxes in advance and serves many calls.

mod binary;
pub(crate) mod controls;
mod manager;
mod pool;
#[cfg(test)]
mod tests;
mod walls;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::fs::{Gid, Uid};
use sandbox_plan::{Ending, Failure, Identity, Inside, Plan, Report, Usage, encode_once};
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use crate::call::cancelled::Cancelled;
use crate::call::capture::{self, Captured};
use crate::call::job::Output;

pub use binary::LAUNCHER;
pub use controls::Controls;
pub use pool::ManagerPool;
pub use walls::{Layer, SandboxWalls, Wall, probe};

/// How long a launcher may take to remove its sandbox after the call has ended or was cancelled.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The result of a run that ended.
#[derive(Debug)]
pub struct SandboxRun {
    pub ending: Ending,
    pub usage: Usage,
    pub stdout: Captured,
    pub stderr: Captured,
    /// The directory with the artifacts that the program left. No other process can change it any longer.
    pub out: Option<OwnedFd>,
    /// The working directory. `None` if the program could not write there.
    pub workdir: Option<OwnedFd>,
    pub duration: Duration,
}

/// A callback that receives the sockets of a sandbox's gateway when its program starts. They are in the order of the
/// plan's step. The last ones are missing if this process has reached its limit on descriptors.
pub type OnSockets<'a> = &'a (dyn Fn(Vec<OwnedFd>) + Send + Sync);

/// The reason why a run has no result.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// The launcher could not be started.
    #[error("cannot {operation}: {cause}")]
    Start { operation: &'static str, cause: io::Error },
    /// The kernel refused a step of the sandbox, or the start of the program.
    #[error("the sandbox failed: cannot {}: {}", .0.operation, io::Error::from_raw_os_error(.0.errno))]
    Refused(Failure),
    /// The connection to the launcher was lost during the call.
    #[error("the launcher of the sandbox was lost: {cause}")]
    Lost { cause: io::Error },
    /// The connection to the launcher was lost before the call started, so that the call can be tried again.
    #[error("the launcher of the sandbox was lost: {cause}")]
    LostBeforeStart { cause: io::Error },
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Runs a plan with a launcher of its own. When it returns, nothing of the sandbox is left. If the future is dropped,
/// the launcher removes the sandbox as soon as it sees the control socket close.
pub async fn run(plan: &Plan, output: Output, cancelled: &CancellationToken) -> Result<SandboxRun, LaunchError> {
    let begun = Instant::now();
    let (mut child, control) = start(output)?;
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    let identity = &plan.environment.identity;
    stdout.iter().for_each(|pipe| chown_to_program(pipe, identity));
    stderr.iter().for_each(|pipe| chown_to_program(pipe, identity));
    let (mut reports, mut orders) = control.into_split();
    let frame = encode_once(plan).map_err(|cause| LaunchError::Start { operation: "encode the plan", cause })?;
    let mut started = false;
    let conversation = async {
        // A launcher that refuses the order closes the socket before it has read all of it, and its report says why.
        let _ = orders.write_all(&frame).await;
        drop(frame);
        manager::last_report(&mut reports, &mut started).await
    };
    let (stdout, stderr) = (stdout.map(Either::Left), stderr.map(Either::Right));
    let all = async { tokio::join!(conversation, read_all(stdout), read_all(stderr)) };
    let result = tokio::select! {
        result = all => Some(result),
        () = cancelled.cancelled() => None,
    };
    // Closing the socket makes the launcher remove the sandbox. After its last report it exits by itself.
    drop((reports, orders));
    end(&mut child).await;
    let Some((report, stdout, stderr)) = result else { return Err(Cancelled.into()) };
    let lost = |cause| LaunchError::Lost { cause };
    match report.map_err(lost)? {
        Report::Ended { ending, usage } => Ok(SandboxRun {
            ending,
            usage,
            stdout: stdout.map_err(lost)?,
            stderr: stderr.map_err(lost)?,
            // A launcher of one plan does not pass the directories to the server.
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
    let frame = encode_once(plan).map_err(|cause| LaunchError::Start { operation: "encode the plan", cause })?;
    // As in `run`.
    let _ = control.write_all(&frame).await;
    let report = manager::last_report(&mut control, &mut false).await;
    drop(control);
    end(&mut child).await;
    match report.map_err(|cause| LaunchError::Lost { cause })? {
        Report::Found(inside) => Ok(inside),
        Report::Failed(failure) => Err(LaunchError::Refused(failure)),
        _ => Err(LaunchError::Lost { cause: io::ErrorKind::InvalidData.into() }),
    }
}

/// Waits until the launcher exits. After a timeout it is killed, which also kills its sandbox.
async fn end(child: &mut Child) {
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, child.wait()).await.is_err() {
        tracing::warn!("killing a launcher that did not exit within {SHUTDOWN_TIMEOUT:?}");
        let _ = child.kill().await;
    }
}

/// Makes the program's user the owner of a pipe. Programs such as `echo > /dev/stdout` open it again, and the kernel
/// permits that only to the owner.
fn chown_to_program(pipe: impl AsFd, identity: &Identity) {
    let (user, group) = (Uid::from_raw(identity.host_uid), Gid::from_raw(identity.host_gid));
    // If this fails, the pipe still works for programs that do not open it again.
    let _ = rustix::fs::fchown(pipe, Some(user), Some(group));
}

/// Starts a launcher, and returns it with its control socket.
fn start(output: Output) -> Result<(Child, UnixStream), LaunchError> {
    let failed = |operation| move |cause| LaunchError::Start { operation, cause };
    let (ours, theirs) = StdUnixStream::pair().map_err(failed("make a socket for the launcher"))?;
    ours.set_nonblocking(true).map_err(failed("make a socket for the launcher"))?;
    let ours = UnixStream::from_std(ours).map_err(failed("make a socket for the launcher"))?;
    let stream = || match output {
        Output::Captured => Stdio::piped(),
        Output::Inherited => Stdio::inherit(),
    };
    let child = Command::new(binary::launcher_path().map_err(failed("store the launcher"))?)
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

/// Captures an output stream. The result is empty if there is no stream.
async fn read_all(stream: Option<Either<ChildStdout, ChildStderr>>) -> io::Result<Captured> {
    match stream {
        Some(stream) => capture::read(stream).await,
        None => Ok(Captured::default()),
    }
}
