//! The server in the states that whoever starts it can leave it in.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::protocol::{listen, tools};
use test_support::client::{SESSIONS, Server, program, stateless};

const NOBODY: u32 = 65534;

/// A copy of the server that everybody can reach, and a directory that everybody can write to.
struct Copy(TempDir);

impl Copy {
    fn new() -> Self {
        let everybody = || fs::Permissions::from_mode(0o777);
        let directory = tempfile::Builder::new().tempdir().expect("make a directory");
        fs::set_permissions(directory.path(), everybody()).expect("open it");
        fs::copy(program(), directory.path().join("server")).expect("copy the server");
        Self(directory)
    }

    /// The server, started by a shell after `preparation`.
    fn after(&self, preparation: &str, is_nobody: bool, arguments: &[&str]) -> Command {
        let mut command = Command::new("bash");
        command.arg("-c").arg(format!("{preparation}; exec \"$0\" \"$@\"")).arg(self.0.path().join("server"));
        command.args(arguments).current_dir(self.0.path());
        if is_nobody {
            // Where Nix keeps what holds environments, root's home is closed to nobody.
            command.uid(NOBODY).gid(NOBODY).env("HOME", self.0.path());
        }
        command
    }
}

/// Runs a command where the kernel refuses to make user namespaces. All users of this machine are there if this is root, so
/// that the command can become another.
const WITHOUT_NAMESPACES: &str = r#"
import ctypes, os, sys
users = "0 0 65536" if os.getuid() == 0 else f"{os.getuid()} {os.getuid()} 1"
groups = "0 0 65536" if os.getuid() == 0 else f"{os.getgid()} {os.getgid()} 1"
begun, begin = os.pipe()
helper = os.fork()
if helper == 0:
    os.read(begun, 1)
    facts = {"uid_map": users, "gid_map": groups}
    for name, text in facts.items() if os.getuid() == 0 else [("setgroups", "deny"), *facts.items()]:
        open(f"/proc/{os.getppid()}/{name}", "w").write(text)
    os._exit(0)
assert ctypes.CDLL(None).unshare(0x10000000) == 0
os.write(begin, b"x")
assert os.waitpid(helper, 0)[1] == 0
os.set_inheritable(begin, False)
open("/proc/sys/user/max_user_namespaces", "w").write("0")
os.execvp(sys.argv[1], sys.argv[1:])
"#;

/// The server where it gets no user namespaces and no Nix runs calls; none where that can't be arranged.
fn without_namespaces_and_nix(arguments: &[&str]) -> Option<Command> {
    let command = |program: &OsStr| {
        let mut command = Command::new("python3");
        command.args(["-c", WITHOUT_NAMESPACES]).arg(program);
        command.env("SANDBOX_MCP_EXECUTOR", "auto").env("NIX_DAEMON_SOCKET_PATH", "/nonexistent");
        command
    };
    let mut server = command(&program());
    server.args(arguments);
    command("true".as_ref()).status().is_ok_and(|status| status.success()).then_some(server)
}

#[test]
fn without_namespaces_and_nix_lists_are_true_from_the_first() {
    let Some(mut command) = without_namespaces_and_nix(&[]) else { return };
    let server = Server::spawn(&mut command).greeted();
    let first = tools(&server);
    let reply = server.sh("test -e /sandbox/out || echo absent > $OUT/file");
    assert_eq!(tools(&server), first, "what a call finds out is known before");
    if reply.field("executor") != "direct" {
        // This machine walls off nothing then, or has a Nix that runs calls even so.
        assert_eq!(reply.field("executor").is_null(), first.is_empty(), "{reply}");
        return;
    }
    assert_eq!(reply.content().1[1]["text"], "file:\nabsent\n", "{reply}");
    assert!(!reply.everything().contains("/sandbox/out"), "{reply}");
    for tool in &first {
        let text = tool["description"].as_str().expect("a description");
        assert!(text.contains("This host's own programs") && text.contains("Files in `$OUT` are"), "{text}");
    }
    let packages = server.call("shell", json!({"main_sh": "true", "packages": ["no-such-package"]}));
    assert!(packages.refusal().contains("there are none to add"), "{packages}");
    let names: Vec<&str> = first.iter().filter_map(|tool| tool["name"].as_str()).collect();
    let unknown = server.answer(server.request("tools/call", json!({"name": "perl"}))).expect_err("no such tool");
    assert!(unknown.message.ends_with(&format!("the tools are {}", names.join(", "))), "{unknown:?}");
    let mut run = without_namespaces_and_nix(&["run", "perl", "/dev/null"]).expect("as before");
    let told = String::from_utf8_lossy(&run.output().expect("run it").stderr).into_owned();
    assert!(told.contains(&format!("the tools are {}", names.join(", "))), "{told}");
    let listed = without_namespaces_and_nix(&["list"]).expect("as before").output().expect("list the tools");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let (can, cannot) = listed.split_once("\n\n").unwrap_or((&listed, ""));
    // The first line names the columns.
    assert_eq!(can.lines().skip(1).filter_map(|line| line.split(' ').next()).collect::<Vec<_>>(), names);
    // What can't run says why its own environment can't be used, where it has one.
    let is_pinned = crate::server().sh("true").field("environment") != "host";
    for line in cannot.lines().skip(1) {
        let remedy =
            if is_pinned { "let this machine use the pinned environment: this machine cannot" } else { "`nix build`" };
        assert!(line.contains(remedy), "{line}");
    }
}

