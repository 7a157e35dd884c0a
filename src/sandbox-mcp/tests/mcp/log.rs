//! What the server logs of its calls.

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use test_support::client::{Server, program};
use test_support::sleeper::Sleeper;

/// What no log may show: it stands in each program, and each prints it.
const SECRET: &str = "sesame-3141";

/// Starts a server that logs in JSON, and has it carry out calls that end in all ways that any machine offers.
fn served(arguments: &[&str]) -> Server {
    let server = Server::ready(&[&["--timeout", "1"], arguments].concat());
    server.sh(&format!("echo {SECRET}"));
    server.sh(&format!("echo {SECRET} >&2; exit 3"));
    server.sh(&format!("echo {SECRET}; kill -SEGV $$"));
    server.sh(&format!("echo {SECRET}; sleep 900"));
    server.call("shell", json!({"main_sh": "", "colour": SECRET}));
    server.answer(server.begin_call("perl", json!({"main_pl": SECRET}))).expect_err("there is no such tool");
    server
        .answer(server.request("tools/call", json!({"name": "shell", "arguments": [SECRET]})))
        .expect_err("no object");
    let sleeper = Sleeper::new();
    let id = server.begin_call("shell", json!({"main_sh": format!("echo {SECRET}; {sleeper}")}));
    sleeper.wait_for(1);
    server.notify("notifications/cancelled", json!({"requestId": id}));
    sleeper.wait_for(0);
    for _ in 0..100 {
        if server.log().contains("cancelled") {
            break;
        }
        sleep(Duration::from_millis(50));
    }
    server
}

#[test]
fn each_call_is_one_line_that_tells_how_it_ended() {
    let log = served(&[]).log();
    assert!(!log.contains(SECRET) && !log.contains("WARN"), "{log}");
    // The others tell of the machine.
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(" sandbox_mcp::call: ")).collect();
    assert_eq!(lines.len(), 8, "{log}");
    for (line, parts) in lines.iter().zip([
        &["tool=\"shell\"", "end=\"exited\" exit_code=0", "executor="][..],
        &["tool=\"shell\"", "end=\"exited\" exit_code=3", "executor="],
        &["tool=\"shell\"", "end=\"signalled\" signal=\"signal 11 (SIGSEGV)\"", "executor="],
        &["tool=\"shell\"", "end=\"timed-out\" limit=\"1 seconds\"", "executor="],
        &["tool=\"shell\"", "end=\"refused\""],
        &["tool=\"perl\"", "end=\"refused\""],
        &["tool=\"shell\"", "end=\"refused\""],
        &["tool=\"shell\"", "end=\"cancelled\""],
    ]) {
        let is_call = line.contains(" INFO sandbox_mcp::call: call tool=") && line.contains(" ms=");
        assert!(is_call && parts.iter().all(|part| line.contains(part)), "{line}: {parts:?}");
    }
}

#[test]
fn log_in_json_has_the_same_as_fields() {
    let log = served(&["--log-format", "json"]).log();
    let mut lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    lines.retain(|line| line["target"] == "sandbox_mcp::call");
    assert_eq!(lines.len(), 8, "{log}");
    let shown: Vec<_> = lines.iter().map(|line| [&line["tool"], &line["end"], &line["exit_code"]]).collect();
    assert_eq!(
        shown[..2],
        [[&json!("shell"), &json!("exited"), &json!(0)], [&json!("shell"), &json!("exited"), &json!(3)]]
    );
    let timed_out = &lines[3];
    assert!(timed_out["ms"].as_u64().is_some_and(|ms| ms >= 1000) && timed_out["limit"] == "1 seconds", "{timed_out}");
    assert_eq!(timed_out.get("exit_code"), None, "{timed_out}");
    for line in &lines {
        assert_eq!(line["level"], "INFO", "{line}");
    }
}

#[test]
fn calls_can_be_kept_out_of_the_log() {
    let mut command = Command::new(program());
    let server = Server::spawn(command.env("SANDBOX_MCP_LOG", "info,sandbox_mcp::call=off")).greeted();
    server.sh("true");
    assert!(!server.log().contains("tool="), "{}", server.log());
}

#[test]
fn wrong_value_of_the_log_variable_is_told() {
    for (format, part) in [("text", "`bogus` is not a level; write a level"), ("json", "\"level\":\"WARN\"")] {
        let mut command = Command::new(program());
        command.args(["list", "--log-format", format]).env("SANDBOX_MCP_LOG", "bogus");
        let output = command.output().expect("start it");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && told.contains("SANDBOX_MCP_LOG") && told.contains(part), "{told}");
    }
}
