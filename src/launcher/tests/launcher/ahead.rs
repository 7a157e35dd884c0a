//! Programs that are started before there is a call for them.

use std::io::PipeReader;
use std::time::{Duration, Instant};

use sandbox_plan::{Ahead, Call, Ending, MAX_REPORT_BYTES, Plan, Report, Step, decode};

use crate::descriptors::receive;
use crate::serving::{processes, settled, wait_until_gone};
use crate::support::{Change, Served, SleepProcess, TestCaller, as_everybody_served, read_all};

/// A program that waits as it should: it starts, waits for its input to end, and then reads the files of the call.
const PROGRAM: &str = "begun=${AHEAD-no}; cat; cat given; echo ahead: $begun; echo and errors >&2";

fn call(caller: &TestCaller, script: &str, given: &str) -> Call {
    let mut call = caller.plan(script).call;
    let path = "/sandbox/given".into();
    call.steps.insert(0, Step::File { path, content: given.into(), mode: 0o644, owned: true });
    call
}

fn ahead(plan: &Plan) -> Option<Ahead> {
    let variables = vec![("AHEAD".to_owned(), "1".to_owned())];
    Some(Ahead { program: plan.call.program.clone()?, variables })
}

/// Starts a launcher with one sandbox ready, in which the program is started already.
fn serve(caller: &TestCaller, script: &str) -> Served {
    let mut plan = caller.plan(script);
    plan.environment.ahead = ahead(&plan);
    let served = caller.serve(&plan.environment, 1);
    served.run(&call(caller, "true", ""));
    settled(|| processes(&served).len());
    served
}

struct AheadOutcome {
    stdout: String,
    stderr: String,
    report: Report,
}

/// Carries a call out whose program was started ahead.
fn run(served: &Served, call: &Call) -> AheadOutcome {
    let calling = served.begin(call);
    let (mut bytes, mut outputs) = receive(&calling.call);
    assert_eq!(decode::<Report>(&mut bytes, MAX_REPORT_BYTES).unwrap(), Some(Report::Ahead));
    let (stderr, stdout) = (outputs.pop().unwrap(), outputs.pop().unwrap());
    let [stdout, stderr] = [stdout, stderr].map(|end| read_all(PipeReader::from(end)));
    let outcome = calling.finish();
    assert!(outcome.started);
    assert_eq!((outcome.stdout, outcome.stderr), (String::new(), String::new()), "nobody writes there");
    let [(stdout, _), (stderr, _)] = [stdout, stderr].map(|reader| reader.join().unwrap());
    AheadOutcome { stdout, stderr, report: outcome.report.unwrap() }
}

fn exited(code: i32, outcome: &AheadOutcome) -> bool {
    matches!(outcome.report, Report::Ended { ending: Ending::Exited { code: told }, .. } if told == code)
}

#[test]
fn waiting_program_goes_on_with_the_files_of_its_call() {
    as_everybody_served(|caller| {
        let served = serve(&caller, PROGRAM);
        for number in 0..5 {
            let outcome = run(&served, &call(&caller, PROGRAM, &format!("file {number}\n")));
            assert_eq!(outcome.stdout, format!("file {number}\nahead: 1\n"));
            assert_eq!(outcome.stderr, "and errors\n");
            assert!(exited(0, &outcome), "{:?}", outcome.report);
            settled(|| processes(&served).len());
        }
    });
}

#[test]
fn call_without_a_ready_sandbox_starts_its_program() {
    as_everybody_served(|caller| {
        let mut plan = caller.plan(PROGRAM);
        plan.environment.ahead = ahead(&plan);
        let served = caller.serve(&plan.environment, 0);
        let outcome = served.run(&call(&caller, PROGRAM, "file\n"));
        assert_eq!(outcome.text(), "file\nahead: no");
    });
}

#[test]
fn call_for_another_program_replaces_the_waiting_one() {
    as_everybody_served(|caller| {
        let sleeper = SleepProcess::new();
        let served = serve(&caller, &format!("{sleeper}; {PROGRAM}"));
        sleeper.wait_for(1, Duration::from_secs(10));
        let outcome = served.run(&call(&caller, "set -- /proc/[0-9]*; echo $#; cat given", "file"));
        assert_eq!(outcome.text(), "2\nfile", "pid 1 and the shell");
    });
}

