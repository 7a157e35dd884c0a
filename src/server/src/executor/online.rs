//! Runs a call whose sandbox has an allow-list, and serves the sandbox's network from this process meanwhile.

use std::sync::Arc;

use sandbox_plan::{Call, SandboxEnvironment};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::ExecutorError;
use crate::call::job::Output;
use crate::network::{self, Refusals, Sockets};
use crate::sandbox::launch::{ManagerPool, SandboxRun};
use sandbox_manifest::policy::Entry;

/// Runs the call to its end, and returns the connections that were refused. A sandbox whose network cannot be served is
/// ended.
pub(super) async fn run(
    pool: &ManagerPool,
    (environment, call): (&Arc<SandboxEnvironment>, &Call),
    output: Output,
    entries: &'static [Entry<'static>],
    cancelled: &CancellationToken,
) -> Result<(SandboxRun, Refusals), ExecutorError> {
    let (ended, stop) = (CancellationToken::new(), cancelled.child_token());
    let (handed, mut sockets) = mpsc::unbounded_channel();
    let called = async {
        // If the network has failed, nothing receives the sockets, and the call is being ended.
        let on_sockets = |sockets| drop(handed.send(sockets));
        let run = pool.run_with_sockets(environment, call, output, &on_sockets, &stop).await;
        ended.cancel();
        run
    };
    let served = async {
        let Some(Some(opened)) = ended.run_until_cancelled(sockets.recv()).await else {
            return Ok(Refusals::default());
        };
        let served = async { network::serve(entries, Sockets::of(entries, opened)?, &ended).await }.await;
        if served.is_err() {
            stop.cancel();
        }
        served
    };
    let (run, refusals) = tokio::join!(called, served);
    let refusals = refusals.map_err(|cause| ExecutorError::Network { cause })?;
    Ok((run?, refusals))
}
