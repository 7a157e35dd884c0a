//! Executors: ways to carry out a job. They differ in nothing else.

pub mod derivation;
pub mod direct;
mod environments;
mod online;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use sandbox_plan::Step;
use sandbox_plan::left::{self, Left};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use self::derivation::{DerivationError, Derivations};
use self::direct::Unconfined;
use self::environments::Environments;
use crate::call::artifacts::{self, Artifacts};
use crate::call::choice::Executor;
use crate::call::definition::{Network, Sandbox};
use crate::call::job::Job;
use crate::call::missing::Missing;
use crate::call::outcome::Outcome;
use crate::call::stage::OnStage;
use crate::network::Refusals;
use crate::sandbox::launch::{LaunchError, ManagerPool, SandboxRun};
use crate::sandbox::plan;
use crate::sandbox::view::View;
use crate::sandbox::walls::MachineWalls;

/// All executors, with what they keep from call to call.
pub struct Executors {
    pool: ManagerPool,
    /// For views with packages, which are many.
    package_pool: ManagerPool,
    environments: Environments,
    /// What this machine can put around a program, once it was tried.
    walls: OnceCell<MachineWalls>,
    allow_unconfined: bool,
    derivations: Derivations,
}

impl Executors {
    /// `ready`: how many sandboxes of one environment are kept ready; none leaves it to this machine's size.
    pub fn new(ready: Option<usize>, derivations: Derivations, allow_unconfined: bool) -> Self {
        Self {
            pool: ready.map_or_else(ManagerPool::new, ManagerPool::with_ready),
            package_pool: ManagerPool::small(ready),
            environments: Environments::default(),
            walls: OnceCell::new(),
            allow_unconfined,
            derivations,
        }
    }

    /// The walls of this machine. The first caller waits until they were tried.
    pub async fn walls(&self) -> &MachineWalls {
        self.walls.get_or_init(MachineWalls::probe).await
    }

    /// Refuses a sandbox that this executor can't make on this machine, as far as that is known without making it.
    pub async fn check(&self, executor: Executor, sandbox: &'static Sandbox) -> Result<(), ExecutorError> {
        let walls = self.walls().await;
        match (executor, &walls.namespaces) {
            (Executor::Namespace, Err(missing)) => Err(ExecutorError::NoNamespaces(missing.clone())),
            (Executor::Direct, _) if !self.allow_unconfined => direct::check(sandbox, walls),
            (Executor::Derivation(_), _) => Ok(derivation::check(sandbox)?),
            _ => Ok(()),
        }
    }

    pub fn derivations(&self) -> &Derivations {
        &self.derivations
    }

    /// Shows a path anew that was not there a moment ago: sandboxes of later calls are made of what is there now.
    pub fn show_anew(&self, path: &Path) {
        self.pool.invalidate_path(path);
        self.package_pool.invalidate_path(path);
    }

    /// Clears away what calls have left in the Nix store.
    pub async fn finish(&self) {
        self.derivations.finish().await;
    }

    /// Runs the job to its end. The sandbox is gone when this returns.
    pub async fn run(
        &self,
        executor: Executor,
        job: &Job,
        view: &Arc<View>,
        on_stage: OnStage<'_>,
        cancelled: &CancellationToken,
    ) -> Result<Outcome, ExecutorError> {
        if let Executor::Derivation(way) = executor {
            return Ok(self.derivations.run(way, job, view, on_stage, cancelled).await?);
        }
        let walls = self.walls().await;
        if let Err(missing) = &walls.namespaces {
            return match executor {
                Executor::Namespace | Executor::Derivation(_) => Err(ExecutorError::NoNamespaces(missing.clone())),
                Executor::Direct => direct::run(job, view, walls, self.allow_unconfined, cancelled).await,
            };
        }
        let (environment, call) = (self.environments.of(job.sandbox, view), plan::call(job, view));
        let pool = if view.packages.is_empty() { &self.pool } else { &self.package_pool };
        let (mut run, refused) = match job.sandbox.network {
            Network::Allow(entries) => online::run(pool, (&environment, &call), job.output, entries, cancelled).await?,
            Network::None | Network::Bridge => {
                (pool.run(&environment, &call, job.output, cancelled).await?, Refusals::default())
            }
        };
        let walls = walls.sandbox.names().into_iter().chain([RLIMITS]).collect();
        let left = left_in(run.workdir.take(), job.sandbox.workdir.into(), call.steps).await;
        Ok(Outcome { refused, left, ..outcome(executor, run, (job, view), walls, Vec::new()).await })
    }
}

/// The wall that every kernel has.
const RLIMITS: &str = "rlimits";

async fn outcome(
    executor: Executor,
    run: SandboxRun,
    (job, view): (&Job, &View),
    walls: Vec<&'static str>,
    notes: Vec<String>,
) -> Outcome {
    let artifacts = match run.out {
        Some(directory) => artifacts::gather(directory).await,
        None => Artifacts::default(),
    };
    Outcome {
        ending: run.ending,
        stdout: run.stdout,
        stderr: run.stderr,
        artifacts,
        workdir: job.sandbox.workdir,
        left: Left::default(),
        refused: Refusals::default(),
        duration: run.duration,
        usage: run.usage,
        executor: executor.name(),
        fallback: None,
        environment: view.origin.to_string(),
        derivation: None,
        cached: false,
        walls,
        notes,
    }
}

/// What a program has left in its working directory, into which `steps` have written its files. Looked at away from the
/// threads that must not wait, since all of these may have to be read again.
async fn left_in(workdir: Option<OwnedFd>, path: PathBuf, steps: Vec<Step>) -> Left {
    let Some(workdir) = workdir else { return Left::default() };
    spawn_blocking(move || left::find(workdir.as_fd(), &path, &steps)).await.unwrap_or_default()
}

/// Why a job was not carried out to its end.
#[derive(Debug)]
pub enum ExecutorError {
    /// Pinned environments are shown in namespaces alone.
    NoNamespaces(Missing),
    Unconfined(Box<Unconfined>),
    /// The private directory of a program without namespaces.
    Directory {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The sandbox's way to the hosts of its allow-list.
    Network {
        source: io::Error,
    },
    Launch(LaunchError),
    Derivation(Box<DerivationError>),
}

impl fmt::Display for ExecutorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNamespaces(missing) => write!(
                f,
                "pinned environments run in namespaces, which this machine does not offer: {missing}; \
                 `--executor direct` does without, on this host's toolchains"
            ),
            Self::Unconfined(unconfined) => unconfined.fmt(f),
            Self::Directory { operation, path, source } => {
                write!(f, "cannot {operation} {}: {source}", path.display())
            }
            Self::Network { source } => write!(f, "cannot serve the sandbox's network: {source}"),
            Self::Launch(error) => error.fmt(f),
            Self::Derivation(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ExecutorError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoNamespaces(missing) => Some(missing),
            Self::Unconfined(unconfined) => Some(&unconfined.wall),
            Self::Directory { source, .. } | Self::Network { source } => Some(source),
            Self::Launch(error) => Some(error),
            Self::Derivation(error) => Some(error.as_ref()),
        }
    }
}

impl From<DerivationError> for ExecutorError {
    fn from(error: DerivationError) -> Self {
        match error {
            DerivationError::Cancelled => Self::Launch(LaunchError::Cancelled),
            error => Self::Derivation(Box::new(error)),
        }
    }
}

impl From<LaunchError> for ExecutorError {
    fn from(error: LaunchError) -> Self {
        Self::Launch(error)
    }
}
