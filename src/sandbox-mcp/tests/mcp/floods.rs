//! Programs that print without measure.

use serde_json::json;

use crate::server;
use test_support::client::{Reply, Server};

/// What the server may ever take for all that it does here; a debug build alone has some 20 MB.
const BOUND: u64 = 64 << 20;

#[track_caller]
fn assert_bounded(server: &Server) {
    let peak = server.peak_memory();
    assert!(peak < BOUND, "the server took {peak} bytes");
}

/// A stream of the result that was cut.
#[track_caller]
fn assert_cut(reply: &Reply, stream: &str) {
    let text = reply.field(stream).as_str().expect("it is a string");
    assert_eq!(reply.field("truncated"), true);
    assert!(text.contains("bytes left out") && text.len() < 50_000, "{stream} has {} bytes", text.len());
}

#[test]
fn output_of_a_gigabyte_is_cut_and_uses_bounded_memory() {
    let server = Server::ready(&["--structured-results"]);
    let reply = server.sh("echo first; head -c 1000000000 /dev/zero | tr '\\0' x; echo; echo last");
    assert!(!reply.is_error(), "{reply}");
    assert_cut(&reply, "stdout");
    assert!(reply.text().starts_with("first\nx") && reply.text().ends_with("x\nlast\n"));
    assert_bounded(&server);
}

#[test]
fn one_line_of_a_hundred_megabytes_takes_no_memory() {
    let server = Server::ready(&["--structured-results"]);
    let reply =
        server.call("python", json!({"main_py": "import sys\nfor _ in range(100): sys.stdout.write('x' * 10**6)"}));
    assert_cut(&reply, "stdout");
    assert_bounded(&server);
}

#[test]
fn floods_on_both_streams_are_cut_apart() {
    let server = Server::ready(&["--structured-results"]);
    let reply = server.sh("(yes out | head -c 50000000) & (yes err | head -c 50000000 >&2) & wait");
    assert_cut(&reply, "stdout");
    assert_cut(&reply, "stderr");
    assert!(reply.text().starts_with("out\nout\n") && reply.text().ends_with("err\n"));
    assert_bounded(&server);
}

#[test]
fn endless_output_is_ended_and_its_beginning_kept() {
    let server = Server::ready(&["--timeout", "1", "--structured-results"]);
    let reply = server.sh("echo first; yes");
    assert!(reply.is_error() && reply.field("timed_out") == true, "{reply}");
    assert_cut(&reply, "stdout");
    assert!(reply.text().contains("execution timeout after 1 seconds") && reply.text().contains("first\ny\ny\n"));
    assert_bounded(&server);
}

#[test]
fn floods_of_many_calls_at_once_take_no_memory() {
    let server = Server::ready(&["--structured-results"]);
    let calls: Vec<_> =
        (0..8).map(|_| server.begin_call("shell", json!({"main_sh": "yes | head -c 20000000"}))).collect();
    for call in calls {
        assert_cut(&server.reply(call), "stdout");
    }
    assert_bounded(&server);
}

#[test]
fn bytes_that_are_no_utf_8_are_replaced_and_the_answer_is_whole() {
    let reply = server().sh(r"printf 'a\377\376b\n'; printf '\300\200\355\240\200' >&2; head -c 65536 /dev/urandom");
    assert!(!reply.is_error(), "{reply}");
    assert!(reply.text().starts_with("a\u{fffd}\u{fffd}b\n"));
}

#[test]
fn character_that_arrives_in_two_pieces_is_one() {
    let reply = server().sh(r"printf 'x\360\235'; sleep 0.2; printf '\204\236y'");
    assert_eq!(reply.output(), "x𝄞y");
}

#[test]
fn control_characters_do_not_break_the_answer() {
    let script = "import sys\nsys.stdout.write(''.join(map(chr, range(256))))";
    let expected: String = (0..=255u8).map(char::from).collect();
    assert_eq!(server().call("python", json!({"main_py": script})).output(), expected);
}
