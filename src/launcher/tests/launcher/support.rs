//! Plans that show this machine's programs, and a server's end of the launcher.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};
use std::{env, fmt};

use crate::descriptors::send;
use sandbox_plan::{
    Call, Ending, Environment, Failure, Identity, LARGEST_REPORT, Namespace, Order, Plan, Program, Report, Resource,
    Step, Watch, call_header, encode, read_message,
};

/// Who starts the launcher.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    pub uid: u32,
    pub gid: u32,
    /// Not who runs the tests: the launcher's process has to become this user.
    becomes: bool,
    pub way: Way,
}

/// How a sandbox comes to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// A launcher makes this one sandbox.
    Once,
    /// A manager is handed a call.
    Served,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}, {:?}", self.uid, self.way)
    }
}

/// Who root becomes, in sandboxes and as an ordinary user.
const NOBODY: u32 = 65534;

/// Runs a test's body as everybody that this process can be.
pub fn as_everybody(body: impl Fn(Caller)) {
    let status = fs::read_to_string("/proc/self/status").expect("read /proc/self/status");
    let id = |key: &str| -> u32 {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("status has uids");
        line.split_whitespace().nth(1).and_then(|id| id.parse().ok()).expect("ids are numbers")
    };
    for way in [Way::Once, Way::Served] {
        let me = Caller { uid: id("Uid:"), gid: id("Gid:"), becomes: false, way };
        eprintln!("as {me}");
        body(me);
        if me.uid == 0 {
            let nobody = Caller { uid: NOBODY, gid: NOBODY, becomes: true, way };
            eprintln!("as {nobody}");
            body(nobody);
        }
    }
}

/// The same for what can't be served: a sandbox that has no pid namespace.
pub fn as_everybody_once(body: impl Fn(Caller)) {
    as_everybody(|caller| {
        if caller.way == Way::Once {
            body(caller);
        }
    });
}

/// The same for what only a manager does.
pub fn as_everybody_served(body: impl Fn(Caller)) {
    as_everybody(|caller| {
        if caller.way == Way::Served {
            body(caller);
        }
    });
}

impl Caller {
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Whether a sandbox of this caller's is the machine's root to the kernel, which a builder of Nix can be by whatever
    /// number: no limit of processes is set for that one, and what is root's in /proc is its own.
    pub fn is_root_to_the_kernel(&self) -> bool {
        let map = fs::read_to_string("/proc/self/uid_map").expect("read /proc/self/uid_map");
        let numbers: Vec<&str> = map.split_whitespace().collect();
        !self.is_root() && numbers[1..] == ["0", "1"]
    }

    /// The program is 1000 inside; outside it is nobody where root decides, and the caller itself elsewhere.
    pub fn identity(&self) -> Identity {
        let (host_uid, host_gid) = if self.is_root() { (NOBODY, NOBODY) } else { (self.uid, self.gid) };
        Identity { uid: 1000, gid: 100, host_uid, host_gid }
    }

    /// A sandbox with all namespaces, this machine's programs, and `/sandbox` to work in.
    pub fn plan(&self, script: &str) -> Plan {
        let directory = |target: &str, mode| Step::Tmpfs {
            target: target.into(),
            size: 32 << 20,
            inodes: 1000,
            mode,
            owned: mode == 0o755,
        };
        let mut view = vec![Step::Tmpfs { target: "/".into(), size: 1 << 20, inodes: 1000, mode: 0o755, owned: false }];
        view.extend(host_programs());
        view.push(Step::Proc { target: "/proc".into() });
        view.extend(
            ["null", "zero", "full", "random", "urandom", "tty"]
                .map(|name| Step::Device { path: Path::new("/dev").join(name) }),
        );
        view.push(Step::Symlink { path: "/dev/fd".into(), target: "/proc/self/fd".into() });
        view.extend(["/tmp", "/sandbox"].map(|path| Step::Directory { path: path.into(), mode: 0o755, owned: false }));
        view.push(Step::PivotRoot);
        let sandbox = vec![
            directory("/tmp", 0o1777),
            directory("/sandbox", 0o755),
            Step::Proc { target: "/proc".into() },
            Step::Hostname { name: "sandbox".to_owned() },
            Step::Loopback,
        ];
        let walls =
            vec![Step::Limit { resource: Resource::CoreSize, value: 0 }, Step::DropPrivileges, Step::NoNewPrivileges];
        use Namespace::*;
        Plan {
            environment: Environment {
                namespaces: vec![User, Mount, Pid, Network, Ipc, Uts, Cgroup],
                identity: self.identity(),
                view,
                sandbox,
                walls,
                cgroups: Vec::new(),
                watch: Watch::default(),
                ahead: None,
                handed_over: Vec::new(),
            },
            call: Call {
                steps: vec![Step::ReadOnly { target: "/".into() }],
                services: Vec::new(),
                program: Some(program(script, "/sandbox")),
                deadline: Duration::from_secs(20),
            },
        }
    }

