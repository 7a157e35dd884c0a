//! Connections to Nix, some of which are made ahead of the calls that use them: each is used for one run.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::{DerivationError, Remote};
use crate::nix::run_derivation::{builder_node, builder_path};
use nix_store::daemon::{Connection, Options};
use nix_store::reach::Reach;
use nix_store::store_path::StorePath;

/// How many connections wait for runs.
const WARM: usize = 2;

#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    reach: Reach,
    warm: Mutex<Vec<Connection>>,
    most_warm: usize,
    remote: Remote,
}

impl Connections {
    pub fn new(nix_store: Option<&Path>, ahead: bool, remote: Remote) -> Self {
        let most_warm = if ahead { WARM } else { 0 };
        Self(Arc::new(Inner { reach: Reach::new(nix_store), warm: Mutex::default(), most_warm, remote }))
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

    async fn connect(&self) -> Result<Connection, DerivationError> {
        Ok(self.0.reach.connect().await?)
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
