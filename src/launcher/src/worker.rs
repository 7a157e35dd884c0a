//! The process that becomes the program: confines itself ahead of the call, and waits.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use sandbox_plan::{
    Ahead, Call, Failure, Inside, MAX_CALL_BYTES, MAX_REPORT_BYTES, Program, Report, encode, read_message,
    write_message,
};
use serde::{Deserialize, Serialize};

use crate::fault::failed;
use crate::steps::StepRunner;
use crate::sys::{self, StandardStream};
use crate::template::InitArguments;
use crate::tree::c_string;
use crate::{descendants, inside};

/// A request to the worker. With it go the descriptors for the output.
#[derive(Serialize, Deserialize)]
enum Task {
    /// Start a program as a child of pid 1, and answer with its pid.
    Start(Program),
    /// Become a program. The answer is a failure, or the end of the connection.
    Become(Program),
    /// Look around, and answer with what was found.
    Look,
}

/// The worker as pid 1 sees it.
pub struct Worker {
    pub pid: i32,
    /// The worker closes its end when it executes the program.
    socket: UnixStream,
    /// Set if it has become the program already.
    ahead: Option<Waiting>,
}

/// A program that was started ahead of its call.
struct Waiting {
    program: Program,
    /// Its standard input. The program waits until this is closed.
    input: PipeWriter,
    /// Its output and its errors.
    outputs: [PipeReader; 2],
}

/// The program's ends of the pipes in [`Waiting`].
struct ProgramStreams {
    input: PipeReader,
    outputs: [PipeWriter; 2],
}

/// Forks the worker, and waits until it is confined and, if the program can be started ahead of the call, until it has
/// executed it.
pub fn start(runner: &mut StepRunner, arguments: &InitArguments) -> Result<Worker, Failure> {
    if let Some(ahead) = &arguments.environment.ahead {
        let (waiting, streams) = pipes(runner, &ahead.program).map_err(failed("make the program's pipes"))?;
        let worker = fork(runner, arguments, Some((waiting, streams)))?;
        // A program that can't be started now can't be started later either, but then its caller gets the reason.
        if let Ok(None) = worker.report() {
            return Ok(worker);
        }
        worker.end();
    }
    fork(runner, arguments, None)
}

fn pipes(runner: &StepRunner, program: &Program) -> io::Result<(Waiting, ProgramStreams)> {
    let (input, open_input) = io::pipe()?;
    let (stdout, to_stdout) = io::pipe()?;
    let (stderr, to_stderr) = io::pipe()?;
    let streams = ProgramStreams { input, outputs: [to_stdout, to_stderr] };
    for stream in &streams.outputs {
        // `echo > /dev/stdout` opens the pipe again, which only its owner may do.
        sys::change_owner(stream.as_fd(), runner.user.uid, runner.user.gid)?;
    }
    Ok((Waiting { program: program.clone(), input: open_input, outputs: [stdout, stderr] }, streams))
}

