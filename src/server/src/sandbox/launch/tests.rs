//! Tests of the pool and its managers, with this machine's own shell.

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

use sandbox_plan::{Ending, Limit, Plan, Step};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Controls, LaunchError, ManagerPool, SandboxRun, Wall, probe};
use crate::call::file::File;
use crate::call::job::{Job, Output};
use crate::call::tool::Tool;
use crate::sandbox::host::{self, Host};
use crate::sandbox::plan;
use crate::testing::{everybody, run};

/// Returns the plan of a script in the sandbox of the tool `shell`.
fn script(text: &str) -> Plan {
    script_for("shell", Controls::of_this_machine(), text)
}

fn script_for(tool: &str, controls: &Controls, text: &str) -> Plan {
    let sandbox = &Tool::by_name(tool).expect("the tool exists").sandbox;
    let view = host::toolchain(sandbox, &Host::from_environment()).expect("this machine has it").view();
    let files = vec![File::parse(sandbox.entrypoint, text.to_owned()).expect("a file")];
    plan::with_controls(controls, &Job::new(sandbox, files), &view)
}

async fn in_pool(pool: &ManagerPool, text: &str) -> Result<SandboxRun, LaunchError> {
    pooled(pool, &script(text), &CancellationToken::new()).await
}

async fn pooled(pool: &ManagerPool, plan: &Plan, cancelled: &CancellationToken) -> Result<SandboxRun, LaunchError> {
    pool.run(&Arc::new(plan.environment.clone()), &plan.call, Output::Captured, cancelled).await
}

/// Returns the launchers that this thread started, and all their descendants.
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

/// Waits until a condition holds.
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
            let pool = ManagerPool::with_ready(0);
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
fn small_pool_evicts_the_least_recently_used_manager() {
    for caller in everybody() {
        run(caller, &[], || async {
            let (pool, never) = (ManagerPool::small(Some(0)), CancellationToken::new());
            // Each number has its own environment.
            let call = async |number: u32| {
                let mut plan = script("true");
                let path = format!("/{number}").into();
                // The first step mounts the root.
                plan.environment.view.insert(1, Step::Symlink { path, target: "/usr".into() });
                pooled(&pool, &plan, &never).await.unwrap();
                processes()
            };
            for number in 0..4 {
                call(number).await;
            }
            until("four guards and managers", || processes().len() == 8).await;
            let known = processes();
            call(0).await;
            assert_eq!(processes(), known);
            call(4).await;
            until("four guards and managers, one pair of them new", || {
                let now = processes();
                now.len() == 8 && now.iter().filter(|pid| known.contains(pid)).count() == 6
            })
            .await;
            let known = processes();
            call(0).await;
            assert_eq!(processes(), known, "it was used before the others");
        });
    }
}

#[test]
fn manager_killed_between_calls_is_replaced() {
    for caller in everybody() {
        run(caller, &[], || async {
            let pool = ManagerPool::new();
            for victim in [0, 1] {
                in_pool(&pool, "true").await.unwrap();
                rustix::process::kill_process(pid(processes()[victim]), rustix::process::Signal::KILL).unwrap();
                // The guard is not reaped yet. A manager that is still exiting might still start a call.
                until("all but the guard is gone", || processes().len() <= 1).await;
                assert_eq!(in_pool(&pool, "echo fine").await.unwrap().stdout.text(), "fine\n");
            }
        });
    }
}

