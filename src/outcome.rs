//! The outcome of a job: how the program ended and what it printed. A program that fails is an outcome, not an error.

use std::time::Duration;

use sandbox_launcher::left::Left;
pub use sandbox_launcher::{Ending, Usage};

use crate::artifacts::Artifacts;
use crate::capture::Captured;
use crate::network::Refusals;
use crate::store_path::StorePath;

#[derive(Debug)]
pub struct Outcome {
    pub ending: Ending,
    pub stdout: Captured,
    pub stderr: Captured,
    /// What it left for the caller, however it ended.
    pub artifacts: Artifacts,
    /// Its working directory in the sandbox, and what it left there, where nobody gets it.
    pub workdir: &'static str,
    pub left: Left,
    /// The connections that it was refused; empty but for sandboxes with an allow-list.
    pub refused: Refusals,
    /// From the start of the sandbox until nothing of it was left.
    pub duration: Duration,
    pub usage: Usage,
    /// Which executor ran the program.
    pub executor: &'static str,
    /// The environment's output path, or `host`.
    pub environment: String,
    /// The receipt: the derivation that this call is, by the path of its `.drv` file. None for toolchains of the host.
    pub derivation: Option<StorePath>,
    /// Whether this is what an earlier run of the same derivation did, and nothing was run for this call.
    pub cached: bool,
    /// The walls that stood around the program, by name.
    pub walls: Vec<&'static str>,
    /// What was not as the interface promises, in sentences; empty but for programs without namespaces.
    pub notes: Vec<String>,
}

impl Outcome {
    pub fn succeeded(&self) -> bool {
        self.ending == Ending::Exited { code: 0 }
    }

    pub fn truncated(&self) -> bool {
        self.stdout.left_out() > 0 || self.stderr.left_out() > 0
    }

    /// The status that a shell would report: 124 for a timeout as `timeout` does, 125 where the command was not run, 128 + n for signal n, and
    /// that of SIGKILL where a limit ended it.
    pub fn exit_status(&self) -> u8 {
        match self.ending {
            Ending::Exited { code } => code as u8,
            Ending::Signalled { signal } => 128 + signal as u8,
            Ending::Unready => 125,
            Ending::TimedOut => 124,
            Ending::OverLimit { .. } => 137,
        }
    }
}
