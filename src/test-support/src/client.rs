//! A client of a real server, over its standard streams. It can also send what no proper client would.

use std::ffi::OsString;
use std::fmt;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use std::{env, fs};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// The newest protocol with an `initialize`.
pub const SESSIONS: &str = "2025-11-25";
/// The protocol without one: each request says who sends it.
pub const STATELESS: &str = "2026-07-28";

/// The words of the server if a tool's environment or toolchain is not on this machine, or no Nix that builds in a
/// sandbox.
const WAYS_OUT: [&str; 6] = [
    "install Nix",
    "`nix build`",
    "start the Nix daemon",
    "`sandbox = true`",
    "leave out `--executor direct`",
    "let this machine use the pinned environment",
];

/// The words of the server about a tool that an executor cannot carry out on any machine.
const NOWHERE: &str = "which Nix's build sandbox can't give";

/// The time that an answer may take before a test fails. The slowest is one that hits a time limit on a busy machine.
const REPLY_TIMEOUT: Duration = Duration::from_secs(180);

/// A running server. It is killed when this is dropped.
pub struct Server {
    child: Mutex<Child>,
    pub pid: u32,
    input: Mutex<Option<ChildStdin>>,
    inbox: Arc<Inbox>,
    log: Arc<Mutex<String>>,
    next_id: AtomicU64,
    /// Replaces the user's own directory, which could add tools.
    _configuration: TempDir,
}

#[derive(Default)]
struct Inbox {
    received: Mutex<Received>,
    changed: Condvar,
}

#[derive(Default)]
struct Received {
    /// Messages that have arrived and were not taken yet.
    messages: Vec<Value>,
    /// Lines that are not JSON-RPC.
    noise: Vec<String>,
    closed: bool,
}

/// The error of a JSON-RPC response.
#[derive(Debug)]
pub struct RpcError {
    pub code: i64,
    pub message: String,
}

/// The result of a tool call.
pub struct Reply(pub Value);

/// Returns the server's program: `SANDBOX_MCP_BIN`, or the one that cargo has built beside this test.
pub fn program() -> OsString {
    env::var_os("SANDBOX_MCP_BIN").unwrap_or_else(|| {
        let test = env::current_exe().expect("a process knows its program");
        let directory = test.parent().and_then(Path::parent).expect("cargo puts tests two levels below");
        directory.join("sandbox-mcp").into()
    })
}

/// Makes a directory for `XDG_CONFIG_HOME` with these files in the server's own directory, by their paths there.
pub fn configuration(files: &[(&str, &str)]) -> TempDir {
    let readable = Permissions::from_mode(0o755);
    let configuration = tempfile::Builder::new().permissions(readable).tempdir().expect("make a directory");
    for (path, content) in files {
        let path = configuration.path().join("sandbox-mcp").join(path);
        fs::create_dir_all(path.parent().expect("it is below")).expect("make a directory");
        fs::write(path, content).expect("write a file");
    }
    configuration
}

impl Server {
    /// Starts the server and says nothing to it yet.
    pub fn start(arguments: &[&str]) -> Self {
        Self::spawn(Command::new(program()).args(arguments))
    }

    /// Starts the server by a command of its own, which may be another user's.
    pub fn spawn(command: &mut Command) -> Self {
        Self::spawn_configured(command, &[])
    }

    /// Starts the server with these files in its directory of configuration, by their paths there.
    pub fn configured(arguments: &[&str], files: &[(&str, &str)]) -> Self {
        Self::spawn_configured(Command::new(program()).args(arguments), files)
    }

