//! Whoever leaves, nothing is left behind.

use rustix::process::Signal;
use serde_json::json;

use crate::server;
use test_support::client::Server;
use test_support::sleeper::Sleeper;

/// Starts a call whose processes do not mean to go, and waits until they are there.
fn begin_stubborn_call(server: &Server, sleeper: &Sleeper) -> u64 {
    let script = format!("trap '' TERM HUP INT; (trap '' TERM; {sleeper} &); {sleeper} & {sleeper}");
    let id = server.begin_call("shell", json!({"main_sh": script}));
    sleeper.wait_for(3);
    id
}

fn cancel(server: &Server, id: u64) {
    server.notify("notifications/cancelled", json!({"requestId": id, "reason": "the test says so"}));
}

#[test]
fn end_of_input_ends_the_calls_and_the_server() {
    let (server, sleeper) = (server(), Sleeper::new());
    begin_stubborn_call(&server, &sleeper);
    server.close_input();
    sleeper.wait_for(0);
    assert!(server.wait().success());
}

#[test]
fn end_of_input_without_a_session_ends_the_server() {
    let server = Server::start(&[]);
    server.close_input();
    assert!(server.wait().success(), "{}", server.log());
}

#[test]
fn sigterm_ends_the_calls_and_the_server() {
    let (server, sleeper) = (server(), Sleeper::new());
    begin_stubborn_call(&server, &sleeper);
    server.signal(Signal::TERM);
    sleeper.wait_for(0);
    assert!(server.wait().success());
}

#[test]
fn sigint_and_sighup_end_the_calls_and_the_server() {
    for signal in [Signal::INT, Signal::HUP] {
        let (server, sleeper) = (server(), Sleeper::new());
        begin_stubborn_call(&server, &sleeper);
        server.signal(signal);
        sleeper.wait_for(0);
        assert!(server.wait().success());
    }
}

#[test]
fn sigterm_ends_a_server_that_nobody_has_spoken_to() {
    let server = Server::start(&[]);
    // Its signals are in its hands once it answers.
    server.initialize(test_support::client::SESSIONS);
    server.signal(Signal::TERM);
    assert!(server.wait().success());
}

#[test]
fn server_killed_by_sigkill_leaves_nothing() {
    let (server, sleeper) = (server(), Sleeper::new());
    begin_stubborn_call(&server, &sleeper);
    server.signal(Signal::KILL);
    sleeper.wait_for(0);
}

#[test]
fn cancellation_kills_the_whole_tree_and_the_server_goes_on() {
    let (server, sleeper) = (server(), Sleeper::new());
    let id = begin_stubborn_call(&server, &sleeper);
    cancel(&server, id);
    sleeper.wait_for(0);
    assert_eq!(server.sh("echo on").output(), "on\n");
    let answered = server.received().iter().any(|message| message["id"] == id && message.get("result").is_some());
    assert!(!answered, "a cancelled call has no result");
}

#[test]
fn cancellation_of_one_call_leaves_the_others_alone() {
    let (server, cancelled, other) = (server(), Sleeper::new(), Sleeper::new());
    let id = begin_stubborn_call(&server, &cancelled);
    begin_stubborn_call(&server, &other);
    cancel(&server, id);
    cancelled.wait_for(0);
    assert_eq!(other.count(), 3);
}

#[test]
fn cancelled_call_that_waits_never_runs() {
    let (server, running, waiting) = (Server::ready(&["--calls-at-once", "1"]), Sleeper::new(), Sleeper::new());
    let first = begin_stubborn_call(&server, &running);
    let second = server.begin_call("shell", json!({"main_sh": waiting.to_string()}));
    cancel(&server, second);
    cancel(&server, first);
    // Calls run in their order, so that the second would have had its turn before this one.
    assert_eq!(server.sh("echo on").output(), "on\n");
    assert_eq!((running.count(), waiting.count()), (0, 0));
}

#[test]
fn cancellation_of_what_is_over_or_never_was_changes_nothing() {
    let server = server();
    let id = server.begin_call("shell", json!({"main_sh": "echo done"}));
    assert_eq!(server.reply(id).output(), "done\n");
    cancel(&server, id);
    cancel(&server, 123_456);
    assert_eq!(server.sh("echo on").output(), "on\n");
}

#[test]
fn calls_that_wait_go_with_the_end_of_input() {
    let (server, running, waiting) = (Server::ready(&["--calls-at-once", "1"]), Sleeper::new(), Sleeper::new());
    begin_stubborn_call(&server, &running);
    for _ in 0..10 {
        server.begin_call("shell", json!({"main_sh": waiting.to_string()}));
    }
    server.close_input();
    running.wait_for(0);
    server.wait();
    assert_eq!(waiting.count(), 0);
}
