//! Managers: many calls, each in a sandbox that serves no other call.

use std::collections::HashSet;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sandbox_plan::{Call, Ending, Report, Step};

use crate::support::{Change, Served, SleepProcess, TestCaller, as_everybody_served, kill, programs};

const AT_ONCE: Duration = Duration::from_millis(1000);

fn call(caller: &TestCaller, script: &str) -> Call {
    caller.plan(script).call
}

fn serve(caller: &TestCaller, ready: usize) -> Served {
    caller.serve(&caller.plan("").environment, ready)
}

/// Returns all processes below the launcher, itself included.
pub fn processes(served: &Served) -> Vec<i32> {
    let mut all = vec![served.child.id() as i32];
    let mut index = 0;
    while let Some(pid) = all.get(index) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
        index += 1;
    }
    all
}

fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Waits until a number stops changing, as when all ready sandboxes are made.
pub fn settled<T: PartialEq>(measure: impl Fn() -> T) -> T {
    let (mut last, mut since) = (measure(), Instant::now());
    while since.elapsed() < Duration::from_millis(150) {
        sleep(Duration::from_millis(10));
        let now = measure();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

pub fn wait_until_gone(pids: &[i32]) {
    let begin = Instant::now();
    let alive = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
    };
    while pids.iter().any(alive) {
        assert!(begin.elapsed() < AT_ONCE, "{:?} of {pids:?} are left", pids.iter().filter(|pid| alive(pid)).count());
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn sandbox_never_serves_twice() {
    as_everybody_served(|caller| {
        let served = serve(&caller, 2);
        let mark = "cat /sandbox/mark /tmp/mark /dev/shm/mark 2>/dev/null; echo x | tee /sandbox/mark > /tmp/mark; \
                    ls -i -d /sandbox /tmp; readlink /proc/self/ns/mnt /proc/self/ns/pid /proc/self/ns/net /proc/self/ns/user; echo $$";
        let mut seen = HashSet::new();
        for _ in 0..20 {
            let outcome = served.run(&call(&caller, mark));
            assert!(!outcome.text().lines().any(|line| line == "x"), "{outcome:?}");
            assert_eq!(outcome.text().lines().last(), Some("2"), "another program ran here before: {outcome:?}");
            // The numbers of namespaces are used again, but not while the next sandbox is ready already.
            seen.insert(outcome.text().to_owned());
        }
        assert!(seen.len() > 1, "{seen:?}");
    });
}

#[test]
fn no_sandbox_is_made_before_the_first_call() {
    as_everybody_served(|caller| {
        let served = serve(&caller, 4);
        assert_eq!(settled(|| processes(&served).len()), 2, "a guard and a manager");
        served.run(&call(&caller, "true")).text();
        // Pid 1 and the process that becomes the program, of one more sandbox than were used at once.
        assert_eq!(settled(|| processes(&served).len()), 2 + 2 * 2);
    });
}

#[test]
fn ready_sandboxes_are_no_more_than_ordered() {
    as_everybody_served(|caller| {
        for ready in [0, 1, 3] {
            let served = serve(&caller, ready);
            let calls: Vec<_> = (0..8).map(|_| served.begin(&call(&caller, "sleep 0.3"))).collect();
            for call in calls {
                call.finish().text();
            }
            assert_eq!(settled(|| processes(&served).len()), 2 + 2 * ready);
        }
    });
}

#[test]
fn hundred_calls_at_once_get_their_own_answers() {
    as_everybody_served(|caller| {
        let served = serve(&caller, 4);
        let calls: Vec<_> = (0..100)
            .map(|number| {
                served.begin(&call(&caller, &format!("echo {number} > /sandbox/x; sleep 0.2; cat /sandbox/x")))
            })
            .collect();
        for (number, call) in calls.into_iter().enumerate() {
            assert_eq!(call.finish().text(), number.to_string());
        }
    });
}

#[test]
fn killed_manager_leaves_no_process() {
    as_everybody_served(|caller| {
        for victim in 0..2 {
            let sleeper = SleepProcess::new();
            let mut served = serve(&caller, 3);
            let mut running: Vec<_> = (0..3).map(|_| served.begin(&call(&caller, &sleeper.to_string()))).collect();
            for calling in &mut running {
                assert_eq!(calling.report(), Some(Report::Started));
            }
            settled(|| processes(&served).len());
            let pids = processes(&served);
            kill(pids[victim]);
            wait_until_gone(&pids);
            served.child.wait().unwrap();
            for mut calling in running {
                assert_eq!(calling.report(), None, "victim {victim}");
            }
        }
    });
}

#[test]
fn cancelled_call_ends_and_others_go_on() {
    as_everybody_served(|caller| {
        let sleeper = SleepProcess::new();
        let served = serve(&caller, 2);
        let other = served.begin(&call(&caller, "sleep 1; echo done"));
        let cancelled = served.begin(&call(&caller, &format!("trap '' TERM HUP; (setsid {sleeper} &); {sleeper}")));
        sleeper.wait_for(2, Duration::from_secs(10));
        drop(cancelled);
        sleeper.wait_for(0, AT_ONCE);
        assert_eq!(other.finish().text(), "done");
    });
}

#[test]
fn calls_have_deadlines_of_their_own() {
    as_everybody_served(|caller| {
        let served = serve(&caller, 2);
        let short = served.begin(&caller.plan("sleep 900").within(Duration::from_millis(200)).call);
        let long = served.begin(&call(&caller, "sleep 0.6; echo done"));
        assert_eq!(short.finish().ending(), Ending::TimedOut);
        assert_eq!(long.finish().text(), "done");
    });
}

#[test]
fn call_that_never_comes_ends_at_its_deadline() {
    as_everybody_served(|caller| {
        let served = serve(&caller, 1);
        let (calling, _keep) = served.begin_silent(Duration::from_millis(200));
        assert_eq!(calling.finish().ending(), Ending::TimedOut);
        assert_eq!(served.run(&call(&caller, "echo fine")).text(), "fine");
    });
}

#[test]
fn failed_call_does_not_affect_others() {
    as_everybody_served(|caller| {
        let served = serve(&caller, 1);
        let mut bad = call(&caller, "true");
        let path = format!("{}/none", programs());
        bad.steps.push(Step::File { path: path.clone().into(), content: vec![], mode: 0o644, owned: false });
        for _ in 0..3 {
            assert_eq!(served.run(&bad).failure(), (format!("write {path}").as_str(), libc::EROFS));
            assert_eq!(served.run(&call(&caller, "echo fine")).text(), "fine");
        }
    });
}

#[test]
fn sandbox_that_cannot_be_made_fails_each_call() {
    as_everybody_served(|caller| {
        let mut plan = caller.plan("true");
        plan.environment.sandbox.push(Step::ReadOnly { target: "/none".into() });
        let served = caller.serve(&plan.environment, 2);
        for _ in 0..5 {
            assert_eq!(served.run(&plan.call).failure(), ("make /none read-only", libc::ENOENT));
        }
        assert_eq!(settled(|| processes(&served).len()), 2);
    });
}

#[test]
fn thousand_calls_leave_no_process_descriptor_or_mount() {
    as_everybody_served(|caller| {
        let served = serve(&caller, 2);
        let echo = call(&caller, "echo fine");
        let measure = || {
            let pids = processes(&served);
            let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", pids[1])).unwrap().lines().count();
            (pids.len(), pids[..2].iter().map(|pid| descriptors(*pid)).sum::<usize>(), mounts)
        };
        for _ in 0..3 {
            served.run(&echo).text();
        }
        let before = settled(measure);
        for round in 0..1000 {
            match round % 10 {
                9 => drop(served.begin(&call(&caller, "sleep 900"))),
                _ => assert_eq!(served.run(&echo).text(), "fine"),
            }
        }
        assert_eq!(settled(measure), before);
    });
}
