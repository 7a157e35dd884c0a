//! Tests of allow-lists with real sandboxes: the server's launcher, manager pool and executor, in the simulated
//! internet.

use std::ffi::OsString;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use std::{env, fs};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sandbox_manifest::policy::Entry;
use sandbox_server::call::choice::{Executor, Remote};
use sandbox_server::call::definition::{Hints, Network, Programs, Resources, Sandbox};
use sandbox_server::call::job::{Job, Output};
use sandbox_server::call::outcome::{Ending, RunResult};
use sandbox_server::executor::derivation::Derivations;
use sandbox_server::executor::{CallContext, ExecutorError, Executors};
use sandbox_server::network::Refusals;
use sandbox_server::sandbox::launch::{LaunchError, ManagerPool};
use sandbox_server::sandbox::plan;
use sandbox_server::sandbox::view::{Bind, Link, View};
use tokio_util::sync::CancellationToken;

use crate::inside::PROGRAM;
use crate::internet::{HOST, InternetHost, asked, echo, trap};
use crate::is_broken;

/// The first argument of a process that acts as a server.
pub const SERVER: &str = "--server";

/// The path of this program inside the sandboxes.
const OWN: &str = "/run/program";

/// Defines a sandbox with this allow-list, whose command is one of the programs of [`crate::inside`].
fn sandbox(entries: &[&str], program: &[&dyn Display]) -> &'static Sandbox {
    let entries = entries.iter().map(|text| Entry::parse(text.to_string().leak()).unwrap_or_else(|e| panic!("{e}")));
    let arguments = program.iter().map(|argument| &*argument.to_string().leak());
    let command: Vec<&str> = [OWN, PROGRAM].into_iter().chain(arguments).collect();
    Box::leak(Box::new(Sandbox {
        id: "online",
        name: "Online",
        version: "1",
        description: "Reaches what its list allows.",
        contents: "",
        programs: Programs::NONE,
        parameters: &[],
        hints: Hints::NONE,
        user: "sandbox",
        entrypoint: "main",
        instead: &[],
        command: command.leak(),
        host_programs: &[],
        ahead: &[],
        services: &[],
        timeout: Duration::from_secs(60),
        network: Network::Allow(entries.collect::<Vec<_>>().leak()),
        resources: Resources { cpu: 1, memory_mb: 256, disk_mb: 128, processes: 64, files: 256 },
        workdir: "/sandbox",
        script_mode: 0o644,
        read_only: false,
        variables: &[],
        executor: None,
        environment: None,
        environment_id: "online",
        package_sets: &[],
    }))
}

/// Makes a view of this program and the libraries it is linked with.
fn view() -> Arc<View> {
    let mut view = View::empty();
    view.binds.push(Bind { source: env::current_exe().unwrap(), target: OWN.into() });
    for path in ["/usr", "/lib", "/lib64", "/nix/store"] {
        match Path::new(path).read_link() {
            Ok(target) => view.links.push(Link::new(path, target)),
            Err(_) if Path::new(path).is_dir() => view.binds.push(Bind::in_place(path)),
            Err(_) => {}
        }
    }
    Arc::new(view)
}

fn executors(ready: usize) -> Executors {
    Executors::new(Some(ready), Derivations::new(None, false, Remote::Off), false)
}

