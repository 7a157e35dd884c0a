//! The data of a result: the one struct that its JSON and its schema come from.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::call::artifacts::{Artifact, LeftOut};
use crate::call::outcome::{Ending, Outcome};

/// What a program reads of a result. Fields that do not apply are left out: some clients' validators reject a schema with
/// unions of types, such as a string or `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResultData {
    /// Standard output; of a long one the beginning and the end
    pub stdout: String,
    /// Standard error; of a long one the beginning and the end
    pub stderr: String,
    /// Exit status of the command; absent if it did not exit by itself
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32")]
    pub exit_code: Option<i32>,
    /// Number of the signal that ended the command; absent if none did
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32")]
    pub signal: Option<i32>,
    /// Which limit of the sandbox the command met, and which ended it if there is neither an exit status nor a signal;
    /// absent if none
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub limit: Option<String>,
    /// Whether the command was not run, because a service that it needs did not start, as standard error tells; absent if
    /// it was
    #[serde(skip_serializing_if = "is_false")]
    pub not_run: bool,
    /// Whether the command was ended because its time was over
    pub timed_out: bool,
    /// Whether output was left out
    pub truncated: bool,
    /// Wall-clock time of the sandbox, in milliseconds
    pub duration_ms: u64,
    /// How the command was carried out: `namespace`, in a pinned environment; `derivation` or `derivation-cli`, in the
    /// same by Nix; or `direct`, on the toolchains of the host
    pub executor: &'static str,
    /// Why it was not carried out in a namespace sandbox, which is what this server does where the machine can; absent if
    /// nothing was missing
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub fallback: Option<String>,
    /// Store path of the pinned environment, or `host`
    pub environment: String,
    /// The call as a derivation: the store path that its .drv file has, the same for every such call; absent for the
    /// toolchains of the host
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub derivation: Option<String>,
    /// Whether this is the result of an earlier call, which was asked for; absent if the command was run
    #[serde(skip_serializing_if = "is_false")]
    pub cached: bool,
    /// What isolated the command from the host
    pub walls: Vec<&'static str>,
    /// What was not as promised, on a host without namespaces; absent if all was
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What was given and is no parameter of the tool; absent if all is
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
    /// Connections that the allow-list of the sandbox refused, or that failed, and why; absent if none
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// How many more there were; absent if none
    #[serde(skip_serializing_if = "is_zero")]
    pub refused_left_out: u64,
    /// Files that the command left, each of which is an item of the content, in this order; absent if none
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<ReturnedFile>,
    /// What else the command left, and why it is not returned; absent if nothing
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub artifacts_left_out: Vec<LeftOutFile>,
    /// How many more files were not returned; absent if none
    #[serde(skip_serializing_if = "is_zero")]
    pub artifacts_not_named: u64,
}

/// A file that is an item of the content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReturnedFile {
    /// Path below the directory of artifacts
    pub name: String,
    /// Bytes
    pub size: u64,
    /// Type of the content, told by the content
    pub mime: &'static str,
}

/// A file, or something else, that is not returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeftOutFile {
    /// Path below the directory of artifacts
    pub name: String,
    /// Bytes; absent of what is no file
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub size: Option<u64>,
    /// Why it is not returned
    pub reason: String,
}

/// Returns the JSON schema of [`ResultData`], without the keywords at which strict validators stumble: references, titles,
/// and formats that JSON Schema does not define.
pub fn schema() -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    });
    let plain = RecursiveTransform(|schema: &mut Schema| {
        for keyword in ["title", "format", "minimum"] {
            // A property may be named like a keyword, which is an object or a list; these keywords never are.
            if schema.get(keyword).is_some_and(|value| !value.is_object()) {
                schema.remove(keyword);
            }
        }
    });
    let mut schema = settings.with_transform(plain).into_generator().into_root_schema_for::<ResultData>();
    // It explains the struct to readers of this file.
    schema.remove("description");
    match schema.to_value() {
        Value::Object(schema) => schema,
        _ => unreachable!("the schema of a struct is an object"),
    }
}

impl ResultData {
    /// Returns the data of an outcome whose output is this text.
    pub(super) fn of(outcome: &Outcome, stdout: String, stderr: String) -> Self {
        let result = &outcome.result;
        let ending = result.ending;
        let returned = |file: &Artifact| ReturnedFile { name: file.name(), size: file.size(), mime: file.kind.mime() };
        let left_out =
            |file: &LeftOut| LeftOutFile { name: file.name(), size: file.size, reason: file.reason.to_string() };
        Self {
            stdout,
            stderr,
            exit_code: if let Ending::Exited { code } = ending { Some(code) } else { None },
            signal: if let Ending::Signalled { signal } = ending { Some(signal) } else { None },
            limit: match ending {
                Ending::OverLimit { limit } => Some(limit.to_string()),
                _ => outcome.met.as_ref().map(ToString::to_string),
            },
            not_run: ending == Ending::Unready,
            timed_out: ending == Ending::TimedOut,
            truncated: result.truncated(),
            duration_ms: u64::try_from(result.duration.as_millis()).unwrap_or(u64::MAX),
            executor: outcome.executor.name(),
            fallback: outcome.fallback.as_ref().map(ToString::to_string),
            environment: outcome.environment.clone(),
            derivation: outcome.derivation.as_ref().map(|path| path.as_str().to_owned()),
            cached: result.cached,
            walls: result.walls.clone(),
            notes: result.notes.clone(),
            ignored: outcome.ignored.iter().map(ToString::to_string).collect(),
            refused: result.refused.kept.clone(),
            refused_left_out: result.refused.left_out,
            artifacts: result.artifacts.files.iter().map(returned).collect(),
            artifacts_left_out: result.artifacts.left_out.iter().map(left_out).collect(),
            artifacts_not_named: result.artifacts.not_named,
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `check` with every object of a schema.
    fn visit(value: &Value, check: &mut impl FnMut(&Map<String, Value>)) {
        match value {
            Value::Object(object) => {
                check(object);
                object.values().for_each(|value| visit(value, check));
            }
            Value::Array(items) => items.iter().for_each(|value| visit(value, check)),
            _ => {}
        }
    }

    #[test]
    fn schema_has_nothing_that_strict_validators_reject() {
        visit(&schema().into(), &mut |object| {
            for keyword in ["anyOf", "oneOf", "allOf", "$ref", "$defs", "$schema", "nullable", "format", "title"] {
                assert!(!object.contains_key(keyword), "{keyword} in {object:?}");
            }
            assert!(!object.get("type").is_some_and(Value::is_array), "a union of types in {object:?}");
            if object.get("type").is_some_and(|kind| kind == "object") {
                assert_eq!(object["additionalProperties"], false, "{object:?}");
            }
        });
    }

    #[test]
    fn schema_requires_the_fields_that_are_always_there() {
        let expected =
            ["stdout", "stderr", "timed_out", "truncated", "duration_ms", "executor", "environment", "walls"];
        assert_eq!(schema()["required"], serde_json::json!(expected));
    }
}
