//! What goes wrong with what is in the store, and with who builds there. Each server has a store of its own.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use libtest_mimic::Failed;

use crate::stores::{Private, Setup};
use crate::text;

/// The environment is gone, and so are the `.drv` files that Nix would make it from.
pub fn derivation_missing() -> Result<(), Failed> {
    let private = Private::of(Setup::default());
    let first = private.server.sh("echo first");
    let environment = Private::environment(&first);
    let deriver = text(&private.beside(&["nix-store", "--query", "--deriver", environment]).stdout);
    let kept = private.directory.path().join("kept");
    let [deriver, kept] = [deriver.trim(), kept.to_str().ok_or("a path of UTF-8")?];
    let keep = "nix-store --export $(nix-store --query --requisites \"$0\") > \"$1\"";
    private.beside(&["sh", "-c", keep, deriver, kept]);
    private.delete(environment);
    private.delete(deriver);
    let reply = private.server.sh("echo out");
    let refusal = reply.refusal();
    assert!(refusal.contains(deriver) && refusal.contains("install this server's package again"), "{refusal}");
    private.beside(&["sh", "-c", "nix-store --import < \"$0\"", kept]);
    private.assert_works();
    private.beside(&["test", "-e", environment]);
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
    assert!(refusal.contains("other builds are at work") && refusal.contains("`build-users-group`"), "{refusal}");
    private.assert_works();
    Ok(())
}
