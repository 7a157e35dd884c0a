//! What a result holds, wherever in it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use test_support::client::Reply;

/// The first text of a result, which may hold more items than one.
pub fn text(reply: &Reply) -> &str {
    let items = reply.0["content"].as_array().into_iter().flatten();
    items.filter_map(|item| item["text"].as_str()).next().unwrap_or_default()
}

/// All that a result holds, as one text: of what is encoded, its content too.
pub fn everything(reply: &Reply) -> String {
    let mut whole = reply.0.to_string();
    decode(&reply.0, &mut whole);
    whole
}

/// Appends what the strings of a JSON value are in base64, if they are that.
fn decode(value: &Value, into: &mut String) {
    match value {
        Value::String(text) => {
            if let Ok(bytes) = STANDARD.decode(text) {
                into.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| decode(item, into)),
        Value::Object(fields) => fields.values().for_each(|field| decode(field, into)),
        _ => {}
    }
}
