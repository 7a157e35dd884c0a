//! Artifacts → items of the content after the text.

use std::path::Path;

use crate::call::artifacts::{Artifact, Artifacts, Kind};
use sandbox_plan::plan::OUT;

/// One item of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Text(String),
    Image { mime: &'static str, data: Vec<u8> },
    Resource { uri: String, mime: &'static str, data: Vec<u8> },
}

/// Returns the list of all files, then each file that is returned. Clients do not show a model the name of an image, so
/// the name precedes it, unless the list ends with the name of the only one.
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
        Kind::Text(format) => {
            let decoded = format.encoding().map(|encoding| format!(" (decoded from {encoding})")).unwrap_or_default();
            Item::Text(format!("{}{decoded}:\n{}", artifact.name(), format.decode(&artifact.content)))
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
