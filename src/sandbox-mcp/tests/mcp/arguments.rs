//! Calls with arguments that are wrong, or large.

use serde_json::{Value, json};

use crate::server;

/// What python says to a call with these additional files.
#[track_caller]
fn refusal_of_files(files: Value) -> String {
    server().call("python", json!({"main_py": "print('ran')", "files": files})).refusal().to_owned()
}

/// What python says to a call with an additional file of this name.
#[track_caller]
fn refusal_of_name(name: &str) -> String {
    refusal_of_files(json!([{"filename": name, "content": "x"}]))
}

#[track_caller]
pub fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[test]
fn unknown_tool_is_invalid_params_and_names_known_ones() {
    let server = server();
    for name in ["perl", "", "Python", "python ", "../python"] {
        let error = server.answer(server.begin_call(name, json!({"main_py": "1"}))).expect_err("there is no such tool");
        assert_eq!(error.code, -32602, "{name:?}: {error:?}");
        assert_says(&error.message, &[name, "network-tools, python"]);
    }
}

#[test]
fn call_that_names_no_tool_is_an_error() {
    let server = server();
    for params in [json!({}), json!({"name": 7}), json!({"tool": "shell"})] {
        let error = server.answer(server.request("tools/call", params)).expect_err("no tool was named");
        assert_eq!(error.code, -32602, "{error:?}");
        assert_says(&error.message, &["name"]);
    }
}

#[test]
fn missing_parameter_is_refused_by_the_name_of_its_file() {
    let server = server();
    for (tool, arguments, file) in [
        ("python", json!({}), "main.py file is required"),
        ("go", json!({"go_mod": "module m"}), "main.go file is required"),
    ] {
        assert_says(server.call(tool, arguments).refusal(), &[file, "missing"]);
    }
}

#[test]
fn call_without_arguments_is_refused_like_one_with_none_given() {
    let server = server();
    let id = server.request("tools/call", json!({"name": "python"}));
    assert_says(server.reply(id).refusal(), &["main.py file is required"]);
}

#[test]
fn empty_parameter_is_refused_by_the_name_of_its_file() {
    assert_says(server().call("shell", json!({"main_sh": ""})).refusal(), &["main.sh file is required", "empty"]);
}

#[test]
fn parameter_of_wrong_type_is_refused_with_both_types() {
    let server = server();
    for (value, kind) in [
        (json!(7), "a number"),
        (json!(null), "null"),
        (json!(true), "a boolean"),
        (json!(["print(1)"]), "an array"),
        (json!({"text": "print(1)"}), "an object"),
    ] {
        let reply = server.call("python", json!({"main_py": value}));
        assert_says(reply.refusal(), &["main.py file is required", "main_py", "string", kind]);
    }
}

#[test]
fn arguments_that_are_no_object_are_answered_with_an_error() {
    let server = server();
    for arguments in [json!([]), json!("main_py"), json!(7)] {
        let error = server.answer(server.begin_call("python", arguments)).expect_err("that is no object");
        assert_eq!(error.code, -32602, "{error:?}");
        assert_says(&error.message, &["arguments", "object"]);
    }
}

#[test]
fn unknown_parameter_is_ignored_and_told() {
    let server = server();
    let reply = server.call("shell", json!({"main_sh": "echo ran", "main.sh": "x", "toolCallId": "1"}));
    let notes = "Note: unknown parameter `main.sh` was ignored; did you mean `main_sh`?\n\
                 Note: unknown parameter `toolCallId` was ignored";
    assert_eq!(reply.content().0, format!("ran\n{notes}"));
    assert_eq!(reply.field("ignored").as_array().map(Vec::len), Some(2), "{reply}");
    assert_says(server.call("shell", json!({"main.sh": "x"})).refusal(), &["main.sh file is required", "`main_sh`?"]);
}

#[test]
fn everything_wrong_with_a_call_is_told_at_once() {
    let arguments = json!({"args": 1, "timeout_seconds": "soon", "files": [{"filename": "a"}], "stdinn": "x"});
    let reply = server().call("shell", arguments);
    let parts = ["main_sh", "`args`", "`timeout_seconds`", "`files[0].content`", "`stdinn`"];
    assert_says(reply.refusal(), &parts);
}

#[test]
fn files_that_are_no_list_of_files_are_refused_with_the_place() {
    for (files, place) in [
        (json!("a.txt"), "`files`"),
        (json!({"a.txt": 7}), "`files[0].content`"),
        (json!([["a.txt", "content"]]), "`files[0]`"),
        (json!([{"filename": "a.txt", "content": "x"}, {"filename": "b.txt"}]), "`files[1].content`"),
        (json!([{"filename": 7, "content": "x"}]), "`files[0].filename`"),
        (json!([{"filename": "a.txt", "content": null}]), "`files[0].content`"),
        (json!([{"filename": "a.txt", "content": "x", "encoding": "hex"}]), "`files[0].encoding`"),
        (json!([{"filename": "a.txt", "content": "?", "encoding": "base64"}]), "\"a.txt\" is not base64"),
        (json!([{"filename": "a.txt", "content": "x", "executable": "often"}]), "`files[0].executable`"),
    ] {
        assert_says(&refusal_of_files(files), &[place]);
    }
}

