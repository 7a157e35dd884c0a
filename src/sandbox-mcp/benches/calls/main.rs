//! Measures calls over MCP on stdio, and compares them with the same program under bubblewrap and without a sandbox.
//!
//!     nix build && SANDBOX_MCP_BIN=result/bin/sandbox-mcp cargo bench
//!
//! Compare only figures of the same run, in which the variants take turns, because machines are noisy. Nothing is
//! asserted. The server must have pinned environments, because bubblewrap shows the same environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sandbox_server::call::definition::{ENVIRONMENT_PLACEHOLDER, Sandbox};
use sandbox_server::call::tool::Tool;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::client::Server;
use test_support::measure::{has_pinned_environments, median, timed};

/// A tool, the arguments of its call, the expected output, and the number of runs.
type MeasuredProgram = (&'static str, fn() -> Value, &'static str, usize);

const PROGRAMS: [MeasuredProgram; 6] = [
    ("shell", || json!({"main_sh": "echo hello"}), "hello\n", 200),
    ("python", || json!({"main_py": "print('hello')"}), "hello\n", 100),
    ("javascript", || json!({"index_js": "console.log('hello')"}), "hello\n", 40),
    ("go", || json!({"main_go": GO, "go_mod": "module hello\n"}), "hello\n", 10),
    ("rust", || json!({"main_rs": "fn main() { println!(\"hello\"); }"}), "hello\n", 10),
    ("java", || json!({"main_java": JAVA}), "hello\n", 10),
];
const GO: &str = "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"hello\") }\n";
const JAVA: &str = "class Main { public static void main(String[] a) { System.out.println(\"hello\"); } }";

/// The number of calls that the throughput and the server's memory are measured over.
const CALLS: usize = 1000;
/// The number of concurrent calls for the throughput.
const CLIENTS: usize = 16;

fn main() {
    sandbox_mcp::CATALOG.install();
    // `cargo test --benches` only checks that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    start_up();
    let server = Server::ready(&["--executor", "namespace"]);
    if !has_pinned_environments(&server) {
        return;
    }
    println!(
        "\n{:<12}{:>12}{:>14}{:>10}{:>12}{:>12}{:>10}",
        "hello", "call, ms", "bubblewrap", "bare", "to bwrap", "over bare", "CPU, ms"
    );
    for program in PROGRAMS {
        latency(&server, program);
    }
    gateway(&server);
    throughput(&server);
    memory(&server);
}

/// Measures the time from the start of the server to the list of tools.
fn start_up() {
    let mut times = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        let server = Server::ready(&[]);
        let list = server.request("tools/list", json!({}));
        server.answer(list).expect("the server lists its tools");
        times.push(begun.elapsed());
    }
    println!("start to tools/list: {:.1} ms", milliseconds(median(&mut times)));
}

/// Measures the latency of calls of one tool.
fn latency(server: &Server, (tool, arguments, expected, count): MeasuredProgram) {
    let sandbox = &Tool::by_name(tool).expect("the tool exists").sandbox;
    // The first call realises the environment and warms the page cache.
    let first = server.call(tool, arguments());
    assert_eq!(first.text(), expected, "{first}");
    let environment = PathBuf::from(first.field("environment").as_str().expect("an environment"));
    assert!(environment.starts_with("/nix/store"), "a server with pinned environments is needed, not {first}");

    let [mut ours, mut wrapped, mut bare] = [const { Vec::new() }; 3];
    let before = cpu_time(server.pid);
    for _ in 0..count {
        ours.push(timed(|| assert_eq!(server.call(tool, arguments()).text(), expected)));
        wrapped.push(timed_run(bubblewrap, sandbox, &environment, &arguments(), expected));
        bare.push(timed_run(plain, sandbox, &environment, &arguments(), expected));
    }
    let cpu = cpu_time(server.pid).saturating_sub(before) / count as u32;
    let [ours, wrapped, bare] = [ours, wrapped, bare].map(|mut times| median(&mut times));
    println!(
        "{tool:<12}{:>12.2}{:>14.2}{:>10.2}{:>11.2}x{:>9.2} ms{:>10.2}",
        milliseconds(ours),
        milliseconds(wrapped),
        milliseconds(bare),
        ours.as_secs_f64() / wrapped.as_secs_f64(),
        milliseconds(ours) - milliseconds(bare),
        milliseconds(cpu),
    );
}

