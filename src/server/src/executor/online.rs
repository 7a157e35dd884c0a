//! Runs a call whose sandbox has an allow-list, and serves its network from here meanwhile.

use std::sync::Arc;

use sandbox_plan::{Call, SandboxEnvironment};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::ExecutorError;
use crate::call::job::Output;
use crate::network::{self, Refusals, Sockets};
use crate::sandbox::launch::{Pool, Run};
use sandbox_manifest::policy::Entry;

/// Runs the call to its end, and tells which connections were refused. A sandbox whose network can't be served is
/// ended.
pub(super) async fn run(
    pool: &Pool,
    (environment, call): (&Arc<SandboxEnvironment>, &Call),
    output: Output,
    entries: &'static [Entry<'static>],
    cancelled: &CancellationToken,
) -> Result<(Run, Refusals), ExecutorError> {
    let (ended, stop) = (CancellationToken::new(), cancelled.child_token());
    let (handed, mut sockets) = mpsc::unbounded_channel();
    let called = async {
        // Nobody wants them any more when the network has failed, and then the call is at its end.
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
    let refusals = refusals.map_err(|source| ExecutorError::Network { source })?;
    Ok((run?, refusals))
}
