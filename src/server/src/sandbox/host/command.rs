//! The names of programs, on hosts and in sandboxes.

/// Names of a program on hosts, the best first.
pub(super) fn names(program: &str) -> Vec<&str> {
    match program {
        // Where both exist, `python` may still be Python 2.
        "python" | "python3" => vec!["python3", "python"],
        "node" => vec!["node", "nodejs"],
        "cc" => vec!["cc", "gcc", "clang"],
        other => vec![other],
    }
}

/// Names that a sandbox finds a program by.
pub(super) fn names_served(program: &str) -> Vec<&str> {
    match program {
        "python" | "python3" => vec!["python", "python3"],
        other => vec![other],
    }
}