/// Measures the time from the start of a call to the first answer of the API gateway that is started for it.
fn gateway(server: &Server) {
    let answer = || {
        let begun = SystemTime::now();
        let arguments = json!({
            "apisix_yaml": "routes:\n  - uri: /\n    plugins: { mocking: { response_example: hello } }\n#END\n",
            "main_sh": "curl -sf http://127.0.0.1:9080/ > /dev/null && date +%s%N",
        });
        let reply = server.call("apisix", arguments);
        let answered: u64 = reply.text().trim().parse().map_err(|_| reply.to_string())?;
        Ok::<_, String>(Duration::from_nanos(answered).saturating_sub(begun.duration_since(UNIX_EPOCH).unwrap()))
    };
    let times: Result<Vec<Duration>, String> = (0..21).map(|_| answer()).skip(1).collect();
    match times {
        Ok(mut times) => println!("\napisix: first answer after {:.0} ms", milliseconds(median(&mut times))),
        Err(reply) => println!("\napisix: skipped, since it does not run here: {reply}"),
    }
}

/// Measures the throughput of concurrent calls. One thread acts for all clients; it shares the processors with the
/// server.
fn throughput(server: &Server) {
    let begin = || server.begin_call("shell", json!({"main_sh": "echo hello"}));
    let (before, begun) = (cpu_time(server.pid), Instant::now());
    let mut open: Vec<u64> = (0..CLIENTS).map(|_| begin()).collect();
    for call in 1..=CALLS {
        let message = server.receive(|message| message["id"].as_u64().is_some_and(|id| open.contains(&id)));
        assert_eq!(message["result"]["content"][0]["text"], "hello\n", "{message}");
        open.retain(|id| message["id"] != *id);
        if call + CLIENTS <= CALLS {
            open.push(begin());
        }
    }
    let (calls, elapsed) = (CALLS as f64, begun.elapsed().as_secs_f64());
    let cores = thread::available_parallelism().map_or(1, usize::from) as f64;
    println!(
        "\nshell, {CLIENTS} clients at once: {:.0} calls a second and core, {:.2} ms of CPU a call",
        calls / elapsed / cores,
        milliseconds(cpu_time(server.pid).saturating_sub(before)) / calls
    );
}

/// Measures the server's memory after many calls, and after a large output.
fn memory(server: &Server) {
    let after_many = resident(server.pid);
    for _ in 0..CALLS {
        assert_eq!(server.sh("echo hello").text(), "hello\n");
    }
    println!(
        "memory of the server: {:.1} MB after {CALLS} calls, {:.1} MB after {CALLS} more",
        after_many,
        resident(server.pid)
    );
    let flood = server.sh("head -c 1000000000 /dev/zero | tr '\\0' x");
    assert!(flood.text().contains("left out"));
    println!("after a program that prints 1 GB: {:.1} MB", resident(server.pid));
}

// ---- Variants without the server ----

type RunnerCommand = fn(&Sandbox, &Path, &Path) -> Command;

/// Measures the time from the start of the process to its end. Its files are written before.
fn timed_run(way: RunnerCommand, sandbox: &Sandbox, environment: &Path, arguments: &Value, expected: &str) -> Duration {
    let directory = tempfile::tempdir().expect("make a directory");
    for (parameter, content) in arguments.as_object().expect("arguments are an object") {
        let (stem, extension) = parameter.rsplit_once('_').expect("a parameter names a file");
        fs::write(directory.path().join(format!("{stem}.{extension}")), content.as_str().unwrap())
            .expect("write a file");
    }
    let mut command = way(sandbox, environment, directory.path());
    command.stdin(Stdio::null()).stderr(Stdio::null());
    timed(|| assert_eq!(command.output().expect("start the program").stdout, expected.as_bytes()))
}

