//! Artifacts → what a client gets besides the text of the answer.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::call::artifacts::{Artifact, Artifacts, Kind, LeftOut};
use sandbox_plan::plan::OUT;

/// One thing that a client is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Text(String),
    Image { mime: &'static str, data: Vec<u8> },
    Resource { uri: String, mime: &'static str, data: Vec<u8> },
}

/// The list of all files, then each that is returned. Clients do not show a model the name of an image, so that it stands
/// right before each, unless the list ends with the name of the only one.
/// `place` is the directory's name for the program.
pub(super) fn items(artifacts: Artifacts, place: &str) -> Vec<Item> {
    if artifacts.is_empty() {
        return Vec::new();
    }
    let is_only_one = artifacts.files.len() + artifacts.left_out.len() == 1;
    let mut items = vec![Item::Text(list(&artifacts, place))];
    for artifact in artifacts.files {
        if let (Kind::Image(_), false) = (artifact.kind, is_only_one) {
            items.push(Item::Text(format!("{}:", artifact.name())));
        }
        items.push(item(artifact));
    }
    items
}

fn item(artifact: Artifact) -> Item {
    match artifact.kind {
        Kind::Image(mime) => Item::Image { mime, data: artifact.content },
        Kind::Text => {
            // Its kind says that nothing of it is replaced.
            Item::Text(format!("{}:\n{}", artifact.name(), String::from_utf8_lossy(&artifact.content)))
        }
        Kind::Other(mime) => Item::Resource { uri: artifact.uri(Path::new(OUT)), mime, data: artifact.content },
    }
}

fn list(artifacts: &Artifacts, place: &str) -> String {
    let mut lines = vec![format!("Files in {place}:")];
    let returned = |file: &Artifact| format!("{} ({}, {} bytes)", file.name(), file.kind.mime(), file.size());
    lines.extend(artifacts.files.iter().map(returned));
    lines.extend(artifacts.left_out.iter().map(|file| {
        let size = file.size.map(|size| format!(" ({size} bytes)")).unwrap_or_default();
        format!("{}{size}, not returned: {}", file.name(), file.reason)
    }));
    if artifacts.not_named > 0 {
        lines.push(format!("and {} more, not returned", artifacts.not_named));
    }
    lines.join("\n")
}

/// What there is to tell of artifacts, and nothing where there are none.
pub(super) fn structured(artifacts: &Artifacts) -> Map<String, Value> {
    let returned = |file: &Artifact| json!({ "name": file.name(), "size": file.size(), "mime": file.kind.mime() });
    let left_out = |file: &LeftOut| {
        let mut fields = Map::new();
        fields.insert("name".into(), file.name().into());
        if let Some(size) = file.size {
            fields.insert("size".into(), size.into());
        }
        fields.insert("reason".into(), file.reason.to_string().into());
        Value::Object(fields)
    };
    let mut fields = Map::new();
    if !artifacts.files.is_empty() {
        fields.insert("artifacts".into(), artifacts.files.iter().map(returned).collect());
    }
    if !artifacts.left_out.is_empty() {
        fields.insert("artifacts_left_out".into(), artifacts.left_out.iter().map(left_out).collect());
    }
    if artifacts.not_named > 0 {
        fields.insert("artifacts_not_named".into(), artifacts.not_named.into());
    }
    fields
}

pub(super) fn returned_schema() -> Value {
    list_schema(
        "Files that the command left, each of which is an item of the content, in this order; absent if none",
        json!({
            "name": { "type": "string", "description": "Path below the directory of artifacts" },
            "size": { "type": "integer", "description": "Bytes" },
            "mime": { "type": "string", "description": "Type of the content, told by the content" },
        }),
        &["name", "size", "mime"],
    )
}

pub(super) fn left_out_schema() -> Value {
    list_schema(
        "What the command left besides, and why it is not returned; absent if nothing",
        json!({
            "name": { "type": "string", "description": "Path below the directory of artifacts" },
            "size": { "type": "integer", "description": "Bytes; absent of what is no file" },
            "reason": { "type": "string", "description": "Why it is not returned" },
        }),
        &["name", "reason"],
    )
}

fn list_schema(description: &str, properties: Value, required: &[&str]) -> Value {
    json!({
        "type": "array",
        "description": description,
        "items": { "type": "object", "properties": properties, "required": required, "additionalProperties": false },
    })
}
