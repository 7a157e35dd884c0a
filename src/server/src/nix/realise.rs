//! Store path → present closure: realises an environment by `nix-store --realise`, once, and keeps it alive.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::{env, fmt, fs, io};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::call::definition::Environment;
use crate::call::stage::{OnStage, Stage};
use crate::nix::realise_log::RealiseLog;
use crate::nix::unpack::{ARCHIVE, UnpackError, Unpacker};
use nix_store::store_path::{StorePath, StorePathError};

/// Where clients that start servers with a bare `PATH` leave Nix to be found.
const PROFILES: [&str; 5] = [
    "/nix/var/nix/profiles/default/bin",
    "/run/current-system/sw/bin",
    "/run/wrappers/bin",
    "/usr/bin",
    "/usr/local/bin",
];

#[derive(Debug)]
pub enum RealiseError {
    /// The environment is not in the store, and there is no Nix to bring it there.
    NoNix {
        out: &'static str,
        looked_in: String,
    },
    Start {
        program: PathBuf,
        source: io::Error,
    },
    /// The derivation is not in the store, and could not be brought there.
    Unpack {
        drv: &'static str,
        source: UnpackError,
    },
    /// The path of the derivation is none.
    Path(StorePathError),
    /// Nix did not succeed; with its own last lines.
    Nix {
        path: &'static str,
        status: String,
        lines: String,
    },
}

impl fmt::Display for RealiseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNix { out, looked_in } => write!(
                f,
                "the environment {out} is not on this machine, and nix-store, which would bring it, was not found in \
                 {looked_in}: install Nix, or start the server with `--executor direct` to use this host's toolchains"
            ),
            Self::Start { program, source } => write!(f, "cannot start {}: {source}", program.display()),
            Self::Unpack { drv, source } => write!(f, "cannot add {drv} to the store: {source}"),
            Self::Path(error) => error.fmt(f),
            Self::Nix { path, status, lines } => write!(f, "nix-store --realise {path} failed ({status}):\n{lines}"),
        }
    }
}

impl std::error::Error for RealiseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start { source, .. } => Some(source),
            Self::Unpack { source, .. } => Some(source),
            Self::Path(error) => Some(error),
            Self::NoNix { .. } | Self::Nix { .. } => None,
        }
    }
}

/// Brings environments into the store.
#[derive(Debug)]
pub struct Realiser {
    nix_store: Option<PathBuf>,
    unpacker: Option<Unpacker>,
    search_path: Vec<PathBuf>,
    /// The directory of the garbage collector's roots that keep environments alive; none without a home.
    roots: Option<PathBuf>,
}

impl Realiser {
    pub fn from_environment() -> Self {
        let home = env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| Some(home.as_ref()?.join(".local/state")));
        let mut search_path: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
        search_path.extend(home.map(|home| home.join(".nix-profile/bin")));
        search_path.extend(state.as_ref().map(|state| state.join("nix/profile/bin")));
        search_path.extend(PROFILES.map(PathBuf::from));
        Self::new(search_path, state, ARCHIVE)
    }

    /// Looks for nix-store in the directories of `search_path`, keeps roots below `state`, and takes from `archive` what
    /// derivations the store lacks.
    pub fn new(search_path: Vec<PathBuf>, state: Option<PathBuf>, archive: &'static [u8]) -> Self {
        let programs = search_path.iter().map(|directory| directory.join("nix-store"));
        let nix_store = programs.into_iter().find(|program| program.is_file());
        Self {
            unpacker: nix_store.as_deref().map(|program| Unpacker::new(archive, program)),
            nix_store,
            search_path,
            roots: state.map(|state| state.join("sandbox-mcp/gcroots")),
        }
    }

    /// The nix-store program that is used.
    pub fn nix_store(&self) -> Option<&Path> {
        self.nix_store.as_deref()
    }

    /// Refuses an environment that is not in the store, if nothing can bring it there.
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

    /// Makes sure that the environment is in the store and stays there, by a root of this name. Nix's lines are told as they
    /// come.
    pub async fn realise(
        &self,
        root: &str,
        environment: &Environment,
        on_stage: OnStage<'_>,
    ) -> Result<(), RealiseError> {
        let root = self.roots.as_ref().map(|roots| roots.join(root));
        let present = Path::new(environment.out).exists();
        let rooted =
            root.as_ref().is_some_and(|root| fs::read_link(root).is_ok_and(|to| to == Path::new(environment.out)));
        if present && rooted {
            return Ok(());
        }
        let (Some(nix_store), Some(unpacker)) = (&self.nix_store, &self.unpacker) else {
            if present {
                // Without Nix there is no garbage collector either, so nothing can take it away.
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
            // Only the root is missing, and nobody waits for that. What is there works, even if its root could not be made (a
            // store that only root may write).
            if let Err(error) = self.run(command(environment.out), environment.out, "", &|_| {}).await {
                tracing::warn!("{} has no root against the garbage collector: {error}", environment.out);
            }
            return Ok(());
        }
        let what = what(environment.out);
        let drv = StorePath::parse(environment.drv).map_err(RealiseError::Path)?;
        let kept = unpacker.bring(&drv, what, on_stage).await;
        let _kept = kept.map_err(|source| RealiseError::Unpack { drv: environment.drv, source })?;
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
        let start = |source| RealiseError::Start { program: program.clone(), source };
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

/// What a user calls the environment or the package: sandbox-mcp-python is `python`.
fn what(out: &'static str) -> &'static str {
    let name = out.split_once('-').map_or(out, |(_, name)| name);
    name.strip_prefix("sandbox-mcp-").unwrap_or(name)
}