fn variables(sandbox: &Sandbox, environment: &Path) -> Vec<(String, String)> {
    let environment = environment.display().to_string();
    let own = sandbox
        .variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.replace(ENVIRONMENT_PLACEHOLDER, &environment)));
    let common =
        [("PATH", format!("{environment}/bin")), ("LC_CTYPE", "C.UTF-8".to_owned()), ("SHELL", "/bin/sh".to_owned())];
    own.chain(common.map(|(name, value)| (name.to_owned(), value))).collect()
}

fn plain(sandbox: &Sandbox, environment: &Path, directory: &Path) -> Command {
    let mut command = Command::new(environment.join("bin").join(sandbox.command[0]));
    command.args(&sandbox.command[1..]).current_dir(directory).env_clear().envs(variables(sandbox, environment));
    command.env("HOME", directory);
    // Root could write into the cache in the store, which a sandbox cannot.
    if sandbox.variables.iter().any(|(name, _)| *name == "GOCACHE") {
        command.env("GOCACHE", go_cache(environment));
    }
    command
}

/// Returns a copy of the environment's Go cache, which is made once.
fn go_cache(environment: &Path) -> &'static Path {
    static COPY: OnceLock<TempDir> = OnceLock::new();
    let copy = COPY.get_or_init(|| {
        let copy = tempfile::tempdir().expect("make a directory");
        let cache = environment.join("share/sandbox-mcp/go-build/.");
        let status = Command::new("cp").arg("-r").arg(cache).arg(copy.path()).status().expect("copy the cache");
        assert!(status.success(), "copy the cache of go");
        // A link into the /tmp of a sandbox.
        fs::remove_file(copy.path().join("trim.txt")).expect("remove a link");
        copy
    });
    copy.path()
}

/// Returns a command that runs the program under bubblewrap with the same closure, and with the walls that bubblewrap
/// has.
fn bubblewrap(sandbox: &Sandbox, environment: &Path, directory: &Path) -> Command {
    let mut command = Command::new("bwrap");
    command.args(["--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]);
    command.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]);
    let closure = fs::read_to_string(environment.join("closure")).expect("the environment lists its closure");
    for path in closure.lines().chain([environment.to_str().expect("a store path is text")]) {
        command.args(["--ro-bind", path, path]);
    }
    command.arg("--symlink").arg(environment.join("bin")).arg("/bin");
    command.arg("--bind").arg(directory).arg("/sandbox").args(["--chdir", "/sandbox", "--setenv", "HOME", "/sandbox"]);
    for (name, value) in variables(sandbox, environment) {
        command.args(["--setenv", &name, &value]);
    }
    command.args(sandbox.command);
    command
}

// ---- Measuring ----

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Returns the resident memory of a process, in units of 2^20 bytes.
fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the server is alive");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("status has the memory");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number of kB") / 1024.0
}

/// Returns the processor time of a process, of its living descendants, and of the children that these have waited for.
fn cpu_time(root: u32) -> Duration {
    let processes: Vec<(u32, u32, u64)> = fs::read_dir("/proc")
        .expect("list /proc")
        .flatten()
        .filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?))
        .collect();
    let mut ours = vec![root];
    let mut ticks = 0;
    while let Some(pid) = ours.pop() {
        ticks += processes.iter().find(|(own, ..)| *own == pid).map_or(0, |(.., ticks)| *ticks);
        ours.extend(processes.iter().filter(|(_, parent, _)| *parent == pid).map(|(own, ..)| *own));
    }
    // The kernel reports ticks of 10 ms to user space, on all supported architectures.
    Duration::from_millis(ticks * 10)
}

/// Reads a process's id, its parent's id, and its processor time in ticks, including the children it has waited for.
fn stat(pid: u32) -> Option<(u32, u32, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain any characters.
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some((pid, number(1)? as u32, number(11)? + number(12)? + number(13)? + number(14)?))
}
