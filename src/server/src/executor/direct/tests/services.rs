//! Services before the command, in namespaces and without.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::host;
use super::support::{Setting, lacking, without_namespaces};
use crate::call::choice::{Executor, Remote};
use crate::call::definition::{Hints, Network, Programs, Readiness, Resources, Sandbox, Service};
use crate::call::job::Job;
use crate::call::outcome::{Ending, RunResult};
use crate::executor::derivation::Derivations;
use crate::executor::{CallContext, Executors};

/// Python's own server of the files of the working directory, which logs each request to its standard error.
const FILES: Service = Service {
    name: "files",
    command: &["python3", "-m", "http.server", "--bind", "127.0.0.1", "8000"],
    ready: Readiness::Port(8000),
    deadline: Duration::from_secs(20),
    logs: &[],
    errors: &[],
};

const SANDBOX: Sandbox = Sandbox {
    id: "serving",
    name: "Serving",
    version: "1",
    description: "Runs a command beside services.",
    contents: "",
    programs: Programs::NONE,
    parameters: &[],
    hints: Hints::NONE,
    user: "sandbox",
    entrypoint: "main",
    instead: &[],
    command: &[],
    host_programs: &["python3"],
    ahead: &[],
    services: &[],
    timeout: Duration::from_secs(60),
    network: Network::None,
    resources: Resources { cpu: 1, memory_mb: 256, disk_mb: 128, processes: 64, files: 256 },
    workdir: "/sandbox",
    script_mode: 0o644,
    read_only: false,
    variables: &[],
    executor: None,
    environment: None,
    environment_id: "serving",
    package_sets: &[],
};

fn run(setting: &Setting, sandbox: Sandbox) -> RunResult {
    let sandbox: &'static Sandbox = Box::leak(Box::new(sandbox));
    crate::testing::run(setting.caller, &setting.lacking, || async {
        let executors = Executors::new(Some(1), Derivations::new(None, false, Remote::Off), false);
        let view = crate::sandbox::host::toolchain(sandbox, &host(executors.walls().await)).unwrap().view();
        let (job, never) = (Job::new(sandbox, Vec::new()), CancellationToken::new());
        executors.run(Executor::Direct, &CallContext::new(&job, &view, &drop, &never)).await.unwrap()
    })
}

#[test]
fn service_is_ready_before_the_command_starts() {
    const FETCH: &str = "import urllib.request as r\nprint(r.urlopen('http://127.0.0.1:8000/').status)";
    for setting in lacking(&[]) {
        for _ in 0..2 {
            let outcome = run(&setting, Sandbox { services: &[FILES], command: &["python3", "-c", FETCH], ..SANDBOX });
            let (stdout, stderr) = (outcome.stdout.text(), outcome.stderr.text());
            assert_eq!((stdout.as_str(), stderr.as_str()), ("200\n", ""), "{setting:?}");
        }
    }
}

#[test]
fn without_a_network_a_server_fails_and_says_so() {
    for setting in without_namespaces() {
        let outcome = run(&setting, Sandbox { services: &[FILES], command: &["echo", "run"], ..SANDBOX });
        let (stdout, stderr) = (outcome.stdout.text(), outcome.stderr.text());
        assert_eq!((outcome.ending, stdout.as_str()), (Ending::Unready, ""), "{setting:?}");
        assert!(stderr.starts_with("The service `files` did not start: it exited with status 1."), "{stderr}");
        assert!(stderr.contains("ermission"), "{stderr}");
    }
}

#[test]
fn service_paths_are_private_without_namespaces() {
    const WRITER: Service = Service {
        name: "writer",
        command: &["sh", "-c", "echo 'error: one' > $TMPDIR/log; echo up > .up; mv .up up; sleep 900"],
        ready: Readiness::File("/sandbox/up"),
        deadline: Duration::from_secs(20),
        logs: &["/tmp/log"],
        errors: &["error"],
    };
    for setting in [lacking(&[]), without_namespaces()].concat() {
        let outcome = run(&setting, Sandbox { services: &[WRITER], command: &["cat", "up"], ..SANDBOX });
        let (stdout, stderr) = (outcome.stdout.text(), outcome.stderr.text());
        let logged = "The service `writer` logged errors:\nerror: one\n";
        assert_eq!((stdout.as_str(), stderr.as_str()), ("up\n", logged), "{setting:?}");
    }
}
