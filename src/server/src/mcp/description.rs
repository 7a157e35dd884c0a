//! What clients and people are told of a tool, true of the programs that its calls run on here and of the limits in force.
//!
//! Of a pinned environment everything is known when the server is built. A host is only said to have what was found on it.
//! The sentences follow the Docker-based server whose place this one takes, so that its clients and prompts go on working.

use sandbox_manifest::parameter::{Parameter, ParameterKind};
use sandbox_plan::plan::OUT;

use crate::call::definition::{Network, Resources, Sandbox};
use crate::sandbox::backend::Backend;
use crate::sandbox::host::Toolchain;
use crate::sandbox::ping;

/// Returns the description of a tool with this backend.
pub fn description(sandbox: &Sandbox, backend: &Backend) -> String {
    let end = if sandbox.description.ends_with('.') { "" } else { "." };
    let mut sentences = vec![format!("{}{end}", sandbox.description)];
    let environment = match backend {
        Backend::Pinned => {
            // A host's own program may run none of those files.
            sentences.extend([sandbox.contents.to_owned(), instead(sandbox)]);
            sentences.push(sentence(sandbox, sandbox.programs.names));
            format!("Environment `sandbox-mcp/{}`", sandbox.environment_id)
        }
        Backend::Host { toolchain, .. } => {
            sentences.push(sentence(sandbox, &toolchain.offered));
            own(toolchain)
        }
    };
    sentences.extend([format!("{environment}: {}.", limits(sandbox)), files(sandbox)]);
    let out = match backend {
        // Only the variable leads to the directory then.
        Backend::Host { in_namespaces: false, .. } => "`$OUT`".to_owned(),
        _ => format!("`$OUT` ({OUT})"),
    };
    sentences.push(format!("Files in {out} are returned: images (up to 3 MB), text (200 kB), others (1 MB)."));
    sentences.retain(|sentence| !sentence.is_empty());
    sentences.join(" ")
}

/// Returns the limits in force, as a list.
fn limits(sandbox: &Sandbox) -> String {
    let Resources { cpu, memory_mb, disk_mb, processes, files: _ } = sandbox.resources;
    let cores = if cpu == 1 { "core" } else { "cores" };
    let network = match sandbox.network {
        network if network.is_closed() => "no network access".to_owned(),
        Network::None | Network::Bridge => "network access (bridge)".to_owned(),
        Network::Allow(entries) => {
            let entries: Vec<String> = entries.iter().map(|entry| format!("`{entry}`")).collect();
            format!("network access only to {}", enumeration(&entries))
        }
    };
    let access = if sandbox.read_only { "read-only" } else { "read-write" };
    let seconds = sandbox.timeout.as_secs();
    format!(
        "{cpu} CPU {cores}, {memory_mb} MB RAM, {disk_mb} MB disk, {processes} processes, {seconds} seconds, {network}, \
         {access} files"
    )
}

/// Returns the sentence on the files that may be given in place of the entrypoint.
fn instead(sandbox: &Sandbox) -> String {
    let Some((parameter, _)) = sandbox.named_files().next().filter(|_| !sandbox.instead.is_empty()) else {
        return String::new();
    };
    let names: Vec<String> = sandbox.instead.iter().map(|name| format!("`{name}`")).collect();
    format!("Or give {} in `files` instead of `{parameter}`.", names.join(" or "))
}

/// Returns the sentence on the files that a call needs in addition to the entrypoint.
fn files(sandbox: &Sandbox) -> String {
    let file = |parameter: &Parameter<'static>| match parameter.kind {
        ParameterKind::File(file) if parameter.required && file != sandbox.entrypoint => Some(format!("`{file}`")),
        _ => None,
    };
    let required: Vec<String> = sandbox.parameters.iter().filter_map(file).collect();
    if required.is_empty() { String::new() } else { format!("Requires {}.", enumeration(&required)) }
}

/// `a`, `a and b`, or `a, b and c`.
fn enumeration(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// Returns the sentence that names those of these programs that can work here, or nothing if there are none.
fn sentence(sandbox: &Sandbox, names: &[&str]) -> String {
    let names: Vec<&str> = names.iter().copied().filter(|name| ping::can_work(name, sandbox.network)).collect();
    if names.is_empty() { String::new() } else { sandbox.programs.sentence.replace("{programs}", &names.join(", ")) }
}

/// Names the host's programs with the files that they really are, which often tell the version, and which shell `sh` is.
fn own(toolchain: &Toolchain) -> String {
    let programs: Vec<String> =
        toolchain.programs.iter().map(|(name, path)| format!("`{name}` is {}", path.display())).collect();
    format!("This host's own programs and libraries ({})", programs.join(", "))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::call::catalog::catalog;
    use crate::call::tool::Tool;
    use crate::sandbox::view::View;

    fn sandbox(tool: &str) -> &'static Sandbox {
        &Tool::by_name(tool).expect("the tool exists").sandbox
    }

    fn host(in_namespaces: bool) -> Backend {
        let programs = vec![("sh".to_owned(), PathBuf::from("/opt/shell"))];
        let toolchain = Arc::new(Toolchain::new(programs, vec!["curl", "jq"], View::empty()));
        Backend::Host { toolchain, in_namespaces }
    }

    #[test]
    fn description_has_no_placeholder_left_for_any_backend() {
        for tool in catalog().tools {
            for backend in [Backend::Pinned, host(true), host(false)] {
                let text = description(&tool.sandbox, &backend);
                assert!(!text.contains(['{', '}']) && !text.contains("  "), "{text}");
                assert!(text.contains(", 60 seconds, "), "{text}");
            }
        }
    }

    #[test]
    fn description_of_pinned_tools_names_all_contents() {
        let text = description(sandbox("network-tools"), &Backend::Pinned);
        assert!(
            text.contains("curl, wget, dig") && text.contains("Environment `sandbox-mcp/network-tools`: "),
            "{text}"
        );
        assert!(description(sandbox("python"), &Backend::Pinned).contains("numpy"));
    }

    #[test]
    fn description_promises_ping_where_the_machine_allows_it() {
        let text = description(sandbox("network-tools"), &Backend::Pinned);
        assert_eq!([text.contains(" ping,"), text.contains(" mtr,")], [ping::is_open(); 2], "{text}");
    }

    #[test]
    fn directory_of_artifacts_has_no_path_without_namespaces() {
        for tool in catalog().tools {
            let text = description(&tool.sandbox, &host(false));
            assert!(text.contains("Files in `$OUT` are returned") && !text.contains(OUT), "{text}");
            assert!(description(&tool.sandbox, &host(true)).contains(OUT));
        }
    }

    #[test]
    fn description_of_host_tools_names_what_was_found() {
        let text = description(sandbox("python"), &host(true));
        assert!(!text.contains("numpy") && text.contains("`sh` is /opt/shell"), "{text}");
        let text = description(sandbox("network-tools"), &host(true));
        assert!(text.contains("Available tools: curl, jq. ") && !text.contains("wget"), "{text}");
    }
}
