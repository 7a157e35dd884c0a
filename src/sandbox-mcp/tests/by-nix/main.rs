//! The executor `derivation` over the real server and the Nix that is here: receipts, caching, cancelling, what is left in
//! the store, and failures. The cases and the attacks have it run programs.
//!
//! `SANDBOX_MCP_BIN` names the server, if not the one that cargo built; it needs pinned environments. One that is named must
//! get its calls carried out by Nix; where the other can't, all is shown as ignored.

mod damage;
mod failures;
mod remote;
mod stores;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::json;
use test_support::client::{Reply, Server, program};
use test_support::sleeper::Sleeper;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let unavailable = if std::env::var_os("SANDBOX_MCP_BIN").is_some() { None } else { unavailable() };
    if let Some(reason) = &unavailable {
        eprintln!("Ignored, since Nix carries out no call here: {reason}");
    }
    let is_root = rustix::process::geteuid().is_root();
    let (needs_nix, needs_root) = (unavailable.is_some(), unavailable.is_some() || !is_root);
    let trial = |name, test: fn() -> Result<(), Failed>| Trial::test(name, test).with_ignored_flag(needs_nix);
    let as_root = |name, test: fn() -> Result<(), Failed>| Trial::test(name, test).with_ignored_flag(needs_root);
    let trials = vec![
        trial("receipt_is_the_same_for_every_executor", receipts),
        trial("receipt_realised_by_nix_gives_the_calls_result", realised),
        trial("call_runs_again_unless_it_asks_for_the_cache", cached),
        trial("call_leaves_no_store_paths_after_the_server", cleaned),
        trial("cancelled_call_ends_its_builder", cancelled),
        trial("killed_server_ends_its_builders", killed),
        trial("nix_activities_are_reported_as_progress", told),
        trial("tool_with_network_is_refused_with_a_remedy", network),
        trial("many_and_odd_files_reach_the_builder", files),
        trial("reproduce_detects_nondeterministic_programs", reproduced),
        trial("receipt_is_replayed_and_a_forged_one_refused", replayed),
        trial("unstartable_program_is_an_error_for_its_call_only", failures::unstartable),
        trial("program_is_refused_without_the_build_sandbox", failures::unsandboxed),
        as_root("auto_falls_back_to_nix_without_user_namespaces", failures::without_namespaces),
        as_root("call_leaves_no_log_with_nix", stores::logless),
        as_root("collected_environment_is_realised_again", stores::collected),
        as_root("sandbox_shows_a_realised_again_environment", stores::collected_under_sandboxes),
        as_root("exported_receipt_is_replayed_only_with_its_files", stores::replayed),
        as_root("read_only_store_is_an_error_until_it_is_writable", stores::read_only),
        as_root("full_disk_is_an_error_until_it_has_space", stores::full),
        as_root("missing_derivations_are_added_from_the_archive", damage::derivations_missing),
        as_root("missing_derivations_are_added_for_an_ordinary_user", damage::derivations_missing_to_a_user),
        as_root("damaged_launcher_is_repaired_or_named_with_a_remedy", damage::launcher_damaged),
        as_root("call_without_a_free_build_user_is_an_error", damage::build_users_in_use),
        as_root("calls_are_spread_over_remote_builders", remote::spread)
            .with_ignored_flag(needs_root || !remote::is_possible()),
        as_root("preferred_remote_builders_fall_back_to_this_machine", remote::preferred)
            .with_ignored_flag(needs_root || !remote::is_possible()),
        as_root("user_without_store_access_gets_a_remedy", failures::unreachable),
        as_root("user_without_socket_access_is_served_once_allowed", failures::forbidden),
        as_root("restarted_daemon_is_used_again", failures::restarted),
        as_root("killed_daemon_worker_ends_only_its_call", failures::worker_killed),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Why nothing can be tested.
fn unavailable() -> Option<String> {
    let reply = by_nix().sh("echo here");
    (reply.is_error() || reply.text() != "here\n").then(|| reply.text_content().to_owned())
}

/// A server with the executor.
fn by_nix() -> Server {
    Server::ready(&["--executor", "derivation"])
}

/// A script that no other run has: it holds a word that is made up.
fn marked(script: &str) -> (String, String) {
    use std::hash::{BuildHasher, RandomState};
    let mark = format!("mark-{:016x}", RandomState::new().hash_one(0));
    (format!("{script}\n# {mark}\n"), mark)
}

fn command(arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).output().expect("start the server's program")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The derivations of runs in the store whose files hold the mark.
fn left(mark: &str) -> Vec<String> {
    let names = fs::read_dir("/nix/store").expect("list the store").flatten();
    let derivations = names.filter(|entry| entry.file_name().to_string_lossy().ends_with("-sandbox-mcp-run-shell.drv"));
    let holds =
        |path: &Path| fs::read(path).is_ok_and(|text| text.windows(mark.len()).any(|part| part == mark.as_bytes()));
    derivations.map(|entry| entry.path()).filter(|path| holds(path)).map(|path| path.display().to_string()).collect()
}

fn receipt(reply: &Reply) -> &str {
    reply.field("derivation").as_str().unwrap_or_else(|| panic!("no receipt: {reply}"))
}

/// A receipt whose store paths are deleted at the end of a test.
struct DeletedOnDrop<'a>(&'a str);

