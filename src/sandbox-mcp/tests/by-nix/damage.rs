//! What goes wrong with what is in the store, and with who builds there. Each server has a store of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use libtest_mimic::Failed;
use serde_json::json;

use crate::failures::public;
use crate::stores::{Private, Setup};
use crate::text;
use test_support::client::program;

/// The environment is gone, and so are the `.drv` files that Nix would make it from: the server has brought them along.
pub fn derivations_missing() -> Result<(), Failed> {
    for executor in ["namespace", "derivation", "derivation-cli"] {
        let private = Private::of(Setup { arguments: &["--executor", executor], ..Setup::default() });
        let environment = private.without_derivations();
        let call = json!({"name": "shell", "arguments": {"main_sh": "echo out"}, "_meta": {"progressToken": executor}});
        let reply = private.server.reply(private.server.request("tools/call", call));
        assert_eq!(reply.output(), "out\n", "{reply}");
        let told: Vec<_> = private
            .server
            .received()
            .iter()
            .filter_map(|message| Some(message["params"]["message"].as_str()?.to_owned()))
            .collect();
        for part in [
            "unpacking the derivations of shell",
            "adding the derivations of shell to the store: 0 of",
            "realising shell: ",
        ] {
            assert!(told.iter().any(|line| line.contains(part)), "no {part:?} in {told:?}");
        }
        private.beside(&["test", "-e", &environment]);
    }
    Ok(())
}

/// An ordinary user, whom the daemon does not trust, has what is missing added too.
pub fn derivations_missing_to_a_user() -> Result<(), Failed> {
    let private = Private::of(Setup::default());
    let environment = private.without_derivations();
    let directory = public();
    let [socket, server, script] = ["socket", "sandbox-mcp", "main.sh"].map(|name| directory.path().join(name));
    fs::copy(program(), &server)?;
    fs::write(&script, "echo out")?;
    let variable = format!("NIX_DAEMON_SOCKET_PATH={}", socket.display());
    let mut daemon = private.command_beside(&["env", &variable, "nix-daemon"]).stderr(Stdio::null()).spawn()?;
    while !socket.exists() {
        assert!(daemon.try_wait()?.is_none(), "the daemon does not listen");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let [server, script] = [&server, &script].map(|path| path.to_str().expect("a path of UTF-8"));
    let mut run =
        private.command_beside(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", &variable]);
    let run = run.args(["HOME=/", server, "run", "--executor", "derivation", "shell", script]).output();
    daemon.kill()?;
    daemon.wait()?;
    let run = run?;
    assert_eq!(text(&run.stdout), "out\n", "{run:?}");
    assert!(text(&run.stderr).contains("unpacking the derivations of shell"), "{run:?}");
    private.beside(&["test", "-e", &environment]);
    Ok(())
}

/// A power cut has left a file empty that Nix takes for what it has registered.
pub fn launcher_damaged() -> Result<(), Failed> {
    for executor in ["derivation", "derivation-cli"] {
        let private = Private::of(Setup { arguments: &["--executor", executor], ..Setup::default() });
        private.assert_works();
        private.beside(&["sh", "-c", "for path in /nix/store/*-sandbox-launcher; do : > $path; done"]);
        if executor == "derivation-cli" {
            let reply = private.server.sh("echo out");
            let refusal = reply.refusal();
            let advice = refusal.split('`').find(|part| part.contains("nix-store --delete"));
            let advice = advice.unwrap_or_else(|| panic!("no advice: {refusal}"));
            private.beside(&["sh", "-c", advice]);
        }
        // Who may write to the store puts that right.
        private.assert_works();
    }
    Ok(())
}

/// Nix builds as one of a group of users, each of which has one build at a time.
pub fn build_users_in_use() -> Result<(), Failed> {
    const USER: &str = "30001";
    let prepare = "cp /etc/group /etc/passwd \"$1\" && \
                   echo 'builders:x:30000:builder' >> \"$1/group\" && \
                   echo 'builder:x:30001:30000::/:/bin/false' >> \"$1/passwd\" && \
                   mount --bind \"$1/group\" /etc/group && mount --bind \"$1/passwd\" /etc/passwd";
    let private = Private::of(Setup {
        prepare,
        config: "build-users-group = builders",
        arguments: &["--executor", "derivation", "--timeout", "1"],
        ..Setup::default()
    });
    private.assert_works();
    let hold = "exec 9>> \"/nix/var/nix/userpool/$0\" && flock 9 && echo held && exec sleep 900";
    let mut holder = private.command_beside(&["sh", "-c", hold, USER]);
    let mut holder = holder.stdout(Stdio::piped()).spawn()?;
    let mut held = String::new();
    BufReader::new(holder.stdout.take().expect("it was asked for")).read_line(&mut held)?;
    assert_eq!(held, "held\n");
    let reply = private.server.sh("echo out");
    holder.kill()?;
    holder.wait()?;
    let refusal = reply.refusal();
    assert!(refusal.contains("other builds are running") && refusal.contains("`build-users-group`"), "{refusal}");
    private.assert_works();
    Ok(())
}
