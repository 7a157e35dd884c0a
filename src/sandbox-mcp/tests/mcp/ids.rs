//! Requests with the id of another one, which JSON-RPC forbids and clients send.

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::server;
use test_support::client::Server;
use test_support::sleeper::Sleeper;

/// Sends a request with an id of its own.
fn send(server: &Server, id: &Value, method: &str, params: Value) {
    server.send_line(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string().as_bytes());
}

fn send_call(server: &Server, id: &Value, script: &str) {
    send(server, id, "tools/call", json!({"name": "shell", "arguments": {"main_sh": script}}));
}

#[test]
fn second_request_with_an_id_in_use_is_refused_at_once() {
    for id in [json!(9000), json!("nine thousand")] {
        let (server, sleeper) = (server(), Sleeper::of("1.5"));
        send_call(&server, &id, &format!("{sleeper}; echo first"));
        sleeper.wait_for(1);
        for method in ["tools/call", "tools/list", "ping", "no-such-method"] {
            send(&server, &id, method, json!({"name": "shell", "arguments": {"main_sh": "echo second"}}));
            let refused = server.receive(|message| message["id"] == id)["error"].take();
            assert_eq!(refused["code"], -32600, "{refused}");
            let named = format!("the id {id} is in use");
            assert!(refused["message"].as_str().is_some_and(|message| message.contains(&named)), "{refused}");
        }
        let first = server.receive(|message| message["id"] == id);
        assert_eq!(first["result"]["content"][0]["text"], "first\n", "{first}");
        assert_eq!(server.received(), Vec::<Value>::new());
    }
}

#[test]
fn requests_of_one_array_with_the_same_id_are_each_answered() {
    let server = server();
    let call = json!({"name": "shell", "arguments": {"main_sh": "echo once"}});
    let request = json!({"jsonrpc": "2.0", "id": 9000, "method": "tools/call", "params": call});
    server.send_line(json!([request, request, request]).to_string().as_bytes());
    let codes = [(); 3].map(|()| server.receive(|message| message["id"] == 9000)["error"]["code"].take());
    assert_eq!(codes, [json!(-32600), json!(-32600), Value::Null]);
}

#[test]
fn id_of_an_answered_request_can_be_used_again() {
    let server = server();
    for number in 0..20 {
        send_call(&server, &json!(9000), &format!("echo {number}"));
        let answer = server.receive(|message| message["id"] == 9000);
        assert_eq!(answer["result"]["content"][0]["text"], format!("{number}\n"), "{answer}");
    }
}

#[test]
fn id_of_a_cancelled_call_can_be_used_once_it_has_ended() {
    let (server, sleeper) = (server(), Sleeper::new());
    let id = json!(9000);
    send_call(&server, &id, &sleeper.to_string());
    sleeper.wait_for(1);
    server.notify("notifications/cancelled", json!({"requestId": id}));
    for _ in 0..200 {
        send_call(&server, &id, "echo again");
        let answer = server.receive(|message| message["id"] == id);
        if answer.get("error").is_none() {
            assert_eq!(answer["result"]["content"][0]["text"], "again\n", "{answer}");
            return;
        }
        assert_eq!(answer["error"]["code"], -32600, "{answer}");
        sleep(Duration::from_millis(50));
    }
    panic!("the id is never free");
}