fn fork(
    runner: &mut StepRunner,
    arguments: &InitArguments,
    ahead: Option<(Waiting, ProgramStreams)>,
) -> Result<Worker, Failure> {
    let (socket, theirs) = UnixStream::pair().map_err(failed("make a socket pair"))?;
    let Some((pid, _)) = sys::clone_process(0).map_err(failed("make the program's process"))? else {
        drop(socket);
        // Pid 1 hands them over.
        runner.sockets.clear();
        serve(runner, arguments, ahead.map(|(_, streams)| streams), theirs);
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
    /// Returns whether it is, or can become, the call's program. A program that was started ahead can't have services.
    pub fn serves(&self, call: &Call) -> bool {
        let is_program = |ahead: &Waiting| call.program.as_ref() == Some(&ahead.program) && call.services.is_empty();
        self.ahead.as_ref().is_none_or(is_program)
    }

    /// Gives the caller the output of a program that was started ahead.
    pub fn hand_over(&self, caller: &UnixStream) -> Result<(), Failure> {
        let Some(ahead) = &self.ahead else { return Ok(()) };
        let outputs = ahead.outputs.each_ref().map(PipeReader::as_fd);
        encode(&Report::Ahead)
            .and_then(|report| sys::send_descriptors(caller.as_fd(), &report, &outputs))
            .map_err(failed("hand the program's output over"))
    }

    /// Has the worker start a program as a child of this process, and returns its pid. A program that can't be executed
    /// prints the reason to `output` and exits with status 127.
    pub fn start_beside(&mut self, program: Program, output: BorrowedFd) -> Result<i32, Failure> {
        self.send(&Task::Start(program), [output, output])?;
        read_message(&mut &self.socket, MAX_REPORT_BYTES)
            .and_then(|pid| pid.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()))
            .map_err(failed("hear from the program's process"))?
    }

    /// Lets the worker become the program, or go on if it is the program already, or look around if there is none.
    /// Returns when it does so, with what it found.
    pub fn release(&mut self, program: Option<Program>, outputs: [OwnedFd; 2]) -> Result<Option<Inside>, Failure> {
        if let Some(Waiting { input, .. }) = self.ahead.take() {
            drop(input);
            return Ok(None);
        }
        let [stdout, stderr] = &outputs;
        self.send(&program.map_or(Task::Look, Task::Become), [stdout.as_fd(), stderr.as_fd()])?;
        // The reader of the program's output must see its end as soon as the program has closed it.
        drop(outputs);
        match self.report()? {
            Some(Report::Failed(failure)) => Err(failure),
            Some(Report::Found(inside)) => Ok(Some(inside)),
            _ => Ok(None),
        }
    }

    /// Kills the worker, and everything that it has started.
    pub fn end(self) {
        descendants::kill_all();
    }

    fn send(&mut self, task: &Task, outputs: [BorrowedFd; 2]) -> Result<(), Failure> {
        let send_all = || {
            sys::send_descriptors(self.socket.as_fd(), &[0], &outputs)?;
            write_message(&mut &self.socket, task)
        };
        send_all().map_err(failed("hand the program over"))
    }

    fn report(&self) -> Result<Option<Report>, Failure> {
        match read_message(&mut &self.socket, MAX_REPORT_BYTES) {
            // A process that is killed with something left to read resets the connection.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            report => report.map_err(failed("hear from the program's process")),
        }
    }
}

/// Runs the worker.
fn serve(
    runner: &mut StepRunner,
    arguments: &InitArguments,
    streams: Option<ProgramStreams>,
    mut init: UnixStream,
) -> ! {
    let report = match confine(runner, arguments) {
        Ok(()) => Report::Ready,
        Err(failure) => Report::Failed(failure),
    };
    let ready = report == Report::Ready;
    if write_message(&mut init, &report).is_ok() && ready {
        let became = match (&arguments.environment.ahead, streams) {
            (Some(ahead), Some(streams)) => Err(start_ahead(ahead, &streams)),
            _ => work(&mut init),
        };
        if let Some(report) = became.unwrap_or_else(|failure| Some(Report::Failed(failure))) {
            let _ = write_message(&mut init, &report);
        }
    }
    sys::exit(0)
}

fn confine(runner: &mut StepRunner, arguments: &InitArguments) -> Result<(), Failure> {
    sys::default_signals();
    sys::new_session().map_err(failed("begin a session"))?;
    if let Some(processors) = &arguments.processors {
        sys::run_on(processors.iter().copied()).map_err(failed("choose the sandbox's processors"))?;
    }
    runner.apply(arguments.environment.walls.clone())?;
    // The program's own mask.
    sys::set_umask(0o022);
    // Nobody may look into this process before it is the program.
    sys::set_dumpable(false).map_err(failed("seal the program's process"))
}

/// Carries tasks out. Returns only a failure, or what was found by a look around.
fn work(init: &mut UnixStream) -> Result<Option<Report>, Failure> {
    loop {
        let (_, outputs) =
            sys::receive_descriptors(init.as_fd(), &mut [0]).map_err(failed("get the program's output"))?;
        // Pid 1 is gone.
        let Ok(outputs) = <[OwnedFd; 2]>::try_from(outputs) else { return Ok(None) };
        let task = read_message(init, MAX_CALL_BYTES)
            .and_then(|task| task.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()))
            .map_err(failed("get the program"))?;
        match task {
            Task::Start(program) => {
                write_message(init, &start_beside(&program, &outputs))
                    .map_err(failed("report the pid of a service"))?;
            }
            Task::Become(program) => return Err(become_program(&program, &outputs)),
            Task::Look => {
                let found = inside::look().map_err(failed("look around in the sandbox"))?;
                return Ok(Some(Report::Found(found)));
            }
        }
    }
}

