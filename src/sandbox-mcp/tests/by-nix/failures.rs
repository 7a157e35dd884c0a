//! What goes wrong: each time a clear error, and the next call works.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Failed;
use rustix::process::{Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use crate::by_nix;
use test_support::client::{SESSIONS, Server, program};
use test_support::nix_daemon::Daemon;
use test_support::sleeper::Sleeper;

const NOBODY: u32 = 65534;

/// A server with variables of its own.
fn with(variables: &[(&str, &str)]) -> Server {
    let mut command = Command::new(program());
    command.args(["--executor", "derivation"]).envs(variables.iter().copied());
    Server::spawn(&mut command).greeted()
}

/// A server of an ordinary user, who can reach Nix only by a socket.
fn of_nobody(directory: &Path, socket: &Path) -> Server {
    let copy = directory.join("sandbox-mcp");
    fs::copy(program(), &copy).expect("copy the server");
    let mut command = Command::new(&copy);
    command.args(["--executor", "derivation"]).env("NIX_DAEMON_SOCKET_PATH", socket).env("HOME", directory);
    Server::spawn(command.env_remove("NIX_REMOTE").uid(NOBODY).gid(NOBODY).current_dir(directory)).greeted()
}

/// A directory that everybody may look into.
pub fn public() -> TempDir {
    let everybody = fs::Permissions::from_mode(0o755);
    tempfile::Builder::new().permissions(everybody).tempdir().expect("make a directory")
}

pub fn unstartable() -> Result<(), Failed> {
    let server = by_nix();
    // What the program itself can't start is its own affair.
    let reply = server.sh("exec /no/such/program");
    assert_eq!(reply.field("exit_code"), 127, "{reply}");
    // Nothing of a wrong name reaches the builder.
    let refused = server.call("shell", json!({"main_sh": "true", "files": [{"filename": "../a", "content": ""}]}));
    assert!(refused.is_error(), "{refused}");
    assert_eq!(server.sh("echo next").output(), "next\n");
    Ok(())
}

pub fn unsandboxed() -> Result<(), Failed> {
    let directory = public();
    let socket = directory.path().join("none");
    let config = std::env::var("NIX_CONFIG").unwrap_or_default() + "\nsandbox = false\n";
    // No daemon but one of its own, which heeds the variable.
    let server = with(&[("NIX_CONFIG", &config), ("NIX_DAEMON_SOCKET_PATH", socket.to_str().ok_or("UTF-8")?)]);
    let reply = server.sh("echo out");
    let refusal = reply.refusal();
    assert!(refusal.contains("build sandbox is off") && refusal.contains("`sandbox = true`"), "{refusal}");
    Ok(())
}

/// Where this machine offers no user namespaces, but has a daemon, whose builders get theirs from it.
pub fn without_namespaces() -> Result<(), Failed> {
    let directory = public();
    let daemon = Daemon::start(directory.path());
    let shut = r#"echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" "$@""#;
    let shut_in = |socket: &Path| {
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "sh", "-c", shut])
            .arg(program())
            .env("SANDBOX_MCP_EXECUTOR", "auto");
        command.env("NIX_DAEMON_SOCKET_PATH", socket);
        command
    };
    let server = Server::spawn(&mut shut_in(&daemon.socket));
    let instructions = server.initialize(SESSIONS)["instructions"].to_string();
    let on_host = "This host's own programs, without `packages`: network-tools.";
    // A host may lack its programs: the tool is not listed then.
    let is_told = [on_host, "may have to use this host's"].iter().any(|told| instructions.contains(told));
    assert_eq!(is_told, instructions.contains("network-tools"), "{instructions}");
    let reply = server.sh("echo out; echo err >&2");
    assert_eq!(reply.field("executor"), "derivation", "{reply}");
    let (first, rest) = reply.text().split_once('\n').expect("two lines");
    assert!(first.starts_with("Note: run by Nix") && first.contains("cannot make a sandbox in namespaces"), "{reply}");
    assert_eq!((rest, reply.field("fallback")), ("out\n\nStderr:\nerr\n", &json!(first)));
    let script = directory.path().join("script");
    fs::write(&script, "echo out").expect("write a script");
    let output = shut_in(&daemon.socket).args(["run", "shell"]).arg(&script).output().expect("start it");
    let told = super::text(&output.stderr);
    assert!(told.contains(&format!("sandbox-mcp: {first}\n")) && output.stdout == b"out\n", "{output:?}");
    // Without Nix there are this host's toolchains, if other walls stand, and the result says so.
    drop((server, daemon));
    let mut without_nix = shut_in(&directory.path().join("none"));
    let server = Server::spawn(without_nix.env("PATH", "/usr/bin:/bin"));
    let instructions = server.initialize(SESSIONS)["instructions"].to_string();
    let is_told = ["this host's own", "no tools on this machine"].iter().any(|told| instructions.contains(told));
    assert!(!instructions.contains("`packages`") && is_told, "{instructions}");
    let reply = server.sh("echo out");
    let refused = reply.is_error() && reply.text_content().contains("Namespaces would: cannot make a sandbox");
    let is_told = reply.text_content().starts_with("Note: run on this host's toolchains (executor `direct`)");
    assert!(refused || reply.field("executor") == "direct" && is_told, "{reply}");
    Ok(())
}

