//! Carries jobs out: makes sure that the environment is in the store, chooses the executor, and limits how much runs at
//! once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{Mutex, OnceCell, Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::call::cancelled::Cancelled;
use crate::call::catalog::catalog;
use crate::call::choice::{Executor, ExecutorChoice, Remote};
use crate::call::definition::{Environment, Network, Package, Sandbox};
use crate::call::job::Job;
use crate::call::met_limit::MetLimit;
use crate::call::missed_packages::MissedPackages;
use crate::call::options::OfferedOptions;
use crate::call::outcome::{Fallback, Outcome};
use crate::call::packages::{NoPackages, Packages};
use crate::call::stage::{OnStage, Stage};
use crate::executor::derivation::Derivations;
use crate::executor::{CallContext, ExecutorError, Executors, direct};
use crate::nix::realise::{RealiseError, Realiser};
use crate::sandbox::backend::Backend;
use crate::sandbox::host::{self, HostError, Toolchain};
use crate::sandbox::launch::LaunchError;
use crate::sandbox::view::{View, ViewError};
use crate::sandbox::view_cache::ViewCache;
use nix_store::store_path::StorePathError;

/// What the operator decided for all calls.
#[derive(Debug, Clone)]
pub struct Options {
    pub executor: ExecutorChoice,
    /// The longest time that any program may run, whatever its sandbox allows.
    pub longest: Option<Duration>,
    /// The number of programs that run at once; further calls wait.
    pub calls_at_once: usize,
    /// The number of sandboxes of one environment that are kept ready for calls; `None` leaves it to this machine's
    /// size.
    pub ready: Option<usize>,
    /// Whether programs run where nothing walls off the host's files or network.
    pub allow_unconfined: bool,
    /// Whether Nix may give the calls that it carries out to builders on other machines.
    pub remote: Remote,
    /// The options of a call that clients may choose.
    pub offered: OfferedOptions,
}

/// A tool without a pinned environment was asked for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this server was built without Nix, so it has no pinned environment for `{tool}`")]
pub struct NotPinned {
    pub tool: &'static str,
}

/// The reason why a job could not be carried out to its end.
#[derive(Debug, Error)]
pub enum RunError {
    #[error("{0}: start it with `--executor direct` to use this host's toolchains, or build it with `nix build`")]
    NotPinned(NotPinned),
    /// The call asks for packages, which are joined to pinned environments only.
    #[error(
        "packages are joined to pinned environments, and `{tool}` runs on this host's toolchains: leave `packages` out and \
         use what this host has, or {remedy}"
    )]
    NoPackages { tool: &'static str, remedy: PinnedRemedy },
    #[error(transparent)]
    Realise(#[from] RealiseError),
    #[error(transparent)]
    View(#[from] ViewError),
    #[error("{error}, or {remedy}")]
    Host { error: HostError, remedy: PinnedRemedy },
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    #[error("cannot compute the call's derivation: {0}")]
    Receipt(StorePathError),
    /// The call was cancelled before an executor had it.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A task panicked.
    #[error("internal server error (a task panicked); see the server's log")]
    Panicked,
}

/// The way to a pinned environment for a tool that runs on this host's toolchains.
#[derive(Debug, Error)]
pub enum PinnedRemedy {
    /// The server was built without any.
    #[error("build this server with `nix build`, which gives it pinned environments")]
    Build,
    /// The operator has chosen the host's toolchains.
    #[error("leave out `--executor direct`, so that the server uses its pinned environment")]
    NotDirect,
    /// This machine can't use it.
    #[error("let this machine use the pinned environment: {}", .0.cause())]
    Machine(Box<Fallback>),
}

impl RunError {
    /// Tells whether the call was not carried out because it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(
            self,
            Self::Cancelled(_)
                | Self::Executor(ExecutorError::Cancelled(_) | ExecutorError::Launch(LaunchError::Cancelled(_)))
        )
    }
}

impl From<NotPinned> for RunError {
    fn from(error: NotPinned) -> Self {
        Self::NotPinned(error)
    }
}

/// Why Nix can't take the place of namespaces for a tool with network access.
const NO_NETWORK: &str = "its build sandbox has no network";

pub struct Runner {
    options: Options,
    realiser: Realiser,
    slots: Semaphore,
    executors: Executors,
    /// The views of each tool, once they were made.
    views: BTreeMap<&'static str, Views>,
    view_cache: ViewCache,
    /// The cached result of probing whether builds by Nix work on this machine, which are the fallback where user
    /// namespaces are unavailable.
    nix_fallback_works: OnceCell<Result<(), String>>,
}

/// What a tool's programs see, of its pinned environment and of the host. Each lock is held while the view is made, so
/// that callers of one tool make it once, and callers of another tool do not wait.
#[derive(Default)]
struct Views {
    pinned: Mutex<Option<Arc<View>>>,
    host: Mutex<Option<Arc<Toolchain>>>,
}

