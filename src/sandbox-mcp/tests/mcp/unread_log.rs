//! A log that nobody reads, or not before the end: clients start servers with a pipe as standard error and forget it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::Command;
use std::thread;

use serde_json::json;
use tempfile::TempDir;

use test_support::client::{Server, program};

/// A server whose standard error is a named pipe, which holds 64 kB.
struct Unread {
    server: Server,
    directory: TempDir,
}

impl Unread {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        let mut command = Command::new("bash");
        // Opened for reading, too, so that it waits for no reader.
        command.args(["-c", "mkfifo \"$0\" && exec 2<> \"$0\" && exec \"$1\""]);
        command.arg(directory.path().join("log")).arg(program());
        Self { server: Server::spawn(&mut command).greeted(), directory }
    }

    /// Makes calls that are answered, and of which each is logged by a line of some 400 bytes.
    fn call(&self, count: usize) {
        let name = "x".repeat(300);
        let calls: Vec<u64> =
            (0..count).map(|_| self.server.request("tools/call", json!({"name": name, "arguments": []}))).collect();
        for call in calls {
            self.server.answer(call).expect_err("arguments are an object");
        }
    }

    /// Begins to read the log, up to its end.
    fn read(&self) -> thread::JoinHandle<Vec<String>> {
        let log = File::open(self.directory.path().join("log")).expect("open the pipe");
        thread::spawn(move || BufReader::new(log).lines().map(|line| line.expect("text")).collect())
    }
}

fn refused(log: &[String]) -> usize {
    log.iter().filter(|line| line.contains("end=\"refused\"")).count()
}

#[test]
fn log_that_nobody_reads_holds_up_no_call() {
    let unread = Unread::start();
    unread.call(400);
    assert_eq!(unread.server.sh("echo on").output(), "on\n");
    unread.server.close_input();
    assert!(unread.server.wait().success());
}

#[test]
fn log_that_is_read_at_the_end_is_whole() {
    let unread = Unread::start();
    unread.call(400);
    unread.server.sh("exit 7");
    let reading = unread.read();
    unread.server.close_input();
    assert!(unread.server.wait().success());
    let log = reading.join().expect("read the log");
    assert_eq!(refused(&log), 400);
    assert!(log.last().is_some_and(|line| line.contains("exit_code=7")), "{:?}", log.last());
}

#[test]
fn log_that_is_read_late_tells_what_was_dropped() {
    let unread = Unread::start();
    unread.call(4000);
    let reading = unread.read();
    // The pipe and the queue take a moment to be emptied.
    thread::sleep(std::time::Duration::from_millis(500));
    unread.server.sh("exit 7");
    unread.server.close_input();
    assert!(unread.server.wait().success());
    let log = reading.join().expect("read the log");
    let told: Vec<&String> = log.iter().filter(|line| line.contains("lines of this log were dropped")).collect();
    let [told] = told[..] else { panic!("told {} times: {told:?}", told.len()) };
    let dropped = told.split(' ').find_map(|word| word.parse::<usize>().ok()).expect("a number");
    assert_eq!(refused(&log) + dropped, 4000, "{told}");
    assert!(dropped > 0 && log.last().is_some_and(|line| line.contains("exit_code=7")), "{:?}", log.last());
}
