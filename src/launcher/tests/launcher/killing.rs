//! No process of a sandbox outlives the server, the launcher or the call.

use std::fs;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use sandbox_plan::machine::kernel_bounds_pids;
use sandbox_plan::{Ending, Limit, Report, Resource, Step, encode_once};

use crate::support::{Change, Running, SleepProcess, TestCaller, as_everybody, as_everybody_once};

const AT_ONCE: Duration = Duration::from_millis(500);

/// Starts a sandbox with three processes that ignore signals.
fn stubborn(caller: &TestCaller, sleeper: &SleepProcess) -> Running {
    let plan = caller.plan(&format!("trap '' TERM HUP INT; (setsid {sleeper} &); {sleeper} & {sleeper}"));
    let mut running = caller.start(&plan);
    assert_eq!(running.report().unwrap(), Some(Report::Started));
    sleeper.wait_for(3, Duration::from_secs(10));
    running
}

#[test]
fn closed_control_socket_leaves_no_process() {
    as_everybody(|caller| {
        let sleeper = SleepProcess::new();
        let mut running = stubborn(&caller, &sleeper);
        running.control = None;
        sleeper.wait_for(0, AT_ONCE);
        assert!(running.child.wait().unwrap().success());
    });
}

#[test]
fn control_socket_shut_for_writing_leaves_no_process() {
    as_everybody(|caller| {
        let sleeper = SleepProcess::new();
        let mut running = stubborn(&caller, &sleeper);
        running.control.as_ref().unwrap().shutdown(std::net::Shutdown::Write).unwrap();
        sleeper.wait_for(0, AT_ONCE);
        assert_eq!(running.report().unwrap(), None);
    });
}

#[test]
fn killed_launcher_leaves_no_process() {
    as_everybody(|caller| {
        let sleeper = SleepProcess::new();
        let mut running = stubborn(&caller, &sleeper);
        running.child.kill().unwrap();
        sleeper.wait_for(0, AT_ONCE);
        running.child.wait().unwrap();
    });
}

#[test]
fn launcher_killed_at_any_moment_leaves_no_process() {
    as_everybody(|caller| {
        let sleeper = SleepProcess::new();
        for delay in (0..12_000).step_by(300) {
            let mut running = caller.start(&caller.plan(&sleeper.to_string()));
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_micros(delay) {}
            running.child.kill().unwrap();
            running.child.wait().unwrap();
        }
        sleeper.wait_for(0, AT_ONCE);
    });
}

#[test]
fn call_cancelled_at_any_moment_leaves_no_process() {
    as_everybody(|caller| {
        let sleeper = SleepProcess::new();
        for delay in (0..12_000).step_by(300) {
            let mut running = caller.start(&caller.plan(&sleeper.to_string()));
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_micros(delay) {}
            running.control = None;
            running.child.wait().unwrap();
            assert_eq!(sleeper.count(), 0);
        }
    });
}

