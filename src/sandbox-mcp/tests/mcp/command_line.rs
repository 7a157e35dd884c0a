//! The same program from a shell.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use nix_store::derivation::Derivation;
use nix_store::hash::derivation_path;
use serde_json::json;

use crate::protocol::tools;
use test_support::client::{Server, configuration, program};
use test_support::sleeper::Sleeper;

pub fn sandbox_mcp(arguments: &[&str], input: &str) -> Output {
    // The user's own directory could add tools.
    let configuration = configuration(&[]);
    let mut command = Command::new(program());
    command.env("XDG_CONFIG_HOME", configuration.path());
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("start it");
    // Who reads no input may be gone before it is written.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("wait for it")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn run_reads_stdin_and_passes_both_streams_on() {
    let output = sandbox_mcp(&["run", "shell", "-"], "echo out; echo err >&2");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "out\n".to_owned()));
    assert!(text(&output.stderr).contains("err\n"), "{output:?}");
}

#[test]
fn empty_variables_are_as_good_as_unset_ones() {
    let mut command = Command::new(program());
    command.args(["run", "shell", "-"]).stdin(Stdio::null());
    for name in ["CONFIG", "EXECUTOR", "REMOTE_BUILDERS", "STRUCTURED_RESULTS", "NO_CALL_OPTIONS", "LOG"] {
        command.env(format!("SANDBOX_MCP_{name}"), "");
    }
    let refused = command.output().expect("start it");
    assert!(text(&refused.stderr).contains("main_sh"), "nothing but the script is missing: {refused:?}");
    let empty = sandbox_mcp(&["run", "--executor", "", "shell", "-"], "true");
    assert_eq!(empty.status.code(), Some(2), "who writes the option must give it a value: {empty:?}");
}

#[test]
fn last_of_an_option_that_is_given_twice_counts() {
    let twice = [
        "--stdio",
        "--stdio",
        "--no-call-options",
        "--no-call-options",
        "--calls-at-once",
        "1",
        "--calls-at-once",
        "2",
    ];
    assert_eq!(sandbox_mcp(&twice, "").status.code(), Some(0));
    let output = sandbox_mcp(&["run", "--timeout", "900", "--timeout", "1", "shell", "-"], "sleep 900");
    assert_eq!(output.status.code(), Some(124), "{output:?}");
    let output = sandbox_mcp(&["run", "--executor", "namespace", "--executor", "nonsense", "shell", "-"], "true");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn run_ends_with_the_exit_status_of_the_program() {
    for status in [0, 1, 42, 255] {
        assert_eq!(sandbox_mcp(&["run", "shell", "-"], &format!("exit {status}")).status.code(), Some(status));
    }
}

#[test]
fn run_tells_of_a_signal_and_of_the_time_limit_as_a_shell_does() {
    assert_eq!(sandbox_mcp(&["run", "shell", "-"], "kill -SEGV $$").status.code(), Some(128 + 11));
    let output = sandbox_mcp(&["run", "--timeout", "1", "shell", "-"], "sleep 900");
    assert_eq!(output.status.code(), Some(124));
    assert!(text(&output.stderr).contains("execution timeout after 1 seconds"), "{output:?}");
}

#[test]
fn run_out_keeps_artifacts_and_without_it_they_are_lost() {
    let directory = tempfile::tempdir().expect("make a directory");
    let out = directory.path().join("kept");
    let script =
        "mkdir $OUT/below; echo 1 > $OUT/a.txt; echo 2 > $OUT/below/b.txt; ln -s /etc/passwd $OUT/link; exit 3";
    let output = sandbox_mcp(&["run", "--out", out.to_str().expect("a path of UTF-8"), "shell", "-"], script);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let read = |name: &str| std::fs::read_to_string(out.join(name)).expect("read what was kept");
    assert_eq!((read("a.txt"), read("below/b.txt")), ("1\n".to_owned(), "2\n".to_owned()));
    assert!(!out.join("link").exists() && text(&output.stderr).contains("link is not kept"), "{output:?}");
    let lost = sandbox_mcp(&["run", "shell", "-"], script);
    assert!(text(&lost.stderr).contains("left 2 files") && text(&lost.stderr).contains("--out"), "{lost:?}");
}

#[test]
fn run_renames_the_first_file_to_the_entrypoint() {
    let directory = tempfile::tempdir().expect("make a directory");
    let write = |name: &str, content: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).expect("write a file");
        path.into_os_string().into_string().expect("a path of UTF-8")
    };
    let script = write("anything.sh", "basename $0; cat data.txt");
    let data = write("data.txt", "data\n");
    let output = sandbox_mcp(&["run", "shell", &script, &data], "");
    assert_eq!(text(&output.stdout), "main.sh\ndata\n", "{output:?}");
}

