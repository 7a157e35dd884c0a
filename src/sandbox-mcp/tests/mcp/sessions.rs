//! Requests of a session, and requests that say themselves who sends them, from one client.

use serde_json::{Map, Value, json};

use crate::protocol::{object, tools};
use test_support::client::{Reply, SESSIONS, Server, stateless};

/// Carries out a call without a session.
fn call_stateless(server: &Server, script: &str) -> Reply {
    let call = object(json!({"name": "shell", "arguments": {"main_sh": script}}));
    Reply(server.answer(server.request("tools/call", stateless(call))).expect("the call has a result"))
}

/// Makes requests of an open session.
fn use_session(server: &Server) {
    assert!(tools(server).iter().any(|tool| tool["name"] == "shell"));
    let reply = server.sh("echo session");
    assert_eq!(reply.output(), "session\n");
    assert!(reply.0.get("resultType").is_none(), "{reply}");
    assert_eq!(server.answer(server.request("ping", json!({}))).expect("a ping is answered"), json!({}));
}

#[test]
fn session_can_be_opened_after_requests_without_one() {
    let server = Server::start(&[]);
    server.answer(server.request("server/discover", stateless(Map::new()))).expect("the server is discovered");
    server.answer(server.request("tools/list", stateless(Map::new()))).expect("the tools are listed");
    assert_eq!(call_stateless(&server, "echo before").output(), "before\n");
    server.initialize(SESSIONS);
    use_session(&server);
    let reply = call_stateless(&server, "echo between");
    assert_eq!((reply.output(), &reply.0["resultType"]), ("between\n", &json!("complete")));
    use_session(&server);
    server.initialize("2025-03-26");
    use_session(&server);
}

#[test]
fn request_without_a_session_is_told_how_to_open_one() {
    let server = Server::start(&[]);
    let refused = |params| server.answer(server.request("tools/list", params)).expect_err("there is no session");
    assert_eq!(call_stateless(&server, "echo on").output(), "on\n");
    let partial = json!({"_meta": {"io.modelcontextprotocol/protocolVersion": SESSIONS}});
    for (params, missing) in [(json!({}), "protocolVersion"), (partial, "clientCapabilities")] {
        let error = refused(params);
        assert_eq!(error.code, -32602, "{error:?}");
        assert!(error.message.contains("`initialize`") && error.message.contains(missing), "{error:?}");
    }
    server.initialize(SESSIONS);
    use_session(&server);
}

#[test]
fn messages_after_initialize_wait_for_its_answer() {
    let server = Server::start(&[]);
    let client = json!({"protocolVersion": SESSIONS, "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}});
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client});
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    server.send_line(format!("{initialize}\n{initialized}\n{list}").as_bytes());
    let ids = [(); 2].map(|()| server.receive(|_| true)["id"].take());
    assert_eq!(ids, [json!(1), json!(2)]);
}

#[test]
fn initialize_without_a_version_of_sessions_gets_one() {
    let server = Server::start(&[]);
    let greeting = server.initialize("2026-07-28");
    assert_eq!(greeting["protocolVersion"], Value::from(SESSIONS));
    use_session(&server);
}
