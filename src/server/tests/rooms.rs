//! The folders of the server are in the order that the crate's documentation gives: none uses one to its left.

use std::fs;
use std::path::Path;

/// The rooms, outermost first, with the commands and the protocol as two doors to the same walk.
const ORDER: [&str; 8] = ["cli", "mcp", "runner", "executor", "nix", "sandbox", "call", "network"];

#[test]
fn rooms_use_only_rooms_further_in() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&source, &mut files);
    assert!(files.len() > 50, "the sources are read");
    let mut wrong = Vec::new();
    for file in files {
        let path = file.strip_prefix(&source).expect("it is below").with_extension("");
        let Some(room) = path.iter().next().and_then(|name| position(name.to_str()?)) else { continue };
        let text = fs::read_to_string(&file).expect("read a source");
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for used in line.split("crate::").skip(1) {
                let name = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                if position(name).is_some_and(|used| used < room) {
                    wrong.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "these use a room to their left ({ORDER:?}):\n{}", wrong.join("\n"));
}

fn position(room: &str) -> Option<usize> {
    ORDER.iter().position(|name| *name == room)
}

/// Collects the sources below a directory, without those of tests, which may use whatever they test with.
fn collect(directory: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).expect("read a directory").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "tests" {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs" {
            files.push(path);
        }
    }
}
