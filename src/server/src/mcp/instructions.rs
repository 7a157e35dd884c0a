//! The server's instructions, which clients get when they connect. Some clients show a model only these and the names of the
//! tools.

use crate::call::definition::{Network, Sandbox};

/// The most bytes of instructions.
const MAX_BYTES: usize = 600;
/// The most bytes that follow the list of tools if some are only counted: ` and 999 more`.
const COUNT_BYTES: usize = 13;
/// The most bytes of the list of tools that have network access.
const MAX_ONLINE_BYTES: usize = 24;
/// The most bytes of the list of tools that run on this host's toolchains.
const MAX_HOST_BYTES: usize = 24;

/// The state of the server and of this machine, as far as the instructions depend on it.
#[derive(Debug, Clone, Copy)]
pub struct Mode<'a> {
    /// The tools that run on this host's toolchains, and not in pinned environments.
    pub on_host: &'a [&'a str],
    /// Whether it is still unknown which tools these are.
    pub is_open: bool,
    /// Whether all tools can run here. Otherwise some of those on this host may lack their programs.
    pub is_list_known: bool,
    /// Whether a call of the other tools may ask for packages.
    pub has_packages: bool,
}

/// Returns the instructions for a server that lists these tools.
pub fn instructions(sandboxes: &[&Sandbox], mode: Mode) -> String {
    if sandboxes.is_empty() {
        return "This server has no tools on this machine: `sandbox-mcp doctor` tells what is missing.".to_owned();
    }
    let all: Vec<&str> = sandboxes.iter().map(|sandbox| sandbox.id).collect();
    let online: Vec<&str> =
        sandboxes.iter().filter(|sandbox| sandbox.network != Network::None).map(|sandbox| sandbox.id).collect();
    let is_on_host = mode.on_host.len() == all.len();
    let tools = if is_on_host && !mode.is_list_known { "Tools, where this host has their programs" } else { "Tools" };
    let packages = match (is_on_host, mode.has_packages) {
        (false, true) => {
            " `packages` adds programs and libraries by name; the resource sandbox-mcp://packages lists them."
        }
        (false, false) => "",
        (true, _) => " Programs and libraries are this host's own; none can be installed.",
    };
    let without = if mode.has_packages { ", without `packages`" } else { "" };
    let host = match mode.on_host {
        _ if is_on_host => String::new(),
        _ if mode.is_open => format!(" Tools may have to use this host's own programs{without}."),
        [] => String::new(),
        tools => format!(" This host's own programs{without}: {}.", list(tools, MAX_HOST_BYTES)),
    };
    let network = match online.as_slice() {
        [] => "No network".to_owned(),
        online if online.len() == all.len() => "With network".to_owned(),
        online => format!("No network, except in {}", list(online, MAX_ONLINE_BYTES)),
    };
    let seconds = range(sandboxes.iter().map(|sandbox| sandbox.timeout.as_secs()));
    let memory = range(sandboxes.iter().map(|sandbox| sandbox.resources.memory_mb));
    let disk = range(sandboxes.iter().map(|sandbox| sandbox.resources.disk() >> 20));
    let before = format!("Each call runs code in a fresh sandbox; nothing is kept between calls. {tools}: ");
    let after = format!(
        ". The code goes into the tool's own parameter, other files into `files`. What the program prints is returned, and so \
         are files that it writes to `$OUT` (/sandbox/out), images as images.{packages}{host} {network}. Limits: {seconds} s, \
         {memory} MB RAM, {disk} MB disk."
    );
    let left = MAX_BYTES.saturating_sub(before.len() + after.len() + COUNT_BYTES);
    format!("{before}{}{after}", list(&all, left))
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

    const PINNED: Mode = Mode { on_host: &[], is_open: false, is_list_known: true, has_packages: true };
    const MIXED: Mode = Mode { on_host: &["network-tools"], ..PINNED };
    const OPEN: Mode = Mode { is_open: true, is_list_known: false, ..MIXED };

    fn sandboxes() -> Vec<&'static Sandbox> {
        catalog().tools.iter().map(|tool| &tool.sandbox).collect()
    }

    fn on_host(sandboxes: &[&'static Sandbox]) -> String {
        let names: Vec<&str> = sandboxes.iter().map(|sandbox| sandbox.id).collect();
        instructions(sandboxes, Mode { on_host: &names, ..PINNED })
    }

    #[test]
    fn instructions_of_every_mode_say_what_there_is() {
        let of = |mode| instructions(&sandboxes(), mode);
        for text in [of(PINNED), of(MIXED), of(OPEN), of(Mode { has_packages: false, ..PINNED }), on_host(&sandboxes())]
        {
            for part in ["python", "`files`", "`$OUT`", "No network, except in network-tools", "60 s", "1024 MB"] {
                assert!(text.contains(part), "{part} is not in {text}");
            }
            assert!(text.len() <= MAX_BYTES, "{} bytes: {text}", text.len());
        }
    }

    #[test]
    fn instructions_of_a_host_promise_no_packages() {
        assert!(instructions(&sandboxes(), PINNED).contains("`packages`"));
        let text = on_host(&sandboxes());
        assert!(!text.contains("`packages`") && text.contains("this host's own"), "{text}");
    }

    #[test]
    fn instructions_name_the_tools_that_fall_back_to_the_host() {
        let text = instructions(&sandboxes(), MIXED);
        assert!(text.contains("This host's own programs, without `packages`: network-tools."), "{text}");
        assert!(text.contains("`packages` adds"), "{text}");
        let text = instructions(&sandboxes(), OPEN);
        assert!(text.contains("may have to use this host's own programs"), "{text}");
        assert!(!instructions(&sandboxes(), PINNED).contains("this host"), "no tool of this mode uses the host's");
    }

    #[test]
    fn instructions_name_no_tool_that_is_not_listed() {
        let listed: Vec<&Sandbox> = sandboxes().into_iter().filter(|sandbox| sandbox.id == "shell").collect();
        let text = on_host(&listed);
        assert!(
            text.contains("Tools: shell. ") && !text.contains("python") && !text.contains("network-tools"),
            "{text}"
        );
        let text = instructions(&listed, Mode { on_host: &["shell"], is_list_known: false, ..PINNED });
        assert!(text.contains("Tools, where this host has their programs: shell. "), "{text}");
        assert!(on_host(&[]).contains("no tools on this machine"));
    }

    #[test]
    fn instructions_of_many_tools_stay_short() {
        let mut online = *sandboxes()[0];
        online.network = Network::Bridge;
        let (offline, online) = (sandboxes()[0], &online);
        let many: Vec<&Sandbox> = (0..200).map(|index| if index % 2 == 0 { offline } else { online }).collect();
        let names: Vec<&str> = many.iter().map(|sandbox| sandbox.id).collect();
        for on_host in [&names[..0], &names[..100], &names] {
            let text = instructions(&many, Mode { on_host, ..PINNED });
            assert!(text.contains(" more") && text.len() <= MAX_BYTES, "{} bytes: {text}", text.len());
        }
    }
}
