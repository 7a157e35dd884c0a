//! The configuration file: the same settings as on the command line, in TOML.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Arg, Args, Command, ValueEnum};
use serde::Deserialize;
use toml::{Table, Value};

use crate::call::choice::{self, Remote};
use crate::call::config_text;
use crate::call::limits::{LimitKey, LimitSetting};
use crate::call::nearest;
use crate::call::overrides::AllowSetting;
use crate::cli::logging::LogFormat;
use crate::cli::settings::Settings;

/// Why a configuration file cannot be used, and what to change.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    #[error("cannot read {}: {cause}; name another file with `--config`", file.display())]
    Read { file: PathBuf, cause: io::Error },
    #[error("cannot parse {}: {reason}; correct the file, which is TOML", file.display())]
    Syntax { file: PathBuf, reason: String },
    #[error("cannot use {}: {key}: {reason}", file.display())]
    Value { file: PathBuf, key: String, reason: String },
}

/// What a file says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct FileSettings {
    executor: Option<String>,
    /// Numbers by tool and limit.
    limit: BTreeMap<String, BTreeMap<String, u32>>,
    /// Hosts and ports by tool.
    allow: BTreeMap<String, Vec<String>>,
    timeout: Option<u64>,
    calls_at_once: Option<u16>,
    allow_unconfined_execution: Option<bool>,
    remote_builders: Option<String>,
    call_options: Option<bool>,
    no_packages: Option<bool>,
    no_call_options: Option<bool>,
    structured_results: Option<bool>,
    log_format: Option<String>,
}

/// Returns the keys that a file may have: the names of the options, without that of the file itself.
fn keys() -> Vec<String> {
    let command = Settings::augment_args(Command::new("settings"));
    let options = command.get_arguments().filter_map(Arg::get_long);
    options.filter(|option| *option != "config").map(str::to_owned).collect()
}

/// Reads a configuration file.
///
/// # Errors
///
/// Fails if the file cannot be read, and with the first key that is unknown or has a wrong value.
pub fn read(file: &Path) -> Result<Settings, ConfigFileError> {
    let text = config_text::read_named(file).map_err(|cause| ConfigFileError::Read { file: file.to_owned(), cause })?;
    parse(&text).map_err(|(key, reason)| match key {
        None => ConfigFileError::Syntax { file: file.to_owned(), reason },
        Some(key) => ConfigFileError::Value { file: file.to_owned(), key, reason },
    })
}

/// The key, if the text has keys, and what is wrong with it.
type Refusal = (Option<String>, String);

fn parse(text: &str) -> Result<Settings, Refusal> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| (None, syntax(text, &error)))?;
    let known = keys();
    if let Some(key) = table.keys().find(|key| !known.contains(key)) {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        return Err((Some(key.clone()), format!("unknown key; {}", nearest::remedy(key, &known))));
    }
    let given: FileSettings = serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
        let reason = error.inner().message().to_owned();
        (Some(error.path().to_string()), reason)
    })?;
    given.settings().map_err(|(key, reason)| (Some(key), reason))
}

/// Returns what is wrong with the text, and where.
fn syntax(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let reason = error.message().replace('\n', ", ");
    line.map_or_else(|| reason.clone(), |line| format!("line {line}: {reason}"))
}

