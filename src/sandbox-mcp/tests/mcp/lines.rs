//! What comes on the server's standard input besides proper requests.

use serde_json::{Value, json};

use crate::server;
use test_support::client::{SESSIONS, Server};

/// No JSON, or JSON that is no message.
const NOISE: [&[u8]; 14] = [
    b"",
    b"   ",
    b"hello",
    b"{",
    b"}",
    b"{\"jsonrpc\": \"2.0\", \"id\": 901, \"method\": \"tools/call\"",
    b"\xff\xfe\x00\x80",
    b"{\"jsonrpc\": \"2.0\", \"id\": 902, \"method\": \"\xc3\x28\"}",
    b"Content-Length: 100\r",
    b"{\"jsonrpc\": \"2.0\" \"id\"}",
    b"{'jsonrpc': '2.0'}",
    b"\x00\x00\x00",
    b"[[[[[[[[[[",
    b"nul",
];

#[test]
fn malformed_lines_between_good_ones_change_nothing() {
    let server = server();
    for line in NOISE {
        server.send_line(line);
        assert_eq!(server.sh("echo on").output(), "on\n", "after {:?}", String::from_utf8_lossy(line));
    }
}

#[test]
fn malformed_lines_before_the_session_change_nothing() {
    let server = Server::start(&[]);
    for line in NOISE {
        server.send_line(line);
    }
    server.notify("notifications/cancelled", json!({"requestId": 1}));
    server.send_line(br#"{"jsonrpc": "2.0", "id": 7, "result": {}}"#);
    assert_eq!(server.answer(server.request("ping", json!({}))).expect("a ping may come first"), json!({}));
    server.notify("notifications/initialized", json!({}));
    server.initialize(SESSIONS);
    assert_eq!(server.sh("echo on").output(), "on\n");
}

#[test]
fn json_that_is_no_message_does_not_end_the_session() {
    let server = server();
    for line in [
        "null",
        "42",
        "\"text\"",
        "[]",
        "{}",
        r#"{"jsonrpc": "1.0", "id": 77, "method": "ping"}"#,
        r#"{"id": 78}"#,
        r#"{"jsonrpc": "2.0", "id": 79, "method": "tools/call", "params": []}"#,
    ] {
        server.send_line(line.as_bytes());
        assert_eq!(server.sh("echo on").output(), "on\n", "after {line}");
    }
}

/// Sends a call of the shell with this as the JSON of its script, and waits for the response.
fn called_with(server: &Server, id: u64, script: &[u8]) -> Value {
    let begin = br#"{"method":"tools/call","params":{"name":"shell","arguments":{"main_sh":"#;
    let end = format!(r#"}}}},"jsonrpc":"2.0","id":{id}}}"#);
    server.send_line(&[begin, script, end.as_bytes()].concat());
    server.receive(|message| message["id"] == id)
}

#[test]
fn request_with_half_a_character_is_carried_out_without_it() {
    let server = server();
    for (id, script) in
        [(500, r#""echo '<\ud83d>'""#), (501, r#""echo '<\uDE00>'""#), (502, r#""echo '<\ud83d\ud83d\ude00>'""#)]
    {
        let text = called_with(&server, id, script.as_bytes())["result"]["content"][0]["text"].take();
        let expected = if id == 502 { "<\u{fffd}\u{1f600}>\n" } else { "<\u{fffd}>\n" };
        assert_eq!(text, expected, "{script}");
    }
    // In the content and the name of a file, in an unknown key, in a tool's name and in metadata.
    let file = r#""cat *.txt", "files": [{"filename": "a\ud83d.txt", "content": "b\ud83d\n"}]"#;
    assert_eq!(called_with(&server, 503, file.as_bytes())["result"]["content"][0]["text"], "b\u{fffd}\n");
    let key = called_with(&server, 504, br#""true", "\ud83d": 1"#);
    assert!(key["result"]["content"][0]["text"].to_string().contains('\u{fffd}'), "{key}");
    server.send_line(
        br#"{"jsonrpc":"2.0","id":505,"method":"tools/call","params":{"name":"\ud83d","_meta":{"a":"\ude00"}}}"#,
    );
    assert_eq!(server.receive(|message| message["id"] == 505)["error"]["code"], -32602);
}

#[test]
fn request_that_cannot_be_read_is_answered_with_what_is_wrong() {
    let server = server();
    let deep = [&b"[".repeat(128)[..], &b"]".repeat(128)].concat();
    let unreadable: [(&[u8], &str); 12] = [
        (b"NaN", "expected value"),
        (b"-Infinity", "number"),
        (b"1e400", "out of range"),
        (&deep, "recursion limit"),
        (b"\"a\tb\"", "control character"),
        (b"\"\x01\"", "control character"),
        (b"\"\0\"", "control character"),
        (b"\"\xff\"", "unicode"),
        (b"\"\xed\xa0\xbd\"", "unicode"),
        (b"\"x\",", "trailing comma"),
        (b"'x'", "expected value"),
        (b"\"\\x\"", "escape"),
    ];
    for (id, (script, reason)) in (600u64..).zip(unreadable) {
        let error = called_with(&server, id, script)["error"].take();
        assert_eq!(error["code"], -32700, "{error}");
        let message = error["message"].as_str().expect("a message");
        assert!(message.starts_with("cannot read a message: ") && message.contains(reason), "{message}");
        assert_eq!(server.sh("echo on").output(), "on\n");
    }
    let log = server.log();
    let told = log.lines().filter(|line| line.contains("INFO") && line.contains("cannot read")).count();
    assert!(told == 12 && !log.contains("WARN"), "{log}");
}

#[test]
fn json_that_is_no_request_is_answered_by_its_id() {
    let server = server();
    server.send_line(br#"{"jsonrpc": "1.0", "id": 700, "method": "ping"}"#);
    assert_eq!(server.receive(|message| message["id"] == 700)["error"]["code"], -32600);
    server.send_line(b"[701]");
    let array = server.receive(|message| message.get("error").is_some());
    assert_eq!((&array["error"]["code"], array.get("id")), (&json!(-32600), None));
}

#[test]
fn messages_in_an_array_are_answered_one_by_one() {
    let server = server();
    let call = json!({"name": "shell", "arguments": {"main_sh": "echo batch"}});
    let batch = json!([
        {"jsonrpc": "2.0", "id": 702, "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/x"},
        {"jsonrpc": "1.0", "id": 703, "method": "ping"},
        {"jsonrpc": "2.0", "id": 704, "method": "tools/call", "params": call},
    ]);
    server.send_line(batch.to_string().as_bytes());
    assert_eq!(server.receive(|message| message["id"] == 702)["result"], json!({}));
    assert_eq!(server.receive(|message| message["id"] == 703)["error"]["code"], -32600);
    assert_eq!(server.reply(704).output(), "batch\n");
}

#[test]
fn unreadable_notification_is_not_answered() {
    let server = server();
    server.send_line(br#"{"jsonrpc": "2.0", "method": "notifications/x", "params": 7}"#);
    assert_eq!(server.sh("echo on").output(), "on\n");
    assert_eq!(server.received(), Vec::<Value>::new());
}

#[test]
fn every_line_that_is_no_json_is_answered_once() {
    let server = server();
    let is_noise = |line: &&&[u8]| !line.trim_ascii().is_empty();
    for line in NOISE.iter().filter(is_noise) {
        server.send_line(line);
        let error = server.receive(|message| message.get("error").is_some());
        assert_eq!(error["error"]["code"], -32700, "{error}");
        assert!(error.get("id").is_none_or(|id| [901, 902].iter().any(|known| id == known)), "{error}");
    }
    assert_eq!(server.received(), Vec::<Value>::new());
}

#[test]
fn id_that_is_too_large_comes_back_with_what_is_wrong() {
    let server = server();
    for id in [json!(1_u64 << 63), json!(u64::MAX)] {
        server.send_line(json!({"jsonrpc": "2.0", "id": id, "method": "ping"}).to_string().as_bytes());
        let error = server.receive(|message| message["id"] == id)["error"].take();
        assert_eq!(error["code"], -32600, "{error}");
        assert!(error["message"].to_string().contains("an integer from -2^63 to 2^63-1"), "{error}");
    }
}

#[test]
fn unreadable_request_before_a_session_is_answered() {
    let server = Server::start(&[]);
    assert_eq!(called_with(&server, 800, b"NaN")["error"]["code"], -32700);
    server.initialize(SESSIONS);
    assert_eq!(server.sh("echo on").output(), "on\n");
}

#[test]
fn deeply_nested_line_does_not_end_the_session() {
    let server = server();
    server.send_line(&b"[".repeat(1 << 20));
    server.send_line(&[b"{\"a\":".repeat(1 << 20), b"1".to_vec(), b"}".repeat(1 << 20)].concat());
    assert_eq!(server.sh("echo on").output(), "on\n");
}

#[test]
fn request_of_64_mb_is_refused_and_the_next_one_works() {
    let server = server();
    let before = server.peak_memory();
    let id = server.begin_call("shell", json!({"main_sh": "x".repeat(64 << 20)}));
    let error = server.answer(id).expect_err("it is too large");
    assert!(error.message.contains("bytes"), "{error:?}");
    assert_eq!(server.sh("echo on").output(), "on\n");
    let grown = server.peak_memory() - before;
    assert!(grown < 100 << 20, "the server grew by {grown} bytes");
}

#[test]
fn endless_line_uses_bounded_memory() {
    let server = server();
    let piece = [b"x".repeat(1 << 20)].concat();
    for _ in 0..200 {
        server.send(&piece);
    }
    server.send_line(b"");
    assert_eq!(server.sh("echo on").output(), "on\n");
    let peak = server.peak_memory();
    assert!(peak < 150 << 20, "the server took {peak} bytes");
}

#[test]
fn unknown_method_is_not_found() {
    let server = server();
    for method in ["tools/run", "no-such-method", ""] {
        let error = server.answer(server.request(method, json!({}))).expect_err("there is no such method");
        assert_eq!(error.code, -32601, "{error:?}");
    }
    assert_eq!(server.sh("echo on").output(), "on\n");
}

#[test]
fn unknown_notification_is_ignored() {
    let server = server();
    server.notify("notifications/no-such-thing", json!({"a": [1]}));
    assert_eq!(server.sh("echo on").output(), "on\n");
}

#[test]
fn identifiers_come_back_as_they_were_given() {
    let server = server();
    for id in [json!("a string"), json!("7"), json!(7), json!(0)] {
        server.send_line(json!({"jsonrpc": "2.0", "id": id, "method": "ping"}).to_string().as_bytes());
        let response = server.receive(|message| message["id"] == id);
        assert_eq!(response["result"], json!({}), "{response}");
    }
}

#[test]
fn programs_write_to_their_result_and_never_into_the_protocol() {
    let server = Server::ready(&["--structured-results"]);
    let forged = r#"{"jsonrpc":"2.0","id":1,"result":{"forged":true}}"#;
    let script = format!(
        "echo '{forged}'; echo '{forged}' >&2; echo '{forged}' > /dev/stdout; \
         for n in 0 3 4 5 6 7 8 9; do (echo '{forged}' >&$n) 2> /dev/null; done; true"
    );
    let reply = server.sh(&script);
    assert_eq!(reply.field("stdout").as_str().map(|text| text.matches("forged").count()), Some(2), "{reply}");
    assert!(server.received().iter().all(|message| !message.to_string().contains("forged")));
}
