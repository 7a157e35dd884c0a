//! Refused connections → lines of the result's text, so that the agent does not retry them.

use crate::network::Refusals;

/// Appends a line for each to the program's output.
pub(super) fn append(text: &mut String, refused: &Refusals) {
    let lines: Vec<String> = refused.lines().map(|line| format!("Network: {line}")).collect();
    if !lines.is_empty() && !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&lines.join("\n"));
}
