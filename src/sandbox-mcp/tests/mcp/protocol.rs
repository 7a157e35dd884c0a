//! The protocol itself, in both of its eras.

use serde_json::{Map, Value, json};

use crate::server;
use test_support::client::{Reply, SESSIONS, STATELESS, Server, program, stateless};
use test_support::schema;

pub fn tools(server: &Server) -> Vec<Value> {
    let mut result = server.answer(server.request("tools/list", json!({}))).expect("the tools are listed");
    assert!(result.get("nextCursor").is_none_or(Value::is_null), "one page holds all");
    match result["tools"].take() {
        Value::Array(tools) => tools,
        other => panic!("the tools are no list: {other}"),
    }
}

pub fn object(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

#[test]
fn each_version_with_a_session_is_spoken_when_it_is_asked_for() {
    for version in ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"] {
        let server = Server::start(&[]);
        let greeting = server.initialize(version);
        assert_eq!(greeting["protocolVersion"], version);
        assert_eq!(greeting["serverInfo"]["name"], "sandbox-mcp");
        assert!(greeting["capabilities"]["tools"].is_object(), "{greeting}");
        assert!(tools(&server).iter().any(|tool| tool["name"] == "shell"));
        assert_eq!(server.sh("echo spoken").output(), "spoken\n");
    }
}