/// A server on a machine without namespaces, whose Nix takes its time to fail.
fn with_a_slow_nix_that_fails() -> Option<(Server, TempDir)> {
    let mut command = without_namespaces_and_nix(&[])?;
    let directory = tempfile::tempdir().expect("make a directory");
    let nix_store = directory.path().join("nix-store");
    fs::write(&nix_store, "#!/bin/sh\nsleep 8\nexit 1\n").expect("write a script");
    fs::set_permissions(&nix_store, fs::Permissions::from_mode(0o755)).expect("let it be run");
    let path = std::env::var("PATH").expect("a path");
    command.env("PATH", format!("{}:{path}", directory.path().display())).env("XDG_STATE_HOME", directory.path());
    Some((Server::spawn(&mut command), directory))
}

fn has_pinned(tools: &[Value]) -> bool {
    tools.iter().any(|tool| tool["description"].to_string().contains("`sandbox-mcp/"))
}

#[test]
fn log_that_cannot_be_written_ends_no_server() {
    let copy = Copy::new();
    for preparation in ["exec 2> /dev/full", "exec 2> >(exec true); sleep 0.5", "exec 2>&-"] {
        let server = Server::spawn(&mut copy.after(preparation, false, &[])).greeted();
        server.send_line(b"{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"ping\",}");
        assert_eq!(server.receive(|message| message["id"] == 0)["error"]["code"], -32700, "{preparation}");
        assert_eq!(server.sh("echo on").output(), "on\n", "{preparation}");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let copy = Copy::new();
    for arguments in [&["list"][..], &["list", "--json"], &["doctor"]] {
        let output = copy.after("exec > /dev/full", false, arguments).output().expect("run it");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && told.contains("cannot write to standard output: "), "{told}");
    }
}

#[test]
fn list_that_turns_out_otherwise_is_told_to_the_client() {
    let Some((server, _directory)) = with_a_slow_nix_that_fails() else { return };
    assert_eq!(server.initialize(SESSIONS)["capabilities"]["tools"]["listChanged"], true);
    if !has_pinned(&tools(&server)) {
        // It has no environments.
        return;
    }
    server.receive(|message| message["method"] == "notifications/tools/list_changed");
    assert!(!has_pinned(&tools(&server)), "the list is that of the host");
}

