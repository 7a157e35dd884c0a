//! Tests that find and run the toolchains of this machine.

use std::path::{Path, PathBuf};

use sandbox_plan::Ending;
use tokio_util::sync::CancellationToken;

use super::super::{Host, HostError, toolchain};
use super::support::sandbox;
use crate::call::file::File;
use crate::call::job::{Job, Output};
use crate::sandbox::launch;
use crate::sandbox::plan;
use crate::sandbox::view::View;
use crate::testing::{Caller, everybody, run};

/// Runs a program on this machine's toolchains, and returns its output.
fn output_as(caller: Caller, tool: &str, code: &str) -> Result<(View, String), HostError> {
    let sandbox = sandbox(tool);
    run(caller, &[], || async {
        let view = (*toolchain(sandbox, &Host::from_environment())?.view()).clone();
        let mut files = vec![File::parse(sandbox.entrypoint, code.to_owned()).unwrap()];
        if tool == "go" {
            files.push(File::parse("go.mod", "module hello".to_owned()).unwrap());
        }
        let job = Job::new(sandbox, files);
        let plan = plan::in_namespaces(&job, &view);
        let run = launch::run(&plan, Output::Captured, &CancellationToken::new()).await.expect("the sandbox works");
        assert_eq!(run.ending, Ending::Exited { code: 0 }, "{caller:?}: {}{}", run.stdout.text(), run.stderr.text());
        Ok((view, run.stdout.text()))
    })
}

#[track_caller]
fn text_as(caller: Caller, tool: &str, code: &str) -> (View, String) {
    output_as(caller, tool, code).unwrap_or_else(|error| panic!("as {caller:?}: {error}"))
}

#[test]
fn hello_runs_in_every_tool_or_the_error_names_a_remedy() {
    let hello = [
        ("shell", "echo hello from $(basename $0)", "hello from main.sh\n"),
        ("python", "import sqlite3, ssl, sys; print('hello from', sys.version_info.major)", "hello from 3\n"),
        ("javascript", "console.log('hello from', typeof require('fs').readFileSync)", "hello from function\n"),
        ("rust", "fn main() { println!(\"hello from {}\", std::env::args().next().unwrap()) }", "hello from ./main\n"),
        ("go", "package main\nimport \"fmt\"\nfunc main() { fmt.Println(\"hello\") }", "hello\n"),
        ("java", "class Main { public static void main(String[] a) { System.out.println(\"hello\"); } }", "hello\n"),
    ];
    for caller in everybody() {
        for (tool, code, expected) in hello {
            match output_as(caller, tool, code) {
                Ok((_, text)) => assert_eq!(text, expected, "{tool} as {caller:?}"),
                Err(error) => {
                    eprintln!("as {caller:?}: {error}");
                    let text = error.to_string();
                    assert_ne!(tool, "shell", "every machine has a shell: {text}");
                    assert!(text.contains(&format!("`{tool}`")), "{text}");
                }
            }
        }
    }
}

#[test]
fn home_is_hidden_except_for_toolchains() {
    // Prints each path on the way to a toolchain, and each toolchain without its contents.
    let code = "import os, sys\n\
                for tree in TREES:\n\
                \x20   for directory, below, files in os.walk(tree):\n\
                \x20       print(directory)\n\
                \x20       if directory in SHOWN: below.clear(); continue\n\
                \x20       for file in files: print(os.path.join(directory, file))\n\
                for name in os.listdir('/mnt'):\n\
                \x20   if name != 'data': print('/mnt/' + name)\n";
    for caller in everybody() {
        let (view, _) = text_as(caller, "python", "");
        let home = std::env::home_dir().expect("tests have a home");
        let shown: Vec<&Path> = view.binds.iter().map(|bind| &*bind.target).collect();
        let code = format!("SHOWN = {shown:?}\nTREES = [{home:?}, '/home', '/root', '/opt', '/srv']\n{code}");
        let (_, text) = text_as(caller, "python", &code);
        let mut seen: Vec<&Path> = text.lines().map(Path::new).collect();
        // This directory is made for the sandbox, and contains a link.
        seen.retain(|path| *path != Path::new("/mnt"));
        seen.retain(|path| !shown.iter().any(|shown| shown.starts_with(path) || path.starts_with(shown)));
        assert!(seen.is_empty(), "as {caller:?}: {seen:?}");
    }
}

#[test]
fn secrets_and_processes_of_the_host_are_hidden() {
    let code = "ls -d /etc/shadow /etc/passwd /etc/ssl/private /var/log /boot 2>/dev/null; \
                grep -vc -e ^root: -e ^nobody: -e ^sandbox: /etc/passwd; ls -d /proc/[0-9]* | wc -l; \
                for at in /usr/bin/x /usr/x /bin/x /etc/x /x; do echo x 2>/dev/null >$at && echo wrote $at; done; \
                echo $HOME $PWD; echo x > /tmp/x && cat /tmp/x";
    for caller in everybody() {
        let (_, text) = text_as(caller, "shell", code);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[1]), ("/etc/passwd", "0"), "{text}");
        // Pid 1, the shell, `ls` and `wc`.
        assert!(lines[2].parse::<u32>().unwrap() <= 5, "{text}");
        assert_eq!(lines[3..], ["/sandbox /sandbox", "x"], "{text}");
    }
}

#[test]
fn tool_on_the_host_network_has_resolver_files() {
    for caller in everybody() {
        let code = "cat /etc/services /etc/hosts >/dev/null && test -e /etc/resolv.conf && echo there";
        assert_eq!(text_as(caller, "network-tools", code).1, "there\n");
    }
}

#[test]
fn path_of_the_tool_finds_the_located_toolchain_first() {
    let (view, text) = text_as(Caller::Own, "python", "import sys; print(sys.executable); print(sys.prefix)");
    let lines: Vec<PathBuf> = text.lines().map(PathBuf::from).collect();
    assert!(lines[0].starts_with(view.path.split(':').next().unwrap()), "{text} is not on {}", view.path);
}