#[test]
fn run_passes_arguments_variables_and_stdin_on() {
    let directory = tempfile::tempdir().expect("make a directory");
    let write = |name: &str, content: &[u8], mode: u32| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).expect("write a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set its mode");
        path.into_os_string().into_string().expect("a path of UTF-8")
    };
    let script = write("main.sh", b"cat; printf '%s|' \"$@\"; echo \"$NAME\"; ./tool; wc -c < data.bin", 0o644);
    let (tool, data) = (write("tool", b"#!/bin/sh\necho tool\n", 0o755), write("data.bin", b"\xff\x00\xfe", 0o644));
    let arguments = ["run", "--env", "NAME=a=b", "shell", &script, &tool, &data, "--", "-n", "a b", "", "--", "-p"];
    let output = sandbox_mcp(&arguments, "in\n");
    assert_eq!(text(&output.stdout).replace(' ', "").trim_end(), "in\n-n|ab||--|-p|a=b\ntool\n3", "{output:?}");
    // The program is read from there.
    let output = sandbox_mcp(&["run", "shell", "-", "--", "x"], "cat; echo $1");
    assert_eq!(text(&output.stdout), "x\n", "{output:?}");
    for (option, value) in [("--env", "PATH=/"), ("--timeout-seconds", "61")] {
        let refused = sandbox_mcp(&["run", option, value, "shell", &script], "");
        assert_eq!(refused.status.code(), Some(125), "{refused:?}");
    }
    let output = sandbox_mcp(&["run", "--timeout-seconds", "1", "shell", "-"], "sleep 900");
    assert_eq!(output.status.code(), Some(124), "{output:?}");
    let refused = sandbox_mcp(&["run", "shell", &data], "");
    assert!(text(&refused.stderr).contains("not UTF-8 text"), "{refused:?}");
}

#[test]
fn run_prints_a_flood_whole() {
    let output = sandbox_mcp(&["run", "shell", "-"], "yes | head -c 1000000");
    assert_eq!(output.status.code(), Some(0));
    if crate::is_by_nix() {
        assert!(text(&output.stdout).contains("bytes left out"), "{output:?}");
    } else {
        assert_eq!(output.stdout.len(), 1_000_000);
    }
}

#[test]
fn run_of_an_invalid_call_exits_with_status_125() {
    for (arguments, reason) in [
        (&["run", "perl", "-"][..], "unknown tool `perl`"),
        (&["run", "shell", "/no/such/file.sh"], "/no/such/file.sh"),
    ] {
        let output = sandbox_mcp(arguments, "x");
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        assert!(text(&output.stderr).contains(reason), "{output:?}");
    }
    assert_eq!(sandbox_mcp(&["run", "shell", "-"], "").status.code(), Some(125), "an empty script");
}

