//! The outcome of a job: how the program ended and what it printed. A program that fails is an outcome, not an error.

use std::fmt;
use std::time::Duration;

use sandbox_plan::left::Left;
pub use sandbox_plan::{Ending, Usage};

use crate::call::artifacts::Artifacts;
use crate::call::capture::Captured;
use crate::call::missing::Missing;
use crate::network::Refusals;
use nix_store::store_path::StorePath;

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
    /// Why it was not a sandbox in namespaces, if the machine lacks what that needs; none where somebody chose the executor,
    /// and none of a server without pinned environments.
    pub fallback: Option<Fallback>,
    /// The environment's output path, or `host`.
    pub environment: String,
    /// The receipt: the derivation that this call is, by the path of its `.drv` file. None for toolchains of the host.
    pub derivation: Option<StorePath>,
    /// Whether this is the result of an earlier run of the same derivation; nothing was run for this call.
    pub cached: bool,
    /// The walls that stood around the program, by name.
    pub walls: Vec<&'static str>,
    /// What was not as the interface promises, in sentences; empty but for programs without namespaces.
    pub notes: Vec<String>,
}

/// Why a call was carried out otherwise than in a sandbox in namespaces, though nobody has chosen that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    pub namespaces: Missing,
    /// Why Nix did not take their place; none if it did.
    pub nix: Option<String>,
}

/// One line: it becomes the first of a text that goes on with the program's output.
impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Missing { operation, reason, .. } = &self.namespaces;
        let missing = format!("this machine cannot {operation}: {reason}");
        let remedy = "`sandbox-mcp doctor` says what would help";
        let text = match &self.nix {
            None => format!("Note: run by Nix (executor `derivation`), because {missing}; {remedy}"),
            Some(nix) => format!(
                "Note: run on this host's toolchains (executor `direct`), not in the pinned environment, because {missing}; \
                 and Nix cannot run it: {nix}; {remedy}"
            ),
        };
        f.write_str(&text.split_whitespace().collect::<Vec<_>>().join(" "))
    }
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
