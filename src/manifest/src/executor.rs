//! The executors by name: the ways to carry out a call.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A way to carry out a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Executor {
    /// The launcher, around a pinned environment.
    Namespace,
    /// The launcher, around toolchains of this host.
    Direct,
    /// Nix, asked by its daemon's protocol, around a pinned environment and the launcher.
    Derivation,
    /// The same, with Nix asked by the commands `nix-store --import` and `nix-store --realise`.
    DerivationCli,
}

impl Executor {
    pub const ALL: [Self; 4] = [Self::Namespace, Self::Direct, Self::Derivation, Self::DerivationCli];

    pub fn name(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Direct => "direct",
            Self::Derivation => "derivation",
            Self::DerivationCli => "derivation-cli",
        }
    }

    /// Tells whether it runs programs in pinned environments. Toolchains of the host are never called pinned.
    pub fn is_pinned(self) -> bool {
        self != Self::Direct
    }
}

impl fmt::Display for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownExecutor;

impl fmt::Display for UnknownExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the executors are auto, namespace, derivation, derivation-cli and direct")
    }
}

impl std::error::Error for UnknownExecutor {}

impl FromStr for Executor {
    type Err = UnknownExecutor;

    fn from_str(name: &str) -> Result<Self, UnknownExecutor> {
        Self::ALL.into_iter().find(|executor| executor.name() == name).ok_or(UnknownExecutor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executor_has_one_name_everywhere() {
        for executor in Executor::ALL {
            assert_eq!(executor.to_string().parse(), Ok(executor));
            assert_eq!(serde_json::to_value(executor).unwrap(), executor.name());
        }
        assert_eq!("auto".parse::<Executor>(), Err(UnknownExecutor));
    }
}