async fn call(executors: &Executors, sandbox: &'static Sandbox) -> RunResult {
    let job = Job::new(sandbox, Vec::new());
    executors
        .run(Executor::Direct, &CallContext::new(&job, &view(), &|_| {}, &CancellationToken::new()))
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Runs a program in a sandbox of its own.
fn run(entries: &[&str], program: &[&dyn Display]) -> RunResult {
    block_on(call(&executors(0), sandbox(entries, program)))
}

fn output(outcome: &RunResult) -> String {
    assert_eq!(outcome.ending, Ending::Exited { code: 0 }, "{outcome:?}");
    outcome.stdout.text().trim_end().to_owned()
}

fn refused(texts: &[&str]) -> Refusals {
    Refusals { kept: texts.iter().map(|text| (*text).to_owned()).collect(), left_out: 0 }
}

pub fn sandbox_reaches_a_listed_host() {
    let host = InternetHost::at(HOST, echo);
    let port = host.port;
    let list = [&*format!("api.example.org:{port}"), &format!("*.wild.example.org:{port}"), &format!("{HOST}:{port}")];
    for name in ["api.example.org", "a.b.wild.example.org", &HOST.to_string()] {
        let outcome = run(&list, &[&"fetch", &name, &port, &"hello"]);
        assert_eq!((&*output(&outcome), outcome.refused), ("heard: hello", Refusals::default()), "{name}");
    }
}

pub fn sandbox_is_refused_unlisted_hosts_and_ports() {
    let host = InternetHost::at(HOST, trap);
    let (port, list) = (host.port, ["api.example.org:443"]);
    let outcome = run(&list, &[&"fetch", &"unlisted.example.org", &443, &""]);
    assert!(output(&outcome).contains("Name or service not known"), "{outcome:?}");
    assert_eq!(outcome.refused, refused(&["connection to unlisted.example.org was refused: not on the allow-list"]));
    assert_eq!(asked("unlisted.example.org"), 0, "the name is not looked up outside");

    let outcome = run(&list, &[&"fetch", &"api.example.org", &port, &""]);
    assert!(output(&outcome).starts_with("ConnectionRefused"), "{outcome:?}");
    let sentence = format!("connection to api.example.org:{port} was refused: not on the allow-list");
    assert_eq!(outcome.refused, refused(&[&sentence]));

    for address in [&*HOST.to_string(), "169.254.169.254", "8.8.8.8"] {
        let outcome = run(&list, &[&"connect", &address, &port]);
        assert!(output(&outcome).contains("Network is unreachable"), "{outcome:?}");
    }

    let inside = format!("private.example.org:{port}");
    let outcome = run(&[&inside], &[&"fetch", &"private.example.org", &port, &"hello"]);
    assert!(is_broken(&output(&outcome)), "{outcome:?}");
    let sentence = format!("connection to {inside} was refused: the name leads to a private address (RFC 1918)");
    assert_eq!((outcome.refused, host.connections()), (refused(&[&sentence]), 0));
}

pub fn sandbox_with_an_empty_list_reaches_nothing() {
    let outcome = run(&[], &[&"fetch", &"api.example.org", &443, &""]);
    assert!(output(&outcome).contains("Name or service not known"), "{outcome:?}");
    assert_eq!(outcome.refused, refused(&["connection to api.example.org was refused: not on the allow-list"]));
    assert!(output(&run(&[], &[&"connect", &HOST, &443])).contains("Network is unreachable"));
    assert!(output(&run(&[], &[&"connect", &"198.18.1.1", &443])).contains("refused"));
}

pub fn sandbox_with_the_longest_list_gets_all_sockets() {
    let host = InternetHost::at(HOST, echo);
    let others = (0..63).map(|index| format!("host{index}.example.org:443"));
    let list: Vec<String> = others.chain([format!("api.example.org:{}", host.port)]).collect();
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let outcome = run(&list, &[&"fetch", &"api.example.org", &host.port, &"hello"]);
    assert_eq!(output(&outcome), "heard: hello");
}

pub fn concurrent_sandboxes_have_separate_networks() {
    let host = InternetHost::at(HOST, echo);
    let list = [&*format!("api.example.org:{}", host.port)];
    block_on(async {
        let executors = executors(2);
        for _ in 0..3 {
            let allowed = sandbox(&list, &[&"fetch", &"api.example.org", &host.port, &"hello"]);
            let denied = sandbox(&list, &[&"fetch", &"other.example.org", &host.port, &"hello"]);
            let outcomes = tokio::join!(
                call(&executors, allowed),
                call(&executors, denied),
                call(&executors, allowed),
                call(&executors, denied),
            );
            for outcome in [outcomes.0, outcomes.2] {
                assert_eq!((&*output(&outcome), outcome.refused), ("heard: hello", Refusals::default()));
            }
            for outcome in [outcomes.1, outcomes.3] {
                let sentence = "connection to other.example.org was refused: not on the allow-list";
                assert_eq!(outcome.refused, refused(&[sentence]));
            }
        }
    });
}

pub fn unserved_sockets_are_closed() {
    let sandbox = sandbox(&["api.example.org:443"], &[&"fetch", &"198.18.1.1", &443, &""]);
    let plan = plan::in_namespaces(&Job::new(sandbox, Vec::new()), &view());
    let (pool, never) = (ManagerPool::with_ready(0), CancellationToken::new());
    let run = block_on(pool.run(&Arc::new(plan.environment), &plan.call, Output::Captured, &never)).unwrap();
    // The result depends on whether the program or this process is faster.
    let output = run.stdout.text();
    assert!(is_broken(&output) || output.starts_with("ConnectionRefused"), "{run:?}");
}

pub fn cancelled_call_leaves_no_connection() {
    let (begun, (ends, ended)) = (Arc::new(AtomicBool::new(false)), mpsc::channel());
    let begins = begun.clone();
    let host = InternetHost::at(HOST, move |mut stream| {
        stream.read_exact(&mut [0]).and_then(|()| stream.write_all(b"!")).unwrap();
        begins.store(true, Ordering::SeqCst);
        // The connection of a killed program is either reset or ended, depending on timing.
        let _ = stream.read_to_end(&mut Vec::new());
        ends.send(()).unwrap();
    });
    let list = [&*format!("api.example.org:{}", host.port)];
    let job = Job::new(sandbox(&list, &[&"stay", &"api.example.org", &host.port]), Vec::new());
    block_on(async {
        let (executors, cancelled) = (executors(0), CancellationToken::new());
        let cancel = async {
            until(|| begun.load(Ordering::SeqCst)).await;
            cancelled.cancel();
        };
        let view = view();
        let on_stage = |_| {};
        let context = CallContext::new(&job, &view, &on_stage, &cancelled);
        let (result, ()) = tokio::join!(executors.run(Executor::Direct, &context), cancel);
        assert!(matches!(result, Err(ExecutorError::Launch(LaunchError::Cancelled(_)))), "{result:?}");
    });
    ended.recv_timeout(Duration::from_secs(10)).expect("the connection is closed");
}

async fn until(done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(20), "the condition never holds");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn fifty_calls_leak_no_descriptor_or_process() {
    let host = InternetHost::at(HOST, echo);
    assert_eq!(server(&[&"calls", &host.port]), "as before");
}

pub fn call_fails_when_the_server_has_no_descriptor_left() {
    let text = server(&[&"narrow", &443]);
    assert_eq!(text, "cannot serve the sandbox's network: Too many open files (os error 24)");
}

/// Runs a task in a separate process, so that other tests do not change its descriptors.
fn server(arguments: &[&dyn Display]) -> String {
    let mut command = Command::new("/proc/self/exe");
    command.arg(SERVER).args(arguments.iter().map(std::string::ToString::to_string));
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Carries out the task of such a process.
pub fn serve(arguments: impl Iterator<Item = OsString>) {
    let arguments: Vec<String> = arguments.map(|argument| argument.into_string().unwrap()).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["calls", port] => block_on(calls(parsed(port))),
        ["narrow", port] => block_on(narrow(parsed(port))),
        _ => panic!("unknown task: {arguments:?}"),
    }
}

fn parsed<T: std::str::FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

async fn calls(port: u16) {
    let executors = executors(2);
    let list = [&*format!("api.example.org:{port}"), "*.example.com:443", "8.8.8.8:53"];
    let allowed = sandbox(&list, &[&"fetch", &"api.example.org", &port, &"hello"]);
    let denied = sandbox(&list, &[&"fetch", &"other.example.org", &port, &"hello"]);
    let both = async || {
        let (allowed, denied) = tokio::join!(call(&executors, allowed), call(&executors, denied));
        assert_eq!((&*output(&allowed), allowed.refused.kept.len(), denied.refused.kept.len()), ("heard: hello", 0, 1));
    };
    for _ in 0..3 {
        both().await;
    }
    let before = settled().await;
    for _ in 0..25 {
        both().await;
    }
    let after = settled().await;
    println!("{}", if after == before { "as before".to_owned() } else { format!("{before:?} became {after:?}") });
}

/// Counts the descriptors of this process, of each launcher's guard and of each manager, once the numbers are stable.
async fn settled() -> (usize, Vec<usize>) {
    let (mut last, mut since) = (measured(), Instant::now());
    while since.elapsed() < Duration::from_millis(500) {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = measured();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

fn measured() -> (usize, Vec<usize>) {
    let own = std::process::id();
    let guards = children(own);
    let managers: Vec<u32> = guards.iter().flat_map(|guard| children(*guard)).collect();
    let sandboxes: Vec<u32> = managers.iter().flat_map(|manager| children(*manager)).collect();
    let launchers = guards.into_iter().chain(managers).map(descriptors);
    (descriptors(own), launchers.chain([sandboxes.len()]).collect())
}

fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

async fn narrow(port: u16) {
    let executors = executors(0);
    let list: Vec<String> = (0..64).map(|index| format!("host{index}.example.org:{port}")).collect();
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let sleeper = sandbox(&list, &[&"sleep"]);
    // The first call creates everything that is created only once, so that the limit below affects only the sockets.
    call(&executors, sleeper).await;
    let room = descriptors(std::process::id()) as u64 + 32;
    setrlimit(Resource::Nofile, Rlimit { current: Some(room), ..getrlimit(Resource::Nofile) }).unwrap();
    let job = Job::new(sleeper, Vec::new());
    match executors.run(Executor::Direct, &CallContext::new(&job, &view(), &|_| {}, &CancellationToken::new())).await {
        Err(error) => println!("{error}"),
        Ok(outcome) => println!("the call did not fail: {outcome:?}"),
    }
}
