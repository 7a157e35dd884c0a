//! What goes wrong with the store itself. Each server has one of its own: this machine's, with all changes kept in memory.

use std::fs;
use std::process::{Command, Output};

use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::client::{Server, program};
use crate::text;

/// A server that sees its own copy of the store.
struct Private {
    server: Server,
    /// The home, and the place where the changes are mounted.
    directory: TempDir,
}

impl Private {
    /// The changes have so many bytes.
    fn start(size: u64) -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        let script = format!(
            "mount -t tmpfs -o size={size} tmpfs \"$1\" && mkdir \"$1/changes\" \"$1/work\" && \
             mount -t overlay -o \"lowerdir=/nix,upperdir=$1/changes,workdir=$1/work\" overlay /nix && \
             exec \"$0\" --executor derivation"
        );
        let place = directory.path().join("store");
        fs::create_dir(&place).expect("make a directory");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]).arg(program()).arg(&place);
        // Neither a daemon of the machine nor what other servers have rooted.
        command.env("NIX_DAEMON_SOCKET_PATH", directory.path().join("none")).env("HOME", directory.path());
        for variable in ["XDG_STATE_HOME", "XDG_CACHE_HOME", "NIX_REMOTE"] {
            command.env_remove(variable);
        }
        Self { server: Server::spawn(&mut command).greeted(), directory }
    }

    /// Runs a command where the server's store is.
    fn beside(&self, command: &[&str]) -> Output {
        let target = format!("--target={}", self.server.pid);
        let output = Command::new("nsenter").args([&target, "--mount"]).args(command).output().expect("start nsenter");
        assert!(output.status.success(), "{command:?}: {output:?}");
        output
    }

    fn assert_works(&self) {
        let reply = self.server.sh("echo works");
        assert_eq!(reply.output(), "works\n", "{reply}");
    }
}

/// Between two calls the garbage collector takes the environment, which somebody has unrooted.
pub fn collected() -> Result<(), Failed> {
    let private = Private::start(512 << 20);
    let first = private.server.sh("echo first");
    let environment = first.field("environment").as_str().unwrap_or_else(|| panic!("no environment: {first}"));
    let referrers = text(&private.beside(&["nix-store", "--query", "--referrers-closure", environment]).stdout);
    let delete = ["nix-store", "--delete", "--ignore-liveness"];
    private.beside(&[&delete[..], &referrers.lines().collect::<Vec<_>>()].concat());
    private.beside(&["test", "!", "-e", environment]);
    private.assert_works();
    private.beside(&["test", "-e", environment]);
    Ok(())
}

pub fn read_only() -> Result<(), Failed> {
    let private = Private::start(64 << 20);
    private.assert_works();
    private.beside(&["mount", "-o", "remount,ro", "/nix"]);
    let reply = private.server.sh("echo out");
    let refusal = reply.refusal();
    assert!(refusal.to_lowercase().contains("read-only"), "{refusal}");
    private.beside(&["mount", "-o", "remount,rw", "/nix"]);
    private.assert_works();
    Ok(())
}

pub fn full() -> Result<(), Failed> {
    let private = Private::start(64 << 20);
    private.assert_works();
    let filler = private.directory.path().join("store/filler");
    let fill = "head -c 100000000 /dev/zero > \"$0\"; test -s \"$0\"";
    private.beside(&["sh", "-c", fill, filler.to_str().ok_or("a path of UTF-8")?]);
    let reply = private.server.sh("echo out");
    let refusal = reply.refusal();
    assert!(refusal.contains("the disk that holds /nix/store is full"), "{refusal}");
    private.beside(&["rm", filler.to_str().ok_or("a path of UTF-8")?]);
    private.assert_works();
    Ok(())
}
