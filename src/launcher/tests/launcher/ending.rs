//! How programs end, and how that is reported.

use std::time::{Duration, Instant};

use sandbox_plan::{Ending, Report};

use crate::support::{Change, SleepProcess, as_everybody};

#[test]
fn program_output_comes_by_two_pipes() {
    as_everybody(|caller| {
        let outcome = caller.sh("echo out; echo err >&2");
        assert_eq!((outcome.text(), outcome.stderr.as_str()), ("out", "err\n"));
        assert!(outcome.started);
    });
}

#[test]
fn exit_codes_and_signals_are_reported() {
    as_everybody(|caller| {
        for code in [0, 1, 42, 126, 127, 137, 255] {
            assert_eq!(caller.sh(&format!("exit {code}")).ending(), Ending::Exited { code });
        }
        for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGSEGV, libc::SIGPIPE, libc::SIGABRT] {
            assert_eq!(caller.sh(&format!("kill -{signal} $$")).ending(), Ending::Signalled { signal });
        }
    });
}

#[test]
fn program_that_kills_its_parent_goes_on() {
    as_everybody(|caller| {
        let outcome = caller.sh("kill -9 $PPID; kill -TERM 1; kill -9 1; sleep 0.1; echo $PPID");
        assert_eq!(outcome.text(), "1");
    });
}

#[test]
fn program_that_closes_its_output_goes_on() {
    as_everybody(|caller| {
        let outcome = caller.sh("echo first; exec >&- 2>&-; sleep 0.5; exit 7");
        assert_eq!((outcome.ending(), outcome.stdout.as_str()), (Ending::Exited { code: 7 }, "first\n"));
        assert!(outcome.closed_before_end >= Duration::from_millis(400), "{:?}", outcome.closed_before_end);
    });
}

#[test]
fn background_processes_die_with_the_program() {
    as_everybody(|caller| {
        let sleeper = SleepProcess::new();
        let begin = Instant::now();
        let outcome =
            caller.sh(&format!("(trap '' TERM HUP; setsid {sleeper} & setsid {sleeper} &) ; sleep 0.1; echo $$"));
        assert_eq!(sleeper.count(), 0);
        outcome.text();
        assert!(begin.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn orphans_are_reaped_by_pid_1() {
    as_everybody(|caller| {
        let outcome = caller.sh("for i in 1 2 3 4 5; do (sleep 0.01 &); done; sleep 0.3; cat /proc/[0-9]*/stat");
        assert!(!outcome.text().contains(" Z "), "{}", outcome.stdout);
        assert_eq!(outcome.text().lines().count(), 2, "pid 1 and sh: {}", outcome.stdout);
    });
}

#[test]
fn program_is_killed_at_the_deadline() {
    as_everybody(|caller| {
        let sleeper = SleepProcess::new();
        let plan = caller.plan(&format!("echo begun; {sleeper}")).within(Duration::from_millis(300));
        let begin = Instant::now();
        let outcome = caller.run(&plan);
        assert_eq!((outcome.ending(), outcome.stdout.as_str()), (Ending::TimedOut, "begun\n"));
        assert!((300..1300).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
        assert_eq!(sleeper.count(), 0);
    });
}

#[test]
fn grandchild_that_ignores_sigterm_dies_at_the_deadline() {
    as_everybody(|caller| {
        let sleeper = SleepProcess::new();
        let script = format!("trap '' TERM HUP INT; (setsid {sleeper} &); (setsid sh -c '{sleeper}' &) ; {sleeper}");
        let outcome = caller.run(&caller.plan(&script).within(Duration::from_millis(500)));
        assert_eq!(outcome.ending(), Ending::TimedOut);
        assert_eq!(sleeper.count(), 0);
    });
}

#[test]
fn deadline_that_overflows_is_none() {
    as_everybody(|caller| {
        let outcome = caller.run(&caller.plan("echo fine").within(Duration::MAX));
        assert_eq!(outcome.text(), "fine");
    });
}

#[test]
fn processor_time_and_memory_are_reported() {
    as_everybody(|caller| {
        let script =
            "head -c 40000000 /dev/zero | tail -c 40000000 | wc -c; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let outcome = caller.sh(script);
        assert_eq!(outcome.text(), "40000000");
        let Some(Report::Ended { usage, .. }) = outcome.report else { unreachable!() };
        assert!((30 << 20..100 << 20).contains(&usage.peak_memory), "{usage:?}");
        assert!((30..10_000).contains(&usage.cpu.as_millis()), "{usage:?}");
    });
}
