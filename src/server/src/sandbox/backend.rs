//! The source of a tool's programs on this machine.

use std::sync::Arc;

use crate::sandbox::host::Toolchain;

/// The source of a tool's programs.
#[derive(Debug, Clone)]
pub enum Backend {
    /// The pinned environment that the server was built with.
    Pinned,
    /// Programs that were found on this host. Where they are not in namespaces, they are not where a sandbox has its files.
    Host { toolchain: Arc<Toolchain>, in_namespaces: bool },
}

impl Backend {
    /// Returns whether the programs are those of the pinned environment.
    pub fn is_pinned(&self) -> bool {
        matches!(self, Self::Pinned)
    }
}
