//! A layer of isolation that this machine cannot give.

/// Why a layer of isolation is missing: what was tried, and what the kernel answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {operation}: {reason}; {remedy}")]
pub struct Missing {
    pub operation: String,
    pub reason: String,
    /// How to get the layer.
    pub remedy: &'static str,
}
