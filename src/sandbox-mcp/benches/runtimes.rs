//! Measures how much start-up time of languages the environments save: by a precompiled standard library, preloaded
//! classes, or an interpreter that is started ahead of the call.
//!
//!     nix build && SANDBOX_MCP_BIN=result/bin/sandbox-mcp cargo bench --bench runtimes
//!
//! Compare only figures of the same run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::client::Server;
use test_support::measure::{has_pinned_environments, median, timed};

const GO: &str = "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"hello\") }\n";
const JAVA: &str = "class Main { public static void main(String[] a) { System.out.println(\"hello\"); } }";
const PANDAS: &str = "import pandas\nprint('hello')";
/// The pause between two calls, in which the next interpreter starts.
const PAUSE: Duration = Duration::from_millis(1500);

fn main() {
    // `cargo test --benches` only checks that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let server = Server::ready(&["--executor", "namespace"]);
    if !has_pinned_environments(&server) {
        return;
    }
    println!("{:<34}{:>12}{:>12}{:>8}", "", "call", "bare", "ratio");
    let go = Other { program: "go", arguments: &["run", "main.go"], file: ("main.go", GO), fresh: Some("GOCACHE") };
    compare(&server, "go, hello, cold cache", 3, ("go", json!({"main_go": GO, "go_mod": "module hello\n"})), &go);
    // The JDK's own `java`, because the one of the environment has caches.
    let java = Other { program: "javac/../java", arguments: &["main.java"], file: ("main.java", JAVA), fresh: None };
    compare(&server, "java, hello", 10, ("java", json!({"main_java": JAVA})), &java);
    let python = Other { program: "python", arguments: &["main.py"], file: ("main.py", PANDAS), fresh: None };
    compare(&server, "python, import pandas", 10, ("python", json!({"main_py": PANDAS})), &python);
}

/// A program without a sandbox.
struct Other {
    program: &'static str,
    arguments: &'static [&'static str],
    file: (&'static str, &'static str),
    /// A variable that is set to a new empty directory for each run.
    fresh: Option<&'static str>,
}

fn compare(server: &Server, name: &str, count: usize, (tool, arguments): (&str, Value), other: &Other) {
    // The first call realises the environment and warms the page cache.
    let first = server.call(tool, arguments.clone());
    assert_eq!(first.text(), "hello\n", "{first}");
    let environment = PathBuf::from(first.field("environment").as_str().expect("an environment"));
    assert!(environment.starts_with("/nix/store"), "a server with pinned environments is needed, not {first}");
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..count {
        thread::sleep(PAUSE);
        ours.push(timed(|| assert_eq!(server.call(tool, arguments.clone()).text(), "hello\n")));
        thread::sleep(PAUSE);
        bare.push(other.time(&environment));
    }
    let [ours, bare] = [ours, bare].map(|mut times| median(&mut times));
    println!("{name:<34}{ours:>12.1?}{bare:>12.1?}{:>7.2}x", ours.as_secs_f64() / bare.as_secs_f64());
}

impl Other {
    fn time(&self, environment: &Path) -> Duration {
        let directory = tempfile::tempdir().expect("make a directory");
        let (file, content) = self.file;
        fs::write(directory.path().join(file), content).expect("write a file");
        fs::write(directory.path().join("go.mod"), "module hello\n").expect("write a file");
        let mut command = Command::new(self.path(environment));
        command.args(self.arguments).current_dir(directory.path()).env_clear().stdin(Stdio::null());
        command.env("PATH", environment.join("bin")).env("HOME", directory.path()).env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local").env("OPENBLAS_NUM_THREADS", "1");
        let empty: Option<TempDir> = self.fresh.map(|_| tempfile::tempdir().expect("make a directory"));
        if let (Some(variable), Some(empty)) = (self.fresh, &empty) {
            command.env(variable, empty.path());
        }
        timed(|| assert_eq!(command.output().expect("start the program").stdout, b"hello\n"))
    }

    /// Returns the path of the program. `a/../b` means the program `b` in the directory that the link `a` points into.
    fn path(&self, environment: &Path) -> PathBuf {
        let bin = environment.join("bin");
        match self.program.split_once("/../") {
            Some((known, beside)) => {
                bin.join(known).canonicalize().expect("it is in the environment").with_file_name(beside)
            }
            None => bin.join(self.program),
        }
    }
}
