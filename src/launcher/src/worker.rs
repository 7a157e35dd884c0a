//! The process that becomes the program: puts its walls up ahead of the call, and waits.

use std::ffi::CString;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use sandbox_plan::{
    Ahead, Call, Failure, Inside, LARGEST_CALL, LARGEST_REPORT, Program, Report, encode, read_message, write_message,
};
use serde::{Deserialize, Serialize};

use crate::fault::failed;
use crate::init::Birth;
use crate::steps::Site;
use crate::sys::{self, Stream};
use crate::tree::c_string;
use crate::{descendants, inside};

/// What the worker is told to do, with what gets the output of it.
#[derive(Serialize, Deserialize)]
enum Task {
    /// To start a program beside itself, as a child of pid 1, and to tell its pid.
    Start(Program),
    /// To become a program. Its answer is a failure, or the end of the connection.
    Become(Program),
    /// To look around, and to tell what it found.
    Look,
}

/// The program's process as pid 1 sees it.
pub struct Worker {
    pub pid: i32,
    /// The other end is the worker's, and is closed when the program is executed.
    socket: UnixStream,
    /// Set if it is the program already.
    ahead: Option<Waiting>,
}

/// A program that was started ahead of its call.
struct Waiting {
    program: Program,
    /// Its standard input. The program waits until this is closed.
    input: PipeWriter,
    /// What it prints, and its errors.
    outputs: [PipeReader; 2],
}

/// The program's own ends of what [`Waiting`] holds.
struct Streams {
    input: PipeReader,
    outputs: [PipeWriter; 2],
}

/// Forks the worker, and waits until its walls stand, and until it is the program if that can be before the call.
pub fn start(site: &mut Site, birth: &Birth) -> Result<Worker, Failure> {
    if let Some(ahead) = &birth.environment.ahead {
        let (waiting, streams) = pipes(site, &ahead.program).map_err(failed("make the program's pipes"))?;
        let worker = fork(site, birth, Some((waiting, streams)))?;
        // One that can't be started now can't be started later either, but then its caller is told.
        if let Ok(None) = worker.report() {
            return Ok(worker);
        }
        worker.end();
    }
    fork(site, birth, None)
}

fn pipes(site: &Site, program: &Program) -> io::Result<(Waiting, Streams)> {
    let (input, open_input) = io::pipe()?;
    let (stdout, to_stdout) = io::pipe()?;
    let (stderr, to_stderr) = io::pipe()?;
    let streams = Streams { input, outputs: [to_stdout, to_stderr] };
    for stream in &streams.outputs {
        // `echo > /dev/stdout` opens it anew, which the kernel grants its owner alone.
        sys::change_owner(stream.as_fd(), site.user.uid, site.user.gid)?;
    }
    Ok((Waiting { program: program.clone(), input: open_input, outputs: [stdout, stderr] }, streams))
}

fn fork(site: &mut Site, birth: &Birth, ahead: Option<(Waiting, Streams)>) -> Result<Worker, Failure> {
    let (socket, theirs) = UnixStream::pair().map_err(failed("make a socket pair"))?;
    let Some((pid, _)) = sys::clone_process(0).map_err(failed("make the program's process"))? else {
        drop(socket);
        // They are pid 1's to hand over.
        site.sockets.clear();
        serve(site, birth, ahead.map(|(_, streams)| streams), theirs);
    };
    drop(theirs);
    let worker = Worker { pid, socket, ahead: ahead.map(|(waiting, _)| waiting) };
    match worker.report()? {
        Some(Report::Ready) => Ok(worker),
        Some(Report::Failed(failure)) => Err(failure),
        _ => Err(Failure { operation: "confine the program's process: it was killed".to_owned(), errno: libc::ECHILD }),
    }
}

impl Worker {
    /// Whether it is, or can become, the call's program. One that was started ahead has no services before it.
    pub fn serves(&self, call: &Call) -> bool {
        let is_program = |ahead: &Waiting| call.program.as_ref() == Some(&ahead.program) && call.services.is_empty();
        self.ahead.as_ref().is_none_or(is_program)
    }

