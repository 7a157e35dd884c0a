//! What clients see, pinned in `snapshot.json`: the list of tools, results of calls, and exit statuses.
//!
//! The file is renewed by `SANDBOX_MCP_RENEW_GOLDENS=1 cargo test --test mcp snapshot`, with `SANDBOX_MCP_BIN` set to a
//! server that has pinned environments, so that it has every tool.

use serde_json::{Map, Value, json};

use crate::command_line::sandbox_mcp;
use crate::protocol::tools;
use crate::tools::without_ping;
use test_support::client::Server;

const SNAPSHOT: &str = include_str!("snapshot.json");
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp/snapshot.json");
const RENEW: &str = "SANDBOX_MCP_RENEW_GOLDENS";

/// Fields of a result that differ from run to run, from machine to machine, or with the executor.
const VARYING: [&str; 6] = ["duration_ms", "executor", "environment", "derivation", "walls", "notes"];

/// Compares a part of the snapshot with what the server gives.
fn assert_snapshot(part: &str, actual: &Value) {
    let mut snapshot: Value = serde_json::from_str(SNAPSHOT).expect("the snapshot is JSON");
    if std::env::var_os(RENEW).is_some() {
        // Tests run side by side, and each renews its own part.
        static ONE_WRITER: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _guard = ONE_WRITER.lock();
        snapshot = serde_json::from_str(&std::fs::read_to_string(FILE).expect("read the snapshot")).expect("JSON");
        snapshot[part] = actual.clone();
        std::fs::write(FILE, format!("{snapshot:#}\n")).expect("write the snapshot");
        return;
    }
    assert_eq!(*actual, snapshot[part], "{part} of snapshot.json; it is now:\n{actual:#}");
}

#[test]
fn snapshot_tools_list_is_unchanged() {
    let server = Server::ready(&[]);
    let is_pinned = server.sh("true").field("environment") != "host";
    let actual: Map<String, Value> =
        tools(&server).into_iter().map(|tool| (tool["name"].as_str().expect("a name").to_owned(), tool)).collect();
    if is_pinned && std::env::var_os(RENEW).is_some() {
        assert_snapshot("tools", &actual.into());
        return;
    }
    let snapshot: Value = serde_json::from_str(SNAPSHOT).expect("the snapshot is JSON");
    // Where Nix cannot realise all environments, some tools are not listed.
    assert!(!actual.is_empty());
    if is_pinned && !crate::is_by_nix() {
        let comparable = |tool: &Value| {
            let mut tool = tool.clone();
            tool["description"] = tool["description"].as_str().map(without_ping).into();
            tool
        };
        for (name, tool) in &actual {
            assert_eq!(comparable(tool), comparable(&snapshot["tools"][name]), "{name}");
        }
        return;
    }
    // A host has other programs, no packages on demand, and not every tool.
    for (name, tool) in &actual {
        for key in ["title", "annotations", "outputSchema", "_meta"] {
            assert_eq!(tool[key], snapshot["tools"][name][key], "{key} of {name}");
        }
        let (now, before) = (&tool["inputSchema"], &snapshot["tools"][name]["inputSchema"]);
        assert_eq!(now["required"], before["required"], "{name}");
        for (parameter, schema) in now["properties"].as_object().expect("properties") {
            if parameter != "executor" {
                assert_eq!(*schema, before["properties"][parameter], "{parameter} of {name}");
            }
        }
    }
}

#[test]
fn snapshot_results_are_unchanged() {
    let server = Server::ready(&["--timeout", "2"]);
    let call = |tool: &str, arguments: Value| {
        let mut result = server.call(tool, arguments).0;
        if let Some(data) = result["_meta"]["sandbox-mcp/result"].as_object_mut() {
            VARYING.iter().for_each(|key| drop(data.remove(*key)));
        }
        result
    };
    let shell = |script: &str| call("shell", json!({"main_sh": script}));
    assert_snapshot(
        "results",
        &json!({
            "output": shell("echo out"),
            "both streams": shell("echo out; echo err >&2"),
            "silence": shell("true"),
            "failure": shell("echo out; echo err >&2; exit 3"),
            "signal": shell("kill -SEGV $$"),
            "time limit": shell("echo begun; sleep 900"),
            "files": shell("echo '# title' > $OUT/notes.md; printf '\\001\\000' > $OUT/data.bin"),
            "unknown parameter": call("shell", json!({"main_sh": "true", "mainsh": "true"})),
            "missing parameter": call("shell", json!({})),
            "wrong type": call("shell", json!({"main_sh": 7})),
            "file outside": call("shell", json!({"main_sh": "true", "files": [{"filename": "../x", "content": ""}]})),
        }),
    );
}

#[test]
fn snapshot_exit_statuses_are_unchanged() {
    let status = |arguments: &[&str], input: &str| json!(sandbox_mcp(arguments, input).status.code());
    assert_snapshot(
        "exit statuses",
        &json!({
            "run, status 0": status(&["run", "shell", "-"], "true"),
            "run, status 7": status(&["run", "shell", "-"], "exit 7"),
            "run, a signal": status(&["run", "shell", "-"], "kill -SEGV $$"),
            "run, the time limit": status(&["run", "--timeout", "1", "shell", "-"], "sleep 900"),
            "run, an unknown tool": status(&["run", "perl", "-"], ""),
            "run, a missing file": status(&["run", "shell", "/no/such/file"], ""),
            "list": status(&["list"], ""),
            "an unknown command": status(&["lists"], ""),
            "an unknown option": status(&["--executors", "direct"], ""),
            "--help": status(&["--help"], ""),
            "--version": status(&["--version"], ""),
            "serve, input closed at once": status(&[], ""),
        }),
    );
}
