//! What is said of the tools on a machine that has the programs of few of them.

use std::env;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::protocol::tools;
use test_support::client::{SESSIONS, Server, program};

#[test]
fn instructions_name_only_what_is_listed() {
    let directory = tempfile::tempdir().expect("make a directory");
    let path = env::var("PATH").expect("a path");
    // Some toolchains are found elsewhere, too.
    for program in ["sh", "bash", "env", "cat"] {
        let found = env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.exists());
        let found = found.unwrap_or_else(|| panic!("there is no {program}"));
        symlink(found, directory.path().join(program)).expect("link it");
    }
    let mut command = Command::new(program());
    command.env("PATH", directory.path()).args(["--executor", "direct"]);
    let server = Server::spawn(&mut command);
    let greeting = server.initialize(SESSIONS);
    let listed = tools(&server);
    let names: Vec<&str> = listed.iter().filter_map(|tool| tool["name"].as_str()).collect();
    let text = greeting["instructions"].as_str().expect("instructions");
    for tool in ["apisix", "go", "java", "javascript", "network-tools", "python", "rust", "shell"] {
        let is_named = text.split([' ', ',', '.', ':']).any(|word| word == tool);
        assert_eq!(is_named, names.contains(&tool), "{tool}: {names:?}, {text}");
    }
    assert!(names.len() < 8, "{names:?}");
}
