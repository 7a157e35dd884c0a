//! Carries jobs out: makes sure that the environment is in the store, chooses the executor, and limits how much runs at
//! once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use crate::call::cancelled::Cancelled;
use crate::call::catalog::catalog;
use crate::call::choice::{Executor, ExecutorChoice, Remote};
use crate::call::definition::{Environment, Package, Sandbox};
use crate::call::job::Job;
use crate::call::met_limit::MetLimit;
use crate::call::missed_packages::MissedPackages;
use crate::call::options::OfferedOptions;
use crate::call::outcome::Outcome;
use crate::call::packages::{NoPackages, Packages};
use crate::call::stage::{OnStage, Stage};
use crate::executor::derivation::Derivations;
use crate::executor::{CallContext, ExecutorError, Executors};
use crate::nix::realise::Realiser;
use crate::sandbox::backend::Backend;
use crate::sandbox::view::View;
use crate::sandbox::view_cache::ViewCache;
use nix_store::store_path::StorePathError;

mod choose;
pub mod error;
mod views;

use error::RunError;
use views::Views;

/// What the operator decided for all calls.
#[derive(Debug, Clone)]
pub struct Options {
    pub executor: ExecutorChoice,
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

    /// Returns the same for calls of one sandbox, which have no packages where they run on this host's toolchains.
    pub async fn offered_to(&self, sandbox: &'static Sandbox) -> OfferedOptions {
        let offered = self.offered_options();
        let is_on_host = self.expected(sandbox).await.is_ok_and(|executor| !executor.is_pinned());
        let packages = if is_on_host { offered.packages.and(Err(NoPackages::OnHost)) } else { offered.packages };
        OfferedOptions { packages, ..offered }
    }

    /// Waits until it is known whether Nix can take the place of namespaces, and returns whether it can or need not. This
    /// may take minutes if it has to be tried and an environment to be realised first.
    pub async fn settle(&self) -> bool {
        if let Some(tool) = catalog().tools.iter().find(|tool| self.picks_best_executor(&tool.sandbox)) {
            self.best(&tool.sandbox).await;
        }
        self.nix_fallback_works.get().is_none_or(Result::is_ok)
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

    /// Runs a job to its end, and leaves nothing of it behind, whether it ends or is cancelled.
    pub async fn run(
        &self,
        job: Job,
        on_stage: OnStage<'_>,
        cancelled: &CancellationToken,
    ) -> Result<Outcome, RunError> {
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