#[test]
fn manager_killed_during_a_call_fails_only_that_call() {
    for caller in everybody() {
        run(caller, &[], || async {
            let pool = ManagerPool::with_ready(0);
            let killed = async {
                // A guard, a manager, pid 1, the shell and `sleep`.
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
fn cancelled_call_leaves_no_process() {
    for caller in everybody() {
        run(caller, &[], || async {
            let pool = ManagerPool::with_ready(0);
            in_pool(&pool, "true").await.unwrap();
            for delay in (0..20_000).step_by(1000) {
                let cancelled = CancellationToken::new();
                let plan = script("trap '' TERM; (sleep 900 &); sleep 900; true");
                let cancel = async {
                    sleep(Duration::from_micros(delay)).await;
                    cancelled.cancel();
                };
                let (result, ()) = tokio::join!(pooled(&pool, &plan, &cancelled), cancel);
                assert!(matches!(result, Err(LaunchError::Cancelled(_))), "{result:?}");
                assert_eq!(processes().len(), 2, "after {delay} µs");
            }
        });
    }
}

#[test]
fn dropped_call_leaves_no_process() {
    for caller in everybody() {
        run(caller, &[], || async {
            let pool = ManagerPool::with_ready(0);
            let _ = tokio::time::timeout(Duration::from_millis(100), in_pool(&pool, "sleep 900; true")).await;
            until("the sandbox is gone", || processes().len() == 2).await;
        });
    }
}

#[test]
fn large_output_is_captured_up_to_a_limit() {
    for caller in everybody() {
        run(caller, &[], || async {
            let run = in_pool(&ManagerPool::new(), "head -c 200000000 /dev/zero | tr '\\0' x; echo end").await.unwrap();
            assert_eq!(run.ending, Ending::Exited { code: 0 });
            assert!(run.stdout.left_out() > 199_900_000 && run.stdout.text().ends_with("end\n"));
        });
    }
}

#[test]
fn invalid_environment_is_refused_each_time() {
    for caller in everybody() {
        run(caller, &[], || async {
            let pool = ManagerPool::new();
            let mut plan = script("true");
            plan.environment.view.push(Step::Device { path: "/dev/unavailable".into() });
            for _ in 0..2 {
                let result = pooled(&pool, &plan, &CancellationToken::new()).await;
                let Err(LaunchError::Refused(failure)) = result else { panic!("{result:?}") };
                assert_eq!(
                    (failure.operation.as_str(), failure.errno),
                    ("bind the device /dev/unavailable", libc::ENOENT)
                );
            }
        });
    }
}

fn pid(pid: i32) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(pid).expect("a pid")
}

#[test]
fn all_required_walls_are_available_on_this_machine() {
    for caller in everybody() {
        run(caller, &[], || async {
            let controls = Controls::of_this_machine();
            let walls = probe(&script("true").environment, controls).await;
            eprintln!("{caller:?}: {walls:?}");
            assert!(walls.has_all_required(), "{walls:?}");
            let missing: Vec<_> = walls.missing().map(|layer| layer.wall).collect();
            assert!(missing.iter().all(|wall| *wall == Wall::ControlGroups), "{walls:?}");
        });
    }
}

#[test]
fn omitted_wall_is_reported_missing() {
    let without = [
        (Wall::NoCapabilities, |step: &Step| matches!(step, Step::DropPrivileges)),
        (Wall::NoNewPrivileges, |step: &Step| matches!(step, Step::NoNewPrivileges)),
        (Wall::Seccomp, |step: &Step| matches!(step, Step::Seccomp { .. })),
        (Wall::Landlock, |step: &Step| matches!(step, Step::Landlock { .. })),
    ] as [(Wall, fn(&Step) -> bool); 4];
    for caller in everybody() {
        run(caller, &[], || async {
            for (wall, left_out) in without {
                let mut environment = script("true").environment;
                environment.walls.retain(|step| !left_out(step));
                let walls = probe(&environment, &Controls::unavailable("")).await;
                assert!(walls.missing().any(|layer| layer.wall == wall), "{wall}: {walls:?}");
                assert_eq!(walls.has_all_required(), !wall.is_required(), "{wall}: {walls:?}");
            }
        });
    }
}

#[test]
fn no_wall_is_available_without_user_namespaces() {
    for caller in everybody() {
        run(caller, &[crate::testing::Lacking::UserNamespaces], || async {
            let walls = probe(&script("true").environment, &Controls::unavailable("")).await;
            assert!(!walls.has_all_required() && walls.names().is_empty(), "{walls:?}");
        });
    }
}

/// Runs a body as every user, both with this machine's control groups and without any.
fn bounded_both_ways<F: Future<Output = ()>>(body: impl Fn(Controls) -> F + Sync) {
    for caller in everybody() {
        for found in [true, false] {
            run(caller, &[], || async {
                let controls =
                    if found { Controls::of_this_machine().clone() } else { Controls::unavailable("not wanted") };
                eprintln!("as {caller:?}, {controls:?}");
                body(controls).await;
            });
        }
    }
}

async fn shell(controls: &Controls, text: &str) -> SandboxRun {
    let plan = script_for("shell", controls, text);
    pooled(&ManagerPool::with_ready(0), &plan, &CancellationToken::new()).await.expect("the sandbox works")
}

const MEMORY: Ending = Ending::OverLimit { limit: Limit::Memory { bytes: 256 << 20 } };

#[test]
fn program_over_its_memory_ends_over_limit() {
    bounded_both_ways(async |controls| {
        let hungry = "head -c 900000000 /dev/zero | tail -c 900000000 | wc -c; sleep 900; true";
        assert_eq!(shell(&controls, hungry).await.ending, MEMORY);
        let several =
            "for i in 1 2 3 4 5 6; do (head -c 60000000 /dev/zero | tail -c 60000000 | (sleep 9; wc -c)) & done; wait";
        assert_eq!(shell(&controls, several).await.ending, MEMORY);
        let modest = shell(&controls, "head -c 90000000 /dev/zero | tail -c 90000000 | wc -c").await;
        assert_eq!((modest.ending, modest.stdout.text()), (Ending::Exited { code: 0 }, "90000000\n".to_owned()));
    });
}

#[test]
fn full_disk_is_an_error_for_the_program() {
    bounded_both_ways(async |controls| {
        let run = shell(&controls, "head -c 900000000 /dev/zero > /tmp/a || stat -c %s /tmp/a").await;
        assert_eq!(run.ending, Ending::Exited { code: 0 });
        // The directories take a little space too.
        let size: u64 = run.stdout.text().trim().parse().expect("a size");
        assert!((127 << 20..=128 << 20).contains(&size), "{run:?}");
        assert!(run.stderr.text().contains("No space left"), "{run:?}");
    });
}

#[test]
fn fork_bomb_ends_over_limit() {
    bounded_both_ways(async |controls| {
        let limit = Limit::Processes { count: 64 };
        let run = shell(&controls, "for i in $(seq 200); do sleep 900 & done; exit 1").await;
        assert_eq!(run.ending, Ending::OverLimit { limit });
        // A program that fails to fork may still exit with status 0. Only a control group reports the limit
        // immediately.
        let pause = if controls.counts_processes() { "" } else { "sleep 0.5; " };
        let run = shell(&controls, &format!("(for i in $(seq 200); do sleep 900 & done); {pause}exit 0")).await;
        assert_eq!(run.ending, Ending::OverLimit { limit });
    });
}

#[test]
fn processor_time_is_limited_to_the_quota() {
    bounded_both_ways(async |controls| {
        let run = shell(&controls, "for i in 1 2 3 4; do (timeout 1 sh -c 'while :; do :; done') & done; wait").await;
        assert!(run.usage.cpu < Duration::from_millis(1600), "{:?} in {:?}", run.usage.cpu, run.duration);
    });
}

#[test]
fn control_groups_are_removed_when_the_launcher_ends() {
    let groups = |launcher: i32| -> usize {
        let controls = Controls::of_this_machine();
        let cgroups = controls.cgroups(&script_resources());
        let is_its = |name: &str| name.starts_with(&format!("sandbox-mcp-{launcher}-"));
        cgroups
            .iter()
            .flat_map(|cgroup| fs::read_dir(&cgroup.directory).expect("a directory"))
            .filter(|entry| entry.as_ref().is_ok_and(|entry| is_its(&entry.file_name().to_string_lossy())))
            .count()
    };
    for caller in everybody() {
        run(caller, &[], || async {
            for victim in [0, 1] {
                let pool = ManagerPool::new();
                for text in ["true", "kill -9 $$", "for i in $(seq 200); do sleep 900 & done; exit 1"] {
                    let _ = in_pool(&pool, text).await.unwrap();
                }
                let launcher = processes()[0];
                let bounded = !Controls::of_this_machine().cgroups(&script_resources()).is_empty();
                assert_eq!(groups(launcher) > 0, bounded, "of ready sandboxes");
                rustix::process::kill_process(pid(processes()[victim]), rustix::process::Signal::KILL).unwrap();
                drop(pool);
                until("the launcher is gone", || processes().is_empty()).await;
                if victim == 0 {
                    // A killed guard cannot remove its groups. The next launcher removes them once they are empty.
                    for _ in 0..20 {
                        in_pool(&ManagerPool::new(), "true").await.unwrap();
                        if groups(launcher) == 0 {
                            break;
                        }
                        sleep(Duration::from_millis(100)).await;
                    }
                }
                assert_eq!(groups(launcher), 0, "victim {victim}");
            }
        });
    }
}

fn script_resources() -> crate::call::definition::Resources {
    Tool::by_name("shell").expect("the tool exists").sandbox.resources
}

#[test]
fn nested_namespaces_are_refused_and_host_files_hidden() {
    for caller in everybody() {
        run(caller, &[], || async {
            let mut plan = script(
                "cat /proc/sys/user/max_user_namespaces; unshare -U true 2>&1 | grep -c -e ermitted -e space; \
                 cat /proc/cmdline /proc/kcore /proc/keys /proc/modules 2>/dev/null | wc -c; ls /proc/scsi /proc/acpi /proc/driver 2>/dev/null | grep -v -e : -e '^$'; \
                 echo 1 2>/dev/null > /proc/sys/kernel/hostname; true 2>/dev/null > /proc/sysrq-trigger && echo open; hostname; \
                 grep -c processor /proc/cpuinfo; : > /proc/self/comm; echo x > /dev/shm/x; cat /dev/shm/x",
            );
            // Namespaces cannot be made even without the seccomp filter.
            plan.environment.walls.retain(|step| !matches!(step, Step::Seccomp { .. }));
            let run = pooled(&ManagerPool::with_ready(0), &plan, &CancellationToken::new()).await.unwrap();
            let all = fs::read_to_string("/proc/cpuinfo").unwrap().matches("processor\t").count() as u64;
            let processors = all.min(script_resources().cpu.into());
            assert_eq!(run.stdout.text(), format!("0\n1\n0\nshell\n{processors}\nx\n"), "{run:?}");
        });
    }
}

#[test]
fn artifacts_are_returned_however_the_program_ends() {
    use std::os::fd::AsFd;

    use rustix::fs::{Mode, OFlags};
    for caller in everybody() {
        run(caller, &[], || async {
            for (end, ending) in [("true", Ending::Exited { code: 0 }), ("kill -9 $$", Ending::Signalled { signal: 9 })]
            {
                let run = in_pool(&ManagerPool::new(), &format!("echo left > /sandbox/out/file; {end}")).await.unwrap();
                assert_eq!(run.ending, ending);
                let out = run.out.expect("a directory");
                let file =
                    rustix::fs::openat(out.as_fd(), "file", OFlags::RDONLY, Mode::empty()).expect("the file is there");
                assert_eq!(io::read_to_string(fs::File::from(file)).unwrap(), "left\n");
                assert_eq!(rustix::fs::Dir::read_from(&out).unwrap().count(), 3, "itself, its parent and the file");
            }
        });
    }
}
