//! The keys of a JSON config.

use serde_json::{Map, Value};

use crate::call::nearest;

/// The keys of a config, each with those of the object that it holds.
const KEYS: [(&str, &[&str]); 15] = [
    ("id", &[]),
    ("name", &[]),
    ("description", &[]),
    ("version", &[]),
    ("image", &[]),
    ("user", &[]),
    ("entrypoint", &[]),
    ("timeout", &[]),
    ("before", &[]),
    ("command", &[]),
    ("hints", &["isReadOnly", "isDestructive", "isIdempotent", "isExternalInteraction"]),
    ("parameters", &["additionalFiles", "files"]),
    ("security", &["readOnly", "capDrop", "securityOpt", "network"]),
    ("resources", &["cpu", "memory", "processes", "files"]),
    ("mount", &["workdir", "tmpdirPrefix", "scriptPerms", "readOnly"]),
];

/// The keys of an item of `parameters.files`.
const FILE_KEYS: [&str; 2] = ["name", "description"];

/// Returns whether a key is one that editors write into any JSON file.
pub fn is_passed_over(key: &str) -> bool {
    key == "$schema"
}

/// Returns the path of each unknown key, with what is wrong.
pub fn unknown(config: &Map<String, Value>) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut check = |path: &str, object: &Map<String, Value>, known: &[&str]| {
        for key in object.keys().filter(|key| !known.contains(&key.as_str()) && !is_passed_over(key)) {
            problems.push((format!("{path}{key}"), format!("unknown key; {}", nearest::remedy(key, known))));
        }
    };
    check("", config, &KEYS.map(|(key, _)| key));
    for (key, below) in KEYS.iter().filter(|(_, below)| !below.is_empty()) {
        if let Some(Value::Object(object)) = config.get(*key) {
            check(&format!("{key}."), object, below);
        }
    }
    let files = config.get("parameters").and_then(|parameters| parameters.get("files")).and_then(Value::as_array);
    for (index, file) in files.into_iter().flatten().enumerate() {
        if let Value::Object(file) = file {
            check(&format!("parameters.files[{index}]."), file, &FILE_KEYS);
        }
    }
    problems
}

/// Removes each key whose value is `null`, which means the same as leaving it out.
pub fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}
