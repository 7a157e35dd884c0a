//! Chooses the executor of a call: what is asked for, or else the best that this machine has.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::call::catalog::catalog;
use crate::call::choice::{Executor, ExecutorChoice};
use crate::call::definition::{Environment, Network, Sandbox};
use crate::call::job::Job;
use crate::call::outcome::Fallback;
use crate::executor::CallContext;
use crate::runner::Runner;
use crate::runner::error::{NotPinned, RunError};

/// Why Nix can't take the place of namespaces for a tool with network access.
pub(super) const NO_NETWORK: &str = "its build sandbox has no network";

impl Runner {
    /// Returns whether this server picks the executor of this sandbox, because nobody has named one.
    pub(super) fn picks_best_executor(&self, sandbox: &Sandbox) -> bool {
        sandbox.environment.is_some() && self.wanted(self.options.executor, sandbox).is_none()
    }

    /// Returns the executor that calls of this sandbox will probably have. Probing the fallback by Nix may take
    /// minutes; until it was probed, it is expected to work.
    pub(super) async fn expected(&self, sandbox: &'static Sandbox) -> Result<Executor, RunError> {
        if self.picks_best_executor(sandbox)
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
    pub(super) fn wanted(&self, choice: ExecutorChoice, sandbox: &Sandbox) -> ExecutorChoice {
        // A server without pinned environments has nothing to prefer.
        choice.or(sandbox.executor.filter(|_| sandbox.environment.is_some()))
    }

    /// Returns the executor of a call, and why it is not `namespace` if this machine lacks what that needs.
    pub(super) async fn choose(
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
    pub(super) async fn best(&self, sandbox: &'static Sandbox) -> (Executor, Option<Fallback>) {
        let Err(missing) = &self.executors.walls().await.namespaces else { return (Executor::Namespace, None) };
        let works = self.nix_fallback_works.get_or_init(|| async {
            let tried = self.try_derivation(sandbox).await;
            match &tried {
                Ok(()) => tracing::warn!("tools without network access are run by Nix: {missing}"),
                Err(reason) => tracing::warn!(
                    "tools run on this host's toolchains, not in their pinned environments: {missing}; Nix cannot run \
                     them either: {reason}"
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

    /// Returns whether Nix realises derivations here as it must: in its build sandbox, with the launcher's walls inside.
    /// To find out, a tool is run without files: the one that is called, or another if its environment is not to be
    /// had.
    pub(super) async fn try_derivation(&self, called: &'static Sandbox) -> Result<(), String> {
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
}
