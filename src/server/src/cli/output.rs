//! What the commands print for people, in the width of their terminal, and for programs, as JSON.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use textwrap::WordSplitter::NoHyphenation;

/// Returns the width of the terminal in columns; `None` if standard output is none, where nothing is cut or wrapped.
pub fn width() -> Option<usize> {
    io::stdout().is_terminal().then(textwrap::termwidth)
}

/// Prints a value as JSON.
pub fn print_json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(&(text + "\n")),
        Err(error) => unreachable!("structs of texts, numbers and lists are JSON: {error}"),
    }
}

/// Prints a text, and ends the process if that fails, so that a truncated output is not taken for a success. A reader that
/// has closed the pipe does not want the rest.
pub fn print(text: &str) {
    let mut output = io::stdout();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("sandbox-mcp: cannot write to standard output: {error}; free space, or write to another place");
            std::process::exit(1);
        }
        _ => {}
    }
}

/// Cuts a line that is longer than the terminal is wide.
pub fn cut(line: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if line.chars().count() > width => {
            let kept: String = line.chars().take(width.saturating_sub(1)).collect();
            kept.trim_end().to_owned() + "…"
        }
        _ => line.to_owned(),
    }
}

/// Wraps a text to the terminal's width, with `indent` spaces before all lines but the first.
pub fn wrap(text: &str, indent: usize, width: Option<usize>) -> String {
    /// The narrowest column of text that is worth wrapping to, in characters.
    const MIN_COLUMN: usize = 20;
    let below = " ".repeat(indent);
    let wrapped = |line: &str| match width {
        Some(width) if width >= indent + MIN_COLUMN => {
            let options = textwrap::Options::new(width - indent).break_words(false).word_splitter(NoHyphenation);
            textwrap::wrap(line, options).iter().map(ToString::to_string).collect()
        }
        _ => vec![line.to_owned()],
    };
    text.lines().flat_map(wrapped).collect::<Vec<_>>().join(&format!("\n{below}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_to_the_width_of_a_terminal_only() {
        assert_eq!(cut("Run Python code.", Some(10)), "Run Pytho…");
        assert_eq!(cut("Run Python code.", Some(5)), "Run…");
        assert_eq!(cut("Run Python code.", Some(16)), "Run Python code.");
        assert_eq!(cut("Run Python code.", None), "Run Python code.");
    }

    #[test]
    fn texts_are_wrapped_below_where_they_begin() {
        let text = "one two three four five six seven\nlast";
        assert_eq!(wrap(text, 4, Some(24)), "one two three four\n    five six seven\n    last");
        assert_eq!(wrap(text, 4, None), "one two three four five six seven\n    last");
        assert_eq!(wrap(text, 4, Some(8)), "one two three four five six seven\n    last", "too narrow");
        let path = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-sandbox-mcp-shell";
        assert_eq!(wrap(path, 0, Some(30)), path, "a path stays whole, so that it can be copied");
    }
}