#[test]
fn list_that_turns_out_otherwise_is_told_to_subscribers() {
    let Some((server, _directory)) = with_a_slow_nix_that_fails() else { return };
    let list = || {
        let listed = server.answer(server.request("tools/list", stateless(Map::new()))).expect("the tools are listed");
        listed["tools"].as_array().expect("a list").clone()
    };
    let subscription = listen(&server, json!({"toolsListChanged": true}));
    if !has_pinned(&list()) {
        return;
    }
    let changed = server.receive(|message| message["method"] == "notifications/tools/list_changed");
    assert_eq!(changed["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], subscription, "{changed}");
    assert!(!has_pinned(&list()), "the list is that of the host");
}

/// Whether to be nobody: a store that root keeps without a daemon is closed to others.
fn callers() -> Vec<bool> {
    if rustix::process::geteuid().is_root() && !crate::is_by_nix() { vec![false, true] } else { vec![false] }
}

/// How a script sees its sandbox: who it is, its mask and signals, and the walls that the server names.
fn seen(server: &Server) -> (String, Value, Value) {
    let reply = server.sh("id -u; umask; grep -E 'Sig(Blk|Ign)' /proc/self/status; ls -d /tmp /etc/passwd; pwd");
    (reply.output().to_owned(), reply.field("executor").clone(), reply.field("walls").clone())
}

#[test]
fn server_started_in_odd_states_runs_calls() {
    let copy = Copy::new();
    for is_nobody in callers() {
        let start = |preparation| Server::spawn(&mut copy.after(preparation, is_nobody, &[])).greeted();
        let usual = seen(&start("true"));
        for state in [
            "umask 007",
            "umask 027",
            "umask 077",
            "umask 117",
            "umask 177",
            "umask 777",
            "trap '' CHLD PIPE XFSZ ALRM",
            "ulimit -S -f 1",
            "ulimit -S -n 20",
            "exec 2>&-",
            "mkdir gone; cd gone; rmdir ../gone",
            "mkdir -p closed; cd closed; chmod 0 .",
        ] {
            assert_eq!(seen(&start(state)), usual, "{state}, as nobody: {is_nobody}");
        }
    }
}

#[test]
fn without_any_variable_calls_run_as_ever() {
    if crate::is_by_nix() {
        // Variables configure Nix, too.
        return;
    }
    let mut bare = Command::new("env");
    bare.arg("-i").arg(program()).args(["--executor", crate::executor().as_deref().unwrap_or("auto")]);
    assert_eq!(seen(&Server::spawn(&mut bare).greeted()), seen(&crate::server()));
}

#[test]
fn blocked_signals_do_not_keep_the_server_from_its_end() {
    // Only a program of a language that can block signals leaves them blocked.
    let block = "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32)); os.execv(sys.argv[1], sys.argv[1:])";
    let Ok(version) = Command::new("python3").arg("--version").output() else { return };
    assert!(version.status.success());
    let server = Server::spawn(Command::new("python3").args(["-c", block]).arg(program())).greeted();
    assert_eq!(seen(&server).0, seen(&crate::server()).0);
    server.signal(rustix::process::Signal::TERM);
    server.wait();
}

fn run(copy: &Copy, preparation: &str, arguments: &[&str]) -> Output {
    let mut command = copy.after(preparation, false, arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("run it")
}

#[test]
fn closed_standard_streams_change_no_exit_status() {
    let copy = Copy::new();
    fs::write(copy.0.path().join("script"), "echo out; echo err >&2; exit 7").expect("write a script");
    for state in ["exec <&-", "exec >&-", "exec 2>&-", "exec <&- >&- 2>&-"] {
        let output = run(&copy, state, &["run", "shell", "script"]);
        assert_eq!(output.status.code(), Some(7), "{state}: {output:?}");
    }
}

#[test]
fn hard_limit_on_file_sizes_is_named_with_its_remedy() {
    if crate::is_by_nix() {
        // It is Nix that writes the files then.
        return;
    }
    let copy = Copy::new();
    fs::write(copy.0.path().join("script"), "echo out").expect("write a script");
    let output = run(&copy, "ulimit -f 1", &["run", "shell", "script"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(125) && text.contains("ulimit -f unlimited"), "{output:?}");
}

#[test]
fn proxies_and_certificates_of_the_server_reach_its_network() {
    if crate::is_by_nix() {
        // Nix's build sandbox has no network.
        return;
    }
    let directory = tempfile::tempdir().expect("make a directory");
    let certificates = directory.path().join("certificates");
    fs::write(&certificates, "-----BEGIN CERTIFICATE-----\nours\n").expect("write a file");
    let mut command = Command::new(program());
    command.args(["--executor", crate::executor().as_deref().unwrap_or("auto")]);
    command.env("https_proxy", "http://127.0.0.1:9").env("NO_PROXY", "a.org").env("SSL_CERT_FILE", &certificates);
    command.env("SECRET", "x");
    let server = Server::spawn(&mut command).greeted();
    let script = "echo $https_proxy $NO_PROXY $SECRET; grep ours \"$SSL_CERT_FILE\" || true";
    let reply = server.call("network-tools", json!({"main_sh": script}));
    if reply.field("executor").is_null() {
        // This host lacks the tool's programs.
        return;
    }
    assert_eq!(reply.output(), "http://127.0.0.1:9 a.org\nours\n", "{reply}");
    assert_eq!(server.sh("echo \"[$https_proxy$NO_PROXY]\"").output(), "[]\n");
}

#[test]
fn kept_files_have_the_modes_of_the_users_umask() {
    let copy = Copy::new();
    fs::write(copy.0.path().join("script"), "mkdir $OUT/below; echo 1 > $OUT/below/file").expect("write a script");
    let output = run(&copy, "umask 077", &["run", "--out", "kept", "shell", "script"]);
    assert!(output.status.success(), "{output:?}");
    for (path, mode) in [("kept", 0o700), ("kept/below", 0o700), ("kept/below/file", 0o600)] {
        let metadata = fs::metadata(copy.0.path().join(path)).expect("it was kept");
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{path}");
    }
}

#[test]
fn umask_of_programs_is_not_that_of_the_server() {
    for mask in ["002", "027", "077"] {
        let Some(server) = without_namespaces_and_nix(&[]) else { return };
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {mask}; exec \"$0\" \"$@\"")]).arg(server.get_program());
        command.args(server.get_args()).envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let reply = Server::spawn(&mut command).greeted().sh("umask");
        if reply.field("executor") == "direct" {
            // Programs that run as the server's own user keep others out, since they may not set modes that let them in.
            let is_own_user = !rustix::process::geteuid().is_root();
            let expected = if is_own_user { "0077\n" } else { "0022\n" };
            assert!(reply.text().ends_with(expected), "{mask}: {reply}");
        }
    }
}
