//! Where the programs of a tool come from on this machine.

use std::sync::Arc;

use crate::sandbox::host::Toolchain;

#[derive(Debug, Clone)]
pub enum Backend {
    /// The environment that the server was built with.
    Pinned,
    /// Programs that were found on this host. Where they are not in namespaces, they are not where a sandbox has its files.
    Host { toolchain: Arc<Toolchain>, in_namespaces: bool },
}

impl Backend {
    pub fn is_pinned(&self) -> bool {
        matches!(self, Self::Pinned)
    }
}
