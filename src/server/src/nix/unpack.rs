//! Adds derivations that came with the server to the store, by Nix itself.
//!
//! A `.drv` file and everything that it refers to are named by their content, so the daemon accepts them from every
//! user. Where no daemon can be reached, `nix-store --import` accepts them from the owner of the store.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::call::stage::{OnStage, Stage};
use crate::nix::closure::closure;
use nix_store::addressed::Addressed;
use nix_store::archive::{Archive, ArchiveError};
use nix_store::daemon::{Connection, DaemonError};
use nix_store::export::Export;
use nix_store::reach::{Reach, ReachError, UnreachableNix};
use nix_store::store_path::StorePath;

/// The number of paths that are added in one request. Progress is reported between requests.
const BATCH_PATHS: usize = 256;
/// The number of attempts to add a derivation.
const ADD_ATTEMPTS: usize = 3;

/// Why a derivation could not be added to the store.
#[derive(Debug, Error)]
pub enum UnpackError {
    #[error("{0}; install this server's package again")]
    Archive(ArchiveError),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// Nix could be reached earlier, and no longer can.
    #[error(transparent)]
    Unreachable(UnreachableNix),
    /// Neither the daemon nor the command works.
    #[error("nix-store --import: {reason}; {unreachable}")]
    Command { unreachable: String, reason: String },
}

impl From<ReachError> for UnpackError {
    fn from(error: ReachError) -> Self {
        match error {
            ReachError::Daemon(error) => Self::Daemon(error),
            ReachError::Unreachable(error) => Self::Unreachable(error),
        }
    }
}

/// Keeps the added paths from the garbage collector, if Nix was reached by a connection.
#[must_use]
pub struct Kept {
    _connection: Option<Connection>,
}

#[derive(Debug)]
pub struct Unpacker {
    archive: &'static [u8],
    nix_store: PathBuf,
    reach: Reach,
    /// Held while an archive is unpacked, which takes much memory.
    unpacking: Mutex<()>,
}

impl Unpacker {
    pub fn new(archive: &'static [u8], nix_store: &Path) -> Self {
        Self {
            archive,
            nix_store: nix_store.to_owned(),
            reach: Reach::new(Some(nix_store)),
            unpacking: Mutex::default(),
        }
    }

    /// Makes sure that a derivation is in the store. `what` is the name of its output in reports of progress.
    ///
    /// # Errors
    ///
    /// The archive does not hold the derivation, or Nix cannot be reached or does not accept it.
    pub async fn ensure_added(&self, drv: &StorePath, what: &str, on_stage: OnStage<'_>) -> Result<Kept, UnpackError> {
        let _unpacking = self.unpacking.lock().await;
        match self.reach.connect().await {
            Ok(mut connection) => {
                let mut attempts = ADD_ATTEMPTS;
                while let Err(error) = self.add(&mut connection, drv, what, on_stage).await {
                    attempts -= 1;
                    match error {
                        // Somebody else may have added the same path meanwhile, which Nix 2.8 does not expect.
                        UnpackError::Daemon(DaemonError::Refused { .. }) if attempts > 0 => {
                            tracing::debug!("the derivations are added again: {error}");
                            connection = self.reach.connect().await?;
                        }
                        error => return Err(error),
                    }
                }
                Ok(Kept { _connection: Some(connection) })
            }
            Err(_) if Path::new(drv.as_str()).exists() => Ok(Kept { _connection: None }),
            Err(unreachable) => {
                let closure = self.closure(drv, what, on_stage).await?;
                let import = self.import(&closure).await;
                import.map_err(|reason| UnpackError::Command { unreachable: unreachable.to_string(), reason })?;
                Ok(Kept { _connection: None })
            }
        }
    }

    async fn add(
        &self,
        connection: &mut Connection,
        drv: &StorePath,
        what: &str,
        on_stage: OnStage<'_>,
    ) -> Result<(), UnpackError> {
        connection.add_temporary_root(drv).await?;
        if !connection.valid_paths(std::slice::from_ref(drv)).await?.is_empty() {
            return Ok(());
        }
        let closure = self.closure(drv, what, on_stage).await?;
        let paths: Vec<StorePath> = closure.iter().map(|added| added.path.clone()).collect();
        let valid: HashSet<StorePath> = connection.valid_paths(&paths).await?.into_iter().collect();
        let missing: Vec<Addressed> = closure.into_iter().filter(|added| !valid.contains(&added.path)).collect();
        for (index, batch) in missing.chunks(BATCH_PATHS).enumerate() {
            let progress = Some((index * BATCH_PATHS, missing.len()));
            on_stage(Stage::Unpacking { what: what.to_owned(), progress });
            connection.add_all(batch).await?;
        }
        Ok(())
    }

    async fn closure(&self, drv: &StorePath, what: &str, on_stage: OnStage<'_>) -> Result<Vec<Addressed>, UnpackError> {
        on_stage(Stage::Unpacking { what: what.to_owned(), progress: None });
        let (archive, drv) = (self.archive, drv.clone());
        let read = spawn_blocking(move || closure(&Archive::unpack(archive)?.paths()?, &drv)).await;
        read.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())).map_err(UnpackError::Archive)
    }

    /// Adds the paths that are missing by a command.
    async fn import(&self, closure: &[Addressed]) -> Result<(), String> {
        let mut export = Export::default();
        closure.iter().for_each(|added| export.add_archive(&added.path, &added.archive, &added.references));
        let mut child = Command::new(&self.nix_store)
            .arg("--import")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", self.nix_store.display()))?;
        let stdin = child.stdin.take();
        let write = async {
            // A command that refuses does not read all of its input, and says why.
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(&export.finish()).await;
            }
        };
        let ((), output) = tokio::join!(write, child.wait_with_output());
        match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())),
            Err(error) => Err(error.to_string()),
        }
    }
}