pub fn unreachable() -> Result<(), Failed> {
    let directory = public();
    let server = of_nobody(directory.path(), &directory.path().join("none"));
    for _ in 0..2 {
        let reply = server.sh("echo out");
        let refusal = reply.refusal();
        for part in ["No such file", "/nix/store can't be written: Permission denied", "start the Nix daemon"] {
            assert!(refusal.contains(part), "{refusal}");
        }
    }
    Ok(())
}

pub fn forbidden() -> Result<(), Failed> {
    let directory = public();
    let daemon = Daemon::start(directory.path());
    let let_in = |mode| fs::set_permissions(&daemon.socket, fs::Permissions::from_mode(mode));
    let_in(0o600)?;
    let server = of_nobody(directory.path(), &daemon.socket);
    let reply = server.sh("echo out");
    let refusal = reply.refusal();
    let denied = format!("cannot reach the Nix daemon at {}: Permission denied", daemon.socket.display());
    assert!(refusal.contains(&denied) && refusal.contains("let this user reach its socket"), "{refusal}");
    let_in(0o666)?;
    assert_eq!(server.sh("echo out").output(), "out\n");
    Ok(())
}

pub fn restarted() -> Result<(), Failed> {
    let directory = public();
    let daemon = Daemon::start(directory.path());
    let server = of_nobody(directory.path(), &daemon.socket);
    assert_eq!(server.sh("id -u; echo 1").output(), "1000\n1\n");
    drop(daemon);
    let reply = server.sh("echo out");
    let refusal = reply.refusal();
    assert!(refusal.contains("Connection refused") && refusal.contains("start the Nix daemon"), "{refusal}");
    let daemon = Daemon::start(directory.path());
    assert_eq!(server.sh("echo 2").output(), "2\n");
    // Those connections that wait for runs are of this daemon.
    drop(daemon);
    let _daemon = Daemon::start(directory.path());
    assert_eq!(server.sh("echo 3").output(), "3\n");
    Ok(())
}

pub fn worker_killed() -> Result<(), Failed> {
    let directory = public();
    let daemon = Daemon::start(directory.path());
    let server = of_nobody(directory.path(), &daemon.socket);
    let sleeper = Sleeper::new();
    let id = server.begin_call("shell", json!({"main_sh": sleeper.to_string()}));
    sleeper.wait_for(1);
    for worker in daemon.workers() {
        kill_process(worker, Signal::KILL)?;
    }
    let reply = server.reply(id);
    assert!(reply.refusal().contains("the Nix daemon was lost"), "{reply}");
    // Nobody is left who could end the builder but itself.
    sleeper.wait_for(0);
    assert_eq!(server.sh("echo next").output(), "next\n");
    Ok(())
}
