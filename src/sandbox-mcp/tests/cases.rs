//! Runs `checks/cases/<tool>.yaml` on the real server: each case is one tool call, repeated on every executor.
//!
//! - `SANDBOX_MCP_BIN`: the server; by default, the one that cargo built.
//! - `SANDBOX_MCP_CASES`: the directory of the cases.
//! - `SANDBOX_MCP_EXECUTORS`: the executors to run them on, separated by commas; they must work. By default all are tried,
//!   and cases that cannot run here are shown as ignored, with the reason.
//! - `SANDBOX_MCP_SKIPPED_TOOLS`: the tools whose environment is not available here, one per line: `TOOL: REASON`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use regex_lite::Regex;
use sandbox_server::mcp::answer;
use serde::Deserialize;
use serde_json::{Map, Value};
use test_support::client::{Reply, Server};

/// A call and its expected result.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// The name of the case, which states a fact.
    name: String,
    /// The executors that the case is for; `namespace` stands for all with pinned environments. Empty means all.
    #[serde(default)]
    only: Vec<String>,
    arguments: Map<String, Value>,
    #[serde(default, rename = "isError")]
    is_error: bool,
    #[serde(default)]
    exit: Exit,
    text: Option<Text>,
    stdout: Option<Text>,
    stderr: Option<Text>,
    /// The limit that the program met without being ended by it.
    limit: Option<Text>,
    /// The items after the text: a text; or an image's MIME type and data; or a resource's MIME type, data and URI.
    #[serde(default)]
    items: Vec<Text>,
}

/// The way in which the program ended.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Exit {
    Status(i64),
    Word(Word),
    /// One of these; it may depend on the shell that runs the program.
    Any(Vec<Exit>),
}

#[derive(Debug, Deserialize)]
enum Word {
    #[serde(rename = "SIGABRT")]
    Abort,
    #[serde(rename = "SIGKILL")]
    Kill,
    #[serde(rename = "SIGSEGV")]
    Segv,
    /// The sandbox killed it because it exceeded a limit.
    #[serde(rename = "limit")]
    Limit,
    /// A service that it needs did not start.
    #[serde(rename = "not run")]
    NotRun,
    /// It ran for too long.
    #[serde(rename = "time limit")]
    TimedOut,
    /// It was not started.
    #[serde(rename = "refused")]
    Refused,
}

impl Default for Exit {
    fn default() -> Self {
        Self::Status(0)
    }
}

impl Exit {
    /// `met`: whether a limit was met that did not end the program.
    fn is_that_of(&self, reply: &Reply, met: bool) -> bool {
        let ends = ["exit_code", "signal", "limit", "not_run"];
        let ends = || ends.iter().filter(|end| !met || **end != "limit");
        let only = |end: &str, value: Option<i64>| {
            ends().all(|other| reply.field(other).is_null() != (*other == end))
                && value.is_none_or(|value| *reply.field(end) == value)
        };
        match self {
            Self::Status(status) => only("exit_code", Some(*status)),
            Self::Word(Word::Abort) => only("signal", Some(6)),
            Self::Word(Word::Kill) => only("signal", Some(9)),
            Self::Word(Word::Segv) => only("signal", Some(11)),
            Self::Word(Word::Limit) => only("limit", None),
            Self::Word(Word::NotRun) => only("not_run", None),
            Self::Word(Word::TimedOut) => *reply.field("timed_out") == true && reply.field("exit_code").is_null(),
            Self::Word(Word::Refused) => reply.field("executor").is_null(),
            Self::Any(exits) => exits.iter().any(|exit| exit.is_that_of(reply, met)),
        }
    }
}

/// The expected text: all of it, or facts about it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Exact(String),
    Facts(Facts),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    #[serde(default)]
    contains: Vec<String>,
    #[serde(default)]
    lacks: Vec<String>,
    /// Regular expressions, in which `^` and `$` match at line ends.
    #[serde(default)]
    matches: Vec<String>,
}

impl Text {
    /// Returns the differences between `found` and the expectation.
    fn mismatches(&self, what: &str, found: &str) -> Vec<String> {
        let facts = match self {
            Self::Exact(text) if text == found => return Vec::new(),
            Self::Exact(text) => return vec![format!("{what} is not exactly {text:?}")],
            Self::Facts(facts) => facts,
        };
        let is_match = |pattern: &str| {
            Regex::new(&format!("(?m){pattern}")).unwrap_or_else(|error| panic!("{pattern}: {error}")).is_match(found)
        };
        let lacking = facts.contains.iter().filter(|text| !found.contains(*text));
        let unwanted = facts.lacks.iter().filter(|text| found.contains(*text));
        let unmatched = facts.matches.iter().filter(|pattern| !is_match(pattern));
        lacking
            .map(|text| format!("{what} does not contain {text:?}"))
            .chain(unwanted.map(|text| format!("{what} contains {text:?}")))
            .chain(unmatched.map(|pattern| format!("{what} does not match {pattern:?}")))
            .collect()
    }
}

