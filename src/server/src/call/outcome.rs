//! The outcome of a job: how the program ended and what it printed. A program that fails is an outcome, not an error.

use std::fmt;
use std::time::Duration;

use sandbox_plan::disk::FullDisk;
use sandbox_plan::left::Left;
pub use sandbox_plan::{Ending, Usage};

use crate::call::artifacts::Artifacts;
use crate::call::capture::Captured;
use crate::call::choice::Executor;
use crate::call::lenient::IgnoredParameter;
use crate::call::met_limit::MetLimit;
use crate::call::missed_packages::MissedPackages;
use crate::call::missing::Missing;
use crate::network::Refusals;
use nix_store::store_path::StorePath;

/// What an executor knows once a program has ended.
#[derive(Debug)]
pub struct RunResult {
    pub ending: Ending,
    /// What the disk that its sandbox had for itself had no room for.
    pub full: FullDisk,
    pub stdout: Captured,
    pub stderr: Captured,
    /// The files that the program left for the caller, however it ended.
    pub artifacts: Artifacts,
    /// What it left in its working directory, which nobody gets.
    pub left: Left,
    /// The connections that it was refused; empty except for sandboxes with an allow-list.
    pub refused: Refusals,
    /// From the start of the sandbox until nothing of it was left.
    pub duration: Duration,
    pub usage: Usage,
    /// Whether this is the result of an earlier run of the same derivation; nothing was run for this call.
    pub cached: bool,
    /// The walls that stood around the program, by name.
    pub walls: Vec<&'static str>,
    /// What was not as the interface promises, in sentences; empty except for programs without namespaces.
    pub notes: Vec<String>,
}

/// The outcome of a job: what its executor knows, and what the runner adds.
#[derive(Debug)]
pub struct Outcome {
    pub result: RunResult,
    /// A limit that the program met, and that did not end it.
    pub met: Option<MetLimit>,
    /// The packages that have what the program missed.
    pub missed: MissedPackages,
    /// The working directory of the program in the sandbox.
    pub workdir: &'static str,
    /// The executor that ran the program.
    pub executor: Executor,
    /// Why it was not a sandbox in namespaces, if the machine lacks what that needs. `None` if somebody chose the
    /// executor, and for a server without pinned environments.
    pub fallback: Option<Fallback>,
    /// The environment's output path, or `host`.
    pub environment: String,
    /// The receipt: the path of the call's `.drv` file. `None` for toolchains of the host.
    pub derivation: Option<StorePath>,
    /// What the client gave and the tool does not know.
    pub ignored: Vec<IgnoredParameter>,
}

/// Why a call was carried out otherwise than in a sandbox in namespaces, though nobody has chosen that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    pub namespaces: Missing,
    /// Why Nix did not take their place; none if it did.
    pub nix: Option<String>,
}

impl Fallback {
    /// Returns what is missing and what tells how to get it, in one line.
    pub fn cause(&self) -> String {
        let Missing { operation, reason, .. } = &self.namespaces;
        let nix = self.nix.as_ref().map(|nix| format!("; and Nix cannot run it: {nix}")).unwrap_or_default();
        let text = format!("this machine cannot {operation}: {reason}{nix}; `sandbox-mcp doctor` says what would help");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// One line: it becomes the first of a text that goes on with the program's output.
impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = match &self.nix {
            None => "run by Nix (executor `derivation`)",
            Some(_) => "run on this host's toolchains (executor `direct`), not in the pinned environment",
        };
        write!(f, "Note: {run}, because {}", self.cause())
    }
}

impl RunResult {
    pub fn succeeded(&self) -> bool {
        self.ending == Ending::Exited { code: 0 }
    }

    /// Returns whether the program saw its files where a sandbox has them, and not in a directory of this machine.
    pub fn in_namespaces(&self) -> bool {
        self.walls.contains(&"namespaces")
    }

    /// Returns whether its sandbox had a disk for itself: a pinned environment is shown in namespaces only.
    pub fn has_own_disk(&self) -> bool {
        self.in_namespaces()
    }

    pub fn truncated(&self) -> bool {
        self.stdout.left_out() > 0 || self.stderr.left_out() > 0
    }

    /// Returns the status that a shell would report: 124 for a timeout as `timeout` does, 125 where the command was not run,
    /// 128 + n for signal n, and that of SIGKILL where a limit ended it.
    pub(crate) fn exit_status(&self) -> u8 {
        match self.ending {
            Ending::Exited { code } => code as u8,
            Ending::Signalled { signal } => 128 + signal as u8,
            Ending::Unready => 125,
            Ending::TimedOut => 124,
            Ending::OverLimit { .. } => 137,
        }
    }
}
