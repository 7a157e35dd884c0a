//! What programs see of the file system: a pinned environment, with packages or without, or this host's toolchains.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::call::choice::Executor;
use crate::call::definition::Sandbox;
use crate::call::outcome::Fallback;
use crate::call::packages::Packages;
use crate::call::stage::OnStage;
use crate::executor::direct;
use crate::runner::Runner;
use crate::runner::choose::NO_NETWORK;
use crate::runner::error::{NotPinned, PinnedRemedy, RunError};
use crate::sandbox::host::{self, Toolchain};
use crate::sandbox::view::View;

/// What a tool's programs see, of its pinned environment and of the host. Each lock is held while the view is made, so
/// that callers of one tool make it once, and callers of another tool do not wait.
#[derive(Default)]
pub(super) struct Views {
    pub pinned: Mutex<Option<Arc<View>>>,
    pub host: Mutex<Option<Arc<Toolchain>>>,
}

impl Runner {
    pub(super) async fn view(
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

    pub(super) async fn joined(
        &self,
        base: Arc<View>,
        packages: &Packages,
        on_stage: OnStage<'_>,
    ) -> Result<Arc<View>, RunError> {
        if let Some(view) = self.view_cache.get(&base, packages) {
            return Ok(view);
        }
        for package in packages.iter() {
            self.realise_package(package, on_stage).await?;
        }
        Ok(self.view_cache.insert(&base, base.with(packages)?))
    }

    pub(super) async fn pinned(&self, sandbox: &'static Sandbox, on_stage: OnStage<'_>) -> Result<Arc<View>, RunError> {
        let environment = sandbox.environment.as_ref().ok_or(NotPinned { tool: sandbox.id })?;
        let mut known = self.views[sandbox.id].pinned.lock().await;
        if let Some(view) = known.as_ref().filter(|view| view.is_present()) {
            return Ok(view.clone());
        }
        self.ensure_realised(sandbox.environment_id, environment, on_stage).await?;
        let view = View::pinned(Path::new(environment.out))?;
        Ok(known.insert(Arc::new(view)).clone())
    }

    pub(super) async fn host(&self, sandbox: &'static Sandbox) -> Result<Arc<Toolchain>, RunError> {
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
    pub(super) async fn pinned_remedy(&self, sandbox: &Sandbox) -> PinnedRemedy {
        match &self.executors.walls().await.namespaces {
            _ if sandbox.environment.is_none() => PinnedRemedy::Build,
            Err(namespaces) if self.picks_best_executor(sandbox) => {
                let namespaces = namespaces.clone();
                let nix = self.nix_fallback_works.get().and_then(|works| works.clone().err());
                let nix = Some(nix.unwrap_or_else(|| NO_NETWORK.to_owned()));
                PinnedRemedy::Machine(Box::new(Fallback { namespaces, nix }))
            }
            _ => PinnedRemedy::NotDirect,
        }
    }
}
