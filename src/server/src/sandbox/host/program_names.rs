//! The names of programs, on hosts and in sandboxes.

/// Returns the names of a program on hosts, the best first.
pub(super) fn on_host(program: &str) -> Vec<&str> {
    match program {
        // Where both exist, `python` may still be Python 2.
        "python" | "python3" => vec!["python3", "python"],
        "node" => vec!["node", "nodejs"],
        "cc" => vec!["cc", "gcc", "clang"],
        other => vec![other],
    }
}

/// Returns the names that a program is found by in a sandbox.
pub(super) fn in_sandbox(program: &str) -> Vec<&str> {
    match program {
        "python" | "python3" => vec!["python", "python3"],
        other => vec![other],
    }
}
