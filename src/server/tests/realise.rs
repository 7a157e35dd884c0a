//! Tests of realising with this machine's Nix: a .drv becomes a valid path that the garbage collector keeps.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs};

use libtest_mimic::{Arguments, Failed, Trial};
use nix_store::nar::Node;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use sandbox_server::call::definition::Environment;
use sandbox_server::call::stage::Stage;
use sandbox_server::nix::realise::{RealiseError, Realiser};
use tempfile::TempDir;

type RealiseTest = fn() -> Result<(), Failed>;

const TESTS: [(&str, RealiseTest); 12] = [
    ("derivation_is_realised_and_its_lines_reported", derivation_is_realised_and_its_lines_reported),
    ("realised_environment_has_a_gc_root", realised_environment_has_a_gc_root),
    ("rooted_environment_needs_no_nix", rooted_environment_needs_no_nix),
    ("failing_build_reports_the_last_lines_of_nix", failing_build_reports_the_last_lines_of_nix),
    ("nix_with_nobody_to_build_as_is_told_with_the_remedy", nix_with_nobody_to_build_as_is_told_with_the_remedy),
    ("content_with_another_hash_is_refused_with_both", content_with_another_hash_is_refused_with_both),
    ("derivations_of_the_archive_are_added_and_realised", derivations_of_the_archive_are_added_and_realised),
    ("derivations_are_added_by_command_without_a_daemon", derivations_are_added_by_command_without_a_daemon),
    ("valid_environment_gets_a_root_without_its_derivation", valid_environment_gets_a_root_without_its_derivation),
    ("broken_archive_is_an_error_with_a_remedy", broken_archive_is_an_error_with_a_remedy),
    ("missing_derivation_is_an_error_with_a_remedy", missing_derivation_is_an_error_with_a_remedy),
    ("missing_nix_is_an_error_with_the_searched_paths", missing_nix_is_an_error_with_the_searched_paths),
];

fn main() {
    let missing = Command::new("nix-instantiate").arg("--version").output().is_err();
    let kind = if missing { "skipped: no nix-instantiate on PATH" } else { "" };
    let trials = TESTS.map(|(name, body)| Trial::test(name, body).with_kind(kind).with_ignored_flag(missing));
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit();
}

/// Returns a new derivation that runs `script`, and its output path.
fn instantiate(script: &str) -> Result<Environment, Failed> {
    instantiate_with(script, "")
}

/// Returns a derivation that is only in an archive: it was deleted from the store, with the derivation and the file it needs.
fn archived(script: &str) -> Result<(Environment, &'static [u8]), Failed> {
    let input = instantiate(&format!("echo input > $out; # {}", nonce()?))?;
    let file = tempfile::tempdir()?;
    let file = file.path().join("source");
    fs::write(&file, nonce()?)?;
    let input = format!(r#"input = import {:?}; source = {};"#, input.drv, file.display());
    let environment = instantiate_with(script, &input)?;
    let closure = nix_store(&["--query", "--requisites", environment.drv])?;
    check(closure.lines().count() == 3, format!("other inputs: {closure}"))?;
    let files: Vec<(&str, Vec<u8>)> =
        closure.lines().map(|path| Ok((path, fs::read(path)?))).collect::<Result<_, Failed>>()?;
    let entries = files.iter().map(|(path, content)| {
        let name = Path::new(path).file_name().expect("a store path has a name").as_encoded_bytes();
        (name, Node::File { content, executable: false })
    });
    let mut archive = Vec::new();
    Node::Directory(entries.collect()).write(&mut archive)?;
    let arguments: Vec<&str> = ["--delete"].into_iter().chain(closure.lines()).collect();
    nix_store(&arguments)?;
    check(!Path::new(environment.drv).exists(), "the derivation is still there")?;
    Ok((environment, compress_to_vec(&*archive, CompressionLevel::Fastest).leak()))
}

fn nix_store(arguments: &[&str]) -> Result<String, Failed> {
    let output = Command::new("nix-store").args(arguments).output()?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}

fn nonce() -> Result<String, Failed> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos().to_string())
}

