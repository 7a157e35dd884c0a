//! Sandboxes of the user's own: a JSON config each, which names a pinned environment and becomes a tool when the server
//! starts.
//!
//! A config is `sandboxes/<name>/config.json` in the server's directory of configuration, or in the directory that
//! `sandboxesPath` of the `config.json` there names. One that is wrong is reported, and affects no other.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::call::config_finding::{ConfigFinding, Severity};
use crate::call::config_text;
use crate::call::nearest;
use crate::call::tool::{Tool, ToolSource};

mod config;
mod convert;
mod keys;
mod unique_keys;

/// The file that may say where the sandboxes are, and the name of each one's own file.
const FILE: &str = "config.json";
/// The directory of the sandboxes, if nothing else is said.
const DIRECTORY: &str = "sandboxes";
/// The key that names another directory.
const PATH_KEY: &str = "sandboxesPath";

/// The tools in force, and what is to be said of configs.
#[derive(Debug)]
pub struct WithUserSandboxes {
    /// Sorted by name.
    pub tools: Vec<Tool>,
    pub findings: Vec<ConfigFinding>,
    /// The names that tools of broken configs would have, as far as they are known.
    pub left_out: Vec<String>,
}

/// Adds the sandboxes of a directory of configuration to the built-in tools. One with the id of a built-in tool takes its
/// place.
pub fn add(built_in: &[Tool], configuration: Option<&Path>) -> WithUserSandboxes {
    let (mut tools, mut findings, mut left_out) = (built_in.to_vec(), Vec::new(), Vec::new());
    let Some(directory) = configuration.and_then(|configuration| directory(configuration, &mut findings)) else {
        return WithUserSandboxes { tools, findings, left_out };
    };
    let mut own: Vec<Tool> = Vec::new();
    for file in files(&directory, &mut findings) {
        let broken_here = |key: &str, reason: String| broken(&file, key, reason);
        let text = match config_text::read(&file) {
            Ok(text) => text,
            Err(error) => {
                findings.push(broken_here("", format!("cannot read it: {error}")));
                left_out.extend(name(&file));
                continue;
            }
        };
        let read = match config::read(&text, built_in) {
            Ok(read) => read,
            Err(problems) => {
                findings.extend(problems.into_iter().map(|(key, reason)| broken_here(&key, reason)));
                left_out.extend(name(&file).into_iter().chain(config::id(&text)));
                continue;
            }
        };
        let tool = convert::tool(&read.definition, read.environment, file.clone().leak());
        let id = tool.sandbox.id;
        if let Some(other) = own.iter_mut().find(|other| other.sandbox.id == id) {
            // The directory that is named like the sandbox has it, whichever is read first.
            let is_named = name(&file).as_deref() == Some(id);
            let reason = |source: &ToolSource| format!("`{id}` is the id of {source}, too; rename one");
            match &other.source {
                ToolSource::File(path) if is_named => {
                    findings.retain(|finding| finding.file != **path);
                    findings.push(broken(path, "id", reason(&tool.source)));
                    *other = tool;
                }
                source => findings.push(broken_here("id", reason(source))),
            }
            continue;
        }
        let finding = |severity, (key, reason): (&str, String)| {
            let (file, key) = (file.clone(), key.to_owned());
            ConfigFinding { file, key, reason, severity }
        };
        if built_in.iter().any(|other| other.sandbox.id == id) {
            findings.push(finding(Severity::Replaces, ("id", format!("it replaces the built-in tool `{id}`"))));
        }
        findings.extend(read.doubts.into_iter().map(|doubt| finding(Severity::Doubtful, doubt)));
        own.push(tool);
    }
    tools.retain(|tool| own.iter().all(|other| other.sandbox.id != tool.sandbox.id));
    tools.extend(own);
    tools.sort_by_key(|tool| tool.sandbox.id);
    WithUserSandboxes { tools, findings, left_out }
}

fn broken(file: &Path, key: &str, reason: String) -> ConfigFinding {
    ConfigFinding { file: file.to_owned(), key: key.to_owned(), reason, severity: Severity::Broken }
}

/// Returns the directory of the sandboxes, if there is one.
fn directory(configuration: &Path, findings: &mut Vec<ConfigFinding>) -> Option<PathBuf> {
    let usual = configuration.join(DIRECTORY);
    let file = configuration.join(FILE);
    let named = match config_text::read(&file) {
        Ok(text) => sandboxes_path(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err((String::new(), format!("cannot read it: {error}"))),
    };
    match named {
        Ok(None) => usual.is_dir().then_some(usual),
        Ok(Some(directory)) if directory.is_dir() => Some(directory),
        Ok(Some(directory)) => {
            let reason = format!(
                "{} is not a directory; create it, or remove the key to use {}",
                directory.display(),
                usual.display()
            );
            findings.push(broken(&file, PATH_KEY, reason));
            None
        }
        Err((key, reason)) => {
            findings.push(broken(&file, &key, reason));
            usual.is_dir().then_some(usual)
        }
    }
}

/// Parses the file that may name the directory. The error is the key and the reason.
fn sandboxes_path(text: &str) -> Result<Option<PathBuf>, (String, String)> {
    let value: Value =
        unique_keys::parse(text).map_err(|error| (String::new(), format!("it is not valid JSON: {error}")))?;
    let Value::Object(members) = value else {
        return Err((String::new(), "it must be an object, such as {\"sandboxesPath\": \"/a/directory\"}".to_owned()));
    };
    if let Some(key) = members.keys().find(|key| *key != PATH_KEY && !keys::is_passed_over(key)) {
        return Err((key.clone(), format!("unknown key; {}", nearest::remedy(key, &[PATH_KEY]))));
    }
    match members.get(PATH_KEY) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(path)) if Path::new(path).is_absolute() => Ok(Some(path.into())),
        Some(_) => Err((PATH_KEY.to_owned(), "it must be the absolute path of a directory".to_owned())),
    }
}

/// Returns the name of the directory of a sandbox's file, which is usually the sandbox's.
fn name(file: &Path) -> Option<String> {
    Some(file.parent()?.file_name()?.to_str()?.to_owned())
}

/// Returns the files of the sandboxes in a directory, in the order of its entries' names.
fn files(directory: &Path, findings: &mut Vec<ConfigFinding>) -> Vec<PathBuf> {
    let entries: io::Result<Vec<_>> = fs::read_dir(directory).and_then(Iterator::collect);
    let mut directories: Vec<PathBuf> = match entries {
        Ok(entries) => entries.iter().map(fs::DirEntry::path).filter(|path| path.is_dir()).collect(),
        Err(error) => {
            findings.push(broken(directory, "", format!("cannot read it: {error}")));
            Vec::new()
        }
    };
    let is_hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    directories.retain(|path| !is_hidden(path));
    directories.sort();
    directories.into_iter().map(|directory| directory.join(FILE)).collect()
}

#[cfg(test)]
mod tests;
