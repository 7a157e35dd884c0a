//! Runs a job as a derivation: Nix realises it in its build sandbox, where the launcher is the builder and puts the same
//! walls around the program as everywhere else.
//!
//! The derivation of a run is the call's receipt with a nonce, so that every call runs anew, unless its caller asks for
//! the output that such a call has left before. What a run adds to the store is deleted after its answer ([`leavings`]).
//! Until then, as everything in the store, it can be read by every user of this machine: the files of the call, what the
//! program printed and what it left.
//!
//! A Nix without users for its builders, as in a store that is root's alone, runs them as the machine's root, though in a
//! user namespace and without privileges. The kernel then lets a program do what the owner of a file may, with each file
//! that the program can see: it can list /proc/1/fd, for one. Where Nix has users for its builders, that ends.

mod command;
mod connections;
mod leavings;
mod log;
mod output;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fmt, fs, io};

use sandbox_plan::record::RunCost;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use self::command::NixStore;
use self::connections::Connections;
use self::leavings::Leavings;
use self::log::Log;
use super::Executor;
use crate::call::artifacts;
use crate::call::choice::{Remote, Way};
use crate::call::definition::{Network, Sandbox};
use crate::call::file::File;
use crate::call::job::Job;
use crate::call::outcome::Outcome;
use crate::call::stage::OnStage;
use crate::call::tool::SYSTEM;
use crate::network::Refusals;
use crate::nix::receipt::takes_long;
use crate::nix::run_derivation::{Run, RunDerivation, builder_path, files_node};
use crate::sandbox::launch::LAUNCHER;
use crate::sandbox::view::View;
use nix_store::daemon::{Connection, DaemonError};
use nix_store::protocol::{BuildMode, BuildStatus};
use nix_store::reach::{ReachError, UnreachableNix};
use nix_store::store_path::{STORE, StorePath, StorePathError};

/// How long it may take to add a derivation, which takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much longer than its program may run a call waits for its turn to be built here, and on other machines, where those
/// that come later may well be first.
const MORE_PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE_WITH_OTHERS: Duration = Duration::from_secs(60);
/// How much longer than its program may run a call waits for anything to be said of it.
const PATIENCE_WITH_SILENCE: Duration = Duration::from_secs(60);

/// Bytes that Nix needs to carry out a call at all, by a low estimate.
const ROOM: u64 = 1 << 20;

/// Why a job was not carried out to its end.
#[derive(Debug)]
pub enum DerivationError {
    /// Nix's build sandbox has no network to give.
    Network {
        tool: &'static str,
    },
    Path(StorePathError),
    Unreachable(UnreachableNix),
    Daemon(DaemonError),
    /// The command failed, with its own last lines.
    Command {
        operation: &'static str,
        reason: String,
    },
    /// There was no build, or the builder refused.
    Build {
        derivation: StorePath,
        reason: String,
    },
    /// Nix has no room to write into. Its own words tell of that in many ways, or not at all.
    Full {
        reason: String,
    },
    /// The output is not as the builder writes it.
    Output {
        path: PathBuf,
        source: io::Error,
    },
    /// Nothing was built yet, but Nix does not answer.
    Slow,
    /// Nix was asked to build, but others kept it from that.
    Busy {
        limit: Duration,
        reason: String,
    },
    /// Nix said nothing for longer than any program may run.
    Silent {
        limit: Duration,
        reason: String,
    },
    /// The launcher in the store is not what was added to it, as a disk may leave it after a power cut.
    Damaged {
        path: &'static StorePath,
    },
    Cancelled,
}

