//! What a client is told of the whole server when it connects. Some clients show a model nothing else than this and the
//! names of the tools.

use std::time::Duration;

use crate::call::definition::{Network, Sandbox};

/// The most characters of instructions.
pub const MAX_LENGTH: usize = 600;
/// The most bytes of the list of tools within them; the remaining tools are counted.
const MAX_TOOLS_BYTES: usize = 110;
/// The most bytes of the list of tools that have network access.
const MAX_ONLINE_BYTES: usize = 40;

/// What else instructions depend on.
#[derive(Debug, Clone, Copy)]
pub struct Mode {
    /// Whether programs run in pinned environments, or on the host's own toolchains.
    pub is_pinned: bool,
    /// Whether a call may ask for packages.
    pub has_packages: bool,
    /// The longest time that the operator lets any program run.
    pub longest: Option<Duration>,
}

/// Returns the instructions for a server with these tools.
pub fn instructions(sandboxes: &[&Sandbox], mode: Mode) -> String {
    let all: Vec<&str> = sandboxes.iter().map(|sandbox| sandbox.id).collect();
    let online: Vec<&str> =
        sandboxes.iter().filter(|sandbox| sandbox.network != Network::None).map(|sandbox| sandbox.id).collect();
    let tools = match mode.is_pinned {
        true => format!("Tools: {}.", list(&all, MAX_TOOLS_BYTES)),
        false => format!("Tools, where this host has their programs: {}.", list(&all, MAX_TOOLS_BYTES)),
    };
    let packages = match (mode.is_pinned, mode.has_packages) {
        (true, true) => {
            " `packages` adds programs and libraries by name; the resource sandbox-mcp://packages lists them."
        }
        (true, false) => "",
        (false, _) => " Programs and libraries are this host's own; none can be installed.",
    };
    let network = match online.as_slice() {
        [] => "No network".to_owned(),
        online if online.len() == all.len() => "With network".to_owned(),
        online => format!("No network, except in {}", list(online, MAX_ONLINE_BYTES)),
    };
    let bounded = |sandbox: &&Sandbox| sandbox.timeout.min(mode.longest.unwrap_or(Duration::MAX)).as_secs();
    let seconds = range(sandboxes.iter().map(bounded));
    let memory = range(sandboxes.iter().map(|sandbox| sandbox.resources.memory_mb));
    format!(
        "Each call runs code in a fresh sandbox; nothing is kept between calls. {tools} The code goes into the tool's own \
         parameter, other files into `files`. What the program prints is returned, and so are files that it writes to \
         `$OUT` (/sandbox/out), images as images.{packages} {network}. Limits: {seconds} s, {memory} MB RAM."
    )
}

/// Lists names up to a number of bytes, and counts the others.
fn list(names: &[&str], max_bytes: usize) -> String {
    let mut bytes = 0;
    let fits = |name: &&&str| {
        bytes += name.len() + 2;
        bytes <= max_bytes
    };
    let shown: Vec<&str> = names.iter().take_while(fits).copied().collect();
    let more = names.len() - shown.len();
    let text = shown.join(", ");
    if more == 0 { text } else { format!("{text} and {more} more") }
}

/// `60`, or `256 to 1024`.
fn range(values: impl Iterator<Item = u64> + Clone) -> String {
    let (least, most) = (values.clone().min().unwrap_or(0), values.max().unwrap_or(0));
    if least == most { least.to_string() } else { format!("{least} to {most}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::catalog::catalog;

    const PINNED: Mode = Mode { is_pinned: true, has_packages: true, longest: None };
    const HOST: Mode = Mode { is_pinned: false, has_packages: false, longest: None };

    fn sandboxes() -> Vec<&'static Sandbox> {
        catalog().tools.iter().map(|tool| &tool.sandbox).collect()
    }

    #[test]
    fn instructions_of_every_mode_say_what_there_is() {
        for mode in [PINNED, HOST, Mode { has_packages: false, ..PINNED }] {
            let text = instructions(&sandboxes(), mode);
            for part in ["python", "`files`", "`$OUT`", "No network, except in network-tools", "60 s", "1024 MB"] {
                assert!(text.contains(part), "{part} is not in {text}");
            }
            assert!(text.len() <= MAX_LENGTH, "{} bytes: {text}", text.len());
        }
    }

    #[test]
    fn instructions_of_a_host_promise_no_packages() {
        assert!(instructions(&sandboxes(), PINNED).contains("`packages`"));
        let text = instructions(&sandboxes(), HOST);
        assert!(!text.contains("`packages`") && text.contains("this host's own"), "{text}");
    }

    #[test]
    fn instructions_name_the_limit_that_the_operator_sets() {
        let text = instructions(&sandboxes(), Mode { longest: Some(Duration::from_secs(5)), ..PINNED });
        assert!(text.contains("Limits: 5 s"), "{text}");
    }

    #[test]
    fn instructions_of_many_tools_stay_short() {
        let mut online = *sandboxes()[0];
        online.network = Network::Bridge;
        let (offline, online) = (sandboxes()[0], &online);
        let many: Vec<&Sandbox> = (0..200).map(|index| if index % 2 == 0 { offline } else { online }).collect();
        for mode in [PINNED, HOST] {
            let text = instructions(&many, mode);
            assert!(text.contains(" more") && text.len() <= MAX_LENGTH, "{} bytes: {text}", text.len());
        }
    }
}
