//! Connections to Nix, some of which are made ahead of the calls that use them: each is used for one run.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, io};

use rustix::fs::Access;

use super::{DerivationError, Remote};
use crate::nix::daemon::{Connection, DaemonError, Options};
use crate::nix::endpoint::Endpoint;
use crate::run_derivation::{builder_node, builder_path};
use crate::store_path::StorePath;

/// How many connections wait for runs.
const WARM: usize = 2;

/// What must be writable for a Nix without a daemon: of a store that is not, some versions connect to themselves
/// without end.
const STATE: [&str; 2] = ["/nix/store", "/nix/var/nix/db"];

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
             reach its socket (Debian: the group nix-users), or start the server with `--executor namespace`"
        )
    }
}

impl std::error::Error for UnreachableNix {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.socket)
    }
}

#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    /// The program that is a daemon of our own.
    nix_daemon: Option<PathBuf>,
    warm: Mutex<Vec<Connection>>,
    most_warm: usize,
    remote: Remote,
}

impl Connections {
    pub fn new(nix_store: Option<&Path>, ahead: bool, remote: Remote) -> Self {
        let nix_daemon = nix_store.map(|program| program.with_file_name("nix-daemon"));
        let most_warm = if ahead { WARM } else { 0 };
        Self(Arc::new(Inner { nix_daemon, warm: Mutex::default(), most_warm, remote }))
    }

    /// A connection for one run, and whether it has waited for it.
    pub async fn take(&self) -> Result<(Connection, bool), DerivationError> {
        let warm = self.warm().pop();
        match warm {
            Some(connection) => Ok((connection, true)),
            None => Ok((self.open().await?, false)),
        }
    }

    /// Makes the connections that wait for further runs. To be done after a run, which needs the processors more;
    /// nobody waits for this. `closure` is what the next run will probably need: a daemon that was asked of these paths
    /// has no need to ask its database again.
    pub fn refill(&self, closure: Vec<StorePath>) {
        let connections = self.clone();
        tokio::spawn(async move {
            while connections.warm().len() < connections.0.most_warm {
                match connections.acquainted(&closure).await {
                    Ok(connection) => connections.warm().push(connection),
                    Err(error) => return tracing::debug!("no connection is made ahead: {error}"),
                }
            }
        });
    }

    async fn acquainted(&self, closure: &[StorePath]) -> Result<Connection, DerivationError> {
        let mut connection = self.open().await?;
        for path in closure {
            // A daemon would also remember for an hour that a path is missing, although it was realised meanwhile.
            if connection.path_info(path).await?.is_none() {
                return self.open().await;
            }
        }
        Ok(connection)
    }

    /// Puts the launcher that this server embeds in the place of what the store has of it. Only trusted users may.
    pub async fn repair(&self) -> Result<(), DerivationError> {
        self.connect().await?.repair_files(builder_path().name(), &builder_node()).await?;
        Ok(())
    }

    /// A new connection, by which the launcher is kept in the store.
    pub async fn open(&self) -> Result<Connection, DerivationError> {
        let mut connection = self.connect().await?;
        connection.set_options(&options(self.0.remote, connection.trusted())).await?;
        let builder = builder_path();
        connection.add_temporary_root(builder).await?;
        if connection.valid_paths(std::slice::from_ref(builder)).await?.is_empty() {
            connection.add_files(builder.name(), &builder_node()).await?;
        }
        Ok(connection)
    }

    /// The daemon's socket comes first: where there is a daemon, the store is its own.
    async fn connect(&self) -> Result<Connection, DerivationError> {
        let socket = match Connection::open(&Endpoint::socket()).await {
            Ok(connection) => return Ok(connection),
            Err(error @ DaemonError::Connect { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        match self.child() {
            Ok(endpoint) => Ok(Connection::open(&endpoint).await?),
            Err(child) => Err(DerivationError::Unreachable(UnreachableNix { socket, child })),
        }
    }

    fn child(&self) -> Result<Endpoint, String> {
        let program = self.0.nix_daemon.as_ref().ok_or("Nix is not on this machine")?;
        if !program.is_file() {
            return Err(format!("there is no {}", program.display()));
        }
        for path in STATE {
            rustix::fs::access(path, Access::WRITE_OK)
                .map_err(|error| format!("{path} can't be written: {}", io::Error::from(error)))?;
        }
        Ok(Endpoint::child(program))
    }

    fn warm(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.0.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn options(remote: Remote, trusted: Option<bool>) -> Options {
    // The launcher keeps the deadline. Who must wait looks every second whether that is over.
    let mut settings = vec![("timeout", "0"), ("build-poll-interval", "1")];
    let local_jobs = if remote == Remote::Only { 0 } else { 1 };
    if remote == Remote::Off {
        // Nothing of a run is for other machines to know.
        settings.push(("builders", ""));
    }
    if trusted != Some(false) {
        // A log is made of what a run prints, and would stay when all else of the run is deleted.
        settings.push(("keep-build-log", "false"));
    }
    let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Options { substitutes: false, local_jobs, settings }
}
