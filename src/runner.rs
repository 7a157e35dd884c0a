//! Carries jobs out: brings the environment there, chooses the executor, and bounds how much runs at once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::executor::{Choice, ExecutorError, Executors, direct};
use crate::host::{self, HostError};
use crate::job::Job;
use crate::launch::{LaunchError, Pool};
use crate::outcome::Outcome;
use crate::realise::{RealiseError, Realiser};
use crate::run_derivation::receipt;
use crate::sandbox::Sandbox;
use crate::stage::{OnStage, Stage};
use crate::store_path::StorePathError;
use crate::tool::TOOLS;
use crate::view::{Origin, View, ViewError};
use crate::walls::Walls;

/// What the operator decided for all calls.
#[derive(Debug, Clone)]
pub struct Options {
    pub executor: Choice,
    /// No program runs longer than this, whatever its sandbox allows.
    pub longest: Option<Duration>,
    /// How many programs run at once; further calls wait.
    pub calls_at_once: usize,
    /// How many sandboxes of one environment are kept ready for calls; none leaves it to this machine's size.
    pub ready: Option<usize>,
    /// Whether programs run where nothing walls off the host's files or network.
    pub allow_unconfined: bool,
}

/// Why a job could not be carried out to its end.
#[derive(Debug)]
pub enum RunError {
    /// The executor that the operator asked for needs an environment that this server was built without.
    NotPinned {
        tool: &'static str,
    },
    Realise(RealiseError),
    View(ViewError),
    Host(HostError),
    Executor(ExecutorError),
    /// The call makes no derivation.
    Receipt(StorePathError),
    Cancelled,
    /// A bug of ours, which the log shows.
    Panicked,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPinned { tool } => write!(
                f,
                "this server was built without Nix, so it has no pinned environment for `{tool}`: start it with \
                 `--executor direct` to use this host's toolchains, or build it with `nix build`"
            ),
            Self::Realise(error) => error.fmt(f),
            Self::View(error) => error.fmt(f),
            Self::Host(error) => error.fmt(f),
            Self::Executor(error) => error.fmt(f),
            Self::Receipt(error) => write!(f, "the call makes no derivation: {error}"),
            Self::Panicked => f.write_str("the server failed within itself: see its log"),
            Self::Cancelled => f.write_str("the call was cancelled"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Realise(error) => Some(error),
            Self::View(error) => Some(error),
            Self::Host(error) => Some(error),
            Self::Executor(error) => Some(error),
            Self::Receipt(error) => Some(error),
            Self::NotPinned { .. } | Self::Cancelled | Self::Panicked => None,
        }
    }
}

impl From<ExecutorError> for RunError {
    fn from(error: ExecutorError) -> Self {
        match error {
            ExecutorError::Launch(LaunchError::Cancelled) => Self::Cancelled,
            error => Self::Executor(error),
        }
    }
}

pub struct Runner {
    options: Options,
    realiser: Realiser,
    slots: Semaphore,
    executors: Executors,
    /// What each tool's programs see, once it was made. The lock is held while that is done, so that callers of one
    /// tool do it once and callers of another need not wait.
    views: BTreeMap<&'static str, Mutex<Option<Arc<View>>>>,
}

impl Runner {
    pub fn new(options: Options) -> Self {
        Self {
            realiser: Realiser::from_environment(),
            slots: Semaphore::new(options.calls_at_once),
            executors: Executors::new(options.ready.map_or_else(Pool::new, Pool::with_ready), options.allow_unconfined),
            views: TOOLS.iter().map(|tool| (tool.sandbox.id, Mutex::default())).collect(),
            options,
        }
    }

    pub fn realiser(&self) -> &Realiser {
        &self.realiser
    }

    pub fn executors(&self) -> &Executors {
        &self.executors
    }

    /// Whether calls of this sandbox run in its pinned environment, rather than on the host's toolchains.
    pub fn takes_pinned(&self, sandbox: &Sandbox, walls: &Walls) -> bool {
        sandbox.environment.is_some()
            && match self.options.executor {
                Choice::Namespace => true,
                Choice::Auto => walls.namespaces.is_ok(),
                Choice::Direct => false,
            }
    }

    /// Runs a job to its end, and leaves nothing of it behind, whether it ends or is cancelled.
    pub async fn run(
        &self,
        job: Job,
        on_stage: OnStage<'_>,
        cancelled: &CancellationToken,
    ) -> Result<Outcome, RunError> {
        let prepared = async {
            let view = self.view(job.sandbox, on_stage).await?;
            Ok::<_, RunError>((view, self.slot(on_stage).await))
        };
        let (view, _slot) = tokio::select! {
            prepared = prepared => prepared?,
            () = cancelled.cancelled() => return Err(RunError::Cancelled),
        };
        on_stage(Stage::Running);
        let job = Job { deadline: self.limit(&job), ..job };
        let run = self.executors.run(&job, &view, cancelled);
        // While the program runs: nobody waits for the receipt.
        let receipt = async {
            match view.origin {
                Origin::Pinned(_) => receipt(job.sandbox, &job.files).map_err(RunError::Receipt),
                Origin::Host => Ok(None),
            }
        };
        let (outcome, receipt) = tokio::join!(run, receipt);
        let (outcome, receipt) = (outcome?, receipt?);
        Ok(Outcome { derivation: receipt.map(|receipt| receipt.path), ..outcome })
    }

    /// Brings a pinned environment there ahead of its first call.
    pub async fn prepare(&self, sandbox: &'static Sandbox, on_stage: OnStage<'_>) -> Result<Arc<View>, RunError> {
        self.view(sandbox, on_stage).await
    }

    /// How long a job may run.
    pub fn limit(&self, job: &Job) -> Duration {
        job.deadline.min(self.options.longest.unwrap_or(Duration::MAX))
    }

    async fn slot(&self, on_stage: OnStage<'_>) -> Option<SemaphorePermit<'_>> {
        match self.slots.try_acquire() {
            Ok(slot) => Some(slot),
            Err(_) => {
                on_stage(Stage::Waiting);
                // It is never closed.
                self.slots.acquire().await.ok()
            }
        }
    }

    async fn view(&self, sandbox: &'static Sandbox, on_stage: OnStage<'_>) -> Result<Arc<View>, RunError> {
        let mut known = self.views[sandbox.id].lock().await;
        if let Some(view) = known.as_ref().filter(|view| view.is_present()) {
            return Ok(view.clone());
        }
        let walls = self.executors.walls().await;
        let view = match &sandbox.environment {
            Some(environment) if self.takes_pinned(sandbox, walls) => {
                self.realiser.realise(sandbox, environment, on_stage).await.map_err(RunError::Realise)?;
                View::pinned(Path::new(environment.out)).map_err(RunError::View)?
            }
            None if self.options.executor == Choice::Namespace => return Err(RunError::NotPinned { tool: sandbox.id }),
            _ => {
                if let (Choice::Auto, Some(_), Err(missing)) =
                    (self.options.executor, &sandbox.environment, &walls.namespaces)
                {
                    let id = sandbox.id;
                    tracing::warn!(
                        "tool `{id}` runs on this host's toolchains, not in its pinned environment: {missing}"
                    );
                }
                let host = direct::host(walls);
                // A version manager may be asked, which takes its time.
                let view = spawn_blocking(move || host::view(sandbox, &host)).await;
                view.map_err(|_| RunError::Panicked)?.map_err(RunError::Host)?
            }
        };
        Ok(known.insert(Arc::new(view)).clone())
    }
}
