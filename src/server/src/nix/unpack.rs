//! Brings derivations that came with the server into the store, by Nix itself.
//!
//! A `.drv` file and all that it refers to are named by their content, so that the daemon takes them from any user. Where there is
//! no daemon to speak with, `nix-store --import` takes them from the owner of the store.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

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

/// The derivations of the environments and packages; empty in a server without any. build.rs has checked those that it names.
pub static ARCHIVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/archive"));

/// How many paths are added at once: what is told in between is how far it has come.
const BATCH: usize = 256;
/// How often it is tried.
const TRIES: usize = 3;

/// Why a derivation is not in the store.
#[derive(Debug)]
pub enum UnpackError {
    Archive(ArchiveError),
    Daemon(DaemonError),
    /// Nix was reached, and is not any more.
    Unreachable(UnreachableNix),
    /// Neither way to Nix works.
    Command {
        unreachable: String,
        reason: String,
    },
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive(error) => write!(f, "{error}; install this server's package again"),
            Self::Daemon(error) => error.fmt(f),
            Self::Unreachable(error) => error.fmt(f),
            Self::Command { unreachable, reason } => write!(f, "nix-store --import: {reason}; {unreachable}"),
        }
    }
}

impl std::error::Error for UnpackError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Archive(error) => Some(error),
            Self::Daemon(error) => Some(error),
            Self::Unreachable(error) => Some(error),
            Self::Command { .. } => None,
        }
    }
}

impl From<ReachError> for UnpackError {
    fn from(error: ReachError) -> Self {
        match error {
            ReachError::Daemon(error) => Self::Daemon(error),
            ReachError::Unreachable(error) => Self::Unreachable(error),
        }
    }
}

impl From<DaemonError> for UnpackError {
    fn from(error: DaemonError) -> Self {
        Self::Daemon(error)
    }
}

/// Keeps what was brought from the garbage collector, if Nix was reached by a connection.
#[must_use]
pub struct Kept {
    _connection: Option<Connection>,
}

#[derive(Debug)]
pub struct Unpacker {
    archive: &'static [u8],
    nix_store: PathBuf,
    reach: Reach,
    /// An unpacked archive takes memory: one at a time.
    turn: Mutex<()>,
}

impl Unpacker {
    pub fn new(archive: &'static [u8], nix_store: &Path) -> Self {
        Self { archive, nix_store: nix_store.to_owned(), reach: Reach::new(Some(nix_store)), turn: Mutex::default() }
    }

    /// Makes sure that a derivation is in the store. `what` it makes is told along with how far this has come.
    pub async fn bring(&self, drv: &StorePath, what: &str, on_stage: OnStage<'_>) -> Result<Kept, UnpackError> {
        let _turn = self.turn.lock().await;
        match self.reach.connect().await {
            Ok(mut connection) => {
                let mut tries = TRIES;
                while let Err(error) = self.add(&mut connection, drv, what, on_stage).await {
                    tries -= 1;
                    match error {
                        // Somebody else may have added the same meanwhile, at which Nix 2.8 stumbles.
                        UnpackError::Daemon(DaemonError::Refused { .. }) if tries > 0 => {
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
        for (index, batch) in missing.chunks(BATCH).enumerate() {
            let progress = Some((index * BATCH, missing.len()));
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

    /// Adds what is missing by a command.
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
            // One that refuses does not read all of it, and says why.
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