/// Returns the same with further attributes.
fn instantiate_with(script: &str, attributes: &str) -> Result<Environment, Failed> {
    let nonce = nonce()?;
    let expression = format!(
        r#"derivation {{ name = "realise-test"; system = builtins.currentSystem; builder = "/bin/sh"; nonce = "{nonce}"; {attributes} args = [ "-c" {script:?} ]; }}"#
    );
    let output = |command: &mut Command| -> Result<String, Failed> {
        let output = command.output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let drv = output(Command::new("nix-instantiate").args(["--expr", &expression]))?;
    let out = output(Command::new("nix-store").args(["--query", "--outputs", &drv]))?;
    Ok(Environment { drv: drv.leak(), out: out.leak() })
}

/// Returns a realiser with its own state directory, which is deleted when the second value is dropped.
fn realiser() -> Result<(Realiser, TempDir), Failed> {
    realiser_with(search_path(), &[])
}

fn realiser_with(path: Vec<PathBuf>, archive: &'static [u8]) -> Result<(Realiser, TempDir), Failed> {
    let state = tempfile::tempdir()?;
    Ok((Realiser::new(path, Some(state.path().to_owned()), archive), state))
}

fn search_path() -> Vec<PathBuf> {
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect()
}

/// Realises an environment, and returns the stages that were reported.
fn realise(realiser: &Realiser, environment: &Environment) -> Result<Vec<String>, RealiseError> {
    let lines = Mutex::new(Vec::new());
    let on_stage = |stage: Stage| lines.lock().expect("nobody panicked").push(stage.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(realiser.realise("shell", environment, &on_stage))?;
    Ok(lines.into_inner().expect("nobody panicked"))
}

fn check(holds: bool, what: impl Into<String>) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(what.into().into()) }
}

fn derivation_is_realised_and_its_lines_reported() -> Result<(), Failed> {
    let (realiser, _state) = realiser()?;
    let environment = instantiate("echo ok > $out")?;
    check(!Path::new(environment.out).exists(), "the output is there before")?;
    let lines = realise(&realiser, &environment)?;
    check(fs::read_to_string(environment.out)? == "ok\n", "the output is not what the builder wrote")?;
    for told in ["realising realise-test: 1 to build", "realising realise-test: building 1 of 1: realise-test"] {
        check(lines.iter().any(|line| line == told), format!("no {told:?} in {lines:?}"))?;
    }
    check(!lines.iter().any(|line| line.contains("/nix/store/")), format!("a path is told: {lines:?}"))
}

fn realised_environment_has_a_gc_root() -> Result<(), Failed> {
    let (realiser, state) = realiser()?;
    let environment = instantiate("echo ok > $out")?;
    realise(&realiser, &environment)?;
    let root = state.path().join("sandbox-mcp/gcroots/shell");
    check(fs::read_link(&root)? == Path::new(environment.out), "the root leads elsewhere")?;
    let refused = Command::new("nix-store").args(["--delete", environment.out]).output()?;
    check(!refused.status.success(), "Nix deleted what has a root")
}

fn rooted_environment_needs_no_nix() -> Result<(), Failed> {
    let (realiser, state) = realiser()?;
    let environment = instantiate("echo ok > $out")?;
    realise(&realiser, &environment)?;
    // A realiser that finds no Nix succeeds as well.
    let without_nix = Realiser::new(Vec::new(), Some(state.path().to_owned()), &[]);
    check(realise(&without_nix, &environment)?.is_empty(), "something was told")
}

fn failing_build_reports_the_last_lines_of_nix() -> Result<(), Failed> {
    let (realiser, _state) = realiser()?;
    let environment = instantiate("echo this is why >&2; exit 7")?;
    let Err(error) = realise(&realiser, &environment) else { return Err("it succeeded".into()) };
    let text = error.to_string();
    check(text.contains("this is why") && text.contains(environment.drv), &text)?;
    let cause = text.lines().nth(1).unwrap_or_default();
    check(cause.starts_with("error: "), format!("not with its cause: {text}"))
}

/// The longest that a refusal may be which a model reads, in bytes.
const SHORT: usize = 600;

fn nix_with_nobody_to_build_as_is_told_with_the_remedy() -> Result<(), Failed> {
    // The machine's Nix, with a configuration of its own, in which a cache that is out of reach is tried again and again.
    let settings = "build-users-group = no-such-group\nsubstituters = http://127.0.0.1:9\ndownload-attempts = 3";
    let real = search_path().into_iter().map(|directory| directory.join("nix-store")).find(|path| path.is_file());
    let real = real.ok_or("there is no nix-store")?;
    let programs = tempfile::tempdir()?;
    let script = format!("#!/bin/sh\nNIX_CONFIG='{settings}' exec {} \"$@\"\n", real.display());
    fs::write(programs.path().join("nix-store"), script)?;
    fs::set_permissions(programs.path().join("nix-store"), Permissions::from_mode(0o755))?;
    let environment = instantiate("echo ok > $out")?;
    let (realiser, _state) = realiser_with(vec![programs.path().to_owned()], &[])?;
    match realise(&realiser, &environment) {
        // Other users than root build as themselves, or have a daemon build.
        Ok(_) => check(!rustix::process::geteuid().is_root(), "root has built as a group that does not exist"),
        Err(error) => {
            let text = error.to_string();
            let is_told = text.contains("no-such-group") && text.contains("set `build-users-group =`");
            check(is_told && !text.contains("warning:") && text.len() < SHORT, text)
        }
    }
}