impl Runner {
    pub fn new(options: Options) -> Self {
        let realiser = Realiser::from_environment();
        // After a single call no connection is needed either.
        let derivations = Derivations::new(realiser.nix_store(), options.ready != Some(0), options.remote);
        Self {
            realiser,
            slots: Semaphore::new(options.calls_at_once),
            executors: Executors::new(options.ready, derivations, options.allow_unconfined),
            nix_fallback_works: OnceCell::new(),
            view_cache: ViewCache::default(),
            views: catalog().tools.iter().map(|tool| (tool.sandbox.id, Views::default())).collect(),
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
        catalog().system.is_some() && self.options.executor != Some(Executor::Direct)
    }

    /// Returns the tools whose calls will probably run on this host's toolchains.
    pub async fn tools_on_host(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for sandbox in catalog().tools.iter().map(|tool| &tool.sandbox) {
            if self.expected(sandbox).await.is_ok_and(|executor| !executor.is_pinned()) {
                names.push(sandbox.id);
            }
        }
        names
    }

    /// Returns the longest time that the operator lets any program run, if there is one.
    pub fn time_limit(&self) -> Option<Duration> {
        self.options.longest
    }

    /// Returns the options of a call that clients are offered: those that the operator allows, of a server with pinned
    /// environments.
    pub fn offered_options(&self) -> OfferedOptions {
        let OfferedOptions { executor, packages } = self.options.offered;
        let packages = match self.options.executor {
            _ if catalog().system.is_none() => Err(NoPackages::Unpinned),
            Some(Executor::Direct) => Err(NoPackages::Direct),
            _ => packages,
        };
        OfferedOptions { executor: executor && self.is_pinned(), packages }
    }

    /// Waits until it is known whether Nix can take the place of namespaces, and returns whether it can or need not. This
    /// may take minutes if it has to be tried and an environment to be realised first.
    pub async fn settle(&self) -> bool {
        if let Some(tool) = catalog().tools.iter().find(|tool| self.is_left_open(&tool.sandbox)) {
            self.best(&tool.sandbox).await;
        }
        self.nix_fallback_works.get().is_none_or(Result::is_ok)
    }

    /// Tells whether calls of this sandbox have the best executor that this machine has for it.
    fn is_left_open(&self, sandbox: &Sandbox) -> bool {
        sandbox.environment.is_some() && self.wanted(self.options.executor, sandbox).is_none()
    }

    /// Returns what the programs of a sandbox run on, or why no call of it can be carried out here, as far as that is
    /// known without a call.
    pub async fn backend(&self, sandbox: &'static Sandbox) -> Result<Backend, RunError> {
        let executor = self.expected(sandbox).await?;
        self.executors.check(executor, sandbox).await?;
        match sandbox.environment.as_ref().filter(|_| executor.is_pinned()) {
            Some(environment) => {
                self.realiser.check(environment)?;
                Ok(Backend::Pinned)
            }
            None => {
                let in_namespaces = self.executors.walls().await.namespaces.is_ok();
                Ok(Backend::Host { toolchain: self.host(sandbox).await?, in_namespaces })
            }
        }
    }

    /// Returns the executor that calls of this sandbox will probably have. Probing the fallback by Nix may take
    /// minutes; until it was probed, it is expected to work.
    async fn expected(&self, sandbox: &'static Sandbox) -> Result<Executor, RunError> {
        if self.is_left_open(sandbox)
            && self.executors.walls().await.namespaces.is_err()
            && !self.nix_fallback_works.initialized()
        {
            let by_nix = sandbox.network == Network::None;
            return Ok(if by_nix { Executor::Derivation } else { Executor::Direct });
        }
        self.executor(sandbox).await
    }

    /// Returns the executor that carries out calls of this sandbox.
    pub async fn executor(&self, sandbox: &'static Sandbox) -> Result<Executor, RunError> {
        Ok(self.choose(self.options.executor, sandbox).await?.0)
    }

    /// Returns what the operator or the call wants, or else the sandbox's definition.
    fn wanted(&self, choice: ExecutorChoice, sandbox: &Sandbox) -> ExecutorChoice {
        // A server without pinned environments has nothing to prefer.
        choice.or(sandbox.executor.filter(|_| sandbox.environment.is_some()))
    }

    /// Returns the executor of a call, and why it is not `namespace` if this machine lacks what that needs.
    async fn choose(
        &self,
        choice: ExecutorChoice,
        sandbox: &'static Sandbox,
    ) -> Result<(Executor, Option<Fallback>), RunError> {
        let is_pinned = sandbox.environment.is_some();
        match self.wanted(choice, sandbox) {
            Some(executor) if executor.is_pinned() && !is_pinned => Err(NotPinned { tool: sandbox.id }.into()),
            Some(executor) => Ok((executor, None)),
            None if !is_pinned => Ok((Executor::Direct, None)),
            None => Ok(self.best(sandbox).await),
        }
    }

    /// Returns the best executor for a pinned environment on this machine.
    async fn best(&self, sandbox: &'static Sandbox) -> (Executor, Option<Fallback>) {
        let Err(missing) = &self.executors.walls().await.namespaces else { return (Executor::Namespace, None) };
        let works = self.nix_fallback_works.get_or_init(|| async {
            let tried = self.try_derivation(sandbox).await;
            match &tried {
                Ok(()) => tracing::warn!("tools without network access are run by Nix: {missing}"),
                Err(reason) => tracing::warn!(
                    "tools run on this host's toolchains, not in their pinned environments: {missing}; nor does Nix run \
                     them: {reason}"
                ),
            }
            tried
        });
        let nix = match works.await {
            Ok(()) if sandbox.network == Network::None => None,
            Ok(()) => Some(NO_NETWORK.to_owned()),
            Err(reason) => Some(reason.clone()),
        };
        let executor = if nix.is_none() { Executor::Derivation } else { Executor::Direct };
        (executor, Some(Fallback { namespaces: missing.clone(), nix }))
    }

    /// Tells whether Nix realises derivations here as it must: in its build sandbox, with the launcher's walls inside.
    /// To find out, a tool is run without files: the one that is called, or another if its environment is not to be
    /// had.
    async fn try_derivation(&self, called: &'static Sandbox) -> Result<(), String> {
        let is_fit = |sandbox: &&Sandbox| sandbox.environment.is_some() && sandbox.network == Network::None;
        let others = catalog().tools.iter().map(|tool| &tool.sandbox).filter(|other| other.id != called.id);
        let mut fit: Vec<_> = [called].into_iter().chain(others).filter(is_fit).collect();
        // What is in the store already is tried at once.
        let is_present = |environment: &Environment| Path::new(environment.out).exists();
        fit.sort_by_key(|sandbox| !sandbox.environment.as_ref().is_some_and(is_present));
        let mut reason = "every tool has network access".to_owned();
        for sandbox in fit {
            match self.pinned(sandbox, &|_| {}).await {
                Err(error) => reason = error.to_string(),
                Ok(view) => {
                    let (job, never) = (Job::new(sandbox, Vec::new()), CancellationToken::new());
                    let context = CallContext::new(&job, &view, &|_| {}, &never);
                    let tried = self.executors.run(Executor::Derivation, &context).await;
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
            // The garbage collector took the environment meanwhile.
            Err(RunError::Executor(ExecutorError::Derivation(error))) if error.misses_a_path() => {
                tracing::warn!("{error}: the environment is realised again");
                self.views[job.sandbox.id].pinned.lock().await.take();
                self.view_cache.clear();
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
            let choice = job.options.executor.or(self.options.executor);
            let (executor, fallback) = self.choose(choice, job.sandbox).await?;
            let view = self.view(executor, job.sandbox, &job.options.packages, on_stage).await?;
            Ok::<_, RunError>((executor, fallback, view, self.slot(on_stage).await))
        };
        let (executor, fallback, view, _slot) = tokio::select! {
            prepared = prepared => prepared?,
            () = cancelled.cancelled() => return Err(Cancelled.into()),
        };
        on_stage(Stage::Running);
        let context = CallContext::new(job, &view, on_stage, cancelled);
        let run = self.executors.run(executor, &context);
        // The receipt is computed while the program runs.
        let receipt = async {
            match executor.is_pinned() {
                true => Ok::<_, StorePathError>(Some(context.derivation().await?.receipt()?.path)),
                false => Ok(None),
            }
        };
        let (result, receipt) = tokio::join!(run, receipt);
        let result = result?;
        let may_ask = executor.is_pinned() && self.offered_options().packages.is_ok();
        let sets = if may_ask { job.sandbox.package_sets } else { &[] };
        Ok(Outcome {
            met: MetLimit::of(&result, &job.sandbox.resources),
            missed: MissedPackages::of(&result, sets, &job.options.packages),
            result,
            workdir: job.sandbox.workdir,
            executor,
            fallback,
            environment: view.origin.to_string(),
            derivation: receipt.map_err(RunError::Receipt)?,
            ignored: job.ignored.clone(),
        })
    }

    /// Makes sure that a tool's environment is in the store, ahead of its first call.
    pub async fn prepare(&self, sandbox: &'static Sandbox, on_stage: OnStage<'_>) -> Result<Arc<View>, RunError> {
        self.view(self.executor(sandbox).await?, sandbox, &Packages::default(), on_stage).await
    }

    /// Makes sure that a tool's pinned environment is in the store, whichever executor carries out its calls.
    pub async fn realise(&self, sandbox: &'static Sandbox, on_stage: OnStage<'_>) -> Result<(), RunError> {
        self.pinned(sandbox, on_stage).await.map(drop)
    }

    /// Makes sure that a package is in the store.
    pub async fn realise_package(&self, package: &Package, on_stage: OnStage<'_>) -> Result<(), RunError> {
        // Such as sandbox-mcp-commands-jq, which is the name of no tool.
        let root = package.environment.out.split_once('-').map_or("", |(_, name)| name);
        self.ensure_realised(root, &package.environment, on_stage).await
    }

    async fn ensure_realised(
        &self,
        root: &str,
        environment: &Environment,
        on_stage: OnStage<'_>,
    ) -> Result<(), RunError> {
        let out = Path::new(environment.out);
        let was_there = out.exists();
        self.realiser.realise(root, environment, on_stage).await?;
        if !was_there {
            self.executors.invalidate_path(out);
        }
        Ok(())
    }

    /// Deletes what calls have left for later calls.
    pub async fn finish(&self) {
        self.executors.finish().await;
    }

    /// Returns the longest time that a job may run.
    pub fn limit(&self, job: &Job) -> Duration {
        self.bounded(job.deadline)
    }

    /// Returns the longest time that programs of a sandbox may run.
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
                // The semaphore is never closed.
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
            (false, false) => Err(RunError::NoPackages { tool: sandbox.id, remedy: self.pinned_remedy(sandbox).await }),
            (false, true) => {
                let toolchain = self.host(sandbox).await?;
                spawn_blocking(move || toolchain.view()).await.map_err(|_| RunError::Panicked)
            }
            (true, true) => self.pinned(sandbox, on_stage).await,
            (true, false) => self.joined(self.pinned(sandbox, on_stage).await?, packages, on_stage).await,
        }
    }

    async fn joined(&self, base: Arc<View>, packages: &Packages, on_stage: OnStage<'_>) -> Result<Arc<View>, RunError> {
        if let Some(view) = self.view_cache.get(&base, packages) {
            return Ok(view);
        }
        for package in packages.iter() {
            self.realise_package(package, on_stage).await?;
        }
        Ok(self.view_cache.insert(&base, base.with(packages)?))
    }

    async fn pinned(&self, sandbox: &'static Sandbox, on_stage: OnStage<'_>) -> Result<Arc<View>, RunError> {
        let environment = sandbox.environment.as_ref().ok_or(NotPinned { tool: sandbox.id })?;
        let mut known = self.views[sandbox.id].pinned.lock().await;
        if let Some(view) = known.as_ref().filter(|view| view.is_present()) {
            return Ok(view.clone());
        }
        self.ensure_realised(sandbox.environment_id, environment, on_stage).await?;
        let view = View::pinned(Path::new(environment.out))?;
        Ok(known.insert(Arc::new(view)).clone())
    }

    async fn host(&self, sandbox: &'static Sandbox) -> Result<Arc<Toolchain>, RunError> {
        let mut known = self.views[sandbox.id].host.lock().await;
        if let Some(toolchain) = known.as_ref() {
            return Ok(toolchain.clone());
        }
        let host = direct::host(self.executors.walls().await);
        // A version manager may be asked, which is slow.
        let toolchain = spawn_blocking(move || host::toolchain(sandbox, &host)).await;
        match toolchain.map_err(|_| RunError::Panicked)? {
            Ok(toolchain) => Ok(known.insert(Arc::new(toolchain)).clone()),
            Err(error) => Err(RunError::Host { error, remedy: self.pinned_remedy(sandbox).await }),
        }
    }

    /// Returns the way to a pinned environment for a sandbox that has none now.
    async fn pinned_remedy(&self, sandbox: &Sandbox) -> PinnedRemedy {
        match &self.executors.walls().await.namespaces {
            _ if sandbox.environment.is_none() => PinnedRemedy::Build,
            Err(namespaces) if self.is_left_open(sandbox) => {
                let namespaces = namespaces.clone();
                let nix = self.nix_fallback_works.get().and_then(|works| works.clone().err());
                let nix = Some(nix.unwrap_or_else(|| NO_NETWORK.to_owned()));
                PinnedRemedy::Machine(Box::new(Fallback { namespaces, nix }))
            }
            _ => PinnedRemedy::NotDirect,
        }
    }

    /// Returns the tools whose calls can be carried out here.
    pub async fn available(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for sandbox in catalog().tools.iter().map(|tool| &tool.sandbox) {
            if self.backend(sandbox).await.is_ok() {
                names.push(sandbox.id);
            }
        }
        names
    }
}
