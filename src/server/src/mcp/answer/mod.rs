//! Outcome → what a client reads: a text, the artifacts, and the same as structured data. It knows nothing of MCP's own
//! types.
//!
//! Everything that an agent acts on is in the text: many clients show a model nothing else.

mod data;
mod items;
mod left;
mod network;

use sandbox_plan::plan::OUT;
use serde_json::{Map, Value};

pub use data::{ResultData, schema};
pub use items::Item;
pub use left::sentence as left_sentence;

use crate::call::lenient;
use crate::call::outcome::{Ending, Outcome};

/// What a client is told of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub text: String,
    /// The artifacts, after the text.
    pub items: Vec<Item>,
    /// The same for programs.
    pub data: ResultData,
    pub is_error: bool,
}

impl Answer {
    pub fn of(mut outcome: Outcome, deadline_seconds: u64) -> Self {
        let (stdout, stderr) = (outcome.result.stdout.text(), outcome.result.stderr.text());
        let is_error = !outcome.result.succeeded();
        if is_error {
            outcome.result.artifacts.bound_for_failure();
        }
        let mut text = match reason(outcome.result.ending, deadline_seconds) {
            None if stderr.is_empty() => stdout.clone(),
            None => format!("{stdout}\nStderr:\n{stderr}"),
            Some(mut reason) => {
                if let Some(met) = &outcome.met {
                    reason.push_str(&format!(": {met}"));
                }
                if let Some(hint) = outcome.missed.hint() {
                    reason.push_str(&format!("\n{hint}"));
                }
                failure(reason, &stderr, &stdout)
            }
        };
        network::append(&mut text, &outcome.result.refused);
        if text.trim().is_empty() {
            text = silence(&text).to_owned();
        }
        if !is_error {
            append_line(&mut text, outcome.met.as_ref().map(ToString::to_string).as_deref());
            append_line(&mut text, outcome.missed.hint().as_deref());
        }
        append_line(&mut text, left_sentence(&outcome).as_deref());
        for ignored in lenient::named(&outcome.ignored) {
            append_line(&mut text, Some(&format!("Note: {ignored}")));
        }
        if let Some(fallback) = &outcome.fallback {
            text = format!("{fallback}\n{text}");
        }
        let data = ResultData::of(&outcome, stdout, stderr);
        let place = if outcome.result.in_namespaces() { OUT } else { "$OUT" };
        Self { text, items: items::items(outcome.result.artifacts, place), data, is_error }
    }

    /// Returns the data as JSON.
    pub fn structured(&self) -> Map<String, Value> {
        match serde_json::to_value(&self.data) {
            Ok(Value::Object(fields)) => fields,
            _ => unreachable!("a struct of strings, numbers and lists is an object"),
        }
    }
}

/// Returns what stands for a text without a visible character, which model APIs refuse.
fn silence(text: &str) -> &'static str {
    if text.is_empty() { "(no output)" } else { "(no output but white space)" }
}

/// Appends a line to the program's output.
fn append_line(text: &mut String, line: Option<&str>) {
    let Some(line) = line else { return };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
}

/// Returns the text of a failure. The reason and standard error come first: some clients cut errors short.
fn failure(reason: String, stderr: &str, stdout: &str) -> String {
    let mut text = reason;
    for (title, stream) in [("Stderr", stderr), ("Stdout", stdout)] {
        if !stream.is_empty() {
            text.push_str(&format!("\n{title}:\n{}", stream.trim_end_matches('\n')));
        }
    }
    text
}

/// Returns why the outcome is not a success.
pub fn reason(ending: Ending, deadline_seconds: u64) -> Option<String> {
    match ending {
        Ending::Exited { code: 0 } => None,
        Ending::Exited { code } => Some(format!("Command failed with exit code {code}")),
        Ending::Signalled { signal } => Some(format!("Command was ended by {}", signal_name(signal))),
        Ending::Unready => Some("Command was not run: a service that it needs did not start".to_owned()),
        Ending::TimedOut => Some(format!("execution timeout after {deadline_seconds} seconds")),
        Ending::OverLimit { limit } => Some(limit.to_string()),
    }
}