impl FileSettings {
    /// Checks the values as the command line does.
    fn settings(self) -> Result<Settings, (String, String)> {
        let refuse = |key: &str, reason: String| (key.to_owned(), reason);
        let at_least_1 = |key: &str, is_zero: bool| match is_zero {
            true => Err(refuse(key, "it must be 1 or more".to_owned())),
            false => Ok(()),
        };
        at_least_1("timeout", self.timeout == Some(0))?;
        at_least_1("calls-at-once", self.calls_at_once == Some(0))?;
        let executor = self.executor.map(|name| choice::parse(&name)).transpose();
        let remote = self.remote_builders.map(|name| Remote::from_str(&name, false)).transpose();
        let log_format = self.log_format.map(|name| LogFormat::from_str(&name, false)).transpose();
        let mut limits = Vec::new();
        for (tool, keys) in self.limit {
            for (name, value) in keys {
                let refuse = |error| refuse(&format!("limit.{tool}.{name}"), format!("{error}"));
                let key: LimitKey = name.parse().map_err(refuse)?;
                limits.push(LimitSetting { tool: tool.clone(), key, value: key.check(value).map_err(refuse)? });
            }
        }
        let mut allowed = Vec::new();
        for (tool, entries) in self.allow {
            for entry in entries {
                let setting = AllowSetting::new(&tool, &entry);
                allowed.push(setting.map_err(|error| refuse(&format!("allow.{tool}"), error.to_string()))?);
            }
        }
        Ok(Settings {
            config: None,
            executor: executor.map_err(|error| refuse("executor", error.to_string()))?,
            limits,
            allowed,
            timeout: self.timeout,
            calls_at_once: self.calls_at_once,
            allow_unconfined_execution: self.allow_unconfined_execution,
            remote_builders: remote.map_err(|_| refuse("remote-builders", "write off, prefer or only".to_owned()))?,
            call_options: self.call_options,
            no_packages: self.no_packages,
            no_call_options: self.no_call_options,
            structured_results: self.structured_results,
            log_format: log_format.map_err(|_| refuse("log-format", "write text or json".to_owned()))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_is_a_key_of_the_file() {
        for key in keys() {
            // A value of a type that no key has.
            let (found, reason) = parse(&format!("{key} = 1979-05-27")).expect_err("a date");
            assert!(found == Some(key) && !reason.contains("unknown"), "{reason}");
        }
    }

    #[test]
    fn file_with_every_key_is_read() {
        let settings = parse(
            r#"
            executor = "direct"
            timeout = 120
            calls-at-once = 3
            allow-unconfined-execution = true
            remote-builders = "prefer"
            call-options = true
            no-packages = true
            no-call-options = false
            structured-results = true
            log-format = "json"

            [limit.python]
            timeout = 300
            memory = 2048

            [limit]
            go.cpu = 2

            [allow]
            python = ["pypi.org:443", "*.example.org:443"]
            "#,
        );
        let settings = settings.unwrap();
        let limits: Vec<String> = settings.limits.iter().map(ToString::to_string).collect();
        assert_eq!(limits, ["go.cpu=2", "python.memory=2048", "python.timeout=300"]);
        let allowed: Vec<String> = settings.allowed.iter().map(ToString::to_string).collect();
        assert_eq!(allowed, ["python=pypi.org:443", "python=*.example.org:443"]);
        assert_eq!((settings.timeout, settings.calls_at_once), (Some(120), Some(3)));
        assert_eq!(settings.executor, Some(Some(choice::Executor::Direct)));
        assert_eq!(settings.remote_builders, Some(Remote::Prefer));
        assert_eq!((settings.no_call_options, settings.structured_results), (Some(false), Some(true)));
        assert_eq!(settings.log_format, Some(LogFormat::Json));
        assert!(parse("").unwrap().limits.is_empty());
    }

    #[test]
    fn file_that_is_wrong_is_refused_with_its_key() {
        for (text, key, error) in [
            ("timeout = ", None, "line 1: "),
            ("timeout = 1\n\ntimeout = 2", None, "line 3: "),
            ("timout = 1", Some("timout"), "unknown key; the nearest is `timeout`"),
            ("colour = 1", Some("colour"), "unknown key; there are `executor`, "),
            ("timeout = \"1\"", Some("timeout"), "invalid type"),
            ("timeout = 0", Some("timeout"), "1 or more"),
            ("calls-at-once = 70000", Some("calls-at-once"), "invalid value"),
            ("executor = \"docker\"", Some("executor"), "the executors are auto"),
            ("log-format = \"xml\"", Some("log-format"), "text or json"),
            ("remote-builders = \"all\"", Some("remote-builders"), "off, prefer or only"),
            ("limit.python = 3", Some("limit.python"), "invalid type"),
            ("limit.python.timout = 3", Some("limit.python.timout"), "the nearest is `timeout`"),
            ("limit.python.timeout = 0", Some("limit.python.timeout"), "from 1 to"),
            ("limit.python.timeout = -3", Some("limit.python.timeout"), "invalid value"),
            ("allow.python = \"a.org:443\"", Some("allow.python"), "invalid type"),
            ("allow.python = [\"a.org\"]", Some("allow.python"), "has no port"),
        ] {
            let (found, reason) = parse(text).expect_err(text);
            assert_eq!(found.as_deref(), key, "{text}: {reason}");
            assert!(reason.contains(error) && !reason.contains('\n'), "{text}: {reason}");
        }
    }
}
