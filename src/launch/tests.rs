//! The pool and its managers, with this machine's own shell.

use std::fs;
use std::time::{Duration, Instant};

use sandbox_launcher::{Ending, Plan};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{LaunchError, Pool, Run};
use crate::artifacts;
use crate::file::File;
use crate::host::{self, Host};
use crate::job::{Job, Output};
use crate::plan;
use crate::testing::{everybody, run};
use crate::tool::Tool;

/// A script for the sandbox of the tool `shell`.
fn script(text: &str) -> Plan {
    let sandbox = &Tool::by_name("shell").expect("the tool exists").sandbox;
    let view = host::view(sandbox, &Host::from_environment()).expect("every machine has a shell");
    let files = vec![File::parse(sandbox.entrypoint, text.to_owned()).expect("a file")];
    plan::in_namespaces(&Job::new(sandbox, files), &view)
}

async fn in_pool(pool: &Pool, text: &str) -> Result<Run, LaunchError> {
    pool.run(&script(text), Output::Captured, &CancellationToken::new()).await
}

/// The children of this thread's process that are launchers, and all that is below them.
fn processes() -> Vec<i32> {
    let own = rustix::thread::gettid().as_raw_nonzero().get();
    let children = |pid: i32, task: i32| -> Vec<i32> {
        let list = fs::read_to_string(format!("/proc/{pid}/task/{task}/children")).unwrap_or_default();
        list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
    };
    let mut all = children(rustix::process::getpid().as_raw_nonzero().get(), own);
    let mut index = 0;
    while let Some(pid) = all.get(index) {
        let below = children(*pid, *pid);
        all.extend(below);
        index += 1;
    }
    all
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn calls_of_one_environment_share_a_manager() {
    for caller in everybody() {
        run(caller, &[], || async {
            let pool = Pool::with_ready(0);
            for number in 0..3 {
                let run = in_pool(&pool, &format!("echo {number}; echo error >&2; exit {number}")).await.unwrap();
                assert_eq!(run.ending, Ending::Exited { code: number });
                assert_eq!((run.stdout.text(), run.stderr.text()), (format!("{number}\n"), "error\n".to_owned()));
            }
            until("a guard and a manager", || processes().len() == 2).await;
            drop(pool);
            until("the launcher ends with its pool", || processes().is_empty()).await;
        });
    }
}

#[test]
fn a_manager_that_was_killed_between_calls_is_replaced() {
    for caller in everybody() {
        run(caller, &[], || async {
            let pool = Pool::new();
            for victim in [0, 1] {
                in_pool(&pool, "true").await.unwrap();
                rustix::process::kill_process(pid(processes()[victim]), rustix::process::Signal::KILL).unwrap();
                assert_eq!(in_pool(&pool, "echo fine").await.unwrap().stdout.text(), "fine\n");
            }
        });
    }
}

#[test]
fn a_manager_that_is_killed_under_a_call_fails_that_call_only() {
    for caller in everybody() {
        run(caller, &[], || async {
            let pool = Pool::with_ready(0);
            let killed = async {
                // A guard, a manager, pid 1, the shell and what it sleeps by.
                until("the program runs", || processes().len() == 5).await;
                rustix::process::kill_process(pid(processes()[1]), rustix::process::Signal::KILL).unwrap();
            };
            let (result, ()) = tokio::join!(in_pool(&pool, "sleep 900; true"), killed);
            assert!(matches!(result, Err(LaunchError::Lost { .. })), "{result:?}");
            assert_eq!(in_pool(&pool, "echo fine").await.unwrap().stdout.text(), "fine\n");
        });
    }
}

#[test]
fn nothing_of_a_cancelled_call_is_left_when_it_returns() {
    for caller in everybody() {
        run(caller, &[], || async {
            let pool = Pool::with_ready(0);
            in_pool(&pool, "true").await.unwrap();
            for delay in (0..20_000).step_by(1000) {
                let cancelled = CancellationToken::new();
                let plan = script("trap '' TERM; (sleep 900 &); sleep 900; true");
                let cancel = async {
                    sleep(Duration::from_micros(delay)).await;
                    cancelled.cancel();
                };
                let (result, ()) = tokio::join!(pool.run(&plan, Output::Captured, &cancelled), cancel);
                assert!(matches!(result, Err(LaunchError::Cancelled)), "{result:?}");
                assert_eq!(processes().len(), 2, "after {delay} µs");
            }
        });
    }
}

#[test]
fn a_dropped_call_is_cleared_away() {
    for caller in everybody() {
        run(caller, &[], || async {
            let pool = Pool::with_ready(0);
            let _ = tokio::time::timeout(Duration::from_millis(100), in_pool(&pool, "sleep 900; true")).await;
            until("the sandbox is gone", || processes().len() == 2).await;
        });
    }
}

#[test]
fn output_without_end_takes_no_memory() {
    for caller in everybody() {
        run(caller, &[], || async {
            let run = in_pool(&Pool::new(), "head -c 200000000 /dev/zero | tr '\\0' x; echo end").await.unwrap();
            assert_eq!(run.ending, Ending::Exited { code: 0 });
            assert!(run.stdout.left_out() > 199_900_000 && run.stdout.text().ends_with("end\n"));
        });
    }
}

#[test]
fn what_a_program_left_can_be_read_after_its_end_however_it_ended() {
    for caller in everybody() {
        run(caller, &[], || async {
            let pool = Pool::with_ready(1);
            for (text, ending) in [
                ("true", Ending::Exited { code: 0 }),
                ("exit 3", Ending::Exited { code: 3 }),
                ("kill -9 $$", Ending::Signalled { signal: 9 }),
                ("sleep 900; true", Ending::TimedOut),
            ] {
                let mut plan = script(&format!("echo $OUT > /sandbox/out/a; mkdir $OUT/b; echo > $OUT/b/c; {text}"));
                plan.call.deadline = Duration::from_secs(if ending == Ending::TimedOut { 1 } else { 60 });
                let cancelled = CancellationToken::new();
                for run in [
                    pool.run(&plan, Output::Captured, &cancelled).await.unwrap(),
                    super::run(&plan, Output::Captured, &cancelled).await.unwrap(),
                ] {
                    assert_eq!(run.ending, ending, "{}", run.stderr.text());
                    let artifacts = artifacts::gather(run.out.expect("a directory")).await;
                    let names: Vec<String> = artifacts.files.iter().map(|file| file.name()).collect();
                    assert_eq!((names, &artifacts.left_out[..]), (vec!["a".to_owned(), "b/c".to_owned()], &[][..]));
                    assert_eq!(artifacts.files[0].content, b"/sandbox/out\n");
                }
            }
        });
    }
}

#[test]
fn artifacts_of_one_call_are_not_seen_by_the_next() {
    for caller in everybody() {
        run(caller, &[], || async {
            let pool = Pool::with_ready(2);
            for _ in 0..5 {
                let run = in_pool(&pool, "ls -A $OUT; echo mine > $OUT/mine").await.unwrap();
                assert_eq!(run.stdout.text(), "");
                assert_eq!(artifacts::gather(run.out.expect("a directory")).await.files.len(), 1);
            }
        });
    }
}

#[test]
fn an_environment_that_cannot_be_made_is_a_refusal_each_time() {
    for caller in everybody() {
        run(caller, &[], || async {
            let pool = Pool::new();
            let mut plan = script("true");
            plan.environment.view.push(sandbox_launcher::Step::Device { path: "/dev/none".into() });
            for _ in 0..2 {
                let result = pool.run(&plan, Output::Captured, &CancellationToken::new()).await;
                let Err(LaunchError::Refused(failure)) = result else { panic!("{result:?}") };
                assert_eq!((failure.operation.as_str(), failure.errno), ("bind the device /dev/none", libc::ENOENT));
            }
        });
    }
}

fn pid(pid: i32) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(pid).expect("a pid")
}