#[test]
fn call_with_input_replaces_the_waiting_program_and_reads_it() {
    as_everybody_served(|caller| {
        let served = serve(&caller, PROGRAM);
        for input in ["first\n", "second\n", &"a line\n".repeat(100_000)] {
            let mut call = call(&caller, PROGRAM, "file\n");
            call.program.as_mut().expect("the call has a program").input = input.into();
            assert_eq!(served.run(&call).text(), format!("{input}file\nahead: no"));
        }
        assert_eq!(run(&served, &call(&caller, PROGRAM, "file\n")).stdout, "file\nahead: 1\n", "no input is left");
    });
}

#[test]
fn long_call_does_not_delay_the_next_waiting_program() {
    as_everybody_served(|caller| {
        let served = serve(&caller, "cat; . ./given");
        let before = processes(&served).len();
        let long = served.begin(&call(&caller, "cat; . ./given", "sleep 900"));
        let begun = Instant::now();
        while processes(&served).len() <= before + 1 {
            assert!(begun.elapsed() < Duration::from_secs(30), "none is started");
            std::thread::sleep(Duration::from_millis(10));
        }
        settled(|| processes(&served).len());
        assert_eq!(run(&served, &call(&caller, "cat; . ./given", "echo next")).stdout, "next\n");
        drop(long);
    });
}

#[test]
fn waiting_program_that_ends_is_reported() {
    as_everybody_served(|caller| {
        let served = serve(&caller, "cat; . ./given");
        let then = |given: &str| {
            let outcome = run(&served, &call(&caller, "cat; . ./given", given));
            settled(|| processes(&served).len());
            outcome
        };
        assert!(exited(7, &then("exit 7")));
        let killed = then("kill -9 $$").report;
        assert!(matches!(killed, Report::Ended { ending: Ending::Signalled { signal: 9 }, .. }), "{killed:?}");
        let mut endless = caller.plan("cat; . ./given").within(Duration::from_millis(200)).call;
        endless.steps.splice(0..0, call(&caller, "", "sleep 900").steps.drain(..1));
        let late = run(&served, &endless).report;
        assert!(matches!(late, Report::Ended { ending: Ending::TimedOut, .. }), "{late:?}");
    });
}

#[test]
fn waiting_program_is_confined() {
    as_everybody_served(|caller| {
        let script = "cat; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; ls -l /proc/self/fd | grep -c socket";
        let ahead = run(&serve(&caller, script), &call(&caller, script, ""));
        let usual = caller.sh(script);
        assert_eq!(ahead.stdout.trim_end(), usual.stdout.trim_end());
    });
}

#[test]
fn waiting_program_can_reopen_its_output() {
    as_everybody_served(|caller| {
        let script = "cat; echo again > /proc/self/fd/1";
        let outcome = run(&serve(&caller, script), &call(&caller, script, ""));
        assert_eq!(outcome.stdout, "again\n", "{}", outcome.stderr);
    });
}

#[test]
fn waiting_program_that_cannot_start_fails_its_call() {
    as_everybody_served(|caller| {
        let mut plan = caller.plan("");
        plan.program().arguments = vec!["none-such".to_owned()];
        plan.environment.ahead = ahead(&plan);
        let served = caller.serve(&plan.environment, 1);
        for _ in 0..3 {
            assert_eq!(served.run(&plan.call).failure(), ("start none-such", libc::ENOENT));
            assert_eq!(served.run(&call(&caller, "cat given", "fine")).text(), "fine");
            settled(|| processes(&served).len());
        }
    });
}

#[test]
fn waiting_program_ends_with_the_launcher() {
    as_everybody_served(|caller| {
        let mut served = serve(&caller, PROGRAM);
        let pids = processes(&served);
        assert!(pids.len() > 3, "guard, manager, pid 1, shell and cat: {pids:?}");
        served.control.shutdown(std::net::Shutdown::Both).unwrap();
        wait_until_gone(&pids);
        served.child.wait().unwrap();
    });
}