impl Drop for DeletedOnDrop<'_> {
    fn drop(&mut self) {
        let out = Command::new("nix-store").args(["--query", "--outputs", self.0]).output();
        let out = out.map(|output| text(&output.stdout)).unwrap_or_default();
        let _ = Command::new("nix-store").args(["--delete", out.trim(), self.0]).output();
    }
}

fn receipts() -> Result<(), Failed> {
    let (script, mark) = marked("echo same");
    let receipts = ["namespace", "derivation", "derivation-cli"].map(|executor| {
        let reply = Server::ready(&["--executor", executor]).sh(&script);
        assert_eq!(reply.output(), "same\n");
        assert_eq!(reply.field("executor"), executor);
        receipt(&reply).to_owned()
    });
    assert!(receipts.iter().all(|receipt| *receipt == receipts[0]), "{receipts:?}");
    // The receipt itself is in no store: runs have nonces.
    assert!(!Path::new(&receipts[0]).exists(), "{mark}");
    Ok(())
}

fn realised() -> Result<(), Failed> {
    let (script, _) = marked("echo out; echo err >&2; printf 1 > $OUT/one; exit 3");
    let reply = Server::ready(&["--executor", "namespace", "--structured-results"]).sh(&script);
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("main.sh");
    fs::write(&file, &script)?;
    let shown = command(&["reproduce", "shell", file.to_str().ok_or("a path of UTF-8")?]);
    assert!(shown.status.success(), "{shown:?}");
    let receipt = receipt(&reply);
    let _deleted = DeletedOnDrop(receipt);
    assert_eq!(text(&shown.stderr).trim(), receipt);
    let checked = Command::new("nix-store").args(["--realise", "--check", receipt]).output()?;
    assert!(checked.status.success(), "{checked:?}");
    let out = text(&checked.stdout);
    let content = |name: &str| fs::read_to_string(Path::new(out.trim()).join(name));
    assert_eq!(content("stdout")?, reply.field("stdout").as_str().unwrap_or_default());
    assert_eq!(content("stderr")?, reply.field("stderr").as_str().unwrap_or_default());
    assert_eq!(content("ending")?, "exited 3\nstdout 4\nstderr 4\nfull no\n");
    assert_eq!(content("artifacts/one")?, "1");
    Ok(())
}

fn cached() -> Result<(), Failed> {
    let (script, _) = marked("cat /proc/sys/kernel/random/uuid");
    let server = Server::ready(&["--executor", "derivation", "--call-options"]);
    let call = |cache: bool| server.call("shell", json!({"main_sh": script, "cache": cache}));
    let [one, two] = [call(false), call(false)];
    assert_ne!(one.output(), two.output());
    assert_eq!(one.field("cached"), &serde_json::Value::Null);
    let first = call(true);
    let _deleted = DeletedOnDrop(receipt(&first));
    assert!(first.field("cached").is_null(), "{first}");
    let second = call(true);
    assert_eq!((second.output(), second.field("cached")), (first.output(), &true.into()));
    assert_ne!(call(false).output(), first.output());
    // The namespace executor's clients may ask for it, too.
    let other = Server::ready(&["--executor", "namespace", "--call-options"]);
    let third = other.call("shell", json!({"main_sh": script, "cache": true}));
    assert_eq!((third.output(), third.field("executor")), (first.output(), &"derivation".into()));
    Ok(())
}

fn cleaned() -> Result<(), Failed> {
    let (script, mark) = marked("echo out > $OUT/file");
    let server = by_nix();
    for _ in 0..3 {
        assert!(!server.sh(&script).is_error());
    }
    server.close_input();
    assert!(server.wait().success());
    assert_eq!(left(&mark), Vec::<String>::new());
    Ok(())
}

