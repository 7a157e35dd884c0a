//! What is wrong or remarkable in a JSON config of the user.

use std::fmt;
use std::path::PathBuf;

/// A remark on a config, for the log and for `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFinding {
    pub file: PathBuf,
    /// The path of the key; empty if it is about the whole file.
    pub key: String,
    pub reason: String,
    pub severity: Severity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The file is not used.
    Broken,
    /// The file is used, but perhaps not as it was meant.
    Doubtful,
    /// The file takes the place of a built-in tool.
    Replaces,
}

impl fmt::Display for ConfigFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.reason)
    }
}
