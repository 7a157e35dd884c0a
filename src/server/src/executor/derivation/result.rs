//! Turns the output of a build into the result of a run.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sandbox_plan::record::RunCost;
use tokio::task::spawn_blocking;

use super::{Built, NixRunError, output};
use crate::call::artifacts::{self, Artifacts};
use crate::call::job::Job;
use crate::call::outcome::RunResult;
use crate::executor::RLIMITS;
use crate::network::Refusals;
use crate::nix::run_derivation::RunDerivation;

/// The walls without which the builder refuses to run. It uses Landlock where the kernel has it and Nix leaves it
/// usable.
const WALLS: [&str; 6] = ["nix build sandbox", "namespaces", "no capabilities", "no_new_privs", "seccomp", RLIMITS];

/// Reads the result of a run that took `elapsed`, unless the builder has measured it.
///
/// # Errors
///
/// The output is not as the builder writes it.
pub(super) async fn read(
    job: &Job,
    derivation: &RunDerivation,
    built: &Built,
    elapsed: Duration,
) -> Result<RunResult, NixRunError> {
    let out = PathBuf::from(derivation.out.as_str());
    let path = out.clone();
    let read = spawn_blocking(move || output::read(&out)).await.map_err(io::Error::other);
    let output = read.and_then(|read| read).map_err(|cause| NixRunError::Output { path, cause })?;
    let mut artifacts = match output.artifacts {
        Some(directory) => artifacts::gather(directory).await,
        None => Artifacts::default(),
    };
    artifacts.add_left_out(output.left_out);
    let cost = built.cost.unwrap_or(RunCost { duration: elapsed, usage: Default::default() });
    Ok(RunResult {
        ending: output.ending,
        full: output.full,
        stdout: output.stdout,
        stderr: output.stderr,
        artifacts,
        left: output.left,
        refused: Refusals::default(),
        duration: cost.duration,
        usage: cost.usage,
        cached: job.options.cache && built.cost.is_none(),
        walls: WALLS.into(),
        notes: Vec::new(),
    })
}
