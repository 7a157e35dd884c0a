//! What an operator asks the program on a command line: which server it is, what it offers, and what it keeps.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::command_line::sandbox_mcp;
use crate::protocol::tools;
use test_support::client::{Server, program};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the JSON that a command prints.
fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn version_is_one_line_that_tells_the_manifest() {
    assert_eq!(text(&sandbox_mcp(&["-V"], "").stdout), "sandbox-mcp 0.1.0\n");
    let line = text(&sandbox_mcp(&["--version"], "").stdout);
    let server = &json_of(&sandbox_mcp(&["list", "--json"], ""))["server"];
    let manifest = server["manifest"].as_str().expect("a hash");
    assert!(line.starts_with("sandbox-mcp 0.1.0 (") && line.lines().count() == 1, "{line}");
    assert!(manifest.len() == 32 && line.contains(&format!("manifest {manifest}")), "{line}");
    // Where there are environments, they are of a nixpkgs, and receipts name the launcher.
    assert_eq!(server["system"].is_null(), line.contains("portable"), "{line}");
    assert_eq!(server["launcher"].is_null(), line.contains("portable"), "{line}");
    assert_ne!(line.contains("nixpkgs "), line.contains("portable"), "{line}");
}

#[test]
fn list_in_json_tells_what_clients_are_told_and_why_not() {
    let listed = tools(&Server::ready(&["--timeout", "7"]));
    let output = sandbox_mcp(&["list", "--timeout", "7", "--json"], "");
    let told = json_of(&output);
    let told = told["tools"].as_array().expect("tools");
    assert!(output.status.success() && told.len() == 8, "{output:?}");
    let (can, cannot): (Vec<&Value>, Vec<&Value>) = told.iter().partition(|tool| tool["available"] == true);
    let of_list = |tool: &Value| (tool["name"].clone(), tool["title"].clone(), tool["description"].clone());
    assert_eq!(
        can.iter().map(|tool| of_list(tool)).collect::<Vec<_>>(),
        listed.iter().map(of_list).collect::<Vec<_>>()
    );
    for tool in can {
        assert!(
            ["pinned", "host"].map(Value::from).contains(&tool["runs_on"]) && tool.get("reason").is_none(),
            "{tool}"
        );
        assert_eq!(tool["network"], if tool["name"] == "network-tools" { "bridge" } else { "none" }, "{tool}");
        assert!(tool["limits"]["timeout_seconds"] == 7 && tool["limits"]["memory_mb"].as_u64() > Some(64), "{tool}");
    }
    for tool in cannot {
        assert!(tool["reason"].as_str().is_some_and(|reason| reason.len() > 20), "{tool}");
        assert!(tool.get("runs_on").is_none() && tool.get("description").is_none(), "{tool}");
    }
}

#[test]
fn list_has_one_short_line_for_each_tool() {
    let output = text(&sandbox_mcp(&["list", "--timeout", "7"], "").stdout);
    let shell = output.lines().find(|line| line.starts_with("shell ")).expect("a line");
    assert!(
        shell.contains("none") && shell.contains(" 7 s ") && shell.contains("Run shell scripts on Linux."),
        "{shell}"
    );
    assert!(shell.len() < 120, "{shell}");
}

#[test]
fn packages_in_json_are_those_of_the_list() {
    let (json, markdown) = (sandbox_mcp(&["packages", "--json"], ""), sandbox_mcp(&["packages"], ""));
    assert_eq!(json.status, markdown.status);
    let sets = json_of(&json)["sets"].as_array().expect("sets").clone();
    let packages: Vec<&Value> = sets.iter().flat_map(|set| set["packages"].as_array().expect("packages")).collect();
    assert_eq!(packages.len(), text(&markdown.stdout).lines().filter(|line| line.starts_with("- `")).count());
    assert_eq!(packages.is_empty(), json.status.code() == Some(1), "{json:?}");
    for package in packages {
        assert!(text(&markdown.stdout).contains(&format!("- `{}`", package["name"].as_str().expect("a name"))));
        assert!(package["path"].as_str().is_some_and(|path| path.starts_with("/nix/store/")), "{package}");
    }
}

#[test]
fn several_packages_can_be_given_with_commas_between() {
    let script = tempfile::NamedTempFile::new().expect("make a file");
    fs::write(script.path(), "true").expect("write it");
    let path = script.path().to_str().expect("a path of UTF-8");
    let told = text(&sandbox_mcp(&["run", "-p", "nonsense-1,nonsense-2", "shell", path], "").stderr);
    assert!(!told.contains("nonsense-1,nonsense-2"), "{told}");
}

#[test]
fn doctor_in_json_tells_the_state_of_each_finding() {
    let output = sandbox_mcp(&["doctor", "--json"], "");
    let report = json_of(&output);
    assert_eq!(report["works"] == true, output.status.success(), "{report}");
    let sections = report["sections"].as_array().expect("sections");
    let findings: Vec<&Value> = sections.iter().flat_map(|section| section["findings"].as_array().unwrap()).collect();
    assert!(findings.len() > 10, "{report}");
    let mut is_broken = false;
    for finding in findings {
        assert!(["ok", "missing", "unneeded", "broken"].map(Value::from).contains(&finding["state"]), "{finding}");
        assert!(finding["what"].is_string() && finding["detail"].is_string(), "{finding}");
        is_broken |= finding["state"] == "broken";
    }
    assert_ne!(report["works"], is_broken, "{report}");
    let last = sections.last().expect("a section");
    assert_eq!((&last["title"], last["findings"].as_array().map(Vec::len)), (&json!("Tools"), Some(8)), "{report}");
}

