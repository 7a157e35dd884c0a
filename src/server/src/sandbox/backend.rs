//! The source of a tool's programs on this machine.

use std::sync::Arc;

use crate::sandbox::host::Toolchain;

/// The source of a tool's programs.
#[derive(Debug, Clone)]
pub enum Backend {
    /// The pinned environment that the server was built with.
    Pinned,
    /// Programs that were found on this host.
    Host(Arc<Toolchain>),
}

impl Backend {
    /// Returns whether the programs are those of the pinned environment.
    pub fn is_pinned(&self) -> bool {
        matches!(self, Self::Pinned)
    }
}
