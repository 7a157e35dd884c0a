//! A Nix daemon for this machine's store, at a separate socket.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A Nix daemon. It is killed with its workers when this is dropped.
pub struct Daemon {
    child: Child,
    pub socket: PathBuf,
}

impl Daemon {
    /// Starts a daemon with its socket in a directory. Every user who can access the directory can use it.
    pub fn start(directory: &Path) -> Self {
        let socket = directory.join("socket");
        let _ = fs::remove_file(&socket);
        let child = Command::new("nix-daemon")
            .env("NIX_DAEMON_SOCKET_PATH", &socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start a daemon");
        let daemon = Self { child, socket };
        let begun = Instant::now();
        while UnixStream::connect(&daemon.socket).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the daemon does not listen");
            sleep(Duration::from_millis(10));
        }
        daemon
    }

    /// Returns the workers, the children of the daemon that serve one connection each.
    pub fn workers(&self) -> Vec<Pid> {
        let parent = format!("PPid:\t{}", self.child.id());
        let is_worker = |process: &Path| {
            fs::read_to_string(process.join("status")).is_ok_and(|status| status.lines().any(|line| line == parent))
        };
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten().filter(|entry| is_worker(&entry.path()));
        processes.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The daemon is stopped first, so that it starts no worker while the others are killed.
        halt(Pid::from_raw(self.child.id() as i32).expect("a process has an id"));
        for worker in self.workers() {
            let _ = kill_process(worker, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Stops a process (SIGSTOP), and waits until it is stopped or has ended.
pub fn halt(process: Pid) {
    let _ = kill_process(process, Signal::STOP);
    let runs =
        |status: String| !status.lines().any(|line| line.starts_with("State:\tT") || line.starts_with("State:\tZ"));
    while fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).is_ok_and(runs) {
        sleep(Duration::from_millis(1));
    }
}
