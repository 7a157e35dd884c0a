//! Carries jobs out: brings the environment there, chooses the executor, and bounds how much runs at once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell, Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::call::choice::{Choice, Executor, Remote, Way};
use crate::call::definition::{Environment, Network, Package, Sandbox};
use crate::call::job::Job;
use crate::call::options::OfferedOptions;
use crate::call::outcome::{Fallback, Outcome};
use crate::call::packages::Packages;
use crate::call::stage::{OnStage, Stage};
use crate::call::tool::{SYSTEM, TOOLS};
use crate::executor::derivation::Derivations;
use crate::executor::{ExecutorError, Executors, direct};
use crate::nix::realise::{RealiseError, Realiser};
use crate::nix::receipt::{receipt, takes_long};
use crate::sandbox::backend::Backend;
use crate::sandbox::host::{self, HostError, Toolchain};
use crate::sandbox::launch::LaunchError;
use crate::sandbox::view::{View, ViewError};
use crate::sandbox::view_cache::JoinedViews;
use nix_store::store_path::StorePathError;

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
    /// Whether Nix may give the calls that it carries out to builders on other machines.
    pub remote: Remote,
    /// The options of a call that clients may choose.
    pub offered: OfferedOptions,
}

/// Why a job could not be carried out to its end.
#[derive(Debug)]
pub enum RunError {
    /// The executor that the operator asked for needs an environment that this server was built without.
    NotPinned {
        tool: &'static str,
    },
    /// The call asks for packages, which are joined to pinned environments alone.
    NoPackages {
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
            Self::NoPackages { tool } => write!(
                f,
                "packages are joined to pinned environments, and `{tool}` runs on this host's toolchains: leave `packages` \
                 out and use what this host has, or start the server with `--executor namespace` or `--executor derivation`"
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
            Self::NotPinned { .. } | Self::NoPackages { .. } | Self::Cancelled | Self::Panicked => None,
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
    /// What each tool's programs see, once it was made.
    views: BTreeMap<&'static str, Views>,
    joined: JoinedViews,
    /// Whether Nix can take the place of namespaces, or why not, once that was tried.
    derivations_stand: OnceCell<Result<(), String>>,
}

/// What a tool's programs see, of its pinned environment and of the host. Each lock is held while that is made, so that
/// callers of one tool do it once and callers of another need not wait.
#[derive(Default)]
struct Views {
    pinned: Mutex<Option<Arc<View>>>,
    host: Mutex<Option<Arc<Toolchain>>>,
}

impl Runner {
    pub fn new(options: Options) -> Self {
        let realiser = Realiser::from_environment();
        // After a single call nobody needs a connection either.
        let derivations = Derivations::new(realiser.nix_store(), options.ready != Some(0), options.remote);
        Self {
            realiser,
            slots: Semaphore::new(options.calls_at_once),
            executors: Executors::new(options.ready, derivations, options.allow_unconfined),
            derivations_stand: OnceCell::new(),
            joined: JoinedViews::default(),
            views: TOOLS.iter().map(|tool| (tool.sandbox.id, Views::default())).collect(),
            options,
        }
    }

    pub fn realiser(&self) -> &Realiser {
        &self.realiser
    }

    pub fn executors(&self) -> &Executors {
        &self.executors
    }

    /// Returns whether programs run in pinned environments, unless this machine lacks what these need.
    pub fn is_pinned(&self) -> bool {
        SYSTEM.is_some() && self.options.executor != Choice::Direct
    }

    /// Returns the longest time that the operator lets any program run, if there is one.
    pub fn time_limit(&self) -> Option<Duration> {
        self.options.longest
    }

    /// Returns the options of a call that clients are offered: those that the operator allows, of a server with pinned
    /// environments.
    pub fn offered_options(&self) -> OfferedOptions {
        let is_pinned = self.is_pinned();
        let OfferedOptions { executor, packages } = self.options.offered;
        OfferedOptions { executor: executor && is_pinned, packages: packages && is_pinned }
    }

    /// What the programs of a sandbox run on, or why no call of it can be carried out here; as far as that is known
    /// without a call.
    pub async fn backend(&self, sandbox: &'static Sandbox) -> Result<Backend, RunError> {
        let executor = self.expected(sandbox).await?;
        self.executors.check(executor, sandbox).await?;
        match sandbox.environment.as_ref().filter(|_| executor.is_pinned()) {
            Some(environment) => {
                self.realiser.check(environment).map_err(RunError::Realise)?;
                Ok(Backend::Pinned)
            }
            None => Ok(Backend::Host(self.host(sandbox).await?)),
        }
    }

    /// The executor that calls of this sandbox will have.
    ///
    /// Whether Nix can take the place of namespaces may take minutes to try. Until that is known, it is expected to.
    async fn expected(&self, sandbox: &'static Sandbox) -> Result<Executor, RunError> {
        let preferred = sandbox.executor.filter(|_| sandbox.environment.is_some());
        let is_left_open = self.options.executor.or(preferred) == Choice::Auto && sandbox.environment.is_some();
        if is_left_open && self.executors.walls().await.namespaces.is_err() && !self.derivations_stand.initialized() {
            let by_nix = sandbox.network == Network::None;
            return Ok(if by_nix { Executor::Derivation(Way::Daemon) } else { Executor::Direct });
        }
        self.executor(sandbox).await
    }

    /// Which executor carries out calls of this sandbox.
    pub async fn executor(&self, sandbox: &'static Sandbox) -> Result<Executor, RunError> {
        Ok(self.choose(self.options.executor, sandbox).await?.0)
    }

    /// The executor, and why it is not the usual one if this machine lacks what that needs.
    async fn choose(
        &self,
        choice: Choice,
        sandbox: &'static Sandbox,
    ) -> Result<(Executor, Option<Fallback>), RunError> {
        let is_pinned = sandbox.environment.is_some();
        // Of a server without pinned environments there is nothing to prefer.
        let preferred = sandbox.executor.filter(|_| is_pinned);
        match choice.or(preferred) {
            Choice::Direct => Ok((Executor::Direct, None)),
            Choice::Namespace if is_pinned => Ok((Executor::Namespace, None)),
            Choice::Derivation(way) if is_pinned => Ok((Executor::Derivation(way), None)),
            Choice::Namespace | Choice::Derivation(_) => Err(RunError::NotPinned { tool: sandbox.id }),
            Choice::Auto if !is_pinned => Ok((Executor::Direct, None)),
            Choice::Auto => Ok(self.best(sandbox).await),
        }
    }

    /// The best executor for a pinned environment on this machine.
    async fn best(&self, sandbox: &'static Sandbox) -> (Executor, Option<Fallback>) {
        let Err(missing) = &self.executors.walls().await.namespaces else { return (Executor::Namespace, None) };
        let way = Way::Daemon;
        let stand = self.derivations_stand.get_or_init(|| async {
            let tried = self.try_derivation(way, sandbox).await;
            match &tried {
                Ok(()) => tracing::warn!("tools without network access are run by Nix: {missing}"),
                Err(reason) => tracing::warn!(
                    "tools run on this host's toolchains, not in their pinned environments: {missing}; nor does Nix run \
                     them: {reason}"
                ),
            }
            tried
        });
        let nix = match stand.await {
            Ok(()) if sandbox.network == Network::None => None,
            Ok(()) => Some("its build sandbox has no network".to_owned()),
            Err(reason) => Some(reason.clone()),
        };
        let executor = if nix.is_none() { Executor::Derivation(way) } else { Executor::Direct };
        (executor, Some(Fallback { namespaces: missing.clone(), nix }))
    }

    /// Whether Nix realises derivations here as they must be: in its build sandbox, with our walls inside. A tool is run
    /// without files for that: the one that is called, or another if its environment can't be had.
    async fn try_derivation(&self, way: Way, called: &'static Sandbox) -> Result<(), String> {
        let is_fit = |sandbox: &&Sandbox| sandbox.environment.is_some() && sandbox.network == Network::None;
        let others = TOOLS.iter().map(|tool| &tool.sandbox).filter(|other| other.id != called.id);
        let mut reason = "every tool has network access".to_owned();
        for sandbox in [called].into_iter().chain(others).filter(is_fit) {
            match self.pinned(sandbox, &|_| {}).await {
                Err(error) => reason = error.to_string(),
                Ok(view) => {
                    let (job, never) = (Job::new(sandbox, Vec::new()), CancellationToken::new());
                    let tried = self.executors.run(Executor::Derivation(way), &job, &view, &|_| {}, &never).await;
                    return tried.map(drop).map_err(|error| error.to_string());
                }
            }
        }
        Err(reason)
    }

    /// Runs a job to its end, and leaves nothing of it behind, whether it ends or is cancelled.
    pub async fn run(
        &self,
        job: Job,
        on_stage: OnStage<'_>,
        cancelled: &CancellationToken,
    ) -> Result<Outcome, RunError> {
        let job = Job { deadline: self.limit(&job), ..job };
        match self.run_once(&job, on_stage, cancelled).await {
            // The garbage collector came between.
            Err(RunError::Executor(ExecutorError::Derivation(error))) if error.misses_a_path() => {
                tracing::warn!("{error}: the environment is realised again");
                self.views[job.sandbox.id].pinned.lock().await.take();
                self.joined.forget();
                self.run_once(&job, on_stage, cancelled).await
            }
            result => result,
        }
    }

    async fn run_once(
        &self,
        job: &Job,
        on_stage: OnStage<'_>,
        cancelled: &CancellationToken,
    ) -> Result<Outcome, RunError> {
        let prepared = async {
            let choice = job.options.executor.unwrap_or(self.options.executor);
            let (executor, fallback) = self.choose(choice, job.sandbox).await?;
            let view = self.view(executor, job.sandbox, &job.options.packages, on_stage).await?;
            Ok::<_, RunError>((executor, fallback, view, self.slot(on_stage).await))
        };
        let (executor, fallback, view, _slot) = tokio::select! {
            prepared = prepared => prepared?,
            () = cancelled.cancelled() => return Err(RunError::Cancelled),
        };
        on_stage(Stage::Running);
        let run = self.executors.run(executor, job, &view, on_stage, cancelled);
        // While the program runs: nobody waits for the receipt.
        let receipt = async {
            match executor.is_pinned() {
                true if takes_long(&job.files) => {
                    let job = job.clone();
                    let receipt = spawn_blocking(move || receipt(&job)).await;
                    receipt.map_err(|_| RunError::Panicked)?.map_err(RunError::Receipt)
                }
                true => receipt(job).map_err(RunError::Receipt),
                false => Ok(None),
            }
        };
        let (outcome, receipt) = tokio::join!(run, receipt);
        let (outcome, receipt) = (outcome?, receipt?);
        Ok(Outcome { derivation: receipt.map(|receipt| receipt.path), fallback, ..outcome })
    }

    /// Brings a tool's environment there ahead of its first call.
    pub async fn prepare(&self, sandbox: &'static Sandbox, on_stage: OnStage<'_>) -> Result<Arc<View>, RunError> {
        self.view(self.executor(sandbox).await?, sandbox, &Packages::default(), on_stage).await
    }

    /// Brings a tool's pinned environment there, whichever executor carries out its calls.
    pub async fn realise(&self, sandbox: &'static Sandbox, on_stage: OnStage<'_>) -> Result<(), RunError> {
        self.pinned(sandbox, on_stage).await.map(drop)
    }

    /// Brings a package there.
    pub async fn realise_package(&self, package: &Package, on_stage: OnStage<'_>) -> Result<(), RunError> {
        // Such as sandbox-mcp-commands-jq, which no tool is named like.
        let root = package.environment.out.split_once('-').map_or("", |(_, name)| name);
        self.bring(root, &package.environment, on_stage).await
    }

    async fn bring(&self, root: &str, environment: &Environment, on_stage: OnStage<'_>) -> Result<(), RunError> {
        let out = Path::new(environment.out);
        let was_there = out.exists();
        self.realiser.realise(root, environment, on_stage).await.map_err(RunError::Realise)?;
        if !was_there {
            self.executors.show_anew(out);
        }
        Ok(())
    }

    /// Clears away what calls have left that others may still have needed.
    pub async fn finish(&self) {
        self.executors.finish().await;
    }

    /// How long a job may run.
    pub fn limit(&self, job: &Job) -> Duration {
        self.bounded(job.deadline)
    }

    /// How long programs of a sandbox may run.
    pub fn longest(&self, sandbox: &Sandbox) -> Duration {
        self.bounded(sandbox.timeout)
    }

    fn bounded(&self, time: Duration) -> Duration {
        time.min(self.options.longest.unwrap_or(Duration::MAX))
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

    async fn view(
        &self,
        executor: Executor,
        sandbox: &'static Sandbox,
        packages: &Packages,
        on_stage: OnStage<'_>,
    ) -> Result<Arc<View>, RunError> {
        match (executor.is_pinned(), packages.is_empty()) {
            (false, false) => Err(RunError::NoPackages { tool: sandbox.id }),
            (false, true) => {
                let toolchain = self.host(sandbox).await?;
                spawn_blocking(move || toolchain.view()).await.map_err(|_| RunError::Panicked)
            }
            (true, true) => self.pinned(sandbox, on_stage).await,
            (true, false) => self.joined(self.pinned(sandbox, on_stage).await?, packages, on_stage).await,
        }
    }

    async fn joined(&self, base: Arc<View>, packages: &Packages, on_stage: OnStage<'_>) -> Result<Arc<View>, RunError> {
        if let Some(view) = self.joined.find(&base, packages) {
            return Ok(view);
        }
        for package in packages.iter() {
            self.realise_package(package, on_stage).await?;
        }
        Ok(self.joined.keep(&base, base.with(packages).map_err(RunError::View)?))
    }

    async fn pinned(&self, sandbox: &'static Sandbox, on_stage: OnStage<'_>) -> Result<Arc<View>, RunError> {
        let environment = sandbox.environment.as_ref().ok_or(RunError::NotPinned { tool: sandbox.id })?;
        let mut known = self.views[sandbox.id].pinned.lock().await;
        if let Some(view) = known.as_ref().filter(|view| view.is_present()) {
            return Ok(view.clone());
        }
        self.bring(sandbox.id, environment, on_stage).await?;
        let view = View::pinned(Path::new(environment.out)).map_err(RunError::View)?;
        Ok(known.insert(Arc::new(view)).clone())
    }

    async fn host(&self, sandbox: &'static Sandbox) -> Result<Arc<Toolchain>, RunError> {
        let mut known = self.views[sandbox.id].host.lock().await;
        if let Some(toolchain) = known.as_ref() {
            return Ok(toolchain.clone());
        }
        let host = direct::host(self.executors.walls().await);
        // A version manager may be asked, which takes its time.
        let toolchain = spawn_blocking(move || host::toolchain(sandbox, &host)).await;
        let toolchain = toolchain.map_err(|_| RunError::Panicked)?.map_err(RunError::Host)?;
        Ok(known.insert(Arc::new(toolchain)).clone())
    }
}