impl fmt::Display for DerivationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { tool } => write!(
                f,
                "`{tool}` has network access, which Nix's build sandbox can't give: start the server with `--executor \
                 namespace` or `--executor direct` for it"
            ),
            Self::Path(error) => error.fmt(f),
            Self::Unreachable(error) => write!(f, "{error}, or start the server with `--executor namespace`"),
            Self::Daemon(error) => error.fmt(f),
            Self::Command { operation, reason } => write!(f, "cannot {operation}: {reason}"),
            Self::Build { derivation, reason } => write!(f, "Nix did not realise {derivation}: {reason}"),
            Self::Full { reason } => write!(
                f,
                "the disk that holds {STORE} is full, so that Nix can't carry out a call; `nix-collect-garbage` may free \
                 some of it: {reason}"
            ),
            Self::Output { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::Slow => write!(
                f,
                "Nix did not take the derivation within {PATIENCE:?}: a garbage collector may be at work; try again later"
            ),
            Self::Busy { limit, reason } => write!(
                f,
                "Nix could not begin to build for {} seconds, since other builds are at work ({reason}): try again later; \
                 in nix.conf, `build-users-group` names who builds here, and `builders` who does elsewhere",
                limit.as_secs()
            ),
            Self::Silent { limit, reason } => write!(
                f,
                "Nix was silent for {} seconds, which is longer than the call may take{reason}: it may wait for a remote \
                 builder that is lost; `builders` in nix.conf names them, and `ConnectTimeout` and `ServerAliveInterval` in \
                 ssh_config let ssh notice",
                limit.as_secs()
            ),
            Self::Damaged { path } => write!(
                f,
                "{path} has not the content any more that Nix has registered: `nix-store --query --referrers-closure {path} | \
                 xargs nix-store --delete --ignore-liveness` lets this server add it again, and `nix-store --verify \
                 --check-contents` finds what else is damaged"
            ),
            Self::Cancelled => f.write_str("the call was cancelled"),
        }
    }
}

impl std::error::Error for DerivationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Path(error) => Some(error),
            Self::Unreachable(error) => Some(error),
            Self::Daemon(error) => Some(error),
            Self::Output { source, .. } => Some(source),
            Self::Network { .. }
            | Self::Command { .. }
            | Self::Build { .. }
            | Self::Full { .. }
            | Self::Slow
            | Self::Busy { .. }
            | Self::Silent { .. }
            | Self::Damaged { .. }
            | Self::Cancelled => None,
        }
    }
}

impl From<DaemonError> for DerivationError {
    fn from(error: DaemonError) -> Self {
        Self::Daemon(error)
    }
}

impl From<ReachError> for DerivationError {
    fn from(error: ReachError) -> Self {
        match error {
            ReachError::Unreachable(error) => Self::Unreachable(error),
            ReachError::Daemon(error) => Self::Daemon(error),
        }
    }
}

impl DerivationError {
    /// Whether a path that was there is not any more, as when the garbage collector has taken the environment.
    pub fn misses_a_path(&self) -> bool {
        match self {
            Self::Daemon(DaemonError::Refused { reason, .. }) | Self::Command { reason, .. } => {
                reason.contains("is not valid")
            }
            _ => false,
        }
    }
}

/// Why a build failed, by what the launcher has said, if it could, and by what Nix says.
fn failure(derivation: &RunDerivation, log: &Log<'_>, reason: &str) -> DerivationError {
    let path = builder_path();
    if log.refusal.is_none() && fs::read(path.as_str()).ok().as_deref() != Some(LAUNCHER) {
        return DerivationError::Damaged { path };
    }
    let reason = log.refusal.clone().unwrap_or_else(|| log.reason(reason));
    DerivationError::Build { derivation: derivation.path.clone(), reason }
}

/// Whether the store's disk has no room for another call.
fn is_full() -> bool {
    rustix::fs::statvfs(STORE)
        .is_ok_and(|disk| disk.f_bavail * disk.f_frsize < ROOM || disk.f_files > 0 && disk.f_favail == 0)
}

/// What is kept from call to call.
pub struct Derivations {
    connections: Connections,
    command: NixStore,
    leavings: Leavings,
    remote: Remote,
}

/// What Nix told of a build that succeeded.
struct Built {
    /// None: the output was there already.
    cost: Option<RunCost>,
}

impl Derivations {
    /// `nix_store` is the program of that name, beside which the others are. `ahead`: connections are made ahead of the
    /// runs that need them.
    pub fn new(nix_store: Option<&Path>, ahead: bool, remote: Remote) -> Self {
        let connections = Connections::new(nix_store, ahead, remote);
        let command = NixStore::new(nix_store, remote);
        let leavings = Leavings::new(connections.clone());
        Self { connections, command, leavings, remote }
    }

