//! Nothing of a job is left, whatever its program does and however it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::super::{host, run};
use super::support::{Setting, job, without_namespaces};
use crate::executor::CallContext;
use crate::sandbox::walls::MachineWalls;
use crate::testing;

#[test]
fn odd_leftovers_are_removed_and_link_targets_kept() {
    for setting in without_namespaces() {
        let (_directory, path) = setting.open_directory();
        let code = format!(
            "echo $PWD; cd $TMPDIR; ln -s {0} link; ln -s {0}/secret secret; mkdir -m 000 closed; mkdir -p a/b 1/2; \
             mkdir -p full/x && touch full/x/y && chmod 555 full/x full 2>/dev/null; touch -- -rf; mkfifo pipe; \
             name=$(printf 'd%.0s' $(seq 250)); deep=$(printf \"$name/%.0s\" $(seq 15)); \
             mkdir -p $deep && cd $deep && mkdir -p $deep && echo deeper than any path is long",
            path.display()
        );
        let text = setting.sh(&code);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "deeper than any path is long");
        let private = Path::new(lines[0]).parent().unwrap();
        assert!(!private.exists(), "{setting:?}: {} is left", private.display());
        assert_eq!(fs::read_to_string(path.join("secret")).unwrap(), "secret");
    }
}

/// The private directory of a script that never ends by itself, and whose call is ended in one of two ways.
fn interrupted(setting: &Setting, by_drop: bool) -> PathBuf {
    testing::run(setting.caller, &setting.lacking, || async {
        let walls = MachineWalls::probe().await;
        // Calls of other tests have directories as well.
        let mark = format!("ended-by-{}-of-{}", if by_drop { "drop" } else { "cancellation" }, std::process::id());
        let script =
            format!("trap '' TERM HUP INT; (setsid sh -c 'while :; do echo x > $TMPDIR/{mark}; done' &); sleep 900");
        let job = job("shell", &script);
        let view = crate::sandbox::host::toolchain(job.sandbox, &host(&walls)).unwrap().view();
        let cancelled = CancellationToken::new();
        let before = directories();
        let context = CallContext::new(&job, &view, &|_| {}, &cancelled);
        let running = run(&context, &walls, false);
        let until_it_runs = async {
            loop {
                let marked = |path: &PathBuf| !before.contains(path) && path.join("tmp").join(&mark).exists();
                if let Some(path) = directories().into_iter().find(marked) {
                    return path;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::pin!(running);
        let directory = tokio::select! {
            directory = until_it_runs => directory,
            outcome = &mut running => panic!("it ended: {outcome:?}"),
        };
        if !by_drop {
            cancelled.cancel();
            running.await.expect_err("it was cancelled");
        }
        directory
    })
}

/// The private directories of this moment.
fn directories() -> Vec<PathBuf> {
    let entries = fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.display().to_string().contains("sandbox-mcp-run-")).collect()
}

#[test]
fn cancelled_call_leaves_no_directory() {
    for setting in without_namespaces() {
        let directory = interrupted(&setting, false);
        assert!(!directory.exists(), "{setting:?}: {} is left", directory.display());
    }
}

#[test]
fn dropped_call_leaves_no_directory() {
    for setting in without_namespaces() {
        let directory = interrupted(&setting, true);
        let begin = Instant::now();
        while directory.exists() {
            assert!(begin.elapsed() < Duration::from_secs(10), "{setting:?}: {} is left", directory.display());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