impl Case {
    fn is_for(&self, executor: &str) -> bool {
        let executor = if executor.starts_with("derivation") { "namespace" } else { executor };
        self.only.is_empty() || self.only.iter().any(|name| name == executor)
    }

    /// Returns the differences between the reply and the expectation.
    fn mismatches(&self, reply: &Reply, executor: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        if reply.is_error() != self.is_error {
            wrong.push(format!("isError is not {}", self.is_error));
        }
        if let Some(text) = &self.text {
            wrong.extend(text.mismatches("text", reply.content().0));
        }
        if !self.exit.is_that_of(reply, self.limit.is_some()) {
            wrong.push(format!("its end is not {:?}", self.exit));
        }
        if let Exit::Word(Word::Refused) = self.exit {
            return wrong;
        }
        let mut field = |name: &str, expected: Value| {
            if *reply.field(name) != expected {
                wrong.push(format!("{name} is {} instead of {expected}", reply.field(name)));
            }
        };
        field("timed_out", matches!(self.exit, Exit::Word(Word::TimedOut)).into());
        field("truncated", false.into());
        field("executor", executor.into());
        wrong.extend(test_support::schema::mismatches(&answer::schema().into(), reply.data()));
        let stream = |name| reply.field(name).as_str().unwrap_or_default();
        let (stdout, stderr) = (stream("stdout"), stream("stderr"));
        let streams = [("stdout", &self.stdout, stdout), ("stderr", &self.stderr, stderr)];
        for (name, text, found) in streams.into_iter().chain([("limit", &self.limit, stream("limit"))]) {
            wrong.extend(text.iter().flat_map(|text| text.mismatches(name, found)));
        }
        wrong.extend(composition(reply, stdout, stderr));
        let items: Vec<String> = reply.content().1.iter().map(item).collect();
        if items.len() != self.items.len() {
            wrong.push(format!("{} items instead of {} follow the text", items.len(), self.items.len()));
        }
        for (index, (text, found)) in self.items.iter().zip(&items).enumerate() {
            wrong.extend(text.mismatches(&format!("items[{index}]"), found));
        }
        wrong
    }
}

fn item(item: &Value) -> String {
    let words = |words: &[&Value]| words.iter().filter_map(|word| word.as_str()).collect::<Vec<_>>().join(" ");
    let resource = &item["resource"];
    match item["type"].as_str() {
        Some("text") => words(&[&item["text"]]),
        Some("image") => words(&[&item["mimeType"], &item["data"]]),
        Some("resource") => words(&[&resource["mimeType"], &resource["blob"], &resource["uri"]]),
        _ => item.to_string(),
    }
}

/// Checks that the text holds both streams. The text of a success is fixed exactly, except that it may end with the files that
/// are not returned, with the packages that have what was missing, and with parameters that were ignored.
fn composition(reply: &Reply, stdout: &str, stderr: &str) -> Option<String> {
    let mut text = reply.content().0;
    for ignored in reply.field("ignored").as_array().into_iter().flatten().rev().filter_map(Value::as_str) {
        let lines = text.strip_suffix('\n').unwrap_or(text);
        let rest = lines.strip_suffix(ignored).and_then(|rest| rest.strip_suffix("Note: "));
        let Some(rest) = rest else { return Some(format!("the text does not end with what was ignored: {ignored}")) };
        text = rest;
    }
    let is_note = |note: &str| {
        let is_one = |line: &str| line.ends_with(" are returned") || line.contains(" missing: ask for ");
        note.lines().all(is_one)
    };
    let is = |output: &str| {
        let rest = text.strip_prefix(output);
        rest.is_some_and(|rest| rest.is_empty() || is_note(rest.strip_prefix('\n').unwrap_or(rest)))
    };
    let (is_right, what) = match (reply.is_error(), stderr) {
        (false, "") if stdout.trim().is_empty() => (text.starts_with("(no output"), "(no output)"),
        (false, "") => (is(stdout), "stdout"),
        (false, _) => (is(&format!("{stdout}\nStderr:\n{stderr}")), "stdout, Stderr:, stderr"),
        // The text of an error may omit the newline at the end of a stream.
        (true, _) => ([stdout, stderr].iter().all(|stream| text.contains(stream.trim_end())), "what was printed"),
    };
    (!is_right).then(|| format!("text is not {what}"))
}