    fn spawn_configured(command: &mut Command, files: &[(&str, &str)]) -> Self {
        let configuration = configuration(files);
        let mut child = command
            .env("XDG_CONFIG_HOME", configuration.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the server");
        let inbox = Arc::<Inbox>::default();
        let log = Arc::<Mutex<String>>::default();
        let (stdout, stderr) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
        thread::spawn({
            let inbox = Arc::clone(&inbox);
            move || inbox.fill(stdout)
        });
        thread::spawn({
            let log = Arc::clone(&log);
            move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    lock(&log).push_str(&(line + "\n"));
                }
            }
        });
        Self {
            pid: child.id(),
            input: Mutex::new(child.stdin.take()),
            child: Mutex::new(child),
            inbox,
            log,
            next_id: AtomicU64::new(1),
            _configuration: configuration,
        }
    }

    /// Starts the server and opens a session.
    pub fn ready(arguments: &[&str]) -> Self {
        Self::start(arguments).greeted()
    }

    /// Opens a session.
    pub fn greeted(self) -> Self {
        self.initialize(SESSIONS);
        self
    }

    pub fn initialize(&self, version: &str) -> Value {
        let client = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": client_info()});
        let id = self.request("initialize", client);
        let result = self.answer(id).expect("the server takes the client's version");
        self.notify("notifications/initialized", json!({}));
        result
    }

    /// Sends bytes as they are.
    pub fn send(&self, bytes: &[u8]) {
        let mut input = lock(&self.input);
        let input = input.as_mut().expect("the input is open");
        if let Err(error) = input.write_all(bytes).and_then(|()| input.flush()) {
            panic!("the server takes no more input: {error}; its log:\n{}", lock(&self.log));
        }
    }

    pub fn send_line(&self, line: &[u8]) {
        self.send(&[line, b"\n"].concat());
    }

    pub fn notify(&self, method: &str, params: Value) {
        self.send_line(json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string().as_bytes());
    }

    /// Sends a request and returns its id.
    pub fn request(&self, method: &str, params: Value) -> u64 {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.send_line(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string().as_bytes());
        id
    }

    /// Waits for the response to a request.
    pub fn answer(&self, id: u64) -> Result<Value, RpcError> {
        let mut response = self.receive(|message| message["id"] == id);
        match response.get("error") {
            None => Ok(response["result"].take()),
            Some(error) => Err(RpcError {
                code: error["code"].as_i64().expect("an error has a code"),
                message: error["message"].as_str().expect("an error has a message").to_owned(),
            }),
        }
    }

    /// Sends a request for a tool call and returns its id.
    pub fn begin_call(&self, tool: &str, arguments: Value) -> u64 {
        self.request("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// Waits for the result of a tool call.
    #[track_caller]
    pub fn reply(&self, id: u64) -> Reply {
        match self.answer(id) {
            Ok(result) => Reply(result),
            Err(error) => panic!("the call has no result: {error:?}"),
        }
    }

    #[track_caller]
    pub fn call(&self, tool: &str, arguments: Value) -> Reply {
        self.reply(self.begin_call(tool, arguments))
    }

    /// Runs a script in the sandbox `shell`.
    #[track_caller]
    pub fn sh(&self, script: &str) -> Reply {
        self.call("shell", json!({"main_sh": script}))
    }

    /// Waits for a message and takes it.
    pub fn receive(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut received = lock(&self.inbox.received);
        let begun = Instant::now();
        loop {
            assert!(received.noise.is_empty(), "the server printed what is no JSON-RPC: {:?}", received.noise);
            if let Some(index) = received.messages.iter().position(&wanted) {
                return received.messages.remove(index);
            }
            let left = REPLY_TIMEOUT.saturating_sub(begun.elapsed());
            let silent = if received.closed { "closed its output" } else { "was silent" };
            assert!(!received.closed && !left.is_zero(), "the server {silent}; its log:\n{}", lock(&self.log));
            received = self.inbox.changed.wait_timeout(received, left).expect("no reader has panicked").0;
        }
    }

    /// Returns all messages that have arrived and were not taken yet.
    pub fn received(&self) -> Vec<Value> {
        lock(&self.inbox.received).messages.clone()
    }

    /// Returns everything on the server's standard error so far.
    pub fn log(&self) -> String {
        lock(&self.log).clone()
    }

    pub fn close_input(&self) {
        lock(&self.input).take();
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid as i32).expect("a process has an id"), signal).expect("signal the server");
    }

    /// Waits until the server ends by itself.
    pub fn wait(&self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = lock(&self.child).try_wait().expect("wait for the server") {
                return status;
            }
            assert!(begun.elapsed() < REPLY_TIMEOUT, "the server does not end; its log:\n{}", lock(&self.log));
            sleep(Duration::from_millis(5));
        }
    }

    /// Returns the peak of the server's memory, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the server is alive");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("status tells the peak");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
        if thread::panicking() {
            eprintln!("the server's log:\n{}", lock(&self.log));
        } else {
            let received = lock(&self.inbox.received);
            assert!(received.noise.is_empty(), "the server printed what is no JSON-RPC: {:?}", received.noise);
        }
    }
}

