//! What clients are told of the tools, and whether it is so.

use serde_json::{Value, json};

use crate::protocol::{object, tools};
use crate::server;
use test_support::client::Server;

/// The manifest without store paths; what clients see of limits and parameters is the same in every build.
const MANIFEST: &str = include_str!("../../../../nix/manifest.json");

/// The definition of each tool in the manifest, sorted by name.
fn manifest() -> Vec<Value> {
    let manifest: Value = serde_json::from_str(MANIFEST).expect("the manifest is JSON");
    object(manifest["sandboxes"].clone()).into_iter().map(|(_, mut sandbox)| sandbox["definition"].take()).collect()
}

fn is_pinned(server: &Server) -> bool {
    server.sh("true").field("environment") != "host"
}

fn description(tool: &Value) -> &str {
    tool["description"].as_str().expect("a description")
}

/// Leaves out the programs that are named only where the machine lets programs ping.
pub fn without_ping(text: &str) -> String {
    text.replace(" ping,", "").replace(" mtr,", "")
}

/// Returns the sentences that the description of a pinned tool consists of, as far as they are its definition's.
fn pinned_sentences(definition: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let names: Vec<String> = definition["programs"]["names"].as_array().expect("a list").iter().map(text).collect();
    let programs = text(&definition["programs"]["sentence"]).replace("{programs}", &names.join(", "));
    let limits = &definition["resources"];
    let limits = format!(
        "Environment `sandbox-mcp/{}`: {} CPU core, {} MB RAM, ",
        text(&definition["id"]),
        limits["cpu"],
        limits["memory"]
    );
    let all = [text(&definition["description"]), text(&definition["contents"]), limits];
    all.into_iter().chain((!names.is_empty()).then_some(programs)).collect()
}

#[test]
fn listed_tool_matches_the_manifest() {
    let manifest = manifest();
    let server = Server::ready(&["--no-call-options"]);
    let is_pinned = is_pinned(&server);
    for tool in tools(&server) {
        let expected = manifest.iter().find(|expected| expected["id"] == tool["name"]).expect("it is in the manifest");
        assert_eq!(tool["title"], expected["name"]);
        let has_network = expected["security"]["network"] != "none";
        assert_eq!(tool["annotations"]["openWorldHint"], has_network, "{tool}");
        assert_eq!(tool["annotations"]["readOnlyHint"], !has_network, "{tool}");
        assert_eq!(tool["annotations"]["destructiveHint"], expected["hints"]["isDestructive"], "{tool}");
        assert_eq!(tool["annotations"]["idempotentHint"], expected["hints"]["isIdempotent"], "{tool}");
        if is_pinned {
            for sentence in pinned_sentences(expected) {
                let text = without_ping(description(&tool));
                assert!(text.contains(&without_ping(&sentence)), "{sentence:?} is not in {tool}");
            }
        }
    }
}

#[test]
fn tools_that_cannot_run_here_are_not_listed_and_say_why() {
    sandbox_mcp::CATALOG.install();
    let server = server();
    let listed = tools(&server);
    let is_listed = |name: &Value| listed.iter().any(|tool| tool["name"] == *name);
    for tool in manifest().iter().filter(|tool| !is_listed(&tool["id"])) {
        let name = tool["id"].as_str().expect("a name");
        let required = sandbox_server::call::tool::Tool::by_name(name).expect("a tool").sandbox.named_files();
        let arguments = required.map(|(parameter, _)| (parameter.to_owned(), json!("x")));
        let reply = server.call(name, Value::Object(arguments.collect()));
        assert!(reply.is_unavailable(), "{reply}");
    }
}

#[test]
fn tools_without_environment_or_toolchain_are_not_listed() {
    if is_pinned(&Server::ready(&["--executor", "auto"])) {
        return;
    }
    let server = Server::ready(&["--executor", "namespace"]);
    assert_eq!(tools(&server), Vec::<Value>::new());
    assert!(server.sh("true").refusal().contains("`nix build`"));
}

#[test]
fn programs_that_a_description_names_are_where_it_says() {
    for tool in tools(&Server::ready(&["--executor", "direct"])) {
        let text = description(&tool);
        let programs = text.split("libraries (").nth(1).and_then(|rest| rest.split(')').next()).expect("it names them");
        for program in programs.split(", ") {
            let path = program.split(" is ").nth(1).expect("a path");
            assert!(std::path::Path::new(path).is_file(), "{text}");
        }
    }
}