    /// The same without any namespace: Landlock shows this machine's programs and `directory`.
    pub fn direct_plan(&self, script: &str, directory: &Path) -> Plan {
        let exists = |paths: &[&str]| paths.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
        let walls = vec![
            Step::DropPrivileges,
            Step::NoNewPrivileges,
            Step::Landlock {
                read: exists(&["/usr", "/bin", "/sbin", "/lib", "/lib64", "/nix/store", "/proc", "/etc/ld.so.cache"]),
                write: vec![directory.to_owned(), "/dev/null".into()],
                scoped: true,
                required: true,
            },
        ];
        Plan {
            environment: Environment {
                namespaces: Vec::new(),
                identity: self.identity(),
                view: Vec::new(),
                sandbox: Vec::new(),
                walls,
                cgroups: Vec::new(),
                watch: Watch::default(),
                ahead: None,
                handed_over: Vec::new(),
            },
            call: Call {
                steps: Vec::new(),
                services: Vec::new(),
                program: Some(program(script, directory)),
                deadline: Duration::from_secs(20),
            },
        }
    }

    /// The command that starts the launcher as this caller. It is run by its descriptor, so that the user need not
    /// be able to reach its directory.
    pub fn command(&self) -> Command {
        let mut command = Command::new(format!("/proc/self/fd/{}", launcher().as_raw_fd()));
        self.become_caller(command.env_clear());
        command
    }

    pub fn become_caller(&self, command: &mut Command) {
        if self.becomes {
            command.uid(self.uid).gid(self.gid);
        }
    }

    pub fn start(&self, plan: &Plan) -> Running {
        self.start_by(self.command(), plan)
    }

    /// Starts `command`, which becomes or starts the launcher, and gives it the plan.
    pub fn start_by(&self, command: Command, plan: &Plan) -> Running {
        match self.way {
            Way::Once => start_once(command, plan),
            Way::Served => start_served(command, plan),
        }
    }

    /// A launcher that serves the plan's environment.
    pub fn serve(&self, environment: &Environment, ready: usize) -> Served {
        Served::start(self.command(), environment, ready)
    }

    /// Runs a plan to its end.
    pub fn run(&self, plan: &Plan) -> Outcome {
        self.start(plan).finish()
    }

    /// Runs a script in the usual sandbox to its end.
    pub fn sh(&self, script: &str) -> Outcome {
        self.run(&self.plan(script))
    }

    /// A directory of the host that this caller's programs can write to. It goes when it is dropped.
    pub fn host_directory(&self) -> HostDirectory {
        let path = env::temp_dir().join(format!("sandbox-launcher-{}-{}", std::process::id(), unique()));
        fs::create_dir(&path).expect("make a directory");
        let identity = self.identity();
        // Fails for who has no need of it.
        let _ = std::os::unix::fs::chown(&path, Some(identity.host_uid), Some(identity.host_gid));
        HostDirectory(path)
    }
}

fn start_once(mut command: Command, plan: &Plan) -> Running {
    let (mut control, theirs) = UnixStream::pair().expect("make a socket pair");
    command.stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("start the launcher");
    // The command keeps its end of the socket, which must be the launcher's alone.
    drop(command);
    let output = [read_all(child.stdout.take().unwrap()), read_all(child.stderr.take().unwrap())];
    // A launcher that is killed while it reads is the test's own doing.
    let _ = control.write_all(&once(plan));
    Running { child, control: Some(Control { call: control, _manager: None }), output, early: None }
}

fn start_served(command: Command, plan: &Plan) -> Running {
    let mut served = Served::start(command, &plan.environment, 1);
    let early = served.failure.take().map(Report::Failed);
    let (call, output) = served.hand_over(&plan.call);
    let Served { child, control, .. } = served;
    Running { child, control: Some(Control { call, _manager: Some(control) }), output, early }
}

/// A launcher that serves an environment.
pub struct Served {
    pub child: Child,
    pub control: UnixStream,
    /// Why it does not.
    pub failure: Option<Failure>,
}

impl Served {
    fn start(mut command: Command, environment: &Environment, ready: usize) -> Self {
        let (mut control, theirs) = UnixStream::pair().expect("make a socket pair");
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("start the launcher");
        drop(command);
        let order = Order::Serve { environment: environment.clone(), ready };
        let _ = control.write_all(&encode(&order).expect("encode the order"));
        let failure = match read_message(&mut control, LARGEST_REPORT) {
            Ok(Some(Report::Ready)) => None,
            Ok(Some(Report::Failed(failure))) => Some(failure),
            other => panic!("the manager is not ready: {other:?}"),
        };
        Self { child, control, failure }
    }

