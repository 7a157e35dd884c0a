//! Realises environments by `nix-store --realise`, which makes sure that their closures are in the store, and keeps
//! them from the garbage collector.
//!
//! The command is used although the daemon's protocol could do the same: it asks binary caches as its user configured
//! it, works for a store without a daemon, and tells its progress in lines for people.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::{env, fs, io};

use thiserror::Error;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::call::catalog::catalog;
use crate::call::definition::Environment;
use crate::call::stage::{OnStage, Stage};
use crate::nix::build_users;
use crate::nix::realise_log::RealiseLog;
use crate::nix::roots::Roots;
use crate::nix::unpack::{UnpackError, Unpacker};
use nix_store::store_path::{StorePath, StorePathError};

/// The directories where Nix is found although a client starts the server with a bare `PATH`.
const FALLBACK_DIRECTORIES: [&str; 5] = [
    "/nix/var/nix/profiles/default/bin",
    "/run/current-system/sw/bin",
    "/run/wrappers/bin",
    "/usr/bin",
    "/usr/local/bin",
];

/// Why an environment is not in the store.
#[derive(Debug, Error)]
pub enum RealiseError {
    /// The environment is not in the store, and there is no Nix that could realise it.
    #[error(
        "cannot realise the environment {out}: it is not on this machine, and nix-store was not found in {looked_in}; \
         install Nix, or start the server with `--executor direct` to use this host's toolchains"
    )]
    NoNix { out: &'static str, looked_in: String },
    #[error("cannot start {}: {cause}", program.display())]
    Start { program: PathBuf, cause: io::Error },
    /// The derivation is not in the store, and could not be added.
    #[error("cannot add {drv} to the store: {cause}")]
    Unpack { drv: &'static str, cause: UnpackError },
    /// The path of the derivation is not a store path.
    #[error(transparent)]
    Path(#[from] StorePathError),
    /// Nix failed, with its last lines.
    #[error("nix-store --realise {path} failed ({status}):\n{lines}{}", build_users::remedy_of(.lines))]
    Nix { path: &'static str, status: String, lines: String },
}

/// Realises environments.
#[derive(Debug)]
pub struct Realiser {
    nix_store: Option<PathBuf>,
    unpacker: Option<Unpacker>,
    search_path: Vec<PathBuf>,
    /// The roots that keep environments alive; `None` without a home directory.
    roots: Option<Roots>,
}

impl Realiser {
    pub(crate) fn from_environment() -> Self {
        let home = env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| Some(home.as_ref()?.join(".local/state")));
        let mut search_path: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
        search_path.extend(home.map(|home| home.join(".nix-profile/bin")));
        search_path.extend(state.as_ref().map(|state| state.join("nix/profile/bin")));
        search_path.extend(FALLBACK_DIRECTORIES.map(PathBuf::from));
        Self::new(search_path, state, catalog().archive)
    }

    /// Looks for nix-store in the directories of `search_path`, keeps roots below `state`, and takes derivations that
    /// the store lacks from `archive`.
    pub fn new(search_path: Vec<PathBuf>, state: Option<PathBuf>, archive: &'static [u8]) -> Self {
        let programs = search_path.iter().map(|directory| directory.join("nix-store"));
        let nix_store = programs.into_iter().find(|program| program.is_file());
        Self {
            unpacker: nix_store.as_deref().map(|program| Unpacker::new(archive, program)),
            nix_store,
            search_path,
            roots: state.map(|state| Roots::below(&state)),
        }
    }

    /// Returns the roots against the garbage collector; `None` without a home directory.
    pub fn roots(&self) -> Option<&Roots> {
        self.roots.as_ref()
    }

    /// Returns the nix-store program that is used.
    pub fn nix_store(&self) -> Option<&Path> {
        self.nix_store.as_deref()
    }

    /// Refuses an environment that is not in the store, if there is no Nix to realise it.
    pub fn check(&self, environment: &Environment) -> Result<(), RealiseError> {
        match self.nix_store.is_some() || Path::new(environment.out).exists() {
            true => Ok(()),
            false => Err(self.no_nix(environment)),
        }
    }

    fn no_nix(&self, environment: &Environment) -> RealiseError {
        let looked_in = env::join_paths(&self.search_path).unwrap_or_else(|_| OsString::from("PATH"));
        RealiseError::NoNix { out: environment.out, looked_in: looked_in.to_string_lossy().into_owned() }
    }

    /// Makes sure that the environment is in the store and stays there, by a root of this name. Nix's lines are passed
    /// on as they come.
    ///
    /// # Errors
    ///
    /// There is no Nix, or it does not realise the environment.
    pub async fn realise(
        &self,
        root: &str,
        environment: &Environment,
        on_stage: OnStage<'_>,
    ) -> Result<(), RealiseError> {
        let root = self.roots.as_ref().map(|roots| roots.path(root));
        let present = Path::new(environment.out).exists();
        let rooted =
            root.as_ref().is_some_and(|root| fs::read_link(root).is_ok_and(|to| to == Path::new(environment.out)));
        if present && rooted {
            return Ok(());
        }
        let (Some(nix_store), Some(unpacker)) = (&self.nix_store, &self.unpacker) else {
            if present {
                // Without Nix there is no garbage collector either, so nothing can delete it.
                return Ok(());
            }
            return Err(self.no_nix(environment));
        };
        let root = root.filter(|root| match root.parent().map(fs::create_dir_all) {
            Some(Ok(())) => true,
            _ => {
                tracing::warn!("{} can't be made: the garbage collector may take {}", root.display(), environment.out);
                false
            }
        });
        let command = |path: &str| {
            let mut command = Command::new(nix_store);
            command.args(["--realise", path]);
            if let Some(root) = &root {
                command.arg("--add-root").arg(root).arg("--indirect");
            }
            command
        };
        if present {
            // Only the root is missing. The environment works even if its root cannot be made, as in a store that only
            // root may write.
            if let Err(error) = self.run(command(environment.out), environment.out, "", &|_| {}).await {
                tracing::warn!("{} has no root against the garbage collector: {error}", environment.out);
            }
            return Ok(());
        }
        let what = what(environment.out);
        let drv = StorePath::parse(environment.drv)?;
        let kept = unpacker.ensure_added(&drv, what, on_stage).await;
        let _kept = kept.map_err(|cause| RealiseError::Unpack { drv: environment.drv, cause })?;
        on_stage(Stage::Realising { what: what.to_owned(), line: None });
        self.run(command(environment.drv), environment.drv, what, on_stage).await
    }

    async fn run(
        &self,
        mut command: Command,
        path: &'static str,
        what: &str,
        on_stage: OnStage<'_>,
    ) -> Result<(), RealiseError> {
        let program = PathBuf::from(command.as_std().get_program());
        let start = |cause| RealiseError::Start { program: program.clone(), cause };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(start)?;
        let mut log = RealiseLog::default();
        if let Some(stderr) = child.stderr.take() {
            let mut lines = BufReader::new(stderr).split(b'\n');
            while let Ok(Some(line)) = lines.next_segment().await {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if line.is_empty() {
                    continue;
                }
                if let Some(line) = log.hear(&line) {
                    on_stage(Stage::Realising { what: what.to_owned(), line: Some(line) });
                }
            }
        }
        let status = child.wait().await.map_err(start)?;
        if status.success() {
            return Ok(());
        }
        Err(RealiseError::Nix { path, status: status.to_string(), lines: log.cause() })
    }
}

/// Returns the name of the environment or the package for people: `python` for sandbox-mcp-python.
fn what(out: &'static str) -> &'static str {
    let name = out.split_once('-').map_or(out, |(_, name)| name);
    name.strip_prefix("sandbox-mcp-").unwrap_or(name)
}