#[test]
fn description_of_host_tools_names_only_what_exists() {
    let server = Server::ready(&["--executor", "direct"]);
    if server.sh("true").is_error() {
        // A builder of Nix has no toolchains but those of its derivation.
        return;
    }
    let manifest = manifest();
    let listed = tools(&server);
    for tool in &listed {
        let text = description(tool);
        let expected = manifest.iter().find(|expected| expected["id"] == tool["name"]).expect("it is in the manifest");
        let contents = expected["contents"].as_str().expect("a string");
        assert!(contents.is_empty() || !text.contains(contents), "{text}");
        assert!(text.contains("This host's own programs") && !text.contains("`sandbox-mcp/"), "{text}");
        for option in ["executor", "cache", "packages"] {
            assert!(tool["inputSchema"]["properties"].get(option).is_none(), "{option} of {}", tool["name"]);
        }
    }
    for name in ["shell", "network-tools"] {
        let tool = listed.iter().find(|tool| tool["name"] == name).expect("it needs a shell only");
        let expected = manifest.iter().find(|expected| expected["id"] == name).expect("it is in the manifest");
        let (start, end) =
            expected["programs"]["sentence"].as_str().and_then(|text| text.split_once("{programs}")).unwrap();
        let named = description(tool).split_once(start).and_then(|(_, rest)| rest.split_once(end));
        let named: Vec<&str> = named.map(|(list, _)| list.split(", ").collect()).unwrap_or_default();
        let shown: Vec<&str> =
            expected["programs"]["names"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        let names: Vec<&str> = shown.iter().filter_map(|shown| shown.split(' ').next()).collect();
        let script = format!("for name in {}; do command -v $name > /dev/null && echo $name; done; :", names.join(" "));
        let reply = server.call(name, json!({"main_sh": script}));
        let there: Vec<&str> = reply.output().lines().collect();
        for (shown, name) in shown.iter().zip(names) {
            assert_eq!(named.contains(shown), there.contains(&name), "{shown}: {reply}");
        }
    }
}

#[test]
fn description_names_the_time_limit_of_the_operator() {
    for (seconds, told) in [("5", ", 5 seconds, "), ("900", ", 60 seconds, ")] {
        for tool in tools(&Server::ready(&["--timeout", seconds])) {
            assert!(description(&tool).contains(told), "{tool}");
        }
    }
}

#[test]
fn options_are_listed_only_if_the_operator_offers_them() {
    let pinned = is_pinned(&server());
    for (arguments, by_nix, packages) in [
        (&[][..], false, true),
        (&["--call-options"], true, true),
        (&["--no-packages"], false, false),
        (&["--call-options", "--no-packages"], true, false),
        (&["--no-call-options"], false, false),
        (&["--call-options", "--no-call-options"], false, false),
    ] {
        for tool in tools(&Server::ready(arguments)) {
            let properties = object(tool["inputSchema"]["properties"].clone());
            // Nix's build sandbox has no network to give.
            let by_nix = by_nix && pinned && tool["name"] != "network-tools";
            for (option, is_listed) in [("executor", by_nix), ("cache", by_nix), ("packages", packages && pinned)] {
                assert_eq!(properties.contains_key(option), is_listed, "{option} of {}: {arguments:?}", tool["name"]);
            }
        }
    }
}

#[test]
fn option_that_is_not_offered_is_refused_unless_null() {
    let closed = Server::ready(&["--no-packages"]);
    for (option, value) in [("executor", json!("namespace")), ("cache", json!(true)), ("packages", json!(["lua"]))] {
        let refused = closed.call("shell", json!({"main_sh": "true", option: value}));
        assert!(refused.refusal().contains(option), "{refused}");
        let left_out = closed.call("shell", json!({"main_sh": "echo run", option: null}));
        assert_eq!(left_out.output(), "run\n", "{option}");
    }
}

#[test]
fn tools_list_stays_small() {
    let listed = tools(&server());
    let bytes = |value: &Value| value.to_string().len();
    for tool in &listed {
        let (description, schema) = (description(tool).len(), bytes(&tool["inputSchema"]));
        // A host's own programs are named with their paths.
        if is_pinned_description(tool) {
            assert!(description + schema <= 1460, "{}: {description} and {schema} bytes", tool["name"]);
        }
    }
    assert!(listed.iter().map(bytes).sum::<usize>() <= 14_000);
}

fn is_pinned_description(tool: &Value) -> bool {
    description(tool).contains("Environment `sandbox-mcp/")
}
