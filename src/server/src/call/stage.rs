//! How far a call has come, for those who wait for it.

use std::fmt;

/// How far a call has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Other calls must end first.
    Waiting,
    /// Derivations that came with the server are added to the store, so that Nix can make this of them: so many are added of so
    /// many that are missing.
    Unpacking {
        what: String,
        progress: Option<(usize, usize)>,
    },
    /// Nix brings an environment or a package there; with its last line, if it said something.
    Realising {
        what: String,
        line: Option<String>,
    },
    Running,
    /// Nix carries the call out, and has begun something that it says in its own words.
    Nix(String),
}

impl Stage {
    /// What a command shows its user before there is anything else to see: what is brought there, and Nix's own lines.
    pub fn of_realising(&self) -> Option<String> {
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

/// Where a call tells how far it has come.
pub type OnStage<'a> = &'a (dyn Fn(Stage) + Send + Sync);
