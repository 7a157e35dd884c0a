//! What clients and people are told of a tool, true of the programs that its calls run on here.
//!
//! A definition's text has placeholders: `{contents}` for what the environment has, `{environment}` for what it is, and
//! `{timeout}` for the time limit in seconds. Of a pinned environment everything is known when the server is built. A
//! host is only said to have what was found on it.

use std::time::Duration;

use sandbox_plan::plan::OUT;

use crate::call::definition::{Programs, Sandbox};
use crate::sandbox::backend::Backend;
use crate::sandbox::host::Toolchain;

/// Returns the description of a tool with this backend, whose programs may run for `limit`.
pub fn description(sandbox: &Sandbox, backend: &Backend, limit: Duration) -> String {
    let (contents, environment) = match backend {
        Backend::Pinned => {
            let all = sentence(&sandbox.programs, sandbox.programs.names);
            let contents: Vec<&str> = [sandbox.contents, &all].into_iter().filter(|text| !text.is_empty()).collect();
            (contents.join(" "), format!("Environment `sandbox-mcp/{}`", sandbox.id))
        }
        Backend::Host { toolchain, .. } => (sentence(&sandbox.programs, &toolchain.offered), own(toolchain)),
    };
    let text = match contents.is_empty() {
        true => sandbox.description.replace(" {contents}", ""),
        false => sandbox.description.replace("{contents}", &contents),
    };
    let text = text.replace("{environment}", &environment).replace("{timeout}", &limit.as_secs().to_string());
    match backend {
        // Only the variable leads to the directory then.
        Backend::Host { in_namespaces: false, .. } => text.replace(&format!("`$OUT` ({OUT})"), "`$OUT`"),
        _ => text,
    }
}

/// Returns the sentence that names these programs, or nothing if there are none.
fn sentence(programs: &Programs, names: &[&str]) -> String {
    if names.is_empty() { String::new() } else { programs.sentence.replace("{programs}", &names.join(", ")) }
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

    const LIMIT: Duration = Duration::from_secs(7);

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
                let text = description(&tool.sandbox, &backend, LIMIT);
                assert!(!text.contains(['{', '}']) && !text.contains("  "), "{text}");
                assert!(text.contains(", 7 seconds, "), "{text}");
            }
        }
    }

    #[test]
    fn description_of_pinned_tools_names_all_contents() {
        let text = description(sandbox("network-tools"), &Backend::Pinned, LIMIT);
        assert!(
            text.contains("curl, wget, dig") && text.contains("Environment `sandbox-mcp/network-tools`: "),
            "{text}"
        );
        assert!(description(sandbox("python"), &Backend::Pinned, LIMIT).contains("numpy"));
    }

    #[test]
    fn directory_of_artifacts_has_no_path_without_namespaces() {
        for tool in catalog().tools {
            let text = description(&tool.sandbox, &host(false), LIMIT);
            assert!(text.contains("Files in `$OUT` are returned") && !text.contains(OUT), "{text}");
            assert!(description(&tool.sandbox, &host(true), LIMIT).contains(OUT));
        }
    }

    #[test]
    fn description_of_host_tools_names_what_was_found() {
        let text = description(sandbox("python"), &host(true), LIMIT);
        assert!(!text.contains("numpy") && text.contains("`sh` is /opt/shell"), "{text}");
        let text = description(sandbox("network-tools"), &host(true), LIMIT);
        assert!(text.contains("Available tools: curl, jq. ") && !text.contains("wget"), "{text}");
    }
}
