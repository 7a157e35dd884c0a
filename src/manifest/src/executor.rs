//! The executors, and their names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The way in which a call is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Executor {
    /// The launcher runs the program in namespaces, in a pinned environment.
    Namespace,
    /// The launcher runs the program on this host's toolchains.
    Direct,
    /// Nix builds a derivation that runs the launcher in a pinned environment. The server speaks the daemon's protocol.
    Derivation,
    /// The same, by the commands `nix-store --import` and `nix-store --realise`.
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

    /// Returns whether it runs programs in pinned environments. Toolchains of the host are never called pinned.
    pub fn is_pinned(self) -> bool {
        self != Self::Direct
    }
}

impl fmt::Display for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The error for a name that no executor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the executors are auto, namespace, derivation, derivation-cli and direct")]
pub struct UnknownExecutor;

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