    /// Runs the job to its end. Where this is dropped or cancelled, Nix ends the builder.
    pub async fn run(
        &self,
        way: Way,
        job: &Job,
        view: &View,
        on_stage: OnStage<'_>,
        cancelled: &CancellationToken,
    ) -> Result<Outcome, DerivationError> {
        let nonce = (!job.options.cache).then(nonce);
        let derivation = derive(job, nonce.clone(), self.remote).await?;
        let begun = Instant::now();
        let mut log = Log::new(on_stage);
        let limit = job.deadline + if self.remote == Remote::Off { MORE_PATIENCE } else { PATIENCE_WITH_OTHERS };
        let waits = log.waits_for(limit);
        let silence = job.deadline + PATIENCE_WITH_SILENCE;
        let is_silent = log.is_silent_for(silence);
        let built = async {
            match way {
                Way::Daemon => self.build(&derivation, &job.files, &mut log).await,
                Way::Command => self.command.realise(&derivation, &job.files, &mut log, cancelled).await,
            }
        };
        let built = tokio::select! {
            biased;
            built = built => built,
            // The connection goes with the future, and with it goes the builder.
            () = cancelled.cancelled(), if way == Way::Daemon => Err(DerivationError::Cancelled),
            // There is no builder yet.
            reason = waits => Err(DerivationError::Busy { limit, reason }),
            // What is built elsewhere may never come back.
            () = is_silent => Err(DerivationError::Silent { limit: silence, reason: log.reason("") }),
        };
        let elapsed = begun.elapsed();
        let outcome = match built {
            Ok(built) => outcome(way, job, view, &derivation, &built, elapsed).await,
            Err(DerivationError::Cancelled) => Err(DerivationError::Cancelled),
            Err(error) if is_full() => Err(DerivationError::Full { reason: error.to_string() }),
            Err(error) => Err(error),
        };
        if nonce.is_some() {
            self.leavings.add(derivation);
        }
        if way == Way::Daemon {
            let paths = view.binds.iter().filter_map(|bind| StorePath::parse(bind.source.to_str()?).ok());
            self.connections.refill(paths.collect());
        }
        outcome
    }

    /// Deletes what is left in the store of calls that have ended.
    pub async fn finish(&self) {
        self.leavings.finish().await;
    }

    /// Realises a derivation, with the files that it may not hold, for whoever looks at its output.
    pub async fn realise(
        &self,
        derivation: &RunDerivation,
        files: &[File],
        on_stage: OnStage<'_>,
    ) -> Result<(), DerivationError> {
        self.build(derivation, files, &mut Log::new(on_stage)).await.map(drop)
    }

    /// Deletes what a run has left, when there is time.
    pub fn forget(&self, derivation: RunDerivation) {
        self.leavings.add(derivation);
    }

    async fn build(
        &self,
        derivation: &RunDerivation,
        files: &[File],
        log: &mut Log<'_>,
    ) -> Result<Built, DerivationError> {
        match self.build_once(derivation, files, log).await {
            Err(error @ DerivationError::Damaged { .. }) => match self.connections.repair().await {
                Ok(()) => {
                    tracing::warn!("{error}; it was put right");
                    self.build_once(derivation, files, log).await
                }
                Err(_) => Err(error),
            },
            result => result,
        }
    }