fn content_with_another_hash_is_refused_with_both() -> Result<(), Failed> {
    let (realiser, _state) = realiser()?;
    // The hash of the empty string.
    const PINNED: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let fixed = format!(r#"outputHashAlgo = "sha256"; outputHash = "sha256-{PINNED}";"#);
    let environment = instantiate_with("echo other > $out", &fixed)?;
    let Err(error) = realise(&realiser, &environment) else { return Err("it succeeded".into()) };
    let text = error.to_string();
    check(text.contains("hash mismatch") && text.contains(PINNED), &text)?;
    check(!Path::new(environment.out).exists(), "what was refused is in the store")
}

fn derivations_of_the_archive_are_added_and_realised() -> Result<(), Failed> {
    let (environment, archive) = archived("read line < $input; echo $line > $out")?;
    let (realiser, _state) = realiser_with(search_path(), archive)?;
    let lines = realise(&realiser, &environment)?;
    check(fs::read_to_string(environment.out)? == "input\n", "the output is not what the builder wrote")?;
    for told in
        ["unpacking the derivations of realise-test", "realise-test to the store: 0 of 3", "realising realise-test"]
    {
        check(lines.iter().any(|line| line.contains(told)), format!("no {told:?} in {lines:?}"))?;
    }
    nix_store(&["--check-validity", environment.drv]).map(drop)
}

fn derivations_are_added_by_command_without_a_daemon() -> Result<(), Failed> {
    let (environment, archive) = archived("read line < $input; echo $line > $out")?;
    // There is no nix-daemon next to this nix-store.
    let programs = tempfile::tempdir()?;
    let nix_store = search_path().into_iter().map(|directory| directory.join("nix-store")).find(|path| path.is_file());
    std::os::unix::fs::symlink(nix_store.ok_or("there is no nix-store")?, programs.path().join("nix-store"))?;
    let (realiser, _state) = realiser_with(vec![programs.path().to_owned()], archive)?;
    realise(&realiser, &environment)?;
    check(fs::read_to_string(environment.out)? == "input\n", "the output is not what the builder wrote")
}

fn valid_environment_gets_a_root_without_its_derivation() -> Result<(), Failed> {
    let environment = instantiate("echo ok > $out")?;
    nix_store(&["--realise", environment.drv])?;
    nix_store(&["--option", "keep-derivations", "false", "--delete", "--ignore-liveness", environment.drv])?;
    let (realiser, state) = realiser()?;
    check(realise(&realiser, &environment)?.is_empty(), "something was told")?;
    let root = state.path().join("sandbox-mcp/gcroots/shell");
    check(fs::read_link(&root)? == Path::new(environment.out), "the root leads elsewhere")
}

fn broken_archive_is_an_error_with_a_remedy() -> Result<(), Failed> {
    let (environment, archive) = archived("echo ok > $out")?;
    let (realiser, _state) = realiser_with(search_path(), &archive[..archive.len() - 8])?;
    let Err(error) = realise(&realiser, &environment) else { return Err("it succeeded".into()) };
    let text = error.to_string();
    let named = text.contains("cannot unpack the archive") && text.contains("install this server's package again");
    check(matches!(error, RealiseError::Unpack { .. }) && named && text.contains(environment.drv), text)
}

fn missing_derivation_is_an_error_with_a_remedy() -> Result<(), Failed> {
    let (_, archive) = archived("echo ok > $out")?;
    let (realiser, _state) = realiser_with(search_path(), archive)?;
    let environment = Environment {
        drv: "/nix/store/00000000000000000000000000000000-absent.drv",
        out: "/nix/store/00000000000000000000000000000000-absent",
    };
    let Err(error) = realise(&realiser, &environment) else { return Err("it succeeded".into()) };
    let text = error.to_string();
    let named = text.contains("absent.drv") && text.contains("install this server's package again");
    check(matches!(error, RealiseError::Unpack { .. }) && named, text)
}

fn missing_nix_is_an_error_with_the_searched_paths() -> Result<(), Failed> {
    let environment = instantiate("echo ok > $out")?;
    let empty = tempfile::tempdir()?;
    let realiser = Realiser::new(vec![PathBuf::from(empty.path())], None, &[]);
    let Err(error) = realise(&realiser, &environment) else { return Err("it succeeded".into()) };
    let text = error.to_string();
    let named = text.contains(&empty.path().display().to_string()) && text.contains("--executor direct");
    check(matches!(error, RealiseError::NoNix { .. }) && named, text)
}
