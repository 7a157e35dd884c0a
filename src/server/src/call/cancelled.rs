//! The end of a call that its client no longer wants.

/// The error of a call that was cancelled: by its client, or because the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call was cancelled")]
pub struct Cancelled;