    async fn build_once(
        &self,
        derivation: &RunDerivation,
        files: &[File],
        log: &mut Log<'_>,
    ) -> Result<Built, DerivationError> {
        let mut connection = tokio::time::timeout(PATIENCE, self.added(derivation, files))
            .await
            .map_err(|_| DerivationError::Slow)??;
        let result = connection.build(&derivation.path, BuildMode::Normal, &mut |event| log.hear(event)).await;
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

    /// Adds a derivation by a connection that then is its own.
    async fn added(&self, derivation: &RunDerivation, files: &[File]) -> Result<Connection, DerivationError> {
        let (mut connection, has_waited) = self.connections.take().await?;
        match add(&mut connection, derivation, files).await {
            // The daemon may have been started anew since the connection was made. Nothing has run yet.
            Err(DerivationError::Daemon(DaemonError::Lost { .. })) if has_waited => {
                let mut connection = self.connections.open().await?;
                add(&mut connection, derivation, files).await?;
                Ok(connection)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(connection),
        }
    }
}

/// The derivation of a run, made where nobody waits for it if it takes long.
async fn derive(job: &Job, nonce: Option<String>, remote: Remote) -> Result<RunDerivation, DerivationError> {
    if !takes_long(&job.files) {
        return derivation(job, nonce.as_deref(), remote);
    }
    let job = job.clone();
    let made = spawn_blocking(move || derivation(&job, nonce.as_deref(), remote)).await;
    made.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Refuses a sandbox that Nix can't make on any machine.
pub fn check(sandbox: &Sandbox) -> Result<(), DerivationError> {
    match sandbox.network {
        Network::None => Ok(()),
        Network::Bridge | Network::Allow(_) => Err(DerivationError::Network { tool: sandbox.id }),
    }
}

/// The derivation of a run, with all that the call itself decides.
fn derivation(job: &Job, nonce: Option<&str>, remote: Remote) -> Result<RunDerivation, DerivationError> {
    let sandbox = job.sandbox;
    check(sandbox)?;
    let (Some(system), Some(environment)) = (SYSTEM, &sandbox.environment) else {
        unreachable!("only jobs with a pinned environment come here")
    };
    let (packages, files, deadline) = (&job.options.packages, &job.files, job.deadline);
    // One that may be shared is the receipt itself.
    let remote = remote != Remote::Off && nonce.is_some();
    Run { system, sandbox, environment, packages, builder: builder_path(), files, deadline, nonce, remote }
        .derivation()
        .map_err(DerivationError::Path)
}

/// Adds the derivation, and the files that it does not hold, unless those must be there already.
async fn add(connection: &mut Connection, derivation: &RunDerivation, files: &[File]) -> Result<(), DerivationError> {
    if let (Some(path), false) = (&derivation.files, files.is_empty()) {
        connection.add_files(path.name(), &files_node(files)).await?;
    }
    connection.add_text(derivation.path.name(), &derivation.text, &derivation.references).await?;
    Ok(())
}

async fn outcome(
    way: Way,
    job: &Job,
    view: &View,
    derivation: &RunDerivation,
    built: &Built,
    elapsed: Duration,
) -> Result<Outcome, DerivationError> {
    let out = PathBuf::from(derivation.out.as_str());
    let path = out.clone();
    let read = spawn_blocking(move || output::read(&out)).await.map_err(io::Error::other);
    let output = read.and_then(|read| read).map_err(|source| DerivationError::Output { path, source })?;
    let mut artifacts = match output.artifacts {
        Some(directory) => artifacts::gather(directory).await,
        None => artifacts::Artifacts::default(),
    };
    artifacts.add_left_out(output.left_out);
    let cost = built.cost.unwrap_or(RunCost { duration: elapsed, usage: Default::default() });
    Ok(Outcome {
        ending: output.ending,
        stdout: output.stdout,
        stderr: output.stderr,
        artifacts,
        workdir: job.sandbox.workdir,
        left: output.left,
        refused: Refusals::default(),
        duration: cost.duration,
        usage: cost.usage,
        executor: Executor::Derivation(way).name(),
        fallback: None,
        environment: view.origin.to_string(),
        derivation: None,
        cached: job.options.cache && built.cost.is_none(),
        walls: WALLS.into(),
        notes: Vec::new(),
    })
}

/// The builder refuses to do without any of these. It takes Landlock where the kernel has it, and where Nix leaves it of use.
const WALLS: [&str; 6] =
    ["nix build sandbox", "namespaces", "no capabilities", "no_new_privs", "seccomp", super::RLIMITS];

/// A word that no other run has, of this server or another on this machine.
pub fn nonce() -> String {
    static BEGUN: LazyLock<u128> =
        LazyLock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos()));
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{:x}-{:x}-{:x}", *BEGUN, std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