/// Starts a program as a child of this process's parent, and returns its pid.
fn start_beside(program: &Program, outputs: &[OwnedFd; 2]) -> Result<i32, Failure> {
    let cloned = sys::clone_process(libc::CLONE_PARENT).map_err(failed("make a service's process"))?;
    if let Some((pid, _)) = cloned {
        return Ok(pid);
    }
    // A signal to the program's process group must not reach its services.
    let failure = match sys::new_session() {
        Ok(()) => become_program(program, outputs),
        Err(error) => failed("begin a session")(error),
    };
    let _ = writeln!(io::stderr(), "{failure}");
    sys::exit(127)
}

/// Becomes a program ahead of its call. Returns only if that fails.
fn start_ahead(Ahead { program, variables }: &Ahead, ProgramStreams { input, outputs }: &ProgramStreams) -> Failure {
    if let Err(error) = sys::replace_stream(input, StandardStream::Input) {
        return failed("connect the program's input")(error);
    }
    let own = program.variables.iter().filter(|(name, _)| !variables.iter().any(|(other, _)| other == name));
    let variables = own.chain(variables).cloned().collect();
    become_program(&Program { variables, ..program.clone() }, outputs)
}

/// Becomes a program. Returns only if that fails.
fn become_program(program: &Program, [stdout, stderr]: &[impl AsFd; 2]) -> Failure {
    let connected = sys::replace_stream(stdout, StandardStream::Output)
        .and_then(|()| sys::replace_stream(stderr, StandardStream::Errors));
    if let Err(error) = connected {
        return failed("connect the program's output")(error);
    }
    if let Err(error) = connect_input(program) {
        return failed("connect the program's input")(error);
    }
    let directory = &program.directory;
    if let Err(error) = std::env::set_current_dir(directory) {
        return failed(format!("enter {}", directory.display()))(error);
    }
    let name = program.arguments.first().map_or("a program without a name", String::as_str);
    failed(format!("start {name}"))(execute(program))
}

/// Leads standard input to a file without a name that holds the program's input. Without any it stays what it is.
fn connect_input(program: &Program) -> io::Result<()> {
    if program.input.is_empty() {
        return Ok(());
    }
    let mut file = File::from(sys::unnamed_file(program.temporary_directory())?);
    file.write_all(&program.input)?;
    file.rewind()?;
    sys::replace_stream(&file, StandardStream::Input)
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

/// Returns the program's path: looked up along `PATH` as the program will see it, unless it contains a slash.
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
            // A file that can't be executed is a better reason than a missing one.
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => outcome = error,
            Err(_) => {}
        }
    }
    Err(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str, path: Option<&str>) -> Program {
        let variables = path.map(|path| ("PATH".to_owned(), path.to_owned()));
        Program {
            arguments: vec![name.to_owned()],
            variables: variables.into_iter().collect(),
            directory: "/".into(),
            input: vec![],
        }
    }

    fn errno(program: &Program) -> Option<i32> {
        look_up(program).unwrap_err().raw_os_error()
    }

    #[test]
    fn program_with_a_slash_is_not_looked_up() {
        assert_eq!(look_up(&program("./none", Some("/bin"))).unwrap().as_c_str(), c"./none");
    }

    #[test]
    fn program_is_found_in_the_first_directory_with_it() {
        let directory = std::env::temp_dir().join(format!("sandbox-launcher-look-up-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let name = std::env::current_exe().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let own = std::env::current_exe().unwrap().parent().unwrap().display().to_string();
        // What can't be executed does not hide a program in a later directory.
        std::fs::write(directory.join(&name), "").unwrap();
        let path = format!("/nonexistent::{}:{own}", directory.display());
        let found = look_up(&program(&name, Some(&path))).unwrap();
        assert_eq!(found.into_string().unwrap(), format!("{own}/{name}"));
        assert_eq!(errno(&program(&name, Some(&directory.display().to_string()))), Some(libc::EACCES));
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn program_without_a_name_or_path_is_missing() {
        assert_eq!(errno(&program("", Some("/bin"))), Some(libc::ENOENT));
        assert_eq!(errno(&program("sh", None)), Some(libc::ENOENT));
        assert_eq!(errno(&Program { arguments: vec![], ..program("", None) }), Some(libc::ENOENT));
        assert_eq!(errno(&program("a\0b", Some("/bin"))), Some(libc::EINVAL));
    }
}
