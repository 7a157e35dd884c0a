//! Why a job could not be carried out, and what to change.

use nix_store::store_path::StorePathError;
use thiserror::Error;

use crate::call::cancelled::Cancelled;
use crate::call::outcome::Fallback;
use crate::executor::ExecutorError;
use crate::nix::realise::RealiseError;
use crate::sandbox::host::HostError;
use crate::sandbox::launch::LaunchError;
use crate::sandbox::view::ViewError;

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
    /// Returns whether the call was not carried out because it was cancelled.
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