fn cancelled() -> Result<(), Failed> {
    let server = by_nix();
    let sleeper = Sleeper::new();
    let id = server.begin_call("shell", json!({"main_sh": format!("{sleeper} & {sleeper}")}));
    sleeper.wait_for(2);
    server.notify("notifications/cancelled", json!({"requestId": id}));
    sleeper.wait_for(0);
    assert_eq!(server.sh("echo next").output(), "next\n");
    Ok(())
}

fn killed() -> Result<(), Failed> {
    let server = by_nix();
    let sleeper = Sleeper::new();
    server.begin_call("shell", json!({"main_sh": format!("{sleeper} & {sleeper}")}));
    sleeper.wait_for(2);
    drop(server);
    sleeper.wait_for(0);
    Ok(())
}

fn told() -> Result<(), Failed> {
    let server = by_nix();
    let call = json!({"name": "shell", "arguments": {"main_sh": "true"}, "_meta": {"progressToken": "told"}});
    assert!(!server.reply(server.request("tools/call", call)).is_error());
    let received = server.received();
    let messages: Vec<_> = received.iter().filter_map(|message| message["params"]["message"].as_str()).collect();
    let builds = |message: &&str| message.contains("running by Nix: building") && message.contains("-run-shell.drv");
    assert!(messages.iter().any(builds), "{messages:?}");
    Ok(())
}

fn network() -> Result<(), Failed> {
    let reply = by_nix().call("network-tools", json!({"main_sh": "true"}));
    let refusal = reply.refusal();
    assert!(
        refusal.contains("`network-tools` has network access") && refusal.contains("--executor namespace"),
        "{refusal}"
    );
    Ok(())
}

fn files() -> Result<(), Failed> {
    let server = by_nix();
    let many: Vec<_> =
        (0..100).map(|n| json!({"filename": format!("d {n}/f=\n{n}"), "content": format!("{n}\0\n")})).collect();
    let script = "import os\nfor n in range(100):\n  assert open(f'd {n}/f=\\n{n}').read() == f'{n}\\0\\n'\nprint(len(open('big').read()))";
    let big = "x".repeat(5_000_000);
    let files: Vec<_> = many.into_iter().chain([json!({"filename": "big", "content": big})]).collect();
    let reply = server.call("python", json!({"main_py": script, "files": files}));
    assert_eq!(reply.output(), "5000000\n");
    Ok(())
}

fn reproduced() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("main.sh");
    let run = |script: &str| {
        fs::write(&file, marked(script).0).expect("write a file");
        command(&["reproduce", "shell", file.to_str().expect("a path of UTF-8")])
    };
    let same = run("echo same; exit 7");
    let _deleted = [DeletedOnDrop(text(&same.stderr).trim().to_owned().leak())];
    assert!(same.status.success() && text(&same.stdout).contains("\nreproducible"), "{same:?}");
    let other = run("echo same >&2; cat /proc/sys/kernel/random/uuid; date +%N > $OUT/time; ln -s a $OUT/$$");
    let _deleted = [DeletedOnDrop(text(&other.stderr).trim().to_owned().leak())];
    assert_eq!(other.status.code(), Some(1), "{other:?}");
    let told = text(&other.stdout);
    assert!(told.contains("not reproducible:") && told.contains("stdout: byte"), "{told}");
    assert!(told.contains("artifacts/time: byte") && !told.contains("stderr"), "{told}");
    Ok(())
}

fn replayed() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let (file, receipt) = (directory.path().join("main.sh"), directory.path().join("receipt.drv"));
    fs::write(&file, marked("echo replayed").0)?;
    let [file, path] = [&file, &receipt].map(|path| path.to_str().expect("a path of UTF-8"));
    let shown = command(&["show-derivation", "shell", file]);
    fs::write(&receipt, &shown.stdout)?;
    let replayed = command(&["reproduce", path]);
    let _deleted = [DeletedOnDrop(text(&replayed.stderr).trim().to_owned().leak())];
    assert!(replayed.status.success() && replayed.stderr == shown.stderr, "{replayed:?}");
    let out = text(&replayed.stdout);
    assert_eq!(fs::read_to_string(Path::new(out.lines().next().unwrap_or_default()).join("stdout"))?, "replayed\n");
    fs::write(&receipt, text(&shown.stdout).replace("replayed", "forged"))?;
    let forged = command(&["reproduce", path]);
    assert_eq!(forged.status.code(), Some(125), "{forged:?}");
    assert!(text(&forged.stderr).contains("its output has another path"), "{forged:?}");
    Ok(())
}