/// Runs `doctor --json` with these variables, and returns the finding of this name, and whether this server needs Nix.
fn finding(variables: &[(&str, &str)], name: &str) -> Option<(Value, bool)> {
    let mut command = Command::new(program());
    command.args(["doctor", "--json"]).envs(variables.iter().copied());
    let report = json_of(&command.output().expect("start it"));
    let sections = report["sections"].as_array().expect("sections");
    let mut findings = sections.iter().flat_map(|section| section["findings"].as_array().unwrap());
    let is_pinned = !report["server"]["system"].is_null() && crate::executor().as_deref() != Some("direct");
    Some((findings.find(|finding| finding["what"] == name)?.clone(), is_pinned))
}

#[test]
fn doctor_tells_of_a_nix_that_has_nobody_to_build_as() {
    let configuration = TempDir::new().expect("make a directory");
    let variables = |group| [("NIX_CONF_DIR", configuration.path().to_str().unwrap()), ("NIX_CONFIG", group)];
    // A user other than root builds as itself or by a daemon, and a machine may lack Nix.
    let Some((good, _)) = finding(&variables("build-users-group ="), "build users") else { return };
    assert_eq!(good["state"], "ok", "{good}");
    let found = finding(&variables("build-users-group = no-such-group"), "build users");
    let (broken, is_needed) = found.expect("the same finding");
    let detail = broken["detail"].as_str().expect("a text");
    assert_eq!(broken["state"], if is_needed { "broken" } else { "unneeded" }, "{broken}");
    assert!(
        detail.contains("`no-such-group`, which does not exist") && detail.contains("`build-users-group =`"),
        "{detail}"
    );
}

#[test]
fn doctor_repeats_why_nix_does_not_start() {
    let directory = TempDir::new().expect("make a directory");
    let nix_store = directory.path().join("nix-store");
    fs::write(&nix_store, "#!/bin/sh\necho 'error: could not set permissions on /nix/var' >&2\nexit 1\n")
        .expect("write");
    fs::set_permissions(&nix_store, fs::Permissions::from_mode(0o755)).expect("make it a program");
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap_or_default());
    let (finding, _) = finding(&[("PATH", &path)], "nix-store").expect("a finding");
    let detail = finding["detail"].as_str().expect("a text");
    assert!(detail.ends_with("nix-store does not start: error: could not set permissions on /nix/var"), "{detail}");
}

/// A state directory with two roots, and beside them what is not ours.
fn state() -> TempDir {
    let state = TempDir::new().expect("make a directory");
    let roots = state.path().join("sandbox-mcp/gcroots");
    fs::create_dir_all(&roots).expect("make a directory");
    let target = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-sandbox-mcp-shell";
    for (name, target) in [("shell", target), ("python", target), ("passwd", "/etc/passwd")] {
        symlink(target, roots.join(name)).expect("make a link");
    }
    state
}

fn roots(state: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.arg("roots").args(arguments).env("XDG_STATE_HOME", state).stdin(Stdio::null());
    command.output().expect("start it")
}

fn names(list: &Output) -> Vec<Value> {
    json_of(list)["roots"].as_array().expect("roots").iter().map(|root| root["name"].clone()).collect()
}

#[test]
fn roots_are_listed_and_dropped_by_name() {
    let state = state();
    let listed = roots(state.path(), &[]);
    assert!(listed.status.success() && text(&listed.stdout).contains("shell"), "{listed:?}");
    assert!(!text(&listed.stdout).contains("passwd"), "{listed:?}");
    assert_eq!(names(&roots(state.path(), &["--json"])), ["python", "shell"]);
    let dropped = roots(state.path(), &["--drop", "shell"]);
    assert!(dropped.status.success() && text(&dropped.stdout).contains("nix-collect-garbage"), "{dropped:?}");
    assert_eq!(names(&roots(state.path(), &["--json"])), ["python"]);
    assert_eq!(names(&roots(state.path(), &["--drop", "--all", "--json"])), ["python"]);
    assert_eq!(names(&roots(state.path(), &["--json"])), Vec::<Value>::new());
    assert!(state.path().join("sandbox-mcp/gcroots/passwd").is_symlink(), "it is not ours");
}

#[test]
fn roots_that_are_not_ours_are_refused() {
    let state = state();
    for name in ["passwd", "ruby", "../gcroots/shell"] {
        let refused = roots(state.path(), &["--drop", "shell", name]);
        assert_eq!(refused.status.code(), Some(125), "{refused:?}");
        assert!(text(&refused.stderr).contains(&format!("there is no root `{name}`")), "{refused:?}");
    }
    for wrong in [&["--drop"][..], &["--all"], &["shell"], &["--drop", "--all", "shell"]] {
        assert_eq!(roots(state.path(), wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(names(&roots(state.path(), &["--json"])), ["python", "shell"]);
}

#[test]
fn help_tells_exit_statuses_and_hides_what_is_kept_for_others() {
    let run = text(&sandbox_mcp(&["run", "--help"], "").stdout);
    for status in ["124", "125", "128+N", "137"] {
        assert!(run.contains(status), "{run}");
    }
    assert!(text(&sandbox_mcp(&["doctor", "--help"], "").stdout).contains("exit status"), "doctor");
    for short in [sandbox_mcp(&["-h"], ""), sandbox_mcp(&["run", "-h"], "")] {
        let short = text(&short.stdout);
        assert!(!short.contains("--pull") && !short.contains("Kept for older"), "{short}");
    }
}