    /// Begins a call.
    fn hand_over(&self, call: &Call) -> (UnixStream, [JoinHandle<(String, Instant)>; 2]) {
        let (mut ours, output) = self.connect(call.deadline);
        // A sandbox that fails does so before it has read all of it.
        let _ = ours.write_all(&encode(call).expect("encode the call"));
        (ours, output)
    }

    fn connect(&self, deadline: Duration) -> (UnixStream, [JoinHandle<(String, Instant)>; 2]) {
        let (ours, theirs) = UnixStream::pair().expect("make a socket pair");
        let (stdout, stdout_end) = io::pipe().expect("make a pipe");
        let (stderr, stderr_end) = io::pipe().expect("make a pipe");
        send(
            &self.control,
            &call_header(deadline),
            [theirs.as_raw_fd(), stdout_end.as_raw_fd(), stderr_end.as_raw_fd()],
        );
        drop((theirs, stdout_end, stderr_end));
        (ours, [read_all(stdout), read_all(stderr)])
    }

    /// Begins a call, whose `Running` is not to be asked for its launcher.
    pub fn begin(&self, call: &Call) -> Calling {
        let (call, output) = self.hand_over(call);
        Calling { call, output }
    }

    pub fn run(&self, call: &Call) -> Outcome {
        self.begin(call).finish()
    }

    /// Begins a call and never says what it is. The second value keeps it waiting.
    pub fn begin_silent(&self, deadline: Duration) -> (Calling, UnixStream) {
        let (call, output) = self.connect(deadline);
        let keep = call.try_clone().expect("copy a socket");
        (Calling { call, output }, keep)
    }
}

/// A call of a launcher that serves more than one.
pub struct Calling {
    pub call: UnixStream,
    output: [JoinHandle<(String, Instant)>; 2],
}

impl Calling {
    /// The next report. None: the manager is gone, or has nothing to say any more.
    pub fn report(&mut self) -> Option<Report> {
        read_message(&mut self.call, LARGEST_REPORT).ok().flatten()
    }

    pub fn finish(mut self) -> Outcome {
        last_report(&mut self.call, None, self.output)
    }
}

/// All that a launcher of one sandbox reads.
pub fn once(plan: &Plan) -> Vec<u8> {
    let Plan { environment, call } = plan;
    let order = encode(&Order::Once(environment.clone())).expect("encode the order");
    [order, call_header(call.deadline).to_vec(), encode(call).expect("encode the call")].concat()
}

/// Changes to a plan that tests like to make.
pub trait Change {
    fn program(&mut self) -> &mut Program;
    fn within(self, deadline: Duration) -> Self;
}

impl Change for Plan {
    fn program(&mut self) -> &mut Program {
        self.call.program.as_mut().expect("the plan has a program")
    }

    fn within(mut self, deadline: Duration) -> Self {
        self.call.deadline = deadline;
        self
    }
}

pub struct HostDirectory(pub PathBuf);

impl Drop for HostDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A number that nobody else on this machine uses.
pub fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{}{:04}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The launcher's binary, open in this process and all that it starts.
fn launcher() -> &'static OwnedFd {
    static LAUNCHER: OnceLock<OwnedFd> = OnceLock::new();
    LAUNCHER.get_or_init(|| {
        let path = env::var_os("SANDBOX_LAUNCHER_BIN").unwrap_or(env!("CARGO_BIN_EXE_sandbox-launcher").into());
        let file = File::open(path).expect("open the launcher");
        // SAFETY: no pointer is followed, and nobody else owns the new descriptor. Unlike try_clone, dup makes one
        // that stays open when a program is executed.
        unsafe { OwnedFd::from_raw_fd(libc::dup(file.as_raw_fd())) }
    })
}

/// A directory of programs that every sandbox shows, read-only.
pub fn programs() -> &'static str {
    if Path::new("/usr").is_dir() { "/usr" } else { "/nix/store" }
}

/// Ends a process at once.
pub fn kill(pid: i32) {
    // SAFETY: the call takes no pointers.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0, "kill {pid}: {}", std::io::Error::last_os_error());
}

/// `/usr`, and the links or directories at the root that belong to it.
pub fn host_programs() -> Vec<Step> {
    ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/nix/store"]
        .into_iter()
        .filter_map(|path| {
            let path = PathBuf::from(path);
            match path.read_link() {
                Ok(target) => Some(Step::Symlink { path, target }),
                Err(_) if path.is_dir() => Some(Step::Bind { source: path.clone(), target: path }),
                Err(_) => None,
            }
        })
        .collect()
}