/// Returns the cases of every tool, by the tool's name, which is that of the file.
fn cases(directory: &Path) -> BTreeMap<String, Vec<Case>> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut cases = BTreeMap::new();
    for entry in entries {
        let path = entry.expect("list the cases").path();
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let parsed = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let tool = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        cases.insert(tool, parsed);
    }
    cases
}

/// A server that uses one executor for all calls.
struct ExecutorServer {
    name: String,
    server: Server,
}

impl ExecutorServer {
    fn start(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), server: Server::ready(&["--executor", name, "--structured-results"]) })
    }

    /// Returns the tools whose cases cannot run here, each with the reason, which the answer to its first case gives.
    fn unavailable(&self, cases: &BTreeMap<String, Vec<Case>>) -> BTreeMap<String, Unavailable> {
        let known = skipped_tools();
        let begin = |(tool, cases): (&String, &Vec<Case>)| {
            let arguments = cases.first()?.arguments.clone();
            Some((tool.clone(), self.server.begin_call(tool, arguments.into())))
        };
        let calls: Vec<_> = cases.iter().filter(|(tool, _)| !known.contains_key(*tool)).filter_map(begin).collect();
        let reason = |(tool, id)| Some((tool, why_unavailable(&self.server.reply(id))?));
        calls.into_iter().filter_map(reason).chain(known).collect()
    }

    /// Runs a case twice: the second call may get a sandbox that was made ahead of it, or a program that was started, and its
    /// result must be the same.
    fn check(&self, tool: &str, case: &Case) -> Result<(), Failed> {
        for call in ["first", "second"] {
            let reply = self.server.call(tool, case.arguments.clone().into());
            let wrong = case.mismatches(&reply, &self.name);
            if !wrong.is_empty() {
                return Err(format!("the {call} call: {}\nin {reply}", wrong.join("\n")).into());
            }
        }
        Ok(())
    }
}

/// The reason why the cases of a tool cannot run here.
struct Unavailable {
    reason: String,
    /// Whether this holds on every machine.
    nowhere: bool,
}

fn why_unavailable(reply: &Reply) -> Option<Unavailable> {
    if reply.is_unavailable() {
        return Some(Unavailable { reason: reply.text().to_owned(), nowhere: reply.is_nowhere() });
    }
    let walls = reply.field("walls").as_array()?;
    let without = "without namespaces the program is among the host's files, and little is as the cases say";
    (!walls.contains(&"namespaces".into())).then(|| Unavailable { reason: without.to_owned(), nowhere: false })
}

/// Returns the tools that `SANDBOX_MCP_SKIPPED_TOOLS` names.
fn skipped_tools() -> BTreeMap<String, Unavailable> {
    let text = env::var("SANDBOX_MCP_SKIPPED_TOOLS").unwrap_or_default();
    let tools = text.lines().filter_map(|line| line.split_once(": "));
    tools.map(|(tool, reason)| (tool.to_owned(), Unavailable { reason: reason.to_owned(), nowhere: true })).collect()
}

/// Returns the trials of an executor. The cases of a tool that cannot run here become one ignored trial.
fn trials(executor: &Arc<ExecutorServer>, must_work: bool, cases: &Arc<BTreeMap<String, Vec<Case>>>) -> Vec<Trial> {
    let mut unavailable = executor.unavailable(cases);
    if must_work {
        unavailable.retain(|_, unavailable| unavailable.nowhere);
    }
    let mut trials = Vec::new();
    for (tool, listed) in cases.iter() {
        if let Some(Unavailable { reason, .. }) = unavailable.remove(tool) {
            let name = format!("{}::{tool}::(all {} cases)", executor.name, listed.len());
            trials.push(Trial::ignorable_test(name, || Ok(Completion::ignored_with(reason))));
            continue;
        }
        for (index, case) in listed.iter().enumerate() {
            if !case.is_for(&executor.name) {
                continue;
            }
            let (executor, cases, tool) = (executor.clone(), cases.clone(), tool.clone());
            let name = format!("{}::{tool}::{}", executor.name, case.name);
            trials.push(Trial::test(name, move || executor.check(&tool, &cases[&tool][index])));
        }
    }
    trials
}

fn main() {
    let arguments = Arguments::from_args();
    let directory = env::var_os("SANDBOX_MCP_CASES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../checks/cases"), PathBuf::from);
    let cases = Arc::new(cases(&directory));
    let named = env::var("SANDBOX_MCP_EXECUTORS").ok();
    let names: Vec<&str> = named.as_deref().unwrap_or("namespace,direct,derivation").split(',').collect();
    let executors: Vec<_> = names.iter().map(|name| ExecutorServer::start(name)).collect();
    let trials = executors.iter().flat_map(|executor| trials(executor, named.is_some(), &cases)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Returns instead of calling `exit`, so that the servers are dropped and thereby ended.
    drop(executors);
    conclusion.exit();
}
