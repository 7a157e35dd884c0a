//! The process that becomes the program: puts its walls up ahead of the call, and waits.

use std::ffi::CString;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use sandbox_launcher::{
    AHEAD, Failure, Inside, LARGEST_CALL, LARGEST_REPORT, Program, Report, encode, read_message, write_message,
};

use crate::fault::failed;
use crate::init::Birth;
use crate::steps::Site;
use crate::tree::c_string;
use crate::{descendants, inside, sys};

/// The program's process as pid 1 sees it.
pub struct Worker {
    pub pid: i32,
    /// The other end is the worker's, and is closed when the program is executed.
    socket: UnixStream,
    /// Set if it is the program already.
    ahead: Option<Ahead>,
}

/// A program that was started ahead of its call.
struct Ahead {
    program: Program,
    /// Its standard input. The program waits until this is closed.
    input: PipeWriter,
    /// What it prints, and its errors.
    outputs: [PipeReader; 2],
}

/// The program's own ends of what [`Ahead`] holds.
struct Streams {
    input: PipeReader,
    outputs: [PipeWriter; 2],
}

/// Forks the worker, and waits until its walls stand, and until it is the program if that can be before the call.
pub fn start(site: &mut Site, birth: &Birth) -> Result<Worker, Failure> {
    if let Some(program) = &birth.environment.ahead {
        let (ahead, streams) = pipes(site, program).map_err(failed("make the program's pipes"))?;
        let worker = fork(site, birth, Some((ahead, streams)))?;
        // One that can't be started now can't be started later either, but then its caller is told.
        if let Ok(None) = worker.report() {
            return Ok(worker);
        }
        worker.end();
    }
    fork(site, birth, None)
}

fn pipes(site: &Site, program: &Program) -> io::Result<(Ahead, Streams)> {
    let (input, open_input) = io::pipe()?;
    let (stdout, to_stdout) = io::pipe()?;
    let (stderr, to_stderr) = io::pipe()?;
    let streams = Streams { input, outputs: [to_stdout, to_stderr] };
    for stream in &streams.outputs {
        // `echo > /dev/stdout` opens it anew, which the kernel grants its owner alone.
        sys::change_owner(stream.as_fd(), site.user.uid, site.user.gid)?;
    }
    Ok((Ahead { program: program.clone(), input: open_input, outputs: [stdout, stderr] }, streams))
}

fn fork(site: &mut Site, birth: &Birth, ahead: Option<(Ahead, Streams)>) -> Result<Worker, Failure> {
    let (socket, theirs) = UnixStream::pair().map_err(failed("make a socket pair"))?;
    let Some((pid, _)) = sys::clone_process(0).map_err(failed("make the program's process"))? else {
        drop(socket);
        // They are pid 1's to hand over.
        site.sockets.clear();
        serve(site, birth, ahead, theirs);
    };
    drop(theirs);
    let worker = Worker { pid, socket, ahead: ahead.map(|(ahead, _)| ahead) };
    match worker.report()? {
        Some(Report::Ready) => Ok(worker),
        Some(Report::Failed(failure)) => Err(failure),
        _ => Err(Failure { operation: "confine the program's process: it was killed".to_owned(), errno: libc::ECHILD }),
    }
}

impl Worker {
    /// Whether it is, or can become, this program.
    pub fn serves(&self, program: Option<&Program>) -> bool {
        self.ahead.as_ref().is_none_or(|ahead| Some(&ahead.program) == program)
    }

    /// Gives the caller the output of a program that was started ahead. This process keeps none of it.
    pub fn hand_over(&mut self, caller: &UnixStream) -> Result<(), Failure> {
        let Some(ahead) = &self.ahead else { return Ok(()) };
        let outputs = ahead.outputs.each_ref().map(PipeReader::as_fd);
        encode(&Report::Ahead)
            .and_then(|word| sys::send_descriptors(caller.as_fd(), &word, &outputs))
            .map_err(failed("hand the program's output over"))
    }