pub fn program(script: &str, directory: impl Into<PathBuf>) -> Program {
    let path =
        if Path::new("/usr/bin/env").exists() { "/usr/bin:/bin".to_owned() } else { env::var("PATH").expect("PATH") };
    Program {
        arguments: ["sh", "-c", script].map(str::to_owned).into(),
        variables: vec![("PATH".to_owned(), path), ("LANG".to_owned(), "C".to_owned())],
        directory: directory.into(),
    }
}

pub fn read_all(mut pipe: impl Read + Send + 'static) -> JoinHandle<(String, Instant)> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("read the program's output");
        (String::from_utf8_lossy(&bytes).into_owned(), Instant::now())
    })
}

/// What keeps a sandbox going.
pub struct Control {
    call: UnixStream,
    /// Held for its end only.
    _manager: Option<UnixStream>,
}

impl Control {
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.call.shutdown(how)
    }
}

/// A launcher at work on one call.
pub struct Running {
    pub child: Child,
    pub control: Option<Control>,
    output: [JoinHandle<(String, Instant)>; 2],
    early: Option<Report>,
}

impl Running {
    /// The socket of the one call.
    pub fn call(&self) -> &UnixStream {
        &self.control.as_ref().expect("the control socket is open").call
    }

    pub fn report(&mut self) -> io::Result<Option<Report>> {
        match self.early.take() {
            Some(report) => Ok(Some(report)),
            None => read_message(&mut self.control.as_mut().expect("the control socket is open").call, LARGEST_REPORT),
        }
    }

    /// Waits for the end, and for the launcher to be gone.
    pub fn finish(mut self) -> Outcome {
        let mut control = self.control.take().expect("the control socket is open");
        let outcome = last_report(&mut control.call, self.early.take(), self.output);
        drop(control);
        self.child.wait().expect("wait for the launcher");
        outcome
    }
}

fn last_report(call: &mut UnixStream, early: Option<Report>, output: [JoinHandle<(String, Instant)>; 2]) -> Outcome {
    let mut started = false;
    let report = loop {
        match early.clone().map_or_else(|| read_message(call, LARGEST_REPORT), |report| Ok(Some(report))) {
            Ok(Some(Report::Opened | Report::Ahead)) => {}
            Ok(Some(Report::Started)) => started = true,
            Ok(report) => break report,
            Err(error) => panic!("read the launcher's report: {error}"),
        }
    };
    let ended = Instant::now();
    let [(stdout, closed), (stderr, _)] = output.map(|reader| reader.join().expect("read output"));
    Outcome { started, report, stdout, stderr, closed_before_end: ended.saturating_duration_since(closed) }
}

#[derive(Debug)]
pub struct Outcome {
    pub started: bool,
    /// None: the launcher went without a word.
    pub report: Option<Report>,
    pub stdout: String,
    pub stderr: String,
    /// How long before the report the program's output ended.
    pub closed_before_end: Duration,
}

impl Outcome {
    pub fn ending(&self) -> Ending {
        match &self.report {
            Some(Report::Ended { ending, .. }) => *ending,
            _ => panic!("the program did not end: {self:?}"),
        }
    }

    /// What a program that exits with 0 wrote.
    #[track_caller]
    pub fn text(&self) -> &str {
        assert_eq!(self.ending(), Ending::Exited { code: 0 }, "{self:?}");
        self.stdout.trim_end()
    }

    /// The operation and the errno of a sandbox that could not be made.
    #[track_caller]
    pub fn failure(&self) -> (&str, i32) {
        match &self.report {
            Some(Report::Failed(failure)) => (&failure.operation, failure.errno),
            _ => panic!("the launcher did not fail: {self:?}"),
        }
    }
}

/// A command that sleeps for longer than any test, and its processes on this machine, whichever namespace they are in.
pub struct Sleeper {
    seconds: String,
}

impl Sleeper {
    pub fn new() -> Self {
        // A fraction as a mark, since sleepers are told apart by their arguments.
        Self { seconds: format!("900.{}", unique()) }
    }

    /// As many as are running: those that were killed but not yet waited for are none.
    pub fn count(&self) -> usize {
        let ours = |pid: &str| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            arguments.split(|byte| *byte == 0).any(|argument| argument == self.seconds.as_bytes())
        };
        let entries = fs::read_dir("/proc").expect("list /proc").flatten();
        entries
            .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok() && ours(name)))
            .count()
    }

    /// Waits until so many are running.
    #[track_caller]
    pub fn wait_for(&self, count: usize, patience: Duration) {
        let start = Instant::now();
        while self.count() != count {
            assert!(start.elapsed() < patience, "{} processes, not {count}, after {patience:?}", self.count());
            sleep(Duration::from_millis(2));
        }
    }
}

impl fmt::Display for Sleeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sleep {}", self.seconds)
    }
}