#[test]
fn run_killed_by_sigkill_leaves_nothing() {
    let sleeper = Sleeper::new();
    let mut child = Command::new(program())
        .args(["run", "shell", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("start it");
    let script = format!("trap '' TERM; {sleeper} & {sleeper}");
    child.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("it reads");
    sleeper.wait_for(2);
    child.kill().expect("kill it");
    sleeper.wait_for(0);
    child.wait().expect("wait for it");
}

#[test]
fn show_derivation_prints_the_derivation_that_results_name() {
    let reply = Server::ready(&[]).call("shell", json!({"main_sh": "echo 1"}));
    let output = sandbox_mcp(&["show-derivation", "shell", "-"], "echo 1");
    let Some(derivation) = reply.field("derivation").as_str() else {
        // Toolchains of the host are no part of a derivation.
        assert_eq!(reply.field("executor"), "direct", "{reply}");
        return;
    };
    assert_eq!((output.status.code(), text(&output.stderr).trim()), (Some(0), derivation), "{output:?}");
    let parsed = Derivation::parse(&text(&output.stdout)).expect("a derivation");
    let path = derivation_path("sandbox-mcp-run-shell", &parsed, &text(&output.stdout)).expect("a store path");
    assert_eq!(path.as_str(), derivation);
    let other = sandbox_mcp(&["show-derivation", "shell", "-"], "echo 2");
    assert_ne!(text(&other.stderr).trim(), derivation);
    // What else a call gives its program is a part of it.
    let given = json!({"main_sh": "echo 1", "args": ["a"], "env": {"B": "c"}, "timeout_seconds": 9});
    let given = Server::ready(&[]).call("shell", given);
    let options = ["show-derivation", "--env", "B=c", "--timeout-seconds", "9", "shell", "-", "--", "a"];
    assert_eq!(text(&sandbox_mcp(&options, "echo 1").stderr).trim(), *given.field("derivation"));
    assert_ne!(*given.field("derivation"), derivation);
}

#[test]
fn doctor_tests_the_socket_that_the_variable_names() {
    let directory = tempfile::tempdir().expect("make a directory");
    let socket = directory.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("listen");
    let output = Command::new(program()).arg("doctor").env("NIX_DAEMON_SOCKET_PATH", &socket).output();
    let report = text(&output.expect("start it").stdout);
    let listens = format!("listens at {}", socket.display());
    assert!(report.contains(&listens) || report.contains("not found on PATH"), "{report}");
}

#[test]
fn completions_and_man_pages_are_printed() {
    for (arguments, part) in [
        (&["completions", "bash"][..], "complete -F _sandbox"),
        (&["completions", "zsh"], "#compdef sandbox-mcp"),
        (&["completions", "fish"], "complete -c sandbox-mcp"),
        (&["man"], ".TH sandbox-mcp 1"),
    ] {
        let output = sandbox_mcp(arguments, "");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let printed = text(&output.stdout);
        assert!(printed.contains(part), "{arguments:?}: {printed}");
        assert!(printed.contains("doctor") && printed.contains("roots"), "{arguments:?}: {printed}");
    }
}

#[test]
fn man_with_a_directory_writes_a_page_for_each_command() {
    let directory = tempfile::tempdir().expect("make a directory");
    let path = directory.path().to_str().expect("a path of UTF-8");
    assert_eq!(sandbox_mcp(&["man", path], "").status.code(), Some(0));
    for page in ["sandbox-mcp.1", "sandbox-mcp-run.1", "sandbox-mcp-roots.1"] {
        assert!(directory.path().join(page).is_file(), "{page}");
    }
    assert_eq!(sandbox_mcp(&["man", "/no/such/directory"], "").status.code(), Some(125));
}

#[test]
fn show_derivation_of_an_invalid_call_is_refused() {
    for command in ["show-derivation", "reproduce"] {
        let output = sandbox_mcp(&[command, "perl", "-"], "1");
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        let error = text(&output.stderr);
        // The tools are those that have a derivation, and not those of a server that was built without Nix.
        let has_none = error.contains("unknown tool `perl`: this server was built without Nix");
        assert!(has_none || error.contains("unknown tool `perl`: the tools with a pinned"), "{error}");
        assert!(!(has_none && error.contains("python")), "{error}");
    }
}

#[test]
fn list_names_every_tool_and_below_why_some_cannot_run() {
    const EVERY: [&str; 8] = ["apisix", "go", "java", "javascript", "network-tools", "python", "rust", "shell"];
    let listed: Vec<String> =
        tools(&Server::ready(&[])).iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect();
    let output = text(&sandbox_mcp(&["list"], "").stdout);
    let (can, cannot) = output.split_once("\n\nCannot run here").unwrap_or((&output, ""));
    // Below a title each.
    let names = |lines: &str| -> Vec<String> {
        lines.lines().skip(1).map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names(can), listed, "{output}");
    let mut every = [names(can), names(cannot)].concat();
    every.sort();
    assert_eq!(every, EVERY, "{output}");
}

#[test]
fn pull_and_force_say_that_there_is_nothing_to_fetch() {
    for arguments in [&["--pull"][..], &["--force"], &["--pull", "--force"]] {
        let output = sandbox_mcp(arguments, "");
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), String::new()), "{arguments:?}");
        assert!(text(&output.stderr).contains("nothing to fetch"), "{output:?}");
    }
}

#[test]
fn stdio_flag_is_the_same_as_no_argument() {
    for arguments in [&["--stdio"][..], &[]] {
        let reply = Server::ready(arguments).call("shell", json!({"main_sh": "echo served"}));
        assert_eq!(reply.output(), "served\n");
    }
}

#[test]
fn variables_that_switch_something_on_take_1_and_0() {
    for variable in [
        "SANDBOX_MCP_CALL_OPTIONS",
        "SANDBOX_MCP_NO_CALL_OPTIONS",
        "SANDBOX_MCP_NO_PACKAGES",
        "SANDBOX_MCP_STRUCTURED_RESULTS",
    ] {
        for value in ["1", "0", "true", "false", ""] {
            let listed = Command::new(program()).arg("list").env(variable, value).output().expect("start it");
            assert!(listed.status.success() && !listed.stdout.is_empty(), "{variable}={value}: {listed:?}");
        }
    }
}

#[test]
fn serving_prints_no_hints_into_the_protocol() {
    let output = sandbox_mcp(&["--stdio"], "");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), String::new()), "{output:?}");
}

#[test]
fn invalid_arguments_are_refused_with_the_valid_ones() {
    for (arguments, reason) in [
        (&["--executor", "docker"][..], "namespace"),
        (&["--timeout", "0"], "--timeout"),
        (&["--calls-at-once", "none"], "--calls-at-once"),
        (&["--stdio", "--build"], "cannot be used with"),
        (&["--build", "run", "shell", "-"], "'--build' cannot be used with a command"),
        (&["--limit", "python.timout=3"], "the nearest is `timeout`"),
        (&["run", "--limit", "python.memory=0", "shell", "-"], "not a valid number of megabytes"),
        (&["--allow", "python=example.org"], "has no port"),
        (&["serve"], "unrecognized"),
        (&["run", "shell"], "required"),
    ] {
        let output = sandbox_mcp(arguments, "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains(reason), "{arguments:?}: {output:?}");
    }
}
