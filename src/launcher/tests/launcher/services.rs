//! Services: what is started before the program.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use sandbox_plan::{Ending, Plan, ServiceReadiness, ServiceSpec};

use crate::support::{Change, SleepProcess, TestCaller, as_everybody, as_everybody_once};

/// Answers each connection with a word, and prints that it came.
const SERVER: &str = "import socket, time
print('noise', flush=True)
time.sleep(0.2)
server = socket.create_server(('127.0.0.1', 7000))
while True:
    connection, _ = server.accept()
    connection.sendall(b'served')
    connection.close()
    print('noise', flush=True)
";

fn service(name: &str, command: &[&str], ready: ServiceReadiness) -> ServiceSpec {
    ServiceSpec {
        name: name.to_owned(),
        command: command.iter().map(|argument| (*argument).to_owned()).collect(),
        ready,
        deadline: Duration::from_secs(10),
        logs: Vec::new(),
        errors: Vec::new(),
    }
}

fn shell(name: &str, script: &str, ready: ServiceReadiness) -> ServiceSpec {
    service(name, &["sh", "-c", script], ready)
}

fn file(path: &str) -> ServiceReadiness {
    ServiceReadiness::File { path: path.into() }
}

fn with(caller: &TestCaller, script: &str, services: impl Into<Vec<ServiceSpec>>) -> Plan {
    let mut plan = caller.plan(script);
    plan.call.services = services.into();
    plan
}

#[test]
fn program_starts_when_its_service_accepts_connections() {
    as_everybody(|caller| {
        let server = service("server", &["python3", "-c", SERVER], ServiceReadiness::Port { port: 7000 });
        let client = "python3 -c 'import socket; print(socket.create_connection((\"127.0.0.1\", 7000)).recv(9))'";
        let outcome = caller.run(&with(&caller, client, [server]));
        assert_eq!((outcome.text(), outcome.stderr.as_str()), ("b'served'", ""));
    });
}

#[test]
fn service_is_ready_by_its_file_or_its_return() {
    as_everybody(|caller| {
        let slow = shell("slow", "sleep 0.2; echo 1 > /tmp/first; sleep 900", file("/tmp/first"));
        let daemon = "cat /tmp/first > /tmp/second; (while :; do echo 2 >> /tmp/second; sleep 0.01; done &)";
        let daemon = shell("daemon", daemon, ServiceReadiness::Returned);
        let script = "head -n 1 /tmp/second; while [ $(wc -l < /tmp/second) -lt 5 ]; do sleep 0.01; done; echo alive";
        assert_eq!(caller.run(&with(&caller, script, [slow, daemon])).text(), "1\nalive");
    });
}

#[test]
fn daemon_that_forks_before_it_is_ready_is_awaited() {
    as_everybody(|caller| {
        let daemon = shell("daemon", "(sleep 0.2; echo up > /tmp/up; sleep 900) &", file("/tmp/up"));
        assert_eq!(caller.run(&with(&caller, "cat /tmp/up", [daemon])).text(), "up");
    });
}

#[test]
fn service_that_ends_too_early_is_reported_with_its_output() {
    as_everybody(|caller| {
        let fails = "echo not this >> /tmp/log; seq 2000 >> /tmp/log; echo the log >> /tmp/log; echo wrong >&2; exit 3";
        let mut fails = shell("fails", fails, ServiceReadiness::Port { port: 7000 });
        fails.logs = vec!["/tmp/log".into(), "/tmp/missing".into()];
        let outcome = caller.run(&with(&caller, "echo run", [fails]));
        assert_eq!((outcome.ending(), outcome.stdout.as_str()), (Ending::Unready, ""));
        let text = &outcome.stderr;
        let beginning = "The service `fails` did not start: it exited with status 3. The command was not run.\nwrong\nThe end of /tmp/log:\n";
        assert!(text.starts_with(beginning) && text.ends_with("\n2000\nthe log\n"), "{text}");
        assert!(!text.contains("not this") && !text.contains("missing"), "{text}");
    });
}

#[test]
fn services_that_are_not_ready_are_reported_with_the_reason() {
    as_everybody(|caller| {
        let late = |ready| ServiceSpec { deadline: Duration::from_millis(200), ..shell("late", "sleep 900", ready) };
        for (service, reason) in [
            (late(ServiceReadiness::Returned), "its command did not return within 200ms"),
            (late(ServiceReadiness::Port { port: 7000 }), "nothing accepted a connection at port 7000 within 200ms"),
            (late(file("/tmp/never")), "there was no /tmp/never within 200ms"),
            (shell("dies", "kill -9 $$", file("/tmp/never")), "it was ended by signal 9"),
            (service("missing", &["no-such-program"], ServiceReadiness::Returned), "it exited with status 127"),
        ] {
            let outcome = caller.run(&with(&caller, "echo run", [service]));
            assert_eq!((outcome.ending(), outcome.stdout.as_str()), (Ending::Unready, ""));
            assert!(
                outcome.stderr.contains(&format!("did not start: {reason}. The command was not run.")),
                "{outcome:?}"
            );
        }
        let missing = service("missing", &["no-such-program"], ServiceReadiness::Returned);
        let outcome = caller.run(&with(&caller, "true", [missing]));
        assert!(outcome.stderr.contains("cannot start no-such-program: No such file"), "{outcome:?}");
    });
}

