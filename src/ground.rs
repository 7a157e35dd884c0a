//! What a tool's programs run on where this server runs.

use std::sync::Arc;

use crate::host::Toolchain;

/// Environments are pinned, or else the host lends its programs.
#[derive(Debug, Clone)]
pub enum Ground {
    Pinned,
    Host(Arc<Toolchain>),
}

impl Ground {
    pub fn is_pinned(&self) -> bool {
        matches!(self, Self::Pinned)
    }
}
