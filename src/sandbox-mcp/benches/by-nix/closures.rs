//! Compares the cost of a run by Nix in an environment of few store paths and in one of many.
//!
//! The environments are built here, from a shell and other paths of the store.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sandbox_server::call::choice::{Executor, Remote};
use sandbox_server::call::definition::{Environment, Sandbox};
use sandbox_server::call::file::File;
use sandbox_server::call::job::Job;
use sandbox_server::executor::derivation::Derivations;
use sandbox_server::executor::{CallContext, Executors};
use sandbox_server::sandbox::view::View;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use test_support::local_store as store;
use test_support::measure::median;

use crate::{derivation, realise};

const CODE: &str = "echo hello";
const RUNS: usize = 30;
/// The number of first runs that are not counted, because they add the launcher to the store and open connections.
const WARM_UP_RUNS: usize = 3;

/// Prints the comparison. `shell` is the sandbox of that name, with a pinned environment.
pub fn compare(shell: &'static Sandbox) {
    let runtime = Runtime::new().expect("start threads");
    println!("\n{:>12}{:>22}{:>16}{:>8}", "store paths", "nix-store --realise", "derivation", "ratio");
    for count in [10, 400] {
        let (environment, paths) = environment(shell, count);
        let sandbox: &'static Sandbox = Box::leak(Box::new(Sandbox { environment: Some(environment), ..*shell }));
        let executors = executors();
        let view = Arc::new(View::pinned(Path::new(environment.out)).expect("it was just made"));
        let mut times = [const { Vec::new() }; 2];
        for run in 0..RUNS + WARM_UP_RUNS {
            let pair = [realise(&derivation(sandbox, CODE)), runtime.block_on(by_daemon(&executors, sandbox, &view))];
            if run >= WARM_UP_RUNS {
                times.iter_mut().zip(pair).for_each(|(times, time)| times.push(time));
            }
        }
        runtime.block_on(executors.finish());
        let [command, daemon] = times.map(|mut times| median(&mut times));
        let ratio = daemon.as_secs_f64() / command.as_secs_f64();
        println!("{paths:>12}{command:>22.1?}{daemon:>16.1?}{ratio:>7.2}x");
    }
}

fn executors() -> Executors {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let nix_store =
        std::env::split_paths(&path).map(|directory| directory.join("nix-store")).find(|file| file.exists());
    Executors::new(None, Derivations::new(nix_store.as_deref(), true, Remote::Off), false)
}

async fn by_daemon(executors: &Executors, sandbox: &'static Sandbox, view: &Arc<View>) -> Duration {
    let (job, never) = (
        Job::new(sandbox, vec![File::parse(sandbox.entrypoint, CODE.to_owned()).expect("a file")]),
        CancellationToken::new(),
    );
    let begun = Instant::now();
    let run = executors.run(Executor::Derivation, &CallContext::new(&job, view, &drop, &never)).await;
    let time = begun.elapsed();
    assert_eq!(run.expect("Nix realises it").stdout.text(), "hello\n");
    time
}

/// Builds an environment of at most `count` store paths, and returns it with the actual number.
fn environment(shell: &Sandbox, count: usize) -> (Environment, usize) {
    let pinned = shell.environment.expect("it has one");
    let [bash, mkdir] =
        ["sh", "mkdir"].map(|name| Path::new(pinned.out).join("bin").join(name).canonicalize().expect("it is there"));
    let mut chosen: BTreeSet<PathBuf> = [&bash, &mkdir].map(|path| store::store_path(path)).into();
    let mut closure = store::requisites(&chosen);
    for path in store::directories().filter(|path| store::is_valid(path)) {
        let more: BTreeSet<PathBuf> = chosen.iter().cloned().chain([path.into()]).collect();
        let larger = store::requisites(&more);
        // The environment itself is one more store path.
        if larger.len() < count {
            (chosen, closure) = (more, larger);
        }
        if closure.len() + 1 == count {
            break;
        }
    }
    let paths: String = chosen.iter().map(|path| format!("(builtins.storePath {})", path.display())).collect();
    let expression = format!(
        r#"derivation {{
            name = "sandbox-mcp-bench";
            system = builtins.currentSystem;
            builder = (builtins.storePath {bash_path}) + "/bin/bash";
            args = [ "-c" "mkdir -p $out/bin; cp $closurePath $out/closure; for p in $paths; do ln -s $p/bin/* $out/bin/; done; ln -sf $bash $out/bin/sh; true" ];
            PATH = (builtins.storePath {coreutils}) + "/bin";
            bash = (builtins.storePath {bash_path}) + "/bin/bash";
            paths = [ {paths} ];
            closure = "{closure}";
            passAsFile = [ "closure" ];
        }}"#,
        bash_path = store::store_path(&bash).display(),
        coreutils = store::store_path(&mkdir).display(),
        closure = closure.iter().map(|path| format!("{path}\n")).collect::<String>(),
    );
    let drv = output(Command::new("nix-instantiate").args(["--expr", &expression]));
    let out = output(Command::new("nix-store").args(["--realise", &drv]));
    let paths = store::requisites(&[PathBuf::from(&out)].into()).len();
    (Environment { drv: drv.leak(), out: out.leak() }, paths)
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("start Nix");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("store paths are text").trim().to_owned()
}
