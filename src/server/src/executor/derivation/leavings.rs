//! What runs have left in the store, deleted in batches after their answers. Nothing else in the store is touched.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::connections::Connections;
use crate::nix::run_derivation::RunDerivation;
use nix_store::daemon::Connection;
use nix_store::store_path::StorePath;

/// How long a batch waits for further runs, and how many paths it has at most.
const PAUSE: Duration = Duration::from_secs(2);
const BATCH: usize = 100;
/// How often a path is tried that is in use: by its own run's connection, until the daemon has seen that end.
const TRIES: usize = 3;
const BETWEEN_TRIES: Duration = Duration::from_millis(200);
/// How long the last batch may take.
const GRACE: Duration = Duration::from_secs(3);

pub struct Leavings {
    connections: Connections,
    /// None until the first run, since only then there surely is a runtime.
    worker: Mutex<Option<(UnboundedSender<RunDerivation>, JoinHandle<()>)>>,
}

impl Leavings {
    pub fn new(connections: Connections) -> Self {
        Self { connections, worker: Mutex::default() }
    }

    /// Takes what a run has left, to be deleted soon.
    pub fn add(&self, derivation: RunDerivation) {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let (queue, _) = worker.get_or_insert_with(|| {
            let (sender, receiver) = unbounded_channel();
            (sender, tokio::spawn(delete_all(self.connections.clone(), receiver)))
        });
        // The other end lives as long as this one.
        let _ = queue.send(derivation);
    }

    /// Deletes what is left, and waits for that.
    pub async fn finish(&self) {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((queue, worker)) = worker {
            drop(queue);
            if timeout(GRACE, worker).await.is_err() {
                tracing::warn!("what runs have left in the store is left to the garbage collector");
            }
        }
    }
}

async fn delete_all(connections: Connections, mut queue: UnboundedReceiver<RunDerivation>) {
    while let Some(first) = queue.recv().await {
        let mut paths = paths(first);
        while let Ok(Some(next)) = timeout(PAUSE, queue.recv()).await {
            paths.extend(self::paths(next));
            if paths.len() >= BATCH {
                break;
            }
        }
        for attempt in 1..=TRIES {
            match delete(&connections, &mut paths).await {
                Ok(()) => break,
                Err(error) if attempt == TRIES => {
                    tracing::warn!("what runs have left in the store is left to the garbage collector: {error}");
                }
                Err(_) => sleep(BETWEEN_TRIES).await,
            }
        }
    }
}

fn paths(derivation: RunDerivation) -> Vec<StorePath> {
    [Some(derivation.out), Some(derivation.path), derivation.files].into_iter().flatten().collect()
}

/// Deletes what is there of the paths. Those that are in use remain in the list.
async fn delete(connections: &Connections, paths: &mut Vec<StorePath>) -> Result<(), super::DerivationError> {
    // One that was not made for a run, which would keep the launcher.
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

async fn delete_one(connection: &mut Connection, path: &StorePath) -> Result<(), super::DerivationError> {
    connection.delete(std::slice::from_ref(path)).await?;
    Ok(())
}