    /// Gives the caller the output of a program that was started ahead. This process keeps none of it.
    pub fn hand_over(&self, caller: &UnixStream) -> Result<(), Failure> {
        let Some(ahead) = &self.ahead else { return Ok(()) };
        let outputs = ahead.outputs.each_ref().map(PipeReader::as_fd);
        encode(&Report::Ahead)
            .and_then(|word| sys::send_descriptors(caller.as_fd(), &word, &outputs))
            .map_err(failed("hand the program's output over"))
    }

    /// Has the worker start a program beside itself, and returns its pid: it is this process's child. If it can't be
    /// executed it says so where its output goes, and exits.
    pub fn start_beside(&mut self, program: Program, output: BorrowedFd) -> Result<i32, Failure> {
        self.tell(&Task::Start(program), [output, output])?;
        read_message(&mut &self.socket, LARGEST_REPORT)
            .and_then(|pid| pid.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()))
            .map_err(failed("hear from the program's process"))?
    }

    /// Lets the worker become the program, or look around, or the program that it is already go on. Returns when it does,
    /// with what it found, or has failed to.
    pub fn release(&mut self, program: Option<Program>, outputs: [OwnedFd; 2]) -> Result<Option<Inside>, Failure> {
        if let Some(Waiting { input, .. }) = self.ahead.take() {
            drop(input);
            return Ok(None);
        }
        let [stdout, stderr] = &outputs;
        self.tell(&program.map_or(Task::Look, Task::Become), [stdout.as_fd(), stderr.as_fd()])?;
        // Whoever reads the program's output is to see its end when the program has closed it.
        drop(outputs);
        match self.report()? {
            Some(Report::Failed(failure)) => Err(failure),
            Some(Report::Found(inside)) => Ok(Some(inside)),
            _ => Ok(None),
        }
    }

    /// Ends it before it was of any use.
    pub fn end(self) {
        // With whatever it has started.
        descendants::kill_all();
    }

    fn tell(&mut self, task: &Task, outputs: [BorrowedFd; 2]) -> Result<(), Failure> {
        let send = || {
            sys::send_descriptors(self.socket.as_fd(), &[0], &outputs)?;
            write_message(&mut &self.socket, task)
        };
        send().map_err(failed("hand the program over"))
    }

    fn report(&self) -> Result<Option<Report>, Failure> {
        match read_message(&mut &self.socket, LARGEST_REPORT) {
            // A process that is killed with something left to read resets the connection.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            report => report.map_err(failed("hear from the program's process")),
        }
    }
}

fn serve(site: &mut Site, birth: &Birth, streams: Option<Streams>, mut init: UnixStream) -> ! {
    let report = match confine(site, birth) {
        Ok(()) => Report::Ready,
        Err(failure) => Report::Failed(failure),
    };
    let ready = report == Report::Ready;
    if write_message(&mut init, &report).is_ok() && ready {
        let became = match (&birth.environment.ahead, streams) {
            (Some(ahead), Some(streams)) => Err(start_ahead(ahead, &streams)),
            _ => obey(&mut init),
        };
        if let Some(report) = became.unwrap_or_else(|failure| Some(Report::Failed(failure))) {
            let _ = write_message(&mut init, &report);
        }
    }
    sys::exit(0)
}

fn confine(site: &mut Site, birth: &Birth) -> Result<(), Failure> {
    sys::default_signals();
    sys::new_session().map_err(failed("begin a session"))?;
    if let Some(processors) = &birth.processors {
        sys::run_on(processors.iter().copied()).map_err(failed("choose the sandbox's processors"))?;
    }
    site.apply(birth.environment.walls.clone())?;
    // The program's own mask.
    sys::set_umask(0o022);
    // Nothing looks into this process before it is the program.
    sys::set_dumpable(false).map_err(failed("seal the program's process"))
}

