//! Sandboxes of the user's own, from JSON configs.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::protocol::tools;
use test_support::client::{Server, configuration, program};

fn counter() -> Value {
    json!({
        "id": "counter",
        "name": "Line Counter",
        "description": "Count the lines of a file",
        "image": "sandbox-mcp/shell:latest",
        "user": "sandbox",
        "entrypoint": "count.sh",
        "timeout": 20,
        "command": ["sh", "count.sh"],
        "hints": {"isIdempotent": false},
        "parameters": {"additionalFiles": true, "files": [{"name": "data.txt", "description": "What is counted"}]},
        "security": {"readOnly": true, "capDrop": ["all"], "securityOpt": ["no-new-privileges:true"], "network": "none"},
        "resources": {"cpu": 1, "memory": 300, "processes": 80, "files": 300},
        "mount": {"workdir": "/sandbox/work", "tmpdirPrefix": "sandbox-mcp-", "scriptPerms": "0755", "readOnly": true},
    })
}

fn listed(server: &Server, name: &str) -> Value {
    let tools = tools(server);
    tools.iter().find(|tool| tool["name"] == name).unwrap_or_else(|| panic!("{name} is not in {tools:?}")).clone()
}

#[test]
fn config_becomes_a_tool_with_schema_and_description() {
    let config = counter().to_string();
    let server = Server::configured(&[], &[("sandboxes/counter/config.json", &config)]).greeted();
    let tool = listed(&server, "counter");
    assert_eq!(tool["title"], "Line Counter");
    let hints = &tool["annotations"];
    assert_eq!((&hints["readOnlyHint"], &hints["openWorldHint"]), (&json!(true), &json!(false)), "{hints}");
    assert_eq!((&hints["idempotentHint"], &hints["destructiveHint"]), (&json!(false), &json!(false)), "{hints}");
    assert_eq!(tool["inputSchema"]["required"], json!(["count_sh", "data_txt"]));
    let parameters = &tool["inputSchema"]["properties"];
    assert_eq!(parameters["count_sh"]["description"], "Code, saved as `count.sh` and run by `sh count.sh`");
    assert_eq!(parameters["data_txt"]["description"], "What is counted");
    assert_eq!(parameters["files"], listed(&server, "shell")["inputSchema"]["properties"]["files"]);
    let told = tool["description"].as_str().expect("a description");
    assert!(told.starts_with("Count the lines of a file. "), "{told}");
    for part in [
        "1 CPU core, 300 MB RAM, 150 MB disk, 80 processes, 20 seconds, no network access, read-only files",
        "Requires `data.txt`.",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(told.contains("Environment `sandbox-mcp/shell`") || told.contains("This host's own programs"), "{told}");
}

#[test]
fn call_of_a_config_tool_runs_as_it_says() {
    let config = counter().to_string();
    let server = Server::configured(&[], &[("sandboxes/counter/config.json", &config)]).greeted();
    let script = "pwd; wc -l < data.txt; cat more/x; touch here 2> /dev/null || echo read-only; ulimit -n";
    let given = json!({
        "count_sh": script,
        "data_txt": "1\n2\n3\n",
        "files": [{"filename": "more/x", "content": "also\n"}],
    });
    let reply = server.call("counter", given);
    let lines: Vec<&str> = reply.output().lines().collect();
    assert!(lines[0].ends_with("/work") || reply.field("executor") == "direct", "{reply}");
    assert_eq!(lines[1..], ["3", "also", "read-only", "300"]);
    for (given, error) in [
        (json!({"count_sh": "true"}), "data.txt file is required"),
        (json!({"data_txt": "1"}), "count.sh file is required"),
        (
            json!({"count_sh": "1", "data_txt": "1", "timeout_seconds": 21}),
            "parameter `timeout_seconds` must be at most 20",
        ),
    ] {
        let refused = server.call("counter", given);
        assert!(refused.refusal().starts_with(error), "{refused}");
    }
    if let Some(derivation) = reply.field("derivation").as_str() {
        assert!(derivation.ends_with("-sandbox-mcp-run-counter.drv"), "{reply}");
    }
}

#[test]
fn config_of_a_built_in_id_takes_its_place() {
    let mut config = counter();
    config["id"] = json!("shell");
    config["entrypoint"] = json!("main.sh");
    config["command"] = json!(["sh", "main.sh"]);
    config["parameters"] = json!({});
    config["timeout"] = json!(1);
    let config = config.to_string();
    let server = Server::configured(&[], &[("sandboxes/mine/config.json", &config)]).greeted();
    assert_eq!(listed(&server, "shell")["title"], "Line Counter");
    assert!(server.log().contains("config.json: id: it replaces the built-in tool `shell`"), "{}", server.log());
    let reply = server.sh("sleep 60");
    assert!(reply.text_content().contains("execution timeout after 1 seconds"), "{reply}");
    assert!(server.call("shell", json!({"main_sh": "1", "files": [{"filename": "a", "content": ""}]})).is_error());
}

#[test]
fn limits_and_allow_lists_apply_to_config_tools() {
    if crate::is_by_nix() {
        // Its build sandbox has no network, so that the tool is not listed.
        return;
    }
    let config = counter().to_string();
    let arguments = ["--limit", "counter.timeout=1", "--allow", "counter=example.org:443"];
    let server = Server::configured(&arguments, &[("sandboxes/counter/config.json", &config)]).greeted();
    let told = listed(&server, "counter");
    let text = told["description"].as_str().expect("a description");
    assert!(text.contains(", 1 seconds, network access only to `example.org:443`, "), "{text}");
    assert_eq!(told["annotations"]["openWorldHint"], true);
}

#[test]
fn broken_config_is_reported_by_log_and_doctor() {
    let mut wrong = counter();
    wrong["security"]["netwrok"] = json!("none");
    let (wrong, right) = (wrong.to_string(), counter().to_string());
    let files = [
        ("sandboxes/wrong/config.json", wrong.as_str()),
        ("sandboxes/right/config.json", &right),
        ("sandboxes/torn/config.json", "{"),
    ];
    let server = Server::configured(&[], &files).greeted();
    assert!(tools(&server).len() > 1 && listed(&server, "counter")["name"] == "counter");
    let unknown = "wrong/config.json: security.netwrok: unknown key; the nearest is `network`";
    let torn = "torn/config.json: it is not valid JSON";
    assert!(server.log().contains(unknown) && server.log().contains(torn), "{}", server.log());

    let directory = configuration(&files);
    let output = |command: &str| {
        let mut program = Command::new(program());
        program.arg(command).env("XDG_CONFIG_HOME", directory.path()).stdin(Stdio::null());
        let output = program.output().expect("start it");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (status, report) = output("doctor");
    assert!(status == Some(1) && report.contains(unknown) && report.contains(torn), "{report}");
    let (_, list) = output("list");
    let file = directory.path().join("sandbox-mcp/sandboxes/right/config.json");
    let (_, origins) = list.split_once("while all others are built in:\n").expect("a heading");
    assert_eq!(origins.trim_end(), format!("counter        {}", file.display()), "{list}");
}

#[test]
fn sandboxes_path_is_read_from_the_configuration() {
    let elsewhere = tempfile::tempdir().expect("make a directory");
    std::fs::create_dir(elsewhere.path().join("any")).expect("make a directory");
    std::fs::write(elsewhere.path().join("any/config.json"), counter().to_string()).expect("write a file");
    let config = json!({"sandboxesPath": elsewhere.path()}).to_string();
    let server = Server::configured(&[], &[("config.json", &config)]).greeted();
    assert_eq!(listed(&server, "counter")["name"], "counter");
}

#[test]
fn service_of_a_config_runs_before_its_command() {
    let mut config = counter();
    config["mount"]["readOnly"] = json!(false);
    config["parameters"] = json!({});
    config["before"] = json!(["sh", "-c", "echo ready > /tmp/service"]);
    let config = config.to_string();
    let server = Server::configured(&[], &[("sandboxes/counter/config.json", &config)]).greeted();
    let reply = server.call("counter", json!({"count_sh": "cat /tmp/service"}));
    assert_eq!(reply.output(), "ready\n");
}
