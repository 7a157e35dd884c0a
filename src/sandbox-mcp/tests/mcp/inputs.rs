//! Tests what a call gives its program in addition to code, and the forms in which clients send it.

use serde_json::{Value, json};

use crate::arguments::assert_says;
use crate::server;
use test_support::client::Server;

/// Programs that print their arguments, a variable and their standard input, by tool.
const PROGRAMS: [(&str, &str, &str); 4] = [
    ("python", "main_py", "import os, sys\nprint(*sys.argv[1:], os.environ.get('V', ''), sys.stdin.read(), sep='|')"),
    ("shell", "main_sh", "printf '%s|' \"$@\" \"$V\"; cat; echo"),
    (
        "javascript",
        "index_js",
        "const input = require('fs').readFileSync(0, 'utf8'); console.log([...process.argv.slice(2), process.env.V ?? '', input].join('|'))",
    ),
    (
        "java",
        "main_java",
        "public class Main { public static void main(String[] a) throws Exception { String v = System.getenv(\"V\"); \
         System.out.println(String.join(\"|\", a) + (a.length > 0 ? \"|\" : \"\") + (v == null ? \"\" : v) + \"|\" \
         + new String(System.in.readAllBytes())); } }",
    ),
];

#[test]
fn calls_get_their_own_inputs_again_and_again() {
    let server = Server::ready(&[]);
    for (tool, parameter, code) in PROGRAMS {
        let run = |given: Value| {
            let mut arguments = given;
            arguments[parameter] = code.into();
            let reply = server.call(tool, arguments);
            (!reply.is_unavailable()).then(|| reply.output().trim_end().to_owned())
        };
        for number in 0..3 {
            let (n, given) = (number.to_string(), json!({"args": ["a", number], "env": {"V": number}, "stdin": "in"}));
            let all = [run(json!({})), run(given), run(json!({"stdin": n})), run(json!({"args": [n]}))];
            let [Some(none), Some(every), Some(stdin), Some(args)] = all else { break };
            assert_eq!(
                [none, every, stdin, args],
                ["|", &format!("a|{n}|{n}|in"), &format!("|{n}"), &format!("{n}||")],
                "{tool}"
            );
        }
    }
}

#[test]
fn arguments_as_strings_of_json_are_taken() {
    let arguments = json!({
        "main_sh": "cat a.txt; echo \"$1 $N\"; cat",
        "files": r#"[{"filename": "a.txt", "content": "A\n"}]"#,
        "args": r#"["one"]"#,
        "env": r#"{"N": 1}"#,
        "timeout_seconds": "9",
        "cache": "false",
        "stdin": "[1]",
    });
    assert_eq!(server().call("shell", arguments).output(), "A\none 1\n[1]");
}

#[test]
fn files_may_be_one_file_or_a_map_of_contents() {
    let server = server();
    for files in [
        json!({"filename": "a.txt", "content": "A"}),
        json!({"a.txt": "A"}),
        json!({"a.txt": {"content": "QQ==", "encoding": "base64"}}),
    ] {
        assert_eq!(server.call("shell", json!({"main_sh": "cat a.txt", "files": files})).output(), "A");
    }
}

#[test]
fn variable_of_the_sandbox_and_a_longer_time_are_refused() {
    let server = server();
    for (name, value, parts) in [
        ("env", json!({"PATH": "/"}), ["`env.PATH`", "leave it out"]),
        ("env", json!({"A-B": "1"}), ["`env.A-B`", "letters"]),
        ("timeout_seconds", json!(61), ["`timeout_seconds`", "at most 60"]),
        ("timeout_seconds", json!(0), ["`timeout_seconds`", "at least 1"]),
        ("stdin_encoding", json!("hex"), ["`stdin_encoding`", "`base64`"]),
    ] {
        assert_says(server.call("shell", json!({"main_sh": "true", name: value})).refusal(), &parts);
    }
    let hurried = Server::ready(&["--timeout", "5"]);
    let refused = hurried.call("shell", json!({"main_sh": "true", "timeout_seconds": 6}));
    assert_says(refused.refusal(), &["at most 5"]);
}

#[test]
fn time_that_a_call_names_ends_it() {
    let reply = server().call("shell", json!({"main_sh": "echo begun; sleep 900", "timeout_seconds": 1}));
    assert_says(reply.content().0, &["timeout after 1 seconds", "begun"]);
}

#[test]
fn input_of_10_mb_arrives_whole() {
    let stdin = "0123456789abcde\n".repeat(10 << 16);
    let reply = server().call("shell", json!({"main_sh": "wc -c; tail -n 1 /dev/stdin", "stdin": stdin}));
    assert_eq!(reply.output().split_whitespace().next(), Some("10485760"));
}
