//! Store path → present closure: realises an environment by `nix-store --realise`, once, and keeps it alive.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::{env, fmt, fs, io};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::sandbox::Environment;
use crate::stage::{OnStage, Stage};

/// How many of Nix's last lines an error shows.
const LAST_LINES: usize = 20;

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
    /// What this server's package has brought along is not in the store any more.
    NoDerivation {
        drv: &'static str,
        lines: String,
    },
    /// Nix did not succeed; with its own last lines.
    Nix {
        drv: &'static str,
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
            Self::NoDerivation { drv, lines } => write!(
                f,
                "{drv}, from which Nix would make the environment, is not on this machine any more: install this server's \
                 package again, which brings it along ({lines})"
            ),
            Self::Nix { drv, status, lines } => write!(f, "nix-store --realise {drv} failed ({status}):\n{lines}"),
        }
    }
}

impl std::error::Error for RealiseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Brings environments into the store.
#[derive(Debug)]
pub struct Realiser {
    nix_store: Option<PathBuf>,
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
        Self::new(search_path, state)
    }

    /// Looks for nix-store in the directories of `search_path`, and keeps roots below `state`.
    pub fn new(search_path: Vec<PathBuf>, state: Option<PathBuf>) -> Self {
        Self {
            nix_store: search_path
                .iter()
                .map(|directory| directory.join("nix-store"))
                .find(|program| program.is_file()),
            search_path,
            roots: state.map(|state| state.join("sandbox-mcp/gcroots")),
        }
    }

    /// The nix-store program that is used.
    pub fn nix_store(&self) -> Option<&Path> {
        self.nix_store.as_deref()
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
        let Some(nix_store) = &self.nix_store else {
            if present {
                // Without Nix there is no garbage collector either, so nothing can take it away.
                return Ok(());
            }
            let looked_in = env::join_paths(&self.search_path).unwrap_or_else(|_| OsString::from("PATH"));
            return Err(RealiseError::NoNix {
                out: environment.out,
                looked_in: looked_in.to_string_lossy().into_owned(),
            });
        };
        let mut command = Command::new(nix_store);
        command.args(["--realise", environment.drv]);
        let root = root.filter(|root| match root.parent().map(fs::create_dir_all) {
            Some(Ok(())) => true,
            _ => {
                tracing::warn!("{} can't be made: the garbage collector may take {}", root.display(), environment.out);
                false
            }
        });
        if let Some(root) = &root {
            command.arg("--add-root").arg(root).arg("--indirect");
        }
        // Of what is there already, only the root is missing, and nobody waits for that.
        let ignored = |_| {};
        let on_stage: OnStage<'_> = if present { &ignored } else { on_stage };
        on_stage(Stage::Realising(None));
        match self.run(command, environment, on_stage).await {
            // What is there works, even if its root could not be made (a store that only root may write).
            Err(error) if present => {
                tracing::warn!("{} has no root against the garbage collector: {error}", environment.out);
                Ok(())
            }
            result => result,
        }
    }

    async fn run(
        &self,
        mut command: Command,
        environment: &Environment,
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
        let mut last = VecDeque::new();
        if let Some(stderr) = child.stderr.take() {
            let mut lines = BufReader::new(stderr).split(b'\n');
            while let Ok(Some(line)) = lines.next_segment().await {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if line.is_empty() {
                    continue;
                }
                on_stage(Stage::Realising(Some(line.clone())));
                if last.len() == LAST_LINES {
                    last.pop_front();
                }
                last.push_back(line);
            }
        }
        let status = child.wait().await.map_err(start)?;
        if status.success() {
            return Ok(());
        }
        let lines = Vec::from(last).join("\n");
        if !Path::new(environment.drv).exists() {
            return Err(RealiseError::NoDerivation { drv: environment.drv, lines });
        }
        Err(RealiseError::Nix { drv: environment.drv, status: status.to_string(), lines })
    }
}
