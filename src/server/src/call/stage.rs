//! The stages of a call, for progress reports.

use std::fmt;

/// A stage of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Other calls must end first.
    Waiting,
    /// The server's derivations are added to the store, for Nix to build this from. `progress` is how many are added, of
    /// how many that are missing.
    Unpacking {
        what: String,
        progress: Option<(usize, usize)>,
    },
    /// Nix builds or downloads an environment or a package. `line` is the last line that it printed.
    Realising {
        what: String,
        line: Option<String>,
    },
    Running,
    /// Nix runs the call, and reports what it has begun.
    Nix(String),
}

impl Stage {
    /// Returns what a command shows its user before the program runs: what is realised, and Nix's own lines.
    pub(crate) fn of_realising(&self) -> Option<String> {
        match self {
            Self::Unpacking { .. } | Self::Realising { line: None, .. } => Some(self.to_string()),
            Self::Realising { line: Some(line), .. } => Some(line.clone()),
            Self::Waiting | Self::Running | Self::Nix(_) => None,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting for other calls to end"),
            Self::Unpacking { what, progress: None } => write!(f, "unpacking the derivations of {what}"),
            Self::Unpacking { what, progress: Some((added, all)) } => {
                write!(f, "adding the derivations of {what} to the store: {added} of {all}")
            }
            Self::Realising { what, line: None } => write!(f, "realising {what}"),
            Self::Realising { what, line: Some(line) } => write!(f, "realising {what}: {line}"),
            Self::Running => f.write_str("running"),
            Self::Nix(line) => write!(f, "running by Nix: {line}"),
        }
    }
}

/// The callback to which a call reports its stages.
pub type OnStage<'a> = &'a (dyn Fn(Stage) + Send + Sync);
