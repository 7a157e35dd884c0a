//! Connections to Nix. Each is used for one run; some are opened ahead of the calls that use them.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::NixRunError;
use crate::call::choice::Remote;
use crate::nix::run_derivation::{builder_node, builder_path};
use nix_store::daemon::{BuildOptions, Connection};
use nix_store::reach::Reach;
use nix_store::store_path::StorePath;

/// The number of connections that are kept open for runs to come.
const MAX_PREWARMED: usize = 2;

#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    reach: Reach,
    prewarmed: Mutex<Vec<Connection>>,
    max_prewarmed: usize,
    remote: Remote,
}

impl Connections {
    pub fn new(nix_store: Option<&Path>, prewarm: bool, remote: Remote) -> Self {
        let max_prewarmed = if prewarm { MAX_PREWARMED } else { 0 };
        Self(Arc::new(Inner { reach: Reach::new(nix_store), prewarmed: Mutex::default(), max_prewarmed, remote }))
    }

    /// Returns a connection for one run, and whether it came from the pool.
    pub async fn take(&self) -> Result<(Connection, bool), NixRunError> {
        let pooled = self.prewarmed().pop();
        match pooled {
            Some(connection) => Ok((connection, true)),
            None => Ok((self.open().await?, false)),
        }
    }

    /// Fills the pool in the background. This is done after a run, which needs the processors more. `closure` is what
    /// the next run will probably need: a daemon that was asked about these paths does not query its database for them
    /// again.
    pub fn refill(&self, closure: Vec<StorePath>) {
        let connections = self.clone();
        tokio::spawn(async move {
            while connections.prewarmed().len() < connections.0.max_prewarmed {
                match connections.open_prewarmed(&closure).await {
                    Ok(connection) => connections.prewarmed().push(connection),
                    Err(error) => return tracing::debug!("cannot open a connection ahead of a run: {error}"),
                }
            }
        });
    }

    /// Opens a connection whose daemon has read what the database knows of `closure`.
    async fn open_prewarmed(&self, closure: &[StorePath]) -> Result<Connection, NixRunError> {
        let mut connection = self.open().await?;
        for path in closure {
            // A daemon would also remember for an hour that a path is missing, although it was realised meanwhile.
            if connection.path_info(path).await?.is_none() {
                return self.open().await;
            }
        }
        Ok(connection)
    }

    /// Replaces the launcher in the store by the one that this server embeds. Only trusted users may do that.
    pub async fn repair(&self) -> Result<(), NixRunError> {
        self.connect().await?.repair_files(builder_path().name(), &builder_node()).await?;
        Ok(())
    }

    /// Opens a connection, which keeps the launcher in the store.
    pub async fn open(&self) -> Result<Connection, NixRunError> {
        let mut connection = self.connect().await?;
        connection.set_options(&options(self.0.remote, connection.trusted())).await?;
        let builder = builder_path();
        connection.add_temporary_root(builder).await?;
        if connection.valid_paths(std::slice::from_ref(builder)).await?.is_empty() {
            connection.add_files(builder.name(), &builder_node()).await?;
        }
        Ok(connection)
    }

    async fn connect(&self) -> Result<Connection, NixRunError> {
        Ok(self.0.reach.connect().await?)
    }

    fn prewarmed(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.0.prewarmed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn options(remote: Remote, trusted: Option<bool>) -> BuildOptions {
    // The launcher keeps the deadline, so Nix has no timeout. A build that must wait polls every second.
    let mut settings = vec![("timeout", "0"), ("build-poll-interval", "1")];
    let local_jobs = if remote == Remote::Only { 0 } else { 1 };
    if remote == Remote::Off {
        // Nothing of a run may leave this machine.
        settings.push(("builders", ""));
    }
    if trusted != Some(false) {
        // A build log would stay when the other store paths of the run are deleted.
        settings.push(("keep-build-log", "false"));
    }
    let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    BuildOptions { substitutes: false, local_jobs, settings }
}
