//! Outcome → what a client reads: a text, and the same as structured data. It knows nothing of MCP's own types.

use serde_json::{Map, Value, json};

use crate::outcome::{Ending, Outcome};

/// What a client is told of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub text: String,
    pub structured: Map<String, Value>,
    pub is_error: bool,
}

/// The JSON schema of [`Answer::structured`]. Without unions of types, at which some clients' validators stumble:
/// what does not apply is left out.
pub fn schema() -> Map<String, Value> {
    let property = |kind: &str, description: &str| json!({ "type": kind, "description": description });
    let strings =
        |description: &str| json!({ "type": "array", "items": { "type": "string" }, "description": description });
    let Value::Object(schema) = json!({
        "type": "object",
        "properties": {
            "stdout": property("string", "Standard output; of a long one the beginning and the end"),
            "stderr": property("string", "Standard error; of a long one the beginning and the end"),
            "exit_code": property("integer", "Exit status of the command; absent if it did not exit by itself"),
            "signal": property("integer", "Number of the signal that ended the command; absent if none did"),
            "timed_out": property("boolean", "Whether the command was ended because its time was over"),
            "truncated": property("boolean", "Whether output was left out"),
            "duration_ms": property("integer", "Wall-clock time of the sandbox, in milliseconds"),
            "executor": property("string", "How the command was carried out: `namespace`, in a pinned environment, or `direct`, on the toolchains of the host"),
            "environment": property("string", "Store path of the pinned environment, or `host`"),
            "walls": strings("What isolated the command from the host"),
        },
        "required": ["stdout", "stderr", "timed_out", "truncated", "duration_ms", "executor", "environment", "walls"],
        "additionalProperties": false,
    }) else {
        unreachable!("the literal is an object")
    };
    schema
}

impl Answer {
    pub fn of(outcome: &Outcome, deadline_seconds: u64) -> Self {
        let (stdout, stderr) = (outcome.stdout.text(), outcome.stderr.text());
        let is_error = !outcome.succeeded();
        let text = match reason(outcome.ending, deadline_seconds) {
            None if stderr.is_empty() => stdout.clone(),
            None => format!("{stdout}\nStderr:\n{stderr}"),
            Some(reason) => failure(reason, &stderr, &stdout),
        };
        Self { text, structured: structured(outcome, stdout, stderr), is_error }
    }
}

/// The reason and standard error come first: some clients cut errors short.
fn failure(reason: String, stderr: &str, stdout: &str) -> String {
    let mut text = reason;
    for (title, stream) in [("Stderr", stderr), ("Stdout", stdout)] {
        if !stream.is_empty() {
            text.push_str(&format!("\n{title}:\n{}", stream.trim_end_matches('\n')));
        }
    }
    text
}

/// Why the outcome is no success.
fn reason(ending: Ending, deadline_seconds: u64) -> Option<String> {
    match ending {
        Ending::Exited { code: 0 } => None,
        Ending::Exited { code } => Some(format!("Command failed with exit code {code}")),
        Ending::Signalled { signal } => Some(format!("Command was ended by {}", signal_name(signal))),
        Ending::TimedOut => Some(format!("execution timeout after {deadline_seconds} seconds")),
        Ending::OverLimit { limit } => Some(limit.to_string()),
    }
}

fn structured(outcome: &Outcome, stdout: String, stderr: String) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("stdout".into(), stdout.into());
    fields.insert("stderr".into(), stderr.into());
    match outcome.ending {
        Ending::Exited { code } => {
            fields.insert("exit_code".into(), code.into());
        }
        Ending::Signalled { signal } => {
            fields.insert("signal".into(), signal.into());
        }
        Ending::OverLimit { limit } => {
            fields.insert("limit".into(), limit.to_string().into());
        }
        Ending::TimedOut => {}
    }
    fields.insert("timed_out".into(), (outcome.ending == Ending::TimedOut).into());
    fields.insert("truncated".into(), outcome.truncated().into());
    fields.insert("duration_ms".into(), u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX).into());
    fields.insert("executor".into(), outcome.executor.into());
    fields.insert("environment".into(), outcome.environment.clone().into());
    fields.insert("walls".into(), outcome.walls.clone().into());
    fields
}

/// `signal 9 (SIGKILL)`.
fn signal_name(number: i32) -> String {
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return format!("signal {number}"),
    };
    format!("signal {number} ({name})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Captured;
    use std::time::Duration;

    async fn answer(ending: Ending, stdout: &str, stderr: &str) -> Answer {
        let outcome = Outcome {
            ending,
            stdout: Captured::read(stdout.as_bytes()).await.unwrap(),
            stderr: Captured::read(stderr.as_bytes()).await.unwrap(),
            duration: Duration::from_micros(1500),
            usage: Default::default(),
            executor: "namespace",
            environment: "/nix/store/x".into(),
            walls: vec!["namespaces"],
        };
        Answer::of(&outcome, 60)
    }

    #[tokio::test]
    async fn success_is_standard_output_with_standard_error_below_if_there_was_any() {
        let done = Ending::Exited { code: 0 };
        assert_eq!(answer(done, "out\n", "").await.text, "out\n");
        assert_eq!(answer(done, "out\n", "err\n").await.text, "out\n\nStderr:\nerr\n");
        assert!(!answer(done, "", "").await.is_error);
    }

    #[tokio::test]
    async fn failure_keeps_both_streams_and_names_the_reason() {
        let failed = answer(Ending::Exited { code: 3 }, "out\n", "err\n").await;
        assert_eq!(failed.text, "Command failed with exit code 3\nStderr:\nerr\nStdout:\nout");
        assert!(failed.is_error);
        assert_eq!(answer(Ending::Exited { code: 1 }, "", "").await.text, "Command failed with exit code 1");
        assert_eq!(
            answer(Ending::Signalled { signal: 9 }, "", "").await.text,
            "Command was ended by signal 9 (SIGKILL)"
        );
        let late = answer(Ending::TimedOut, "until then", "").await;
        assert_eq!(late.text, "execution timeout after 60 seconds\nStdout:\nuntil then");
        assert_eq!(late.structured["timed_out"], true);
    }

    #[tokio::test]
    async fn structured_data_has_the_fields_that_its_schema_requires_and_no_other() {
        let schema = schema();
        for ending in [Ending::Exited { code: 0 }, Ending::Signalled { signal: 9 }, Ending::TimedOut] {
            let structured = answer(ending, "a", "b").await.structured;
            for field in schema["required"].as_array().unwrap() {
                assert!(structured.contains_key(field.as_str().unwrap()), "{field} is missing for {ending:?}");
            }
            for field in structured.keys() {
                assert!(schema["properties"].get(field).is_some(), "{field} is not in the schema");
            }
        }
    }
}