#[test]
fn port_of_an_earlier_service_does_not_count_as_ready() {
    as_everybody(|caller| {
        let first = service("first", &["python3", "-c", SERVER], ServiceReadiness::Port { port: 7000 });
        let second = shell("second", "sleep 900", ServiceReadiness::Port { port: 7000 });
        let outcome = caller.run(&with(&caller, "true", [first, second]));
        assert_eq!(outcome.ending(), Ending::Unready);
        assert!(
            outcome.stderr.starts_with("The service `second` did not start: port 7000 is taken already."),
            "{outcome:?}"
        );
    });
}

#[test]
fn service_is_a_child_of_pid_1_and_dies_with_the_call() {
    as_everybody(|caller| {
        let sleeper = SleepProcess::new();
        let script = format!("trap '' TERM; echo $$ > /tmp/pid.new; mv /tmp/pid.new /tmp/pid; {sleeper} & {sleeper}");
        let lasting = shell("lasting", &script, file("/tmp/pid"));
        let script = "pid=$(cat /tmp/pid); cut -d ' ' -f 4,6 /proc/$pid/stat; kill -0 $pid && echo $pid";
        let outcome = caller.run(&with(&caller, script, [lasting]));
        let lines: Vec<&str> = outcome.text().lines().collect();
        assert_eq!(lines[0], format!("1 {}", lines[1]), "parent and session: {outcome:?}");
        assert_eq!(sleeper.count(), 0);
    });
}

#[test]
fn deadline_includes_the_start_of_services() {
    as_everybody(|caller| {
        let never = shell("never", "sleep 900", file("/tmp/never"));
        let plan = with(&caller, "true", [never]).within(Duration::from_millis(300));
        assert_eq!(caller.run(&plan).ending(), Ending::TimedOut);
    });
}

#[test]
fn failures_of_services_follow_the_errors_of_the_program() {
    as_everybody(|caller| {
        let mut breaks = shell(
            "breaks",
            "echo last words; echo $$ > /tmp/pid; while [ ! -e /tmp/log ]; do sleep 0.01; done; exit 5",
            file("/tmp/pid"),
        );
        breaks.logs = vec!["/tmp/log".into()];
        breaks.errors = vec!["[error]".to_owned(), "[crit]".to_owned()];
        let script = "printf 'a\\n1 [error] b\\n[info] c\\n2 [crit] d' > /tmp/log; echo own >&2; \
                      while kill -0 $(cat /tmp/pid); do sleep 0.01; done 2> /dev/null; exit 7";
        let outcome = caller.run(&with(&caller, script, [breaks]));
        assert_eq!(outcome.ending(), Ending::Exited { code: 7 });
        assert_eq!(
            outcome.stderr,
            "own\nThe service `breaks` ended before the command: it exited with status 5.\nlast words\n\
             The service `breaks` logged errors:\n1 [error] b\n2 [crit] d\n"
        );
    });
}

#[test]
fn many_errors_are_cut_to_the_first_lines() {
    as_everybody(|caller| {
        let mut loud = shell("loud", "true", ServiceReadiness::Returned);
        loud.logs = vec!["/tmp/log".into()];
        loud.errors = vec!["error".to_owned()];
        let script = "for i in $(seq 30); do printf \"error $i %03000d\\n\" 0; done > /tmp/log";
        let outcome = caller.run(&with(&caller, script, [loud]));
        let lines: Vec<&str> = outcome.stderr.lines().collect();
        assert_eq!(lines.len(), 22, "{outcome:?}");
        assert!(lines[1].starts_with("error 1 0") && lines[1].len() == 1000, "{outcome:?}");
        assert!(lines[20].starts_with("error 20 0") && lines[21] == "[… and more of them]", "{outcome:?}");
    });
}

#[test]
fn log_replaced_by_the_program_is_not_read() {
    as_everybody(|caller| {
        for script in ["mkfifo /tmp/log", "ln -s /proc/self/status /tmp/log", "mkdir /tmp/log", "ln -s log /tmp/log"] {
            let mut quiet = shell("quiet", "true", ServiceReadiness::Returned);
            quiet.logs = vec!["/tmp/log".into()];
            quiet.errors = vec!["Name:".to_owned()];
            let outcome = caller.run(&with(&caller, script, [quiet]));
            assert_eq!((outcome.ending(), outcome.stderr.as_str()), (Ending::Exited { code: 0 }, ""), "{script}");
        }
    });
}

#[test]
fn service_without_namespaces_is_confined_like_the_program() {
    as_everybody_once(|caller| {
        let home = caller.host_directory();
        let other = caller.host_directory();
        fs::write(other.0.join("secret"), "[error] secret").unwrap();
        let (sleeper, place) = (SleepProcess::new(), |name: &str| -> PathBuf { home.0.join(name) });
        let secret = other.0.join("secret");
        let script = format!("cat {} > seen 2>&1; echo $$ > pid; exec {sleeper}", secret.display());
        let mut walled = shell("walled", &script, ServiceReadiness::File { path: place("pid") });
        walled.logs = vec![place("log")];
        walled.errors = vec!["[error]".to_owned()];
        let script = format!("ln -s {} log; cat seen; kill $(cat pid) && echo killed", secret.display());
        let mut plan = caller.direct_plan(&script, &home.0);
        plan.program().variables.push(("TMPDIR".to_owned(), home.0.display().to_string()));
        plan.call.services = vec![walled];
        let outcome = caller.run(&plan);
        let text = outcome.text();
        assert!(text.contains("ermission denied") && text.ends_with("killed"), "{outcome:?}");
        assert!(!outcome.stderr.contains("secret"), "{outcome:?}");
        assert_eq!(sleeper.count(), 0);
    });
}
