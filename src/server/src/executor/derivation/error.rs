//! Why Nix did not carry out a job.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix_store::daemon::DaemonError;
use nix_store::protocol::is_invalid_path;
use nix_store::reach::{ReachError, UnreachableNix};
use nix_store::store_path::{STORE, StorePath, StorePathError};
use thiserror::Error;

use super::ADD_TIMEOUT;
use crate::nix::build_users::remedy_of;

/// Why a job was not carried out to its end.
#[derive(Debug, Error)]
pub enum NixRunError {
    /// Nix's build sandbox has no network.
    #[error(
        "`{tool}` has network access, which Nix's build sandbox can't give: start the server with `--executor namespace` \
         or `--executor direct` for it"
    )]
    Network { tool: &'static str },
    #[error(transparent)]
    Path(#[from] StorePathError),
    #[error("{0}, or start the server with `--executor namespace`")]
    Unreachable(UnreachableNix),
    #[error("{error}{remedy}", error = .0, remedy = remedy_of(&.0.to_string()))]
    Daemon(DaemonError),
    /// The command failed, with its last lines.
    #[error("cannot {operation}: {reason}{}", remedy_of(.reason))]
    Command { operation: &'static str, reason: String },
    /// There was no build, or the builder refused.
    #[error("Nix did not realise {derivation}: {reason}{}", remedy_of(.reason))]
    Build { derivation: StorePath, reason: String },
    /// The disk of the store is full. Nix's own words say so in many ways, or not at all.
    #[error(
        "the disk that holds {STORE} is full, so that Nix can't carry out a call; `nix-collect-garbage` may free some of it: \
         {reason}"
    )]
    Full { reason: String },
    /// The output is not as the builder writes it.
    #[error("cannot read {}: {cause}", path.display())]
    Output { path: PathBuf, cause: io::Error },
    /// Nothing was built yet, but Nix does not answer.
    #[error(
        "Nix did not take the derivation within {ADD_TIMEOUT:?}: a garbage collector may be at work; try again later"
    )]
    Slow,
    /// Nix was asked to build, but other builds kept it from that.
    #[error(
        "cannot start the build within {} seconds: other builds are running ({reason}); try again later; in \
         nix.conf, `build-users-group` names who builds here, and `builders` who does elsewhere",
        limit.as_secs()
    )]
    Busy { limit: Duration, reason: String },
    /// Nix said nothing for longer than any program may run.
    #[error(
        "Nix was silent for {} seconds, which is longer than the call may take{reason}: it may wait for a remote builder \
         that is lost; `builders` in nix.conf names them, and `ConnectTimeout` and `ServerAliveInterval` in ssh_config let \
         ssh notice",
        limit.as_secs()
    )]
    Silent { limit: Duration, reason: String },
    /// The launcher in the store is not what was added to it, as a disk may leave it after a power cut.
    #[error(
        "{path} is damaged: its content differs from what Nix has registered; `nix-store --query --referrers-closure {path} | xargs \
         nix-store --delete --ignore-liveness` lets this server add it again, and `nix-store --verify --check-contents` \
         finds what else is damaged"
    )]
    Damaged { path: &'static StorePath },
}

impl From<DaemonError> for NixRunError {
    fn from(error: DaemonError) -> Self {
        Self::Daemon(error)
    }
}

impl From<ReachError> for NixRunError {
    fn from(error: ReachError) -> Self {
        match error {
            ReachError::Unreachable(error) => Self::Unreachable(error),
            ReachError::Daemon(error) => Self::Daemon(error),
        }
    }
}

impl NixRunError {
    /// Returns whether a store path was missing that was there before, as after the garbage collector took the
    /// environment.
    pub fn misses_a_path(&self) -> bool {
        match self {
            Self::Daemon(DaemonError::Refused { reason, .. }) | Self::Command { reason, .. } => is_invalid_path(reason),
            _ => false,
        }
    }
}
