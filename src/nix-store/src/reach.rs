//! Where the Nix of this machine takes requests: its daemon, or a daemon of our own for a store that this user may write.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use rustix::fs::Access;

use crate::daemon::{Connection, DaemonError};
use crate::endpoint::Endpoint;

/// What must be writable for a Nix without a daemon: of a store that is not, some versions connect to themselves
/// without end.
const STATE: [&str; 2] = ["/nix/store", "/nix/var/nix/db"];

/// Why there is no connection.
#[derive(Debug)]
pub enum ReachError {
    /// There is no way to Nix.
    Unreachable(UnreachableNix),
    /// Nix was reached.
    Daemon(DaemonError),
}

impl fmt::Display for ReachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => error.fmt(f),
            Self::Daemon(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReachError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreachable(error) => Some(error),
            Self::Daemon(error) => Some(error),
        }
    }
}

impl From<DaemonError> for ReachError {
    fn from(error: DaemonError) -> Self {
        Self::Daemon(error)
    }
}

/// Why there is no way to Nix.
#[derive(Debug)]
pub struct UnreachableNix {
    /// Why there is none by the daemon's socket.
    socket: DaemonError,
    /// Why there is none by a daemon of our own.
    child: String,
}

impl fmt::Display for UnreachableNix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { socket, child } = self;
        write!(
            f,
            "{socket}; and no daemon of this server's own would do: {child}; start the Nix daemon, or let this user \
             reach its socket (Debian: the group nix-users)"
        )
    }
}

impl std::error::Error for UnreachableNix {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.socket)
    }
}

/// How Nix is reached.
#[derive(Debug)]
pub struct Reach {
    /// The program that is a daemon of our own.
    nix_daemon: Option<PathBuf>,
}

impl Reach {
    /// `nix_store` is the program of that name, beside which the others are.
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
        for path in STATE {
            rustix::fs::access(path, Access::WRITE_OK)
                .map_err(|error| format!("{path} can't be written: {}", io::Error::from(error)))?;
        }
        Ok(Endpoint::child(program))
    }
}