#[test]
fn absolute_file_name_is_refused() {
    assert_says(&refusal_of_name("/etc/passwd"), &["/etc/passwd", "absolute", "relative to the working directory"]);
}

#[test]
fn file_name_that_leads_upwards_is_refused() {
    for name in ["../x", "a/../../x", "a/..", ".."] {
        assert_says(&refusal_of_name(name), &[name, "`..`", "below the working directory"]);
    }
}

#[test]
fn file_name_with_a_nul_is_refused() {
    assert_says(&refusal_of_name("a\0b"), &["NUL"]);
}

#[test]
fn empty_file_name_is_refused() {
    assert_says(&refusal_of_name(""), &["is empty"]);
}

#[test]
fn file_given_twice_is_refused() {
    let files = json!([{"filename": "a.txt", "content": "1"}, {"filename": "./a.txt", "content": "2"}]);
    assert_says(&refusal_of_files(files), &["a.txt", "given twice"]);
}

#[test]
fn file_that_names_the_entrypoint_again_is_refused() {
    for name in ["main.py", "./main.py", "./././main.py"] {
        assert_says(&refusal_of_name(name), &["main.py", "parameter of its own"]);
    }
}

#[test]
fn file_that_names_a_required_file_again_is_refused() {
    let files = json!([{"filename": "go.mod", "content": "module other"}]);
    let arguments = json!({"main_go": "package main", "go_mod": "module m", "files": files});
    assert_says(server().call("go", arguments).refusal(), &["go.mod", "parameter of its own"]);
}

#[test]
fn file_name_that_names_a_directory_is_refused() {
    for name in [".", "a/", "a/.", "./"] {
        assert_says(&refusal_of_name(name), &["names a directory"]);
    }
}

#[test]
fn file_below_another_file_is_refused() {
    for files in [
        json!([{"filename": "a", "content": "1"}, {"filename": "a/b", "content": "2"}]),
        json!([{"filename": "main.py/b", "content": "2"}]),
    ] {
        assert_says(&refusal_of_files(files), &["directory", "also given as a file"]);
    }
}

#[test]
fn file_name_of_4000_characters_is_refused_in_a_short_text() {
    for name in ["x".repeat(4000), "ü".repeat(4000), "x/".repeat(2001) + "x"] {
        let text = refusal_of_name(&name);
        assert_says(&text, &["at most"]);
        assert!(text.len() < 1000, "the name is not repeated in full: {} bytes", text.len());
    }
}

#[test]
fn path_of_4000_characters_is_created_with_directories() {
    let name = vec!["d".repeat(199); 19].join("/") + "/file";
    let files = json!([{"filename": name, "content": "found"}]);
    let script = format!("from pathlib import Path\nprint(Path('{name}').read_text(), len('{name}'))");
    assert_eq!(server().call("python", json!({"main_py": script, "files": files})).output(), "found 3804\n");
}

#[test]
fn odd_but_harmless_file_names_work() {
    let names =
        ["a b", "-rf", "$(x)", "a'b\"c", "new\nline", "ü/é", "...", ".hidden", "a\\b", "con", "x".repeat(255).as_str()]
            .map(str::to_owned);
    let files: Vec<Value> = names.iter().map(|name| json!({"filename": name, "content": name})).collect();
    let script = "import pathlib\nfor path in pathlib.Path('.').rglob('*'):\n    \
                  if path.is_file() and path.name != 'main.py': assert path.read_text() == str(path), path\n\
                  print(sum(path.is_file() for path in pathlib.Path('.').rglob('*')))";
    let reply = server().call("python", json!({"main_py": script, "files": files}));
    assert_eq!(reply.output(), format!("{}\n", names.len() + 1));
}

#[test]
fn thousand_files_work() {
    let files: Vec<Value> =
        (0..1000).map(|n| json!({"filename": format!("{}/{n}.txt", n % 10), "content": n.to_string()})).collect();
    let reply = server().call("shell", json!({"main_sh": "cat */*.txt | wc -c; ls -d [0-9] | wc -l", "files": files}));
    assert_eq!(reply.output().split_whitespace().collect::<Vec<_>>(), ["2890", "10"]);
}

#[test]
fn content_of_10_mb_arrives_whole() {
    let content = "0123456789abcde\n".repeat(10 << 16);
    let files = json!([{"filename": "large.txt", "content": content}]);
    let reply = server().call("shell", json!({"main_sh": "wc -c < large.txt; tail -n 1 large.txt", "files": files}));
    assert_eq!(reply.output().split_whitespace().collect::<Vec<_>>(), ["10485760", "0123456789abcde"]);
}

#[test]
fn script_of_10_mb_runs() {
    let script = format!("{}echo end\n", "# a comment line\n".repeat(640_000));
    assert_eq!(server().sh(&script).output(), "end\n");
}

#[test]
fn content_may_hold_any_character() {
    let content = "a\0b\r\n\u{7f}\u{feff}\u{ffff}\u{10ffff}\t\u{1b}[31m";
    let files = json!([{"filename": "odd", "content": content}]);
    let script = "print(ascii(open('odd', newline='').read()))";
    let reply = server().call("python", json!({"main_py": script, "files": files}));
    assert_eq!(reply.output(), "'a\\x00b\\r\\n\\x7f\\ufeff\\uffff\\U0010ffff\\t\\x1b[31m'\n");
}