/// Returns a signal's number and name: `signal 9 (SIGKILL)`.
pub(crate) fn signal_name(number: i32) -> String {
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
    use crate::call::artifacts::text::TextFormat;
    use crate::call::artifacts::{Artifact, Artifacts, Kind, LeftOut, Reason};
    use crate::call::capture;
    use crate::call::missing::Missing;
    use crate::call::outcome::{Fallback, RunResult};
    use crate::network::Refusals;
    use crate::testing;
    use serde_json::json;
    use std::time::Duration;

    async fn answer(ending: Ending, stdout: &str, stderr: &str) -> Answer {
        answer_with(Artifacts::default(), ending, stdout, stderr).await
    }

    async fn answer_with(artifacts: Artifacts, ending: Ending, stdout: &str, stderr: &str) -> Answer {
        answer_of(artifacts, Refusals::default(), ending, stdout, stderr).await
    }

    async fn refused(kept: &[&str], left_out: u64, ending: Ending, stdout: &str, stderr: &str) -> Answer {
        let kept = kept.iter().map(|sentence| (*sentence).to_owned()).collect();
        answer_of(Artifacts::default(), Refusals { kept, left_out }, ending, stdout, stderr).await
    }

    async fn answer_of(artifacts: Artifacts, refused: Refusals, ending: Ending, stdout: &str, stderr: &str) -> Answer {
        Answer::of(outcome(artifacts, refused, ending, stdout, stderr).await, 60)
    }

    async fn outcome(artifacts: Artifacts, refused: Refusals, ending: Ending, stdout: &str, stderr: &str) -> Outcome {
        let result = RunResult {
            ending,
            full: Default::default(),
            stdout: capture::read(stdout.as_bytes()).await.unwrap(),
            stderr: capture::read(stderr.as_bytes()).await.unwrap(),
            artifacts,
            left: Default::default(),
            refused,
            duration: Duration::from_micros(1500),
            usage: Default::default(),
            cached: false,
            walls: vec!["namespaces"],
            notes: vec![],
        };
        testing::outcome(result)
    }

    #[tokio::test]
    async fn success_text_is_stdout_then_stderr() {
        let done = Ending::Exited { code: 0 };
        assert_eq!(answer(done, "out\n", "").await.text, "out\n");
        assert_eq!(answer(done, "out\n", "err\n").await.text, "out\n\nStderr:\nerr\n");
        assert!(!answer(done, "", "").await.is_error);
    }

    #[tokio::test]
    async fn program_that_prints_nothing_visible_has_a_visible_text() {
        let done = Ending::Exited { code: 0 };
        for (stdout, text) in
            [("", "(no output)"), ("\n", "(no output but white space)"), (" \t\u{a0}\n", "(no output but white space)")]
        {
            let answer = answer_with(artifacts(), done, stdout, "").await;
            assert_eq!((&*answer.text, &answer.structured()["stdout"]), (text, &json!(stdout)));
        }
        assert_eq!(answer(done, "", "err\n").await.text, "\nStderr:\nerr\n");
    }

    #[tokio::test]
    async fn fallback_is_the_first_line_of_every_text_and_in_the_data() {
        let namespaces =
            Missing { operation: "make a sandbox".into(), reason: "clone:\nrefused".into(), remedy: "do x" };
        for (nix, words) in
            [(None, "run by Nix (executor `derivation`)"), (Some("no\nNix".to_owned()), "cannot run it: no Nix;")]
        {
            for (ending, rest) in [
                (Ending::Exited { code: 0 }, "(no output)"),
                (Ending::Exited { code: 3 }, "Command failed with exit code 3"),
            ] {
                let plain = outcome(Artifacts::default(), Refusals::default(), ending, "", "").await;
                let fallback = Some(Fallback { namespaces: namespaces.clone(), nix: nix.clone() });
                let answer = Answer::of(Outcome { fallback, ..plain }, 60);
                let (first, others) = answer.text.split_once('\n').expect("two lines");
                assert!(
                    first.starts_with("Note: ")
                        && first.contains(words)
                        && first.contains("make a sandbox: clone: refused;"),
                    "{first}"
                );
                assert_eq!((others, &answer.structured()["fallback"]), (rest, &json!(first)));
                assert!(schema()["properties"].get("fallback").is_some());
            }
        }
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
        assert_eq!(late.structured()["timed_out"], true);
    }

    fn artifacts() -> Artifacts {
        let file = |path: &str, kind, content: &[u8]| Artifact { path: path.into(), kind, content: content.to_vec() };
        let link = LeftOut { path: "link".into(), size: None, reason: Reason::NoFile { kind: "a symbolic link" } };
        let large = LeftOut { path: "z".into(), size: Some(9), reason: Reason::TooLarge { most: 8 } };
        Artifacts {
            files: vec![
                file("a.png", Kind::Image("image/png"), b"png"),
                file("b.txt", Kind::Text(TextFormat::PLAIN), b"text\n"),
                file("c d", Kind::Other("application/zip"), b"\x00"),
            ],
            left_out: vec![link, large],
            not_named: 7,
        }
    }

    #[tokio::test]
    async fn result_without_artifacts_is_only_text() {
        let answer = answer(Ending::Exited { code: 0 }, "out\n", "").await;
        assert_eq!(answer.items, []);
        assert!(answer.structured().keys().all(|field| !field.starts_with("artifacts")), "{:?}", answer.structured());
    }

    #[tokio::test]
    async fn artifacts_follow_the_text_of_a_success_and_of_a_failure() {
        let list = "Files in /sandbox/out:\n\
                    a.png (image/png, 3 bytes)\n\
                    b.txt (text/plain, 5 bytes)\n\
                    c d (application/zip, 1 bytes)\n\
                    link, not returned: it is a symbolic link: only regular files are returned\n\
                    z (9 bytes), not returned: no more than 8 bytes of such a file are returned\n\
                    and 7 more, not returned";
        for ending in [Ending::Exited { code: 0 }, Ending::Exited { code: 1 }, Ending::TimedOut] {
            let plain = answer(ending, "out", "").await;
            let answer = answer_with(artifacts(), ending, "out", "").await;
            assert_eq!((answer.text, answer.is_error), (plain.text, plain.is_error));
            assert_eq!(
                answer.items,
                [
                    Item::Text(list.into()),
                    Item::Text("a.png:".into()),
                    Item::Image { mime: "image/png", data: b"png".into() },
                    Item::Text("b.txt:\ntext\n".into()),
                    Item::Resource {
                        uri: "sandbox:///sandbox/out/c%20d".into(),
                        mime: "application/zip",
                        data: b"\x00".into()
                    },
                ]
            );
        }
    }

    #[tokio::test]
    async fn image_that_is_the_only_file_follows_the_list_at_once() {
        let mut only = artifacts();
        only.files.truncate(1);
        (only.left_out, only.not_named) = (Vec::new(), 0);
        let items = answer_with(only, Ending::Exited { code: 0 }, "", "").await.items;
        let list = "Files in /sandbox/out:\na.png (image/png, 3 bytes)";
        assert_eq!(items, [Item::Text(list.into()), Item::Image { mime: "image/png", data: b"png".into() }]);
    }

    #[tokio::test]
    async fn refused_connections_follow_the_output_of_any_ending() {
        let (done, failed) = (Ending::Exited { code: 0 }, Ending::Exited { code: 6 });
        let sentence = "connection to a.org:443 was refused: not on the allow-list";
        for (ending, stdout, stderr, text) in [
            (done, "", "", "Network: {}"),
            (done, "out\n", "", "out\nNetwork: {}"),
            (done, "out", "", "out\nNetwork: {}"),
            (done, "out\n", "err\n", "out\n\nStderr:\nerr\nNetwork: {}"),
            (failed, "out\n", "", "Command failed with exit code 6\nStdout:\nout\nNetwork: {}"),
        ] {
            let answer = refused(&[sentence], 0, ending, stdout, stderr).await;
            assert_eq!(answer.text, text.replace("{}", sentence));
            assert_eq!(answer.structured()["refused"], json!([sentence]));
            assert_eq!(answer.structured().get("refused_left_out"), None);
        }
    }

    #[tokio::test]
    async fn refusals_beyond_those_that_are_kept_are_counted() {
        let answer = refused(&["one", "two"], 3, Ending::Exited { code: 0 }, "out\n", "").await;
        assert_eq!(answer.text, "out\nNetwork: one\nNetwork: two\nNetwork: and 3 more");
        assert_eq!(answer.structured()["refused_left_out"], 3);
        for field in ["refused", "refused_left_out"] {
            assert!(schema()["properties"].get(field).is_some(), "{field} is not in the schema");
        }
    }

    #[tokio::test]
    async fn result_without_refusals_does_not_mention_the_network() {
        let answer = answer(Ending::Exited { code: 0 }, "out\n", "").await;
        assert_eq!((&*answer.text, answer.structured().get("refused")), ("out\n", None));
    }

    #[tokio::test]
    async fn structured_data_tells_of_artifacts_what_its_schema_says() {
        let structured = answer_with(artifacts(), Ending::Exited { code: 0 }, "", "").await.structured();
        assert_eq!(structured["artifacts"][0], json!({ "name": "a.png", "size": 3, "mime": "image/png" }));
        assert_eq!(structured["artifacts_not_named"], 7);
        for list in ["artifacts", "artifacts_left_out"] {
            let schema = &schema()["properties"][list]["items"];
            for file in structured[list].as_array().unwrap() {
                for field in schema["required"].as_array().unwrap() {
                    assert!(file.get(field.as_str().unwrap()).is_some(), "{list}: {field} is missing");
                }
                for field in file.as_object().unwrap().keys() {
                    assert!(schema["properties"].get(field).is_some(), "{list}: {field} is not in the schema");
                }
            }
        }
    }

    #[tokio::test]
    async fn structured_data_has_exactly_the_fields_of_its_schema() {
        let schema = schema();
        let memory = Ending::OverLimit { limit: sandbox_plan::Limit::Memory { bytes: 1 << 20 } };
        for ending in [Ending::Exited { code: 0 }, Ending::Signalled { signal: 9 }, Ending::TimedOut, memory] {
            let structured = answer(ending, "a", "b").await.structured();
            for field in schema["required"].as_array().unwrap() {
                assert!(structured.contains_key(field.as_str().unwrap()), "{field} is missing for {ending:?}");
            }
            for field in structured.keys() {
                assert!(schema["properties"].get(field).is_some(), "{field} is not in the schema");
            }
        }
    }
}
