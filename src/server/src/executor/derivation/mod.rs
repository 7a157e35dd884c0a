//! Runs a job as a derivation: Nix realises it in its build sandbox, where the launcher is the builder and puts the
//! same walls around the program as everywhere else.
//!
//! The derivation of a run is the call's receipt with a nonce, so that every call runs again, unless its caller asks
//! for the output that such a call has left before. What a run adds to the store is deleted after its answer
//! ([`cleanup`]). Until then, as everything in the store, it can be read by every user of this machine: the files of
//! the call, what the program printed and what it left.
//!
//! A Nix without users for its builders, as in a store that only root may write, runs them as the machine's root,
//! though in a user namespace and without privileges. The kernel then lets a program do what the owner of a file may,
//! with each file that the program can see: it can list /proc/1/fd, for one. Where Nix has users for its builders, that
//! ends.

mod cleanup;
mod command;
mod connections;
mod error;
mod log;
mod output;
mod result;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sandbox_plan::record::RunCost;

use self::cleanup::StoreCleanup;
use self::command::NixCommands;
use self::connections::Connections;
pub use self::error::NixRunError;
use self::log::Log;
use super::{CallContext, ExecutorError};
use crate::call::cancelled::Cancelled;
use crate::call::choice::Remote;
use crate::call::definition::{Network, Sandbox};
use crate::call::outcome::RunResult;
use crate::call::stage::OnStage;
use crate::call::stored_inputs::StoredInputs;
use crate::nix::run_derivation::{RunDerivation, RunOptions, builder_path};
use crate::sandbox::launch::LAUNCHER;
use nix_store::daemon::{Connection, DaemonError};
use nix_store::protocol::BuildStatus;
use nix_store::store_path::{STORE, StorePath};

/// The longest time that adding a derivation may take. It usually takes milliseconds.
const ADD_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest time, beyond the job's deadline, that a call waits in Nix's build queue on this machine.
const LOCAL_QUEUE_TIMEOUT: Duration = Duration::from_secs(2);
/// The same where remote builders may build. Their queues are not first in, first out, so calls get more time.
const REMOTE_QUEUE_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest time, beyond the job's deadline, without any message of Nix.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// The bytes that Nix needs on its disk to carry out a call at all, by a low estimate.
const MIN_FREE_BYTES: u64 = 1 << 20;

/// How Nix is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NixTransport {
    /// By the daemon's protocol, over its socket or to a child of the server.
    Daemon,
    /// By the commands `nix-store --import` and `nix-store --realise`.
    Cli,
}

/// Returns why a build failed, from what the launcher has said, if it could, and from what Nix says.
fn failure(derivation: &RunDerivation, log: &Log<'_>, reason: &str) -> NixRunError {
    let path = builder_path();
    if log.refusal.is_none() && fs::read(path.as_str()).ok().as_deref() != Some(LAUNCHER) {
        return NixRunError::Damaged { path };
    }
    let reason = log.refusal.clone().unwrap_or_else(|| log.reason(reason));
    NixRunError::Build { derivation: derivation.path.clone(), reason }
}

/// Returns whether the store's disk has no room for another call.
fn is_full() -> bool {
    rustix::fs::statvfs(STORE)
        .is_ok_and(|disk| disk.f_bavail * disk.f_frsize < MIN_FREE_BYTES || disk.f_files > 0 && disk.f_favail == 0)
}

/// The executor, with what it keeps from call to call.
pub struct Derivations {
    connections: Connections,
    commands: NixCommands,
    cleanup: StoreCleanup,
    remote: Remote,
}

/// A build that succeeded.
struct Built {
    /// `None` if the output was in the store already.
    cost: Option<RunCost>,
}

impl Derivations {
    /// `nix_store` is the program of that name, which is in one directory with the other programs of Nix. `prewarm` makes
    /// connections ahead of the runs that need them.
    pub fn new(nix_store: Option<&Path>, prewarm: bool, remote: Remote) -> Self {
        let connections = Connections::new(nix_store, prewarm, remote);
        let commands = NixCommands::new(nix_store, remote);
        let cleanup = StoreCleanup::new(connections.clone());
        Self { connections, commands, cleanup, remote }
    }

    /// Runs the job to its end. If this is dropped or cancelled, Nix ends the builder.
    pub(super) async fn run(
        &self,
        transport: NixTransport,
        context: &CallContext<'_>,
    ) -> Result<RunResult, ExecutorError> {
        let CallContext { job, view, .. } = context;
        let derivation = self.derivation(context).await?;
        let begun = Instant::now();
        let built = self.build_within_limits(transport, context, &derivation).await;
        let elapsed = begun.elapsed();
        let result = match built {
            Ok(Some(built)) => result::read(job, &derivation, &built, elapsed).await.map_err(Into::into),
            Ok(None) => Err(Cancelled.into()),
            Err(error) if is_full() => Err(NixRunError::Full { reason: error.to_string() }.into()),
            Err(error) => Err(error.into()),
        };
        // The output of a call that may be shared is its cache.
        if !job.options.cache {
            self.cleanup.add(derivation);
        }
        if transport == NixTransport::Daemon {
            let paths = view.binds.iter().filter_map(|bind| StorePath::parse(bind.source.to_str()?).ok());
            self.connections.refill(paths.collect());
        }
        result
    }

    /// Computes the derivation of a run, with everything that the call itself decides.
    async fn derivation(&self, context: &CallContext<'_>) -> Result<RunDerivation, NixRunError> {
        let job = context.job;
        check(job.sandbox)?;
        let nonce = (!job.options.cache).then(nonce);
        // A derivation that may be shared is the receipt itself, which no remote builder gets.
        let remote = self.remote != Remote::Off && nonce.is_some();
        let options = RunOptions { deadline: job.deadline, nonce: nonce.as_deref(), remote };
        Ok(context.derivation().await?.run(options)?)
    }

