//! The conventions of names and errors that no lint checks, for all crates of the workspace.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The most characters of a test's name, so that it fits into a report.
const MAX_TEST_NAME: usize = 60;

/// Returns all sources of the workspace with their texts, except the golden files of generated code.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a directory");
    let mut files = Vec::new();
    collect(root, &mut files);
    assert!(files.len() > 50, "the sources are read");
    let is_golden = |path: &str| path.contains("tests/codegen/") && !path.ends_with("main.rs");
    let read = |file: PathBuf| {
        let path = file.strip_prefix(root).expect("it is below").display().to_string();
        (path, fs::read_to_string(file).expect("read a source"))
    };
    files.into_iter().map(read).filter(|(path, _)| !is_golden(path)).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("read a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Returns the name at the beginning of a text.
fn name(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// Returns the type that a line declares. A type alias in an implementation is indented, and is not counted.
fn declared_type(line: &str) -> Option<&str> {
    let visible = |line: &str| line.trim_start().starts_with("pub");
    let code = if visible(line) { line.trim_start().split_once(' ')?.1 } else { line.trim_start() };
    let keywords: &[&str] =
        if line.starts_with(' ') { &["struct ", "enum ", "trait "] } else { &["struct ", "enum ", "trait ", "type "] };
    keywords.iter().find_map(|keyword| code.strip_prefix(keyword)).map(name).filter(|name| !name.is_empty())
}

#[test]
fn type_names_are_unique_in_the_workspace() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in sources() {
        for (index, line) in text.lines().enumerate() {
            if let Some(name) = declared_type(line) {
                places.entry(name.to_owned()).or_default().push(format!("{path}:{}", index + 1));
            }
        }
    }
    assert!(places.contains_key("Sandbox") && places.contains_key("ManifestSandbox"), "declarations are found");
    places.retain(|_, places| places.len() > 1);
    assert!(places.is_empty(), "these names are declared more than once: {places:#?}");
}

#[test]
fn test_names_fit_into_a_report() {
    let mut long = Vec::new();
    let mut tests = 0;
    for (path, text) in sources() {
        // A name given to libtest-mimic is a string of words that are joined by underscores.
        let given = text.split('"').filter(|text| text.matches('_').count() >= 3 && name(text) == *text);
        let functions = text.split("#[test]").chain(text.split("#[tokio::test")).skip(1);
        let declared = functions.filter_map(|rest| rest.split_once("fn ")).map(|(_, rest)| name(rest));
        for test in given.filter(|name| name.bytes().any(|byte| byte.is_ascii_lowercase())).chain(declared) {
            tests += 1;
            if test.chars().count() > MAX_TEST_NAME {
                long.push(format!("{path}: {test}"));
            }
        }
    }
    assert!(tests > 300, "the tests are found");
    assert!(long.is_empty(), "these names have more than {MAX_TEST_NAME} characters: {long:#?}");
}

#[test]
fn errors_tell_their_cause_in_display_only() {
    let mut wrong = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.ends_with("tests/conventions.rs")) {
        let mut attribute = "";
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if line.starts_with("#[error(") || line.starts_with("pub enum ") || line.starts_with("enum ") {
                attribute = line;
            }
            // thiserror returns a field of this name, or with this attribute, as the source.
            let has_field = line.starts_with("source: ") || line.contains(" source: ");
            let is_source = line.contains("#[source]") || (has_field && line.contains("Error"));
            let is_passed_on = !line.contains("#[from]") || attribute == "#[error(transparent)]";
            let is_by_hand = line.contains("Error for ") && line.starts_with("impl std::error::");
            if is_source || !is_passed_on || is_by_hand {
                wrong.push(format!("{path}:{}: {line}", index + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "these do not follow the convention of lib.rs: {wrong:#?}");
}
