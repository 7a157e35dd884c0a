//! Executors by name: which one the operator or a call wants, and which one carried a job out.

use std::fmt;
use std::str::FromStr;

use crate::call::definition::Preference;

/// Which executor the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Pinned environments where this server has them, by what the sandbox's definition says, if it says so; or else this
    /// host's toolchains.
    Auto,
    Namespace,
    Direct,
    Derivation(Way),
}

impl Choice {
    /// This choice, unless it is left to the machine: then what the sandbox's definition says, if it says so.
    pub fn or(self, preference: Option<Preference>) -> Self {
        match (self, preference) {
            (Self::Auto, Some(Preference::Namespace)) => Self::Namespace,
            (Self::Auto, Some(Preference::Derivation)) => Self::Derivation(Way::Daemon),
            (choice, _) => choice,
        }
    }
}

impl FromStr for Choice {
    type Err = UnknownExecutor;

    fn from_str(text: &str) -> Result<Self, UnknownExecutor> {
        match text {
            "auto" => Ok(Self::Auto),
            "namespace" => Ok(Self::Namespace),
            "direct" => Ok(Self::Direct),
            "derivation" => Ok(Self::Derivation(Way::Daemon)),
            "derivation-cli" => Ok(Self::Derivation(Way::Command)),
            _ => Err(UnknownExecutor),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownExecutor;

impl fmt::Display for UnknownExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the executors are auto, namespace, derivation, derivation-cli and direct")
    }
}

impl std::error::Error for UnknownExecutor {}

/// Which executor carried a job out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executor {
    /// Our own launcher, around a pinned environment.
    Namespace,
    /// Our own launcher, around toolchains of this host.
    Direct,
    /// Nix, around a pinned environment and our own launcher.
    Derivation(Way),
}

impl Executor {
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Direct => "direct",
            Self::Derivation(Way::Daemon) => "derivation",
            Self::Derivation(Way::Command) => "derivation-cli",
        }
    }

    /// Whether it runs programs in pinned environments. What was found on the host is never called pinned.
    pub fn is_pinned(self) -> bool {
        self != Self::Direct
    }
}

impl fmt::Display for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// By which way Nix is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The protocol of the daemon, over its socket or to a child of our own.
    Daemon,
    /// The commands `nix-store --import` and `nix-store --realise`.
    Command,
}

/// Whether runs go to the builders on other machines that Nix is configured with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Remote {
    /// None does.
    Off,
    /// Those do that such a builder takes.
    Prefer,
    /// All do.
    Only,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operator_names_goes_before_what_the_definition_says_and_that_before_what_the_machine_offers() {
        let derivation = Choice::Derivation(Way::Daemon);
        for (operator, definition, chosen) in [
            (Choice::Auto, None, Choice::Auto),
            (Choice::Auto, Some(Preference::Namespace), Choice::Namespace),
            (Choice::Auto, Some(Preference::Derivation), derivation),
            (Choice::Namespace, Some(Preference::Derivation), Choice::Namespace),
            (Choice::Direct, Some(Preference::Derivation), Choice::Direct),
            (derivation, Some(Preference::Namespace), derivation),
        ] {
            assert_eq!(operator.or(definition), chosen);
        }
    }
}
