//! Which executor is wanted, by the operator, by a call or by a sandbox's definition.

pub use sandbox_manifest::executor::{Executor, UnknownExecutor};

/// The executor that somebody wants; `None` leaves it to the sandbox's definition, and then to the machine.
pub type ExecutorChoice = Option<Executor>;

/// Parses the name of an executor, or `auto`.
///
/// # Errors
///
/// There is no executor of this name.
pub fn parse(name: &str) -> Result<ExecutorChoice, UnknownExecutor> {
    match name {
        "auto" => Ok(None),
        name => name.parse().map(Some),
    }
}

/// Whether runs go to the builders on other machines that Nix is configured with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Remote {
    /// No run does.
    Off,
    /// The runs do that such a builder takes.
    Prefer,
    /// All runs do.
    Only,
}
