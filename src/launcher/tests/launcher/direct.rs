//! Sandboxes on what remains without namespaces: limits, no_new_privs, Landlock, seccomp, and the end of everything.

use std::fs;
use std::time::{Duration, Instant};

use sandbox_plan::{Ending, Report, Resource, Step};

use crate::support::{Change, SleepProcess, as_everybody_once, kill};

#[test]
fn program_reaches_named_paths_only() {
    as_everybody_once(|caller| {
        let home = caller.host_directory();
        let other = caller.host_directory();
        fs::write(other.0.join("secret"), "secret").unwrap();
        let script = format!(
            "echo mine > file && cat file; cat {other}/secret /etc/passwd; echo x > {other}/x; ls {other} /; rm {other}/secret; \
             grep -E 'NoNewPrivs|CapEff|^Uid' /proc/self/status",
            other = other.0.display()
        );
        let outcome = caller.run(&caller.direct_plan(&script, &home.0));
        let uid = caller.identity().host_uid;
        assert_eq!(
            outcome.text(),
            format!("mine\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapEff:\t0000000000000000\nNoNewPrivs:\t1")
        );
        assert_eq!(outcome.stderr.matches("ermission denied").count(), 6, "{outcome:?}");
        assert_eq!(fs::read_to_string(other.0.join("secret")).unwrap(), "secret");
    });
}

#[test]
fn landlock_path_that_is_missing_is_named() {
    as_everybody_once(|caller| {
        let home = caller.host_directory();
        let mut plan = caller.direct_plan("true", &home.0);
        plan.environment.walls.push(Step::Landlock {
            read: vec!["/no/such".into()],
            write: vec![],
            scoped: false,
            required: true,
        });
        assert_eq!(caller.run(&plan).failure(), ("confine file access by Landlock: allow /no/such", libc::ENOENT));
    });
}

#[test]
fn grandchild_in_its_own_session_dies_with_the_program() {
    as_everybody_once(|caller| {
        let home = caller.host_directory();
        let sleeper = SleepProcess::new();
        let script = format!(
            "trap '' TERM HUP INT; (setsid sh -c '{sleeper} & {sleeper}' &); (setsid {sleeper} &); sleep 0.2; exit 3"
        );
        let outcome = caller.run(&caller.direct_plan(&script, &home.0));
        assert_eq!(outcome.ending(), Ending::Exited { code: 3 });
        assert_eq!(sleeper.count(), 0);
    });
}

#[test]
fn grandchild_that_ignores_sigterm_dies_at_the_deadline() {
    as_everybody_once(|caller| {
        let home = caller.host_directory();
        let sleeper = SleepProcess::new();
        let script = format!("trap '' TERM HUP INT; (setsid sh -c '{sleeper} & {sleeper}' &); {sleeper}");
        let plan = caller.direct_plan(&script, &home.0).within(Duration::from_millis(500));
        let begin = Instant::now();
        assert_eq!(caller.run(&plan).ending(), Ending::TimedOut);
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        assert_eq!(sleeper.count(), 0);
    });
}

#[test]
fn closed_control_socket_leaves_no_process() {
    as_everybody_once(|caller| {
        let home = caller.host_directory();
        let sleeper = SleepProcess::new();
        let script = format!("trap '' TERM HUP INT; (setsid sh -c '{sleeper} & {sleeper}' &); {sleeper}");
        let mut running = caller.start(&caller.direct_plan(&script, &home.0));
        assert_eq!(running.report().unwrap(), Some(Report::Started));
        sleeper.wait_for(3, Duration::from_secs(10));
        running.control = None;
        sleeper.wait_for(0, Duration::from_millis(500));
        running.child.wait().unwrap();
    });
}

#[test]
fn killed_guard_or_supervisor_leaves_no_process() {
    as_everybody_once(|caller| {
        for victim in ["guard", "supervisor"] {
            let home = caller.host_directory();
            let sleeper = SleepProcess::new();
            let script = format!("trap '' TERM HUP INT; (setsid sh -c '{sleeper} & {sleeper}' &); {sleeper}");
            let mut running = caller.start(&caller.direct_plan(&script, &home.0));
            assert_eq!(running.report().unwrap(), Some(Report::Started));
            sleeper.wait_for(3, Duration::from_secs(10));
            let guard = running.child.id();
            if victim == "guard" {
                running.child.kill().unwrap();
            } else {
                let supervisor = fs::read_to_string(format!("/proc/{guard}/task/{guard}/children")).unwrap();
                kill(supervisor.trim().parse().unwrap());
            }
            sleeper.wait_for(0, Duration::from_millis(500));
            running.child.wait().unwrap();
        }
    });
}

#[test]
fn program_that_kills_its_parent_is_killed() {
    as_everybody_once(|caller| {
        let home = caller.host_directory();
        let sleeper = SleepProcess::new();
        let mut plan = caller.direct_plan(&format!("(setsid {sleeper} &); kill -9 $PPID; {sleeper}"), &home.0);
        // With it, the parent could not be signalled.
        plan.environment.walls.retain(|step| !matches!(step, Step::Landlock { .. }));
        assert_eq!(caller.run(&plan).ending(), Ending::Signalled { signal: libc::SIGKILL });
        assert_eq!(sleeper.count(), 0);
    });
}

#[test]
fn program_can_neither_signal_nor_trace_the_launcher() {
    as_everybody_once(|caller| {
        let home = caller.host_directory();
        // The supervisor is the parent's parent, and the guard is that one's.
        let script = "supervisor=$(cut -d' ' -f4 /proc/$PPID/stat); guard=$(cut -d' ' -f4 /proc/$supervisor/stat); \
                      for at in $guard $supervisor $PPID; do kill -9 $at 2>&1; done; \
                      for at in $guard $supervisor $PPID; do cat /proc/$at/environ; readlink /proc/$at/exe; done; echo done";
        let outcome = caller.run(&caller.direct_plan(script, &home.0));
        let lines: Vec<&str> = outcome.text().lines().filter(|line| !line.is_empty()).collect();
        assert_eq!((lines.len(), lines[3]), (4, "done"), "{outcome:?}");
        assert!(lines[..3].iter().all(|line| line.contains("ermitted")), "{outcome:?}");
        assert_eq!(outcome.stderr.matches("environ: Permission denied").count(), 3, "{outcome:?}");
    });
}

#[test]
fn fork_bomb_ends_at_the_deadline() {
    as_everybody_once(|caller| {
        if caller.is_root_to_the_kernel() {
            return;
        }
        let home = caller.host_directory();
        let mut plan = caller.direct_plan("bomb() { bomb | bomb & }; bomb; exec sleep 900", &home.0);
        plan.environment.walls.insert(0, Step::Limit { resource: Resource::Processes, value: 300 });
        plan.call.deadline = Duration::from_millis(500);
        let begin = Instant::now();
        assert_eq!(caller.run(&plan).ending(), Ending::TimedOut);
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    });
}

#[test]
fn program_has_only_the_standard_streams_open() {
    as_everybody_once(|caller| {
        let home = caller.host_directory();
        let outcome = caller.run(&caller.direct_plan("ls /proc/$$/fd; readlink /proc/$$/fd/0", &home.0));
        assert_eq!(outcome.text(), "0\n1\n2\n/dev/null");
    });
}
