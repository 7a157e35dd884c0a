//! Reaches the Nix of this machine: by its daemon, or by a daemon of our own for a store that this user may write.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use thiserror::Error;

use crate::daemon::{Connection, DaemonError};
use crate::endpoint::Endpoint;

/// The directories that must be writable for a Nix without a daemon. If the store is read-only, some versions of
/// `nix-daemon --stdio` connect to themselves without end.
const WRITABLE_STATE: [&str; 2] = ["/nix/store", "/nix/var/nix/db"];

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ReachError {
    /// There is no way to Nix.
    #[error(transparent)]
    Unreachable(UnreachableNix),
    /// Nix was reached.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
}

/// Why there is no way to Nix.
#[derive(Debug, Error)]
#[error(
    "{socket}; and no daemon of this server's own would do: {child}; start the Nix daemon, or let this user reach its socket \
     (Debian: the group nix-users)"
)]
pub struct UnreachableNix {
    /// Why the daemon's socket is no way.
    socket: DaemonError,
    /// Why a daemon of our own is no way.
    child: String,
}

/// How Nix is reached.
#[derive(Debug)]
pub struct Reach {
    /// The program of a daemon of our own.
    nix_daemon: Option<PathBuf>,
}

impl Reach {
    /// `nix_store` is the program of that name, which is in one directory with the other programs of Nix.
    pub fn new(nix_store: Option<&Path>) -> Self {
        Self { nix_daemon: nix_store.map(|program| program.with_file_name("nix-daemon")) }
    }

    /// Connects. The daemon's socket comes first: where there is a daemon, the store is its own.
    pub async fn connect(&self) -> Result<Connection, ReachError> {
        let socket = match Connection::open(&Endpoint::socket()).await {
            Ok(connection) => return Ok(connection),
            Err(error @ DaemonError::Connect { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        match self.child() {
            Ok(endpoint) => Ok(Connection::open(&endpoint).await?),
            Err(child) => Err(ReachError::Unreachable(UnreachableNix { socket, child })),
        }
    }

    fn child(&self) -> Result<Endpoint, String> {
        let program = self.nix_daemon.as_ref().ok_or("Nix is not on this machine")?;
        if !program.is_file() {
            return Err(format!("there is no {}", program.display()));
        }
        for path in WRITABLE_STATE {
            rustix::fs::access(path, Access::WRITE_OK)
                .map_err(|error| format!("{path} can't be written: {}", io::Error::from(error)))?;
        }
        Ok(Endpoint::child(program))
    }
}
