//! Deletes the store paths of finished runs, in batches after their answers. Nothing else in the store is touched.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::connections::Connections;
use crate::nix::run_derivation::RunDerivation;
use nix_store::daemon::Connection;
use nix_store::store_path::StorePath;

/// The time that a batch waits for further runs.
const BATCH_DELAY: Duration = Duration::from_secs(2);
/// The number of paths that end a batch.
const BATCH_PATHS: usize = 100;
/// The number of attempts to delete a path. It is in use until the daemon has noticed that its run's connection ended.
const DELETE_ATTEMPTS: usize = 3;
const DELETE_RETRY_DELAY: Duration = Duration::from_millis(200);
/// The time that the last batch has before the server ends.
const FINISH_TIMEOUT: Duration = Duration::from_secs(3);

/// Deletes the store paths of finished runs.
pub struct StoreCleanup {
    connections: Connections,
    /// `None` until the first run: before it, there may be no runtime.
    worker: Mutex<Option<(UnboundedSender<RunDerivation>, JoinHandle<()>)>>,
}

impl StoreCleanup {
    pub fn new(connections: Connections) -> Self {
        Self { connections, worker: Mutex::default() }
    }

    /// Has the paths of a run deleted soon.
    pub fn add(&self, derivation: RunDerivation) {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let (queue, _) = worker.get_or_insert_with(|| {
            let (sender, receiver) = unbounded_channel();
            (sender, tokio::spawn(delete_all(self.connections.clone(), receiver)))
        });
        // The other end lives as long as this one.
        let _ = queue.send(derivation);
    }

    /// Deletes the remaining paths, and waits for that.
    pub async fn finish(&self) {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((queue, worker)) = worker {
            drop(queue);
            if timeout(FINISH_TIMEOUT, worker).await.is_err() {
                tracing::warn!("cannot delete the store paths of runs in time; the garbage collector will");
            }
        }
    }
}

async fn delete_all(connections: Connections, mut queue: UnboundedReceiver<RunDerivation>) {
    while let Some(first) = queue.recv().await {
        let mut paths = paths(first);
        while let Ok(Some(next)) = timeout(BATCH_DELAY, queue.recv()).await {
            paths.extend(self::paths(next));
            if paths.len() >= BATCH_PATHS {
                break;
            }
        }
        for attempt in 1..=DELETE_ATTEMPTS {
            match delete(&connections, &mut paths).await {
                Ok(()) => break,
                Err(error) if attempt == DELETE_ATTEMPTS => {
                    tracing::warn!("cannot delete the store paths of runs: {error}; the garbage collector will");
                }
                Err(_) => sleep(DELETE_RETRY_DELAY).await,
            }
        }
    }
}

fn paths(derivation: RunDerivation) -> Vec<StorePath> {
    [Some(derivation.out), Some(derivation.path), derivation.stored].into_iter().flatten().collect()
}

/// Deletes those of the paths that are valid. Paths that are in use remain in the list.
async fn delete(connections: &Connections, paths: &mut Vec<StorePath>) -> Result<(), super::NixRunError> {
    let mut connection = connections.open().await?;
    *paths = connection.valid_paths(paths).await?;
    if paths.is_empty() || connection.delete(paths).await.is_ok() {
        return Ok(());
    }
    let mut left = Vec::new();
    let mut last = Ok(());
    for path in paths.drain(..) {
        if let Err(error) = delete_one(&mut connection, &path).await {
            last = Err(error);
            left.push(path);
        }
    }
    *paths = left;
    last
}

async fn delete_one(connection: &mut Connection, path: &StorePath) -> Result<(), super::NixRunError> {
    connection.delete(std::slice::from_ref(path)).await?;
    Ok(())
}
