//! Packages that calls ask for, and the list of them.

use serde_json::{Value, json};

use crate::command_line::sandbox_mcp;
use crate::server;
use test_support::client::{SESSIONS, STATELESS, Server, stateless};

const LIST: &str = "sandbox-mcp://packages";

/// Whether there are any: they come with pinned environments.
fn are_there(server: &Server) -> bool {
    server.sh("true").field("environment") != "host"
}

fn read(server: &Server, uri: &str) -> Result<Value, test_support::client::RpcError> {
    server.answer(server.request("resources/read", json!({"uri": uri})))
}

#[test]
fn list_is_a_resource_where_there_are_packages() {
    let server = Server::start(&[]);
    let capabilities = server.initialize(SESSIONS)["capabilities"].clone();
    let listed = server.answer(server.request("resources/list", json!({}))).expect("the resources are listed");
    let resources = listed["resources"].as_array().expect("a list");
    if !are_there(&server) {
        assert!(capabilities["resources"].is_null() && resources.is_empty(), "{capabilities} {listed}");
        assert!(read(&server, LIST).is_err());
        return;
    }
    assert!(capabilities["resources"].is_object(), "{capabilities}");
    assert_eq!((&resources[0]["uri"], &resources[0]["mimeType"]), (&json!(LIST), &json!("text/markdown")));
    let list = read(&server, LIST).expect("it can be read");
    let text = list["contents"][0]["text"].as_str().expect("a text");
    for part in ["## Command-line programs, for all tools\n", "\n- `lua` ", "## Python modules, for python\n"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert_eq!(list["contents"][0]["uri"], LIST);
}

#[test]
fn list_can_be_read_without_a_session() {
    let stateless_server = Server::start(&[]);
    let Value::Object(arguments) = json!({"uri": LIST}) else { unreachable!("it is an object") };
    let answer = stateless_server.answer(stateless_server.request("resources/read", stateless(arguments)));
    match (answer, are_there(&server())) {
        (Ok(list), true) => assert!(list["contents"][0]["text"].is_string(), "{STATELESS}: {list}"),
        (Err(_), false) => {}
        (answer, _) => panic!("{answer:?}"),
    }
}

#[test]
fn unknown_resource_is_an_error() {
    let error = read(&server(), "sandbox-mcp://secrets").expect_err("there is none");
    assert!(error.message.contains("resources/list"), "{error:?}");
}

#[test]
fn packages_that_nobody_can_have_are_refused_with_the_reason() {
    let pinned = are_there(&server());
    for (argument, reason) in [("--executor=direct", "`--executor direct`"), ("--no-packages", "`--no-packages`")] {
        let reason = if pinned { reason } else { "built without Nix" };
        let refused = Server::ready(&[argument]).call("shell", json!({"main_sh": "true", "packages": ["lua"]}));
        assert!(refused.refusal().contains(reason), "{refused}");
    }
    let output = sandbox_mcp(&["run", "--executor", "direct", "-p", "lua", "shell", "-"], "true");
    let reason = if pinned { "leave out `--executor direct`" } else { "built without Nix" };
    assert!(String::from_utf8_lossy(&output.stderr).contains(reason), "{output:?}");
}

#[test]
fn packages_of_wrong_type_or_number_are_refused() {
    let server = server();
    if !are_there(&server) {
        let refused = server.call("shell", json!({"main_sh": "echo ran", "packages": ["lua"]}));
        assert!(refused.refusal().contains("built without Nix"), "{refused}");
        return;
    }
    let many: Vec<String> = (0..17).map(|number| number.to_string()).collect();
    for (packages, reason) in [
        (json!("lua"), "`packages` must be an array of names, but is a string"),
        (json!(["lua", {}]), "`packages[1]` must be a string, but is an object"),
        (json!(["luaa"]), "no package \"luaa\"; the nearest names are `lua`"),
        (json!(["../lua"]), "no package \"../lua\"; the nearest names are `lua`"),
        (json!(many), "names 17 packages: 16 at most"),
    ] {
        let refused = server.call("shell", json!({"main_sh": "echo ran", "packages": packages}));
        assert!(refused.refusal().contains(reason), "{refused}");
    }
    assert_eq!(server.call("shell", json!({"main_sh": "lua -e 'print(7)'", "packages": ["lua"]})).output(), "7\n");
}