    /// Builds a derivation, unless Nix takes too long to begin or to say anything. Returns `None` if the call was
    /// cancelled.
    async fn build_within_limits(
        &self,
        transport: NixTransport,
        context: &CallContext<'_>,
        derivation: &RunDerivation,
    ) -> Result<Option<Built>, NixRunError> {
        let CallContext { job, on_stage, cancelled, .. } = context;
        let mut log = Log::new(*on_stage);
        let queue_timeout = if self.remote == Remote::Off { LOCAL_QUEUE_TIMEOUT } else { REMOTE_QUEUE_TIMEOUT };
        let (queue_limit, silence_limit) = (job.deadline + queue_timeout, job.deadline + SILENCE_TIMEOUT);
        let (waits, is_silent) = (log.waits_for(queue_limit), log.is_silent_for(silence_limit));
        let built = async {
            match transport {
                NixTransport::Daemon => self.build(derivation, job.stored_inputs(), &mut log).await.map(Some),
                NixTransport::Cli => self.commands.realise(derivation, job.stored_inputs(), &mut log, cancelled).await,
            }
        };
        tokio::select! {
            biased;
            built = built => built,
            // Dropping the future drops the connection, at which the daemon ends the builder.
            () = cancelled.cancelled(), if transport == NixTransport::Daemon => Ok(None),
            // There is no builder yet.
            reason = waits => Err(NixRunError::Busy { limit: queue_limit, reason }),
            // What is built on a remote builder may never come back.
            () = is_silent => Err(NixRunError::Silent { limit: silence_limit, reason: log.reason("") }),
        }
    }

    /// Deletes what is left in the store of calls that have ended.
    pub async fn finish(&self) {
        self.cleanup.finish().await;
    }

    /// Realises a derivation, with the files that it may not hold, for a caller that looks at its output.
    pub async fn realise(
        &self,
        derivation: &RunDerivation,
        inputs: StoredInputs<'_>,
        on_stage: OnStage<'_>,
    ) -> Result<(), NixRunError> {
        self.build(derivation, inputs, &mut Log::new(on_stage)).await.map(drop)
    }

    /// Has the store paths of a run deleted, when there is time.
    pub(crate) fn forget(&self, derivation: RunDerivation) {
        self.cleanup.add(derivation);
    }

    async fn build(
        &self,
        derivation: &RunDerivation,
        inputs: StoredInputs<'_>,
        log: &mut Log<'_>,
    ) -> Result<Built, NixRunError> {
        match self.build_once(derivation, inputs, log).await {
            Err(error @ NixRunError::Damaged { .. }) => match self.connections.repair().await {
                Ok(()) => {
                    tracing::warn!("{error}; it was repaired");
                    self.build_once(derivation, inputs, log).await
                }
                Err(_) => Err(error),
            },
            result => result,
        }
    }

    async fn build_once(
        &self,
        derivation: &RunDerivation,
        inputs: StoredInputs<'_>,
        log: &mut Log<'_>,
    ) -> Result<Built, NixRunError> {
        let mut connection = tokio::time::timeout(ADD_TIMEOUT, self.added(derivation, inputs))
            .await
            .map_err(|_| NixRunError::Slow)??;
        let result = connection.build(&derivation.path, &mut |event| log.hear(event)).await;
        let result = result.map_err(|error| match error {
            DaemonError::Refused { operation, reason } => {
                DaemonError::Refused { operation, reason: log.reason(&reason) }
            }
            error => error,
        })?;
        if result.status.succeeded() {
            return Ok(Built { cost: log.cost.filter(|_| result.status == BuildStatus::Built) });
        }
        Err(failure(derivation, log, &result.message))
    }

    /// Adds a derivation and returns the connection that keeps it, which is for this run only.
    async fn added(&self, derivation: &RunDerivation, inputs: StoredInputs<'_>) -> Result<Connection, NixRunError> {
        let (mut connection, is_pooled) = self.connections.take().await?;
        match add(&mut connection, derivation, inputs).await {
            // The daemon may have been restarted since the connection was made. Nothing has run yet.
            Err(NixRunError::Daemon(DaemonError::Lost { .. })) if is_pooled => {
                let mut connection = self.connections.open().await?;
                add(&mut connection, derivation, inputs).await?;
                Ok(connection)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(connection),
        }
    }
}

/// Refuses a sandbox that Nix cannot make on any machine.
pub fn check(sandbox: &Sandbox) -> Result<(), NixRunError> {
    match sandbox.network {
        Network::None => Ok(()),
        Network::Bridge | Network::Allow(_) => Err(NixRunError::Network { tool: sandbox.id }),
    }
}

/// Adds the derivation, and the files that it does not hold, unless those must be there already.
async fn add(
    connection: &mut Connection,
    derivation: &RunDerivation,
    inputs: StoredInputs<'_>,
) -> Result<(), NixRunError> {
    if let (Some(path), false) = (&derivation.stored, inputs.is_empty()) {
        connection.add_files(path.name(), &inputs.node()).await?;
    }
    connection.add_text(derivation.path.name(), &derivation.text, &derivation.references).await?;
    Ok(())
}

/// Returns a word that no other run has, of this server or another on this machine.
pub fn nonce() -> String {
    static BEGUN: LazyLock<u128> =
        LazyLock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos()));
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{:x}-{:x}-{:x}", *BEGUN, std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