impl Inbox {
    fn fill(&self, from: impl Read) {
        let mut lines = BufReader::new(from).split(b'\n');
        while let Some(Ok(line)) = lines.next() {
            let mut received = lock(&self.received);
            match serde_json::from_slice::<Value>(&line) {
                Ok(message) if message["jsonrpc"] == "2.0" => received.messages.push(message),
                _ => received.noise.push(String::from_utf8_lossy(&line).into_owned()),
            }
            drop(received);
            self.changed.notify_all();
        }
        lock(&self.received).closed = true;
        self.changed.notify_all();
    }
}

impl Reply {
    /// Returns the text, which is the first item. The others are the files that the program left.
    #[track_caller]
    pub fn text(&self) -> &str {
        match self.content() {
            (text, []) => text,
            _ => panic!("the result is not one text item: {}", self.0),
        }
    }

    /// Returns the text of the first item, and the items after it.
    #[track_caller]
    pub fn content(&self) -> (&str, &[Value]) {
        match self.0["content"].as_array().map(Vec::as_slice) {
            Some([first, rest @ ..]) if first["type"] == "text" => {
                (first["text"].as_str().expect("a text item has a text"), rest)
            }
            _ => panic!("the result does not begin with a text item: {}", self.0),
        }
    }

    /// Returns the first text item of a result that may hold more.
    pub fn text_content(&self) -> &str {
        let items = self.0["content"].as_array().into_iter().flatten();
        items.filter_map(|item| item["text"].as_str()).next().unwrap_or_default()
    }

    /// Returns everything that the result holds as one text, encoded contents both as they are and decoded.
    pub fn everything(&self) -> String {
        let mut whole = self.0.to_string();
        decode(&self.0, &mut whole);
        whole
    }

    pub fn is_error(&self) -> bool {
        self.0["isError"] == true
    }

    /// Returns whether the call was refused because its tool's environment or toolchain is not on this machine.
    pub fn is_unavailable(&self) -> bool {
        self.is_nowhere() || self.is_error() && WAYS_OUT.iter().any(|way| self.text().contains(way))
    }

    /// Returns whether the call was refused because the executor can't give the tool what it needs, whatever the machine.
    pub fn is_nowhere(&self) -> bool {
        self.is_error() && self.text_content().contains(NOWHERE)
    }

    /// Returns the result's data: its structured content, or else what the metadata has of it, which is not what was
    /// printed.
    pub fn data(&self) -> &Value {
        self.0.get("structuredContent").unwrap_or(&self.0["_meta"]["sandbox-mcp/result"])
    }

    /// Returns a field of the result's structured data.
    pub fn field(&self, name: &str) -> &Value {
        &self.data()[name]
    }

    /// Returns the output of a program that must exit with 0 and write nothing to standard error.
    #[track_caller]
    pub fn output(&self) -> &str {
        assert!(!self.is_error(), "{self}");
        self.text()
    }

    /// Returns the text of a call that must have been refused.
    #[track_caller]
    pub fn refusal(&self) -> &str {
        assert!(self.is_error() && self.field("executor").is_null(), "not refused: {self}");
        self.text()
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

/// Appends the decoded contents of the strings of a JSON value that are base64.
fn decode(value: &Value, into: &mut String) {
    match value {
        Value::String(text) => {
            if let Ok(bytes) = STANDARD.decode(text) {
                into.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| decode(item, into)),
        Value::Object(fields) => fields.values().for_each(|field| decode(field, into)),
        _ => {}
    }
}

/// Returns what a request of the stateless protocol says about its sender, in addition to its own `params`.
pub fn stateless(mut params: Map<String, Value>) -> Value {
    let meta = params.entry("_meta").or_insert_with(|| json!({}));
    meta["io.modelcontextprotocol/protocolVersion"] = STATELESS.into();
    meta["io.modelcontextprotocol/clientInfo"] = client_info();
    meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
    params.into()
}

fn client_info() -> Value {
    json!({"name": "checks", "version": "0"})
}

/// Locks a mutex. A panic elsewhere has its own message, and leaves the data behind the lock usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
