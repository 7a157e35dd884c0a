//! Refused connections → what a client is told of them, so that nobody tries again.

use serde_json::{Map, Value};

use crate::network::Refusals;

/// Puts a line for each below the program's output. A text without refusals stays as it is.
pub(super) fn append(text: &mut String, refused: &Refusals) {
    let lines: Vec<String> = refused.lines().map(|line| format!("Network: {line}")).collect();
    if !lines.is_empty() && !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&lines.join("\n"));
}

/// What there is to tell, and nothing where there is nothing.
pub(super) fn structured(refused: &Refusals) -> Map<String, Value> {
    let mut fields = Map::new();
    if !refused.kept.is_empty() {
        fields.insert("refused".into(), refused.kept.clone().into());
    }
    if refused.left_out > 0 {
        fields.insert("refused_left_out".into(), refused.left_out.into());
    }
    fields
}
