//! How far a call has come, for those who wait for it.

use std::fmt;

/// How far a call has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Other calls must end first.
    Waiting,
    /// Nix brings the environment there; with its last line, if it said something.
    Realising(Option<String>),
    Running,
    /// Nix carries the call out, and has begun something that it says in its own words.
    Nix(String),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting for other calls to end"),
            Self::Realising(None) => f.write_str("realising the environment"),
            Self::Realising(Some(line)) => write!(f, "realising the environment: {line}"),
            Self::Running => f.write_str("running"),
            Self::Nix(line) => write!(f, "running by Nix: {line}"),
        }
    }
}

/// Where a call tells how far it has come.
pub type OnStage<'a> = &'a (dyn Fn(Stage) + Send + Sync);