#[test]
fn instructions_say_what_there_is_in_600_characters() {
    for arguments in [&[][..], &["--executor", "direct"], &["--no-packages"]] {
        let greeting = Server::start(arguments).initialize(SESSIONS);
        let text = greeting["instructions"].as_str().expect("instructions");
        assert!(text.chars().count() <= 600, "{} characters: {text}", text.len());
        // A host may have no Python.
        for part in ["shell", "`files`", "`$OUT`", "No network, except in network-tools", "Limits: "] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}

#[test]
fn unknown_version_is_answered_with_one_that_is_spoken() {
    let greeting = Server::start(&[]).initialize("1999-12-31");
    assert_eq!(greeting["protocolVersion"], SESSIONS);
}

#[test]
fn stateless_version_is_spoken_without_a_session() {
    let server = Server::start(&[]);
    let discovered =
        server.answer(server.request("server/discover", stateless(Map::new()))).expect("the server is discovered");
    let versions = discovered["supportedVersions"].as_array().expect("a list of versions");
    assert!(versions.contains(&STATELESS.into()) && versions.contains(&SESSIONS.into()), "{discovered}");

    let listed = server.answer(server.request("tools/list", stateless(Map::new()))).expect("the tools are listed");
    assert_eq!(listed["resultType"], "complete");
    assert!(listed["ttlMs"].is_u64() && listed["cacheScope"].is_string(), "{listed}");
    assert!(listed["tools"].as_array().is_some_and(|tools| tools.iter().any(|tool| tool["name"] == "shell")));

    let call = object(json!({"name": "shell", "arguments": {"main_sh": "echo stateless"}}));
    let reply = Reply(server.answer(server.request("tools/call", stateless(call))).expect("the call has a result"));
    assert_eq!(reply.output(), "stateless\n");
    assert_eq!(reply.0["resultType"], "complete");
}

#[test]
fn stateless_version_is_spoken_without_discovery() {
    let server = Server::start(&[]);
    let call = object(json!({"name": "shell", "arguments": {"main_sh": "echo at once"}}));
    let reply = Reply(server.answer(server.request("tools/call", stateless(call))).expect("the call has a result"));
    assert_eq!(reply.output(), "at once\n");
}

#[test]
fn stateless_version_has_progress_and_cancellation_too() {
    let server = Server::start(&[]);
    let call = object(json!({
        "name": "shell", "arguments": {"main_sh": "echo done"}, "_meta": {"progressToken": "p"},
    }));
    server.answer(server.request("tools/call", stateless(call))).expect("the call has a result");
    assert!(server.received().iter().any(|message| message["params"]["progressToken"] == "p"));

    let sleeper = test_support::sleeper::Sleeper::new();
    let call = object(json!({"name": "shell", "arguments": {"main_sh": sleeper.to_string()}}));
    let id = server.request("tools/call", stateless(call));
    sleeper.wait_for(1);
    server.notify("notifications/cancelled", json!({"requestId": id}));
    sleeper.wait_for(0);
}

/// Subscribes to notifications, and returns the request's id once that is acknowledged.
pub fn listen(server: &Server, notifications: Value) -> u64 {
    let id = server.request("subscriptions/listen", stateless(object(json!({"notifications": notifications}))));
    server.receive(|message| message["method"] == "notifications/subscriptions/acknowledged");
    id
}

#[test]
fn subscription_takes_what_the_server_announces() {
    let server = Server::start(&[]);
    let all = json!({"toolsListChanged": true, "promptsListChanged": true, "resourceSubscriptions": ["file:///a"]});
    let id = server.request("subscriptions/listen", stateless(object(json!({"notifications": all}))));
    let answer = server.receive(|message| message["method"] == "notifications/subscriptions/acknowledged");
    assert_eq!(answer["params"]["notifications"], json!({"toolsListChanged": true}), "{answer}");

    let call = object(json!({"name": "shell", "arguments": {"main_sh": "echo meanwhile"}}));
    let reply = Reply(server.answer(server.request("tools/call", stateless(call))).expect("the call has a result"));
    assert_eq!(reply.output(), "meanwhile\n");
    server.notify("notifications/cancelled", json!({"requestId": id}));
    listen(&server, json!({"toolsListChanged": true}));
    let log = server.log();
    assert!(!log.contains("WARN") && !log.contains("rmcp"), "nothing of this is worth a line: {log}");

    server.close_input();
    assert!(server.wait().success());
    assert!(server.received().iter().all(|message| message["id"] != id), "a cancelled request has no response");
}

#[test]
fn call_before_the_session_is_an_error_and_harmless() {
    let server = Server::start(&[]);
    let id = server.begin_call("shell", json!({"main_sh": "echo early"}));
    assert!(server.answer(id).is_err());
    server.initialize(SESSIONS);
    assert_eq!(server.sh("echo now").output(), "now\n");
}

#[test]
fn list_of_tools_is_the_same_every_time_and_in_either_era() {
    let server = server();
    let first = tools(&server);
    assert_eq!(first, tools(&server));
    let other = Server::start(&[]);
    let listed = other.answer(other.request("tools/list", stateless(Map::new()))).expect("the tools are listed");
    assert_eq!(listed["tools"], Value::from(first));
}

#[test]
fn description_fits_what_clients_show() {
    for tool in tools(&server()) {
        let text = tool["description"].as_str().expect("a description");
        assert!(text.len() <= 2048, "{} has {} bytes", tool["name"], text.len());
    }
}

#[test]
fn results_by_default_are_text_with_data_as_metadata() {
    let server = server();
    assert!(tools(&server).iter().all(|tool| tool.get("outputSchema").is_none()));
    for script in ["echo out", "echo file > $OUT/a; exit 3"] {
        let reply = server.sh(script);
        assert!(reply.0.get("structuredContent").is_none(), "{reply}");
        let mut data = reply.data().clone();
        // It repeats nothing of the text, because some clients show a model the whole of a failed call's result.
        for stream in ["stdout", "stderr"] {
            assert_eq!(data.get(stream), None, "{reply}");
            data[stream] = "".into();
        }
        assert_eq!(schema::mismatches(&sandbox_server::mcp::answer::schema().into(), &data), Vec::<String>::new());
    }
}

/// The bytes of all that is no text in a reply to a script which leaves two files of 60 kB, no text, and exits so.
fn encoded_of(status: u8) -> (usize, String) {
    let script = format!(
        "for name in a b; do head -c 60000 /dev/zero > $OUT/$name; done; printf '\\000' > $OUT/c; exit {status}"
    );
    let reply = server().sh(&script);
    let items = reply.content().1;
    let blobs = items.iter().filter_map(|item| item["resource"]["blob"].as_str());
    (blobs.map(str::len).sum(), items[0]["text"].as_str().expect("the list").to_owned())
}

#[test]
fn of_a_failed_call_little_is_returned_in_base64() {
    assert_eq!(encoded_of(0).0, 160_004);
    let (encoded, list) = encoded_of(3);
    assert_eq!(encoded, 80_004);
    assert!(list.contains("b (60000 bytes), not returned: of a call that failed no more than 75000 bytes"), "{list}");
}

#[test]
fn structured_results_are_enabled_by_flag_or_variable() {
    let by_variable = |value: &str| {
        Server::spawn(std::process::Command::new(program()).env("SANDBOX_MCP_STRUCTURED_RESULTS", value)).greeted()
    };
    for (server, are_structured) in
        [(Server::ready(&["--structured-results"]), true), (by_variable("1"), true), (by_variable("0"), false)]
    {
        assert!(tools(&server).iter().all(|tool| tool["outputSchema"].is_object() == are_structured));
        let reply = server.sh("echo out");
        assert_eq!(reply.0["structuredContent"]["stdout"] == "out\n", are_structured, "{reply}");
        assert_eq!(reply.0["_meta"]["sandbox-mcp/result"].is_null(), are_structured, "{reply}");
        assert_eq!(reply.output(), "out\n");
    }
}

#[test]
fn every_structured_result_is_valid_by_the_output_schema() {
    let server = Server::ready(&["--timeout", "3", "--structured-results"]);
    let listed = tools(&server);
    let hog = "a=$(head -c 2000000000 /dev/zero | tr '\\0' x); echo ${#a}";
    for script in
        ["echo out; echo err >&2", "exit 3", "kill -9 $$", "sleep 900", "yes | head -c 100000", "printf '\\377'", hog]
    {
        let reply = server.sh(script);
        for tool in &listed {
            let wrong = schema::mismatches(&tool["outputSchema"], &reply.0["structuredContent"]);
            assert_eq!(wrong, Vec::<String>::new(), "{script}: {reply}");
        }
    }
}

#[test]
fn result_says_where_and_behind_which_walls_the_program_ran() {
    let reply = server().sh("true");
    let environment = reply.field("environment").as_str().expect("a string");
    let usual = if environment == "host" { "direct" } else { "namespace" };
    assert_eq!(*reply.field("executor"), crate::executor().unwrap_or(usual.to_owned()));
    assert!(environment == "host" || environment.starts_with("/nix/store/"), "{environment}");
    assert!(reply.field("walls").as_array().is_some_and(|walls| !walls.is_empty()), "{reply}");
    assert!(reply.field("duration_ms").is_u64(), "{reply}");
}
