//! Executors: the ways to carry out a job.

mod context;
pub mod derivation;
pub(crate) mod direct;
mod environments;
mod online;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use sandbox_plan::Step;
use sandbox_plan::disk::FullDisk;
use sandbox_plan::left::{self, Left};
use thiserror::Error;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

pub use self::context::CallContext;
use self::derivation::{Derivations, NixRunError, NixTransport};
use self::direct::Unconfined;
use self::environments::Environments;
use crate::call::artifacts::{self, Artifacts};
use crate::call::cancelled::Cancelled;
use crate::call::choice::Executor;
use crate::call::definition::{Network, Sandbox};
use crate::call::missing::Missing;
use crate::call::outcome::RunResult;
use crate::network::Refusals;
use crate::sandbox::launch::{LaunchError, ManagerPool, SandboxRun};
use crate::sandbox::plan;
use crate::sandbox::walls::MachineWalls;

/// All executors, with the state that they keep from call to call.
pub struct Executors {
    pool: ManagerPool,
    /// The pool for views with packages, of which there may be many.
    package_pool: ManagerPool,
    environments: Environments,
    /// The walls that this machine can put around a program, once they were tried.
    walls: OnceCell<MachineWalls>,
    allow_unconfined: bool,
    derivations: Derivations,
}

impl Executors {
    /// `ready` is the number of sandboxes of one environment that are kept ready; `None` leaves it to this machine's size.
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

    /// Returns the walls of this machine. The first caller waits until they were tried.
    pub async fn walls(&self) -> &MachineWalls {
        self.walls.get_or_init(MachineWalls::probe).await
    }

    /// Refuses a sandbox that this executor can't make on this machine, as far as that is known without making it.
    pub async fn check(&self, executor: Executor, sandbox: &'static Sandbox) -> Result<(), ExecutorError> {
        let walls = self.walls().await;
        match (executor, &walls.namespaces) {
            (Executor::Namespace, Err(missing)) => Err(ExecutorError::NoNamespaces(missing.clone())),
            (Executor::Direct, _) if !self.allow_unconfined => direct::check(sandbox, walls),
            (Executor::Derivation | Executor::DerivationCli, _) => Ok(derivation::check(sandbox)?),
            _ => Ok(()),
        }
    }

    pub fn derivations(&self) -> &Derivations {
        &self.derivations
    }

    /// Drops pooled sandboxes that were prepared while `path` was missing, so that later calls see it.
    pub(crate) fn invalidate_path(&self, path: &Path) {
        self.pool.invalidate_path(path);
        self.package_pool.invalidate_path(path);
    }

    /// Deletes what calls have left in the Nix store.
    pub async fn finish(&self) {
        self.derivations.finish().await;
    }

    /// Runs the call to its end. The sandbox is gone when this returns.
    pub async fn run(&self, executor: Executor, context: &CallContext<'_>) -> Result<RunResult, ExecutorError> {
        match executor {
            Executor::Derivation => self.derivations.run(NixTransport::Daemon, context).await,
            Executor::DerivationCli => self.derivations.run(NixTransport::Cli, context).await,
            Executor::Namespace => match &self.walls().await.namespaces {
                Ok(()) => self.run_in_namespaces(context).await,
                Err(missing) => Err(ExecutorError::NoNamespaces(missing.clone())),
            },
            // Toolchains of the host run in namespaces too, where there are any.
            Executor::Direct => match self.walls().await {
                MachineWalls { namespaces: Ok(()), .. } => self.run_in_namespaces(context).await,
                walls => direct::run(context, walls, self.allow_unconfined).await,
            },
        }
    }

    async fn run_in_namespaces(&self, context: &CallContext<'_>) -> Result<RunResult, ExecutorError> {
        let CallContext { job, view, cancelled, .. } = context;
        let (environment, call) = (self.environments.of(job.sandbox, view), plan::call(job, view));
        let pool = if view.packages.is_empty() { &self.pool } else { &self.package_pool };
        let (mut run, refused) = match job.sandbox.network {
            Network::Allow(entries) => online::run(pool, (&environment, &call), job.output, entries, cancelled).await?,
            Network::None | Network::Bridge => {
                (pool.run(&environment, &call, job.output, cancelled).await?, Refusals::default())
            }
        };
        let walls = self.walls().await.sandbox.names().into_iter().chain([RLIMITS]).collect();
        let left = left_in(run.workdir.take(), job.sandbox.workdir.into(), call.steps).await;
        // Before anything of it is released.
        let full = run.out.as_ref().map_or(FullDisk::No, FullDisk::of);
        Ok(RunResult { full, ..result(run, left, refused, walls, Vec::new()).await })
    }
}

/// The name of the resource limits, which are always applied: they need no kernel feature.
const RLIMITS: &str = "rlimits";

/// Returns what is known of a run by the launcher.
async fn result(
    run: SandboxRun,
    left: Left,
    refused: Refusals,
    walls: Vec<&'static str>,
    notes: Vec<String>,
) -> RunResult {
    let artifacts = match run.out {
        Some(directory) => artifacts::gather(directory).await,
        None => Artifacts::default(),
    };
    let SandboxRun { ending, stdout, stderr, duration, usage, .. } = run;
    RunResult {
        ending,
        full: FullDisk::No,
        stdout,
        stderr,
        artifacts,
        left,
        refused,
        duration,
        usage,
        cached: false,
        walls,
        notes,
    }
}

/// Returns what a program has left in its working directory, into which `steps` have written its files. All of these
/// may have to be read again, so the blocking pool does it.
async fn left_in(workdir: Option<OwnedFd>, path: PathBuf, steps: Vec<Step>) -> Left {
    let Some(workdir) = workdir else { return Left::default() };
    spawn_blocking(move || left::find(workdir.as_fd(), &path, &steps)).await.unwrap_or_default()
}

/// The reason why a job was not carried out to its end.
#[derive(Debug, Error)]
pub enum ExecutorError {
    /// The call was cancelled before Nix or a launcher had it.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// Pinned environments are shown in namespaces only.
    #[error(
        "cannot run in a pinned environment: namespaces are not available on this machine: {0}; `--executor direct` uses \
         this host's toolchains instead"
    )]
    NoNamespaces(Missing),
    #[error(transparent)]
    Unconfined(Box<Unconfined>),
    /// The private directory of a program without namespaces.
    #[error("cannot {operation} {}: {cause}", path.display())]
    Directory { operation: &'static str, path: PathBuf, cause: io::Error },
    /// The sandbox's way to the hosts of its allow-list.
    #[error("cannot serve the sandbox's network: {cause}")]
    Network { cause: io::Error },
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Derivation(Box<NixRunError>),
}

impl From<NixRunError> for ExecutorError {
    fn from(error: NixRunError) -> Self {
        Self::Derivation(Box::new(error))
    }
}
