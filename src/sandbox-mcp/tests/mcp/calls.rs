//! Calls at once, and what is told of them on the way.

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::server;
use test_support::client::Server;
use test_support::sleeper::Sleeper;

/// The progress notifications with this token.
fn progress(server: &Server, token: &Value) -> Vec<Value> {
    let is_progress =
        |message: &Value| message["method"] == "notifications/progress" && message["params"]["progressToken"] == *token;
    server.received().into_iter().filter(is_progress).map(|mut message| message["params"].take()).collect()
}

fn begin_with_token(server: &Server, script: &str, token: &Value) -> u64 {
    let call = json!({"name": "shell", "arguments": {"main_sh": script}, "_meta": {"progressToken": token}});
    server.request("tools/call", call)
}

#[test]
fn no_more_calls_run_at_once_than_the_bound_and_the_rest_wait() {
    let (server, sleeper) = (Server::ready(&["--calls-at-once", "2"]), Sleeper::of("0.4"));
    let calls: Vec<u64> = (0..7)
        .map(|number| server.begin_call("shell", json!({"main_sh": format!("{sleeper}; echo {number}")})))
        .collect();
    let mut most = 0;
    while server.received().len() < calls.len() {
        most = most.max(sleeper.count());
        sleep(Duration::from_millis(5));
    }
    assert_eq!(most, 2);
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(server.reply(call).output(), format!("{number}\n"));
    }
}

#[test]
fn calls_are_bounded_without_being_told_so() {
    let (server, sleeper) = (server(), Sleeper::new());
    for _ in 0..100 {
        server.begin_call("shell", json!({"main_sh": sleeper.to_string()}));
    }
    let bound = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    sleeper.wait_for(bound);
    sleep(Duration::from_millis(300));
    assert_eq!(sleeper.count(), bound);
}

#[test]
fn hundred_calls_at_once_each_get_their_own_answer() {
    let server = server();
    let calls: Vec<(u64, String)> = (0..100)
        .map(|number| {
            let files = json!([{"filename": "number", "content": number.to_string()}]);
            let script = "cat number; cat number >&2; echo $(cat number) > $TMPDIR/n; cat $TMPDIR/n";
            (
                server.begin_call("shell", json!({"main_sh": script, "files": files})),
                format!("{number}{number}\n\nStderr:\n{number}"),
            )
        })
        .collect();
    for (call, expected) in calls {
        assert_eq!(server.reply(call).text(), expected);
    }
}

#[test]
fn other_requests_are_answered_while_calls_run_and_wait() {
    let (server, sleeper) = (Server::ready(&["--calls-at-once", "1"]), Sleeper::new());
    for _ in 0..5 {
        server.begin_call("shell", json!({"main_sh": sleeper.to_string()}));
    }
    sleeper.wait_for(1);
    assert!(server.answer(server.request("tools/list", json!({}))).is_ok());
    assert!(server.answer(server.request("ping", json!({}))).is_ok());
    assert!(server.call("shell", json!({})).is_error());
}

#[test]
fn progress_with_token_grows_before_the_result() {
    let server = server();
    for token in [json!("a token"), json!(42)] {
        let id = begin_with_token(&server, "sleep 6; echo done", &token);
        assert_eq!(server.reply(id).output(), "done\n");
        let progress = progress(&server, &token);
        assert!(progress.len() >= 2, "one at once, and one after some seconds: {progress:?}");
        let values: Vec<f64> = progress.iter().map(|params| params["progress"].as_f64().expect("a number")).collect();
        assert!(values.windows(2).all(|pair| pair[0] < pair[1]), "{values:?}");
        assert!(progress.iter().all(|params| params["message"].is_string()), "{progress:?}");
    }
}

#[test]
fn client_without_a_token_is_told_of_no_progress() {
    let server = server();
    assert_eq!(server.sh("sleep 0.2; echo done").output(), "done\n");
    assert_eq!(server.received(), Vec::<Value>::new());
}

#[test]
fn client_with_a_token_is_told_that_its_call_waits() {
    let (server, sleeper) = (Server::ready(&["--calls-at-once", "1"]), Sleeper::of("1.0"));
    let first = server.begin_call("shell", json!({"main_sh": sleeper.to_string()}));
    sleeper.wait_for(1);
    let second = begin_with_token(&server, "echo second", &json!("second"));
    assert_eq!(server.reply(second).output(), "second\n");
    server.reply(first);
    let messages: Vec<String> =
        progress(&server, &json!("second")).iter().map(|params| params["message"].to_string()).collect();
    assert!(messages[0].contains("waiting") && messages[messages.len() - 1].contains("running"), "{messages:?}");
}