#[test]
fn dead_server_with_an_open_socket_leaves_no_process() {
    as_everybody(|caller| {
        let sleeper = SleepProcess::new();
        let launcher = caller.command().get_program().to_owned();
        // A shell is the server here, and this process keeps the server's end of the socket open.
        let mut server = Command::new("sh");
        server.args(["-c", r#"exec 3<&0; "$0" <&3 3<&- & wait"#]).arg(launcher);
        caller.become_caller(&mut server);
        let mut running = caller.start_by(server, &caller.plan(&sleeper.to_string()));
        assert_eq!(running.report().unwrap(), Some(Report::Started));
        sleeper.wait_for(1, Duration::from_secs(10));
        running.child.kill().unwrap();
        sleeper.wait_for(0, AT_ONCE);
        assert_eq!(running.report().unwrap(), None);
        running.child.wait().unwrap();
    });
}

#[test]
fn server_that_sends_half_a_plan_leaves_no_launcher() {
    as_everybody_once(|caller| {
        for sent in [0, 3, 4, 9] {
            let frame = encode_once(&caller.plan("true")).unwrap();
            let (mut control, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            let mut child = caller.command().stdin(std::os::fd::OwnedFd::from(theirs)).spawn().unwrap();
            control.write_all(&frame[..sent]).unwrap();
            drop(control);
            let begin = Instant::now();
            child.wait().unwrap();
            assert!(begin.elapsed() < Duration::from_secs(5));
        }
    });
}

#[test]
fn fork_bomb_is_limited_and_ends_at_the_deadline() {
    as_everybody(|caller| {
        if caller.is_root_to_the_kernel() {
            return;
        }
        let mut plan = caller.plan("bomb() { bomb | bomb & }; (bomb) & exec sleep 900");
        plan.environment.walls.insert(0, Step::Limit { resource: Resource::Processes, value: 50 });
        plan.call.deadline = Duration::from_millis(700);
        let begin = Instant::now();
        let outcome = caller.run(&plan);
        assert_eq!(outcome.ending(), Ending::TimedOut);
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        assert!(outcome.stderr.contains("fork"), "it met no limit: {}", outcome.stderr);
    });
}

/// Checks that the launcher kills it, since the kernel does not limit the processes of the machine's root.
#[test]
fn fork_bomb_of_the_machine_root_is_killed() {
    as_everybody(|caller| {
        if !caller.is_root() {
            return;
        }
        let (mut plan, sleeper) = (caller.plan("").within(Duration::from_secs(3)), SleepProcess::new());
        plan.environment.identity.host_uid = 0;
        plan.environment.identity.host_gid = 0;
        plan.environment.watch.processes = Some(50);
        plan.environment.watch.ends_forks = true;
        // A bomb is faster than whoever looks at it. On an older kernel this setting would be the whole machine's.
        let machines = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap();
        if kernel_bounds_pids() {
            plan.environment.sandbox.push(Step::Setting { name: "kernel/pid_max".to_owned(), value: "350".to_owned() });
        }
        let limit = Limit::Processes { count: 50 };
        plan.program().arguments[2] = format!("while :; do {sleeper} & done");
        assert_eq!(caller.run(&plan).ending(), Ending::OverLimit { limit });
        // Whose processes come and go has seldom too many when somebody looks.
        if kernel_bounds_pids() {
            plan.program().arguments[2] = "bomb() { bomb | bomb & }; (bomb) & exec sleep 900".to_owned();
            let ending = caller.run(&plan).ending();
            assert!(ending == Ending::OverLimit { limit } || ending == Ending::TimedOut, "{ending:?}");
        }
        assert_eq!(fs::read_to_string("/proc/sys/kernel/pid_max").unwrap(), machines);
        sleeper.wait_for(0, AT_ONCE);
        plan.program().arguments[2] = format!("for i in $(seq 40); do {sleeper} & done; sleep 0.3; exit 3");
        assert_eq!(caller.run(&plan).ending(), Ending::Exited { code: 3 });
    });
}

#[test]
fn processes_are_counted_per_sandbox() {
    as_everybody(|caller| {
        if caller.is_root_to_the_kernel() {
            return;
        }
        let sleeper = SleepProcess::new();
        let mut plan = caller.plan(&format!("(for i in $(seq 100); do {sleeper} & done) 2>/dev/null; exec {sleeper}"));
        plan.environment.walls.insert(0, Step::Limit { resource: Resource::Processes, value: 20 });
        // Two sandboxes of the same outer user do not take each other's.
        let running = [caller.start(&plan), caller.start(&plan)];
        // Pid 1 and the inner shell, which met the limit and ended, were two of the twenty.
        sleeper.wait_for(36, Duration::from_secs(10));
        for mut running in running {
            running.control = None;
            running.child.wait().unwrap();
        }
        sleeper.wait_for(0, AT_ONCE);
    });
}

#[test]
fn finished_call_leaves_no_mount_or_descriptor() {
    as_everybody(|caller| {
        let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let fast = caller.plan("sleep 900").within(Duration::from_millis(50));
        for _ in 0..10 {
            caller.sh("true");
        }
        caller.run(&fast);
        assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    });
}
