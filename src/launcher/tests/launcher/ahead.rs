//! Programs that are started before there is a call for them.

use std::io::PipeReader;
use std::time::{Duration, Instant};

use sandbox_plan::{Ahead, Call, Ending, LARGEST_REPORT, Plan, Report, Step, decode};

use crate::descriptors::receive;
use crate::serving::{processes, settled, wait_until_gone};
use crate::support::{Caller, Change, Served, Sleeper, as_everybody_served, read_all};

/// A program as it should be: it begins, waits, and then looks at what the call has brought.
const PROGRAM: &str = "begun=${AHEAD-no}; cat; cat given; echo ahead: $begun; echo and errors >&2";

fn call(caller: &Caller, script: &str, given: &str) -> Call {
    let mut call = caller.plan(script).call;
    let path = "/sandbox/given".into();
    call.steps.insert(0, Step::File { path, content: given.into(), mode: 0o644, owned: true });
    call
}

fn ahead(plan: &Plan) -> Option<Ahead> {
    let variables = vec![("AHEAD".to_owned(), "1".to_owned())];
    Some(Ahead { program: plan.call.program.clone()?, variables })
}

/// A launcher with one sandbox ready, in which the program is started already.
fn serve(caller: &Caller, script: &str) -> Served {
    let mut plan = caller.plan(script);
    plan.environment.ahead = ahead(&plan);
    let served = caller.serve(&plan.environment, 1);
    served.run(&call(caller, "true", ""));
    settled(|| processes(&served).len());
    served
}

struct Outcome {
    stdout: String,
    stderr: String,
    report: Report,
}

/// Carries a call out whose program was started ahead.
fn run(served: &Served, call: &Call) -> Outcome {
    let calling = served.begin(call);
    let (mut bytes, mut outputs) = receive(&calling.call);
    assert_eq!(decode::<Report>(&mut bytes, LARGEST_REPORT).unwrap(), Some(Report::Ahead));
    let (stderr, stdout) = (outputs.pop().unwrap(), outputs.pop().unwrap());
    let [stdout, stderr] = [stdout, stderr].map(|end| read_all(PipeReader::from(end)));
    let outcome = calling.finish();
    assert!(outcome.started);
    assert_eq!((outcome.stdout, outcome.stderr), (String::new(), String::new()), "nobody writes there");
    let [(stdout, _), (stderr, _)] = [stdout, stderr].map(|reader| reader.join().unwrap());
    Outcome { stdout, stderr, report: outcome.report.unwrap() }
}

fn exited(code: i32, outcome: &Outcome) -> bool {
    matches!(outcome.report, Report::Ended { ending: Ending::Exited { code: told }, .. } if told == code)
}

#[test]
fn it_goes_on_when_its_call_comes_and_finds_the_files_of_the_call() {
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
fn a_call_that_finds_nothing_ready_starts_its_program_itself() {
    as_everybody_served(|caller| {
        let mut plan = caller.plan(PROGRAM);
        plan.environment.ahead = ahead(&plan);
        let served = caller.serve(&plan.environment, 0);
        let outcome = served.run(&call(&caller, PROGRAM, "file\n"));
        assert_eq!(outcome.text(), "file\nahead: no");
    });
}

#[test]
fn a_call_for_another_program_gets_it_and_nothing_of_the_other_is_left() {
    as_everybody_served(|caller| {
        let sleeper = Sleeper::new();
        let served = serve(&caller, &format!("{sleeper}; {PROGRAM}"));
        sleeper.wait_for(1, Duration::from_secs(10));
        let outcome = served.run(&call(&caller, "set -- /proc/[0-9]*; echo $#; cat given", "file"));
        assert_eq!(outcome.text(), "2\nfile", "pid 1 and the shell");
    });
}

#[test]
fn a_call_that_takes_long_does_not_keep_the_next_program_from_being_started() {
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
fn its_end_is_told_however_it_comes() {
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
fn it_has_all_walls_around_it() {
    as_everybody_served(|caller| {
        let script = "cat; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; ls -l /proc/self/fd | grep -c socket";
        let ahead = run(&serve(&caller, script), &call(&caller, script, ""));
        let usual = caller.sh(script);
        assert_eq!(ahead.stdout.trim_end(), usual.stdout.trim_end());
    });
}

#[test]
fn its_output_can_be_opened_anew() {
    as_everybody_served(|caller| {
        let script = "cat; echo again > /proc/self/fd/1";
        let outcome = run(&serve(&caller, script), &call(&caller, script, ""));
        assert_eq!(outcome.stdout, "again\n", "{}", outcome.stderr);
    });
}

#[test]
fn one_that_can_t_be_started_is_told_to_its_call() {
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
fn the_launcher_takes_it_along_when_it_ends() {
    as_everybody_served(|caller| {
        let mut served = serve(&caller, PROGRAM);
        let pids = processes(&served);
        assert!(pids.len() > 3, "guard, manager, pid 1, shell and cat: {pids:?}");
        served.control.shutdown(std::net::Shutdown::Both).unwrap();
        wait_until_gone(&pids);
        served.child.wait().unwrap();
    });
}