    /// Lets the worker become the program, or look around, or the program that it is already go on. Returns when it does,
    /// with what it found, or has failed to.
    pub fn release(&mut self, program: Option<Program>, outputs: [OwnedFd; 2]) -> Result<Option<Inside>, Failure> {
        if let Some(Ahead { input, .. }) = self.ahead.take() {
            drop(input);
            return Ok(None);
        }
        let failed = |error| failed("hand the program over")(error);
        let [stdout, stderr] = &outputs;
        sys::send_descriptors(self.socket.as_fd(), &[0], &[stdout.as_fd(), stderr.as_fd()]).map_err(failed)?;
        // Whoever reads the program's output is to see its end when the program has closed it.
        drop(outputs);
        self.socket.write_all(&encode(&program).map_err(failed)?).map_err(failed)?;
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

    fn report(&self) -> Result<Option<Report>, Failure> {
        match read_message(&mut &self.socket, LARGEST_REPORT) {
            // A process that is killed with something left to read resets the connection.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            report => report.map_err(failed("hear from the program's process")),
        }
    }
}

fn serve(site: &mut Site, birth: &Birth, ahead: Option<(Ahead, Streams)>, mut init: UnixStream) -> ! {
    let report = match confine(site, birth) {
        Ok(()) => Report::Ready,
        Err(failure) => Report::Failed(failure),
    };
    let ready = report == Report::Ready;
    if write_message(&mut init, &report).is_ok() && ready {
        let became = match ahead {
            Some((Ahead { program, .. }, streams)) => start_ahead(program, &streams),
            None => become_program(&mut init),
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
    sys::prctl(libc::PR_SET_DUMPABLE, 0).map_err(failed("seal the program's process"))
}

/// Returns only what failed, or what was found by a look around instead of a program.
fn become_program(init: &mut UnixStream) -> Result<Option<Report>, Failure> {
    let (_, outputs) = sys::receive_descriptors(init.as_fd(), &mut [0]).map_err(failed("get the program's output"))?;
    // Pid 1 is gone.
    let Ok([stdout, stderr]) = <[OwnedFd; 2]>::try_from(outputs) else { return Ok(None) };
    let program: Option<Program> = read_message(init, LARGEST_CALL)
        .and_then(|program| program.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()))
        .map_err(failed("get the program"))?;
    connect(&stdout, &stderr)?;
    let Some(program) = program else {
        return inside::look().map(|inside| Some(Report::Found(inside))).map_err(failed("look around in the sandbox"));
    };
    run(&program)
}

/// Returns only what failed.
fn start_ahead(
    mut program: Program,
    Streams { input, outputs: [stdout, stderr] }: &Streams,
) -> Result<Option<Report>, Failure> {
    connect(stdout, stderr)?;
    sys::replace_stream(input.as_raw_fd(), 0).map_err(failed("connect the program's input"))?;
    program.variables.push((AHEAD.to_owned(), "1".to_owned()));
    run(&program)
}

fn connect(stdout: &impl AsRawFd, stderr: &impl AsRawFd) -> Result<(), Failure> {
    sys::replace_stream(stdout.as_raw_fd(), 1)
        .and_then(|()| sys::replace_stream(stderr.as_raw_fd(), 2))
        .map_err(failed("connect the program's output"))
}

fn run(program: &Program) -> Result<Option<Report>, Failure> {
    let directory = &program.directory;
    std::env::set_current_dir(directory).map_err(failed(format!("enter {}", directory.display())))?;
    let name = program.arguments.first().map_or("a program without a name", String::as_str);
    Err(failed(format!("start {name}"))(execute(program)))
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
        match sys::executable(&candidate) {
            Ok(()) => return Ok(candidate),
            // A file that can't be executed says more than none at all.
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => outcome = error,
            Err(_) => {}
        }
    }
    Err(outcome)
}