/// Returns only what failed, or what was found by a look around instead of a program.
fn obey(init: &mut UnixStream) -> Result<Option<Report>, Failure> {
    loop {
        let (_, outputs) =
            sys::receive_descriptors(init.as_fd(), &mut [0]).map_err(failed("get the program's output"))?;
        // Pid 1 is gone.
        let Ok(outputs) = <[OwnedFd; 2]>::try_from(outputs) else { return Ok(None) };
        let task = read_message(init, LARGEST_CALL)
            .and_then(|task| task.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()))
            .map_err(failed("get the program"))?;
        match task {
            Task::Start(program) => {
                write_message(init, &start_beside(&program, &outputs)).map_err(failed("tell a service's pid"))?
            }
            Task::Become(program) => return Err(become_program(&program, &outputs)),
            Task::Look => {
                let found = inside::look().map_err(failed("look around in the sandbox"))?;
                return Ok(Some(Report::Found(found)));
            }
        }
    }
}

/// Starts a program whose parent is this process's own, and returns its pid.
fn start_beside(program: &Program, outputs: &[OwnedFd; 2]) -> Result<i32, Failure> {
    let cloned = sys::clone_process(libc::CLONE_PARENT).map_err(failed("make a service's process"))?;
    if let Some((pid, _)) = cloned {
        return Ok(pid);
    }
    // A signal to the program's process group is none to its services.
    let failure = match sys::new_session() {
        Ok(()) => become_program(program, outputs),
        Err(error) => failed("begin a session")(error),
    };
    let Failure { operation, errno } = failure;
    let _ = writeln!(io::stderr(), "cannot {operation}: {}", io::Error::from_raw_os_error(errno));
    sys::exit(127)
}

/// Returns only what failed.
fn start_ahead(Ahead { program, variables }: &Ahead, Streams { input, outputs }: &Streams) -> Failure {
    if let Err(error) = sys::replace_stream(input, Stream::Input) {
        return failed("connect the program's input")(error);
    }
    let own = program.variables.iter().filter(|(name, _)| !variables.iter().any(|(other, _)| other == name));
    let variables = own.chain(variables).cloned().collect();
    become_program(&Program { variables, ..program.clone() }, outputs)
}

/// Returns only what failed.
fn become_program(program: &Program, [stdout, stderr]: &[impl AsFd; 2]) -> Failure {
    let connected =
        sys::replace_stream(stdout, Stream::Output).and_then(|()| sys::replace_stream(stderr, Stream::Errors));
    if let Err(error) = connected {
        return failed("connect the program's output")(error);
    }
    let directory = &program.directory;
    if let Err(error) = std::env::set_current_dir(directory) {
        return failed(format!("enter {}", directory.display()))(error);
    }
    let name = program.arguments.first().map_or("a program without a name", String::as_str);
    failed(format!("start {name}"))(execute(program))
}

fn execute(program: &Program) -> io::Error {
    let strings = |texts: &[String]| texts.iter().map(|text| c_string(text.as_str())).collect::<io::Result<Vec<_>>>();
    let variables: Vec<String> = program.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let all = || Ok((look_up(program)?, strings(&program.arguments)?, strings(&variables)?));
    match all() {
        Ok((path, arguments, variables)) => sys::execute(&path, &arguments, &variables),
        Err(error) => error,
    }
}

/// The program's path: looked up along `PATH` as the program will see it, unless it holds a slash.
fn look_up(program: &Program) -> io::Result<CString> {
    let missing = || io::Error::from_raw_os_error(libc::ENOENT);
    let name = program.arguments.first().filter(|name| !name.is_empty()).ok_or_else(missing)?;
    if name.contains('/') {
        return c_string(name.as_str());
    }
    let path =
        program.variables.iter().find(|(variable, _)| variable == "PATH").map_or("", |(_, value)| value.as_str());
    let mut outcome = missing();
    for directory in path.split(':').filter(|directory| !directory.is_empty()) {
        let candidate = c_string(format!("{directory}/{name}"))?;
        match sys::check_executable(&candidate) {
            Ok(()) => return Ok(candidate),
            // A file that can't be executed says more than none at all.
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => outcome = error,
            Err(_) => {}
        }
    }
    Err(outcome)
}
