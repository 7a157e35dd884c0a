//! A layer of isolation that this machine cannot give.

use std::fmt;

/// Why a wall can't be put up: what was tried, and what the kernel said to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub operation: String,
    pub reason: String,
    /// What brings it back.
    pub remedy: &'static str,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}; {}", self.operation, self.reason, self.remedy)
    }
}

impl std::error::Error for Missing {}
