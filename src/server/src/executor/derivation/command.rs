//! Asks Nix by its commands: for a Nix whose daemon cannot be reached, and to compare with the daemon's protocol.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::{Built, Log, NixRunError, Remote, failure};
use crate::call::stored_inputs::StoredInputs;
use crate::nix::realise_log::is_retry;
use crate::nix::run_derivation::{RunDerivation, builder_node, builder_path};
use nix_store::export::Export;
use nix_store::nar::Node;

/// The number of a command's last lines that an error shows.
const ERROR_LINES: usize = 10;
/// The time that a command has to end after SIGTERM, before it is killed.
const TERM_GRACE: Duration = Duration::from_secs(2);

pub struct NixCommands {
    program: Option<PathBuf>,
    remote: Remote,
}

impl NixCommands {
    pub fn new(program: Option<&Path>, remote: Remote) -> Self {
        Self { program: program.map(Path::to_owned), remote }
    }

    /// Adds the derivation and realises it. Returns `None` if the call was cancelled.
    pub(super) async fn realise(
        &self,
        derivation: &RunDerivation,
        inputs: StoredInputs<'_>,
        log: &mut Log<'_>,
        cancelled: &CancellationToken,
    ) -> Result<Option<Built>, NixRunError> {
        let export = export(derivation, inputs);
        if !self.run("add to the store", &["--import"], &export, log, cancelled).await? {
            return Ok(None);
        }
        let path = derivation.path.as_str();
        let builders: &[_] = match self.remote {
            Remote::Off => &["--option", "builders", ""],
            Remote::Prefer => &[],
            Remote::Only => &["--max-jobs", "0"],
        };
        // A log would stay when all else of the run is deleted.
        let options: &[_] = &["--option", "substitute", "false", "--option", "keep-build-log", "false"];
        let arguments = [&["--realise", path], options, builders].concat();
        match self.run("realise the derivation", &arguments, &[], log, cancelled).await {
            Ok(is_done) => Ok(is_done.then_some(Built { cost: log.cost })),
            Err(NixRunError::Command { reason, .. }) => Err(failure(derivation, log, &reason)),
            Err(error) => Err(error),
        }
    }

    /// Runs a command to its end. Returns `false` if the call was cancelled.
    async fn run(
        &self,
        operation: &'static str,
        arguments: &[&str],
        input: &[u8],
        log: &mut Log<'_>,
        cancelled: &CancellationToken,
    ) -> Result<bool, NixRunError> {
        let failed = |reason: String| NixRunError::Command { operation, reason };
        let program = self.program.as_ref().ok_or_else(|| failed("there is no nix-store on this machine".into()))?;
        let start = |error| failed(format!("{} does not start: {error}", program.display()));
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // If the command is killed, the builder notices that its log has no reader.
            .kill_on_drop(true)
            .spawn()
            .map_err(start)?;
        let (Some(mut stdin), Some(stderr)) = (child.stdin.take(), child.stderr.take()) else {
            unreachable!("both are piped")
        };
        let mut lines = Vec::new();
        let talk = async {
            // A command that refuses does not read all of its input, and says why.
            let write = async {
                let _ = stdin.write_all(input).await;
                drop(stdin);
            };
            let read = async {
                let mut stderr = BufReader::new(stderr).split(b'\n');
                while let Ok(Some(line)) = stderr.next_segment().await {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    log.line(&line);
                    if !is_retry(&line) {
                        lines.push(line);
                    }
                    let excess = lines.len().saturating_sub(ERROR_LINES);
                    lines.drain(..excess);
                }
            };
            tokio::join!(write, read);
        };
        tokio::select! {
            () = talk => {}
            () = cancelled.cancelled() => {
                end(&mut child).await;
                return Ok(false);
            }
        }
        match child.wait().await.map_err(start)? {
            status if status.success() => Ok(true),
            status => Err(failed(format!("{status}: {}", lines.join("\n")))),
        }
    }
}

/// Terminates a command, which then ends its builder.
async fn end(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid as i32)) {
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
    if tokio::time::timeout(TERM_GRACE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// Returns everything that must be in the store, for `nix-store --import`, which skips paths that are valid.
fn export(derivation: &RunDerivation, inputs: StoredInputs<'_>) -> Vec<u8> {
    let mut export = Export::default();
    if !Path::new(builder_path().as_str()).exists() {
        export.add(builder_path(), &builder_node(), []);
    }
    if let Some(path) = &derivation.stored {
        export.add(path, &inputs.node(), []);
    }
    let text = Node::File { content: derivation.text.as_bytes(), executable: false };
    export.add(&derivation.path, &text, &derivation.references);
    export.finish()
}
