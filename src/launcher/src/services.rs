//! Services: what pid 1 starts before the program, and what it tells of them.
//!
//! The worker starts each, once its own walls stand, so that a service has the walls of the program around it and both are
//! in one domain of Landlock: they can signal each other. Pid 1 is the parent all the same, since the program must not have
//! children that it does not know of. What a service prints goes into a file without a name, and is shown if it fails.
//!
//! Pid 1 is behind fewer walls than those who write what it reads here: it follows no link, and opens regular files alone.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use sandbox_plan::{Ending, Failure, Program, Readiness, Service};

use crate::fault::failed;
use crate::init;
use crate::sys::{self, Wait};
use crate::worker::Worker;

/// How long to wait before a port or a file is looked for again: twice as long each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(16);
/// Nothing on the loopback interface takes longer to say that it accepts a connection.
const CONNECTING: Duration = Duration::from_millis(500);

/// Bytes of a file's end that are shown.
const TAIL: u64 = 4096;
/// Bytes of a log that are searched for errors, lines of it that are shown, and bytes of each.
const SEARCHED: u64 = 1 << 20;
const MOST_LINES: usize = 20;
const LONGEST_LINE: usize = 1000;

/// The services of a call.
pub struct Services {
    started: Vec<Started>,
    /// The program's, which what is told goes to.
    stderr: File,
}

struct Started {
    service: Service,
    pid: i32,
    /// What it has printed.
    printed: File,
    /// How it ended while the program ran.
    ending: Option<Ending>,
}

impl Services {
    /// Starts them one after the other, each when the one before it is ready. None: one of them did not get ready, as the
    /// program's standard error was told.
    pub fn start(
        services: Vec<Service>,
        program: &Program,
        worker: &mut Worker,
        stderr: BorrowedFd,
    ) -> Result<Option<Self>, Failure> {
        let stderr = File::from(stderr.try_clone_to_owned().map_err(failed("keep the program's standard error"))?);
        let mut all = Self { started: Vec::new(), stderr };
        for service in services {
            let name = service.name.clone();
            if let Err(reason) = all.start_one(service, program, worker)? {
                all.tell_failure(&name, &reason);
                return Ok(None);
            }
        }
        Ok(Some(all))
    }

    /// The inner result is why it did not get ready.
    fn start_one(
        &mut self,
        service: Service,
        program: &Program,
        worker: &mut Worker,
    ) -> Result<Result<(), String>, Failure> {
        let failed = |error| failed(format!("start the service {}", service.name))(error);
        if let Readiness::Port { port } = service.ready
            && accepts(port)
        {
            return Ok(Err(format!("port {port} is taken already")));
        }
        let printed = sys::unnamed_file(program.temporary_directory()).map(File::from).map_err(failed)?;
        let arguments = service.command.clone();
        let pid = worker.start_beside(Program { arguments, ..program.clone() }, printed.as_fd())?;
        let pidfd = sys::open_pidfd(pid).map_err(failed)?;
        let ready = await_ready(&service, pid, pidfd).map_err(failed)?;
        self.started.push(Started { service, pid, printed, ending: None });
        Ok(ready)
    }

    /// Takes notice of a process that has ended.
    pub fn ended(&mut self, pid: i32, ending: Ending) {
        if let Some(started) = self.started.iter_mut().find(|started| started.pid == pid) {
            started.ending = Some(ending);
        }
    }

    /// After the program's end: tells what went wrong with them meanwhile.
    pub fn finish(mut self) {
        let mut text = Vec::new();
        for Started { service: Service { name, logs, errors, .. }, printed, ending, .. } in &self.started {
            if let Some(ending) = ending.filter(|ending| *ending != Ending::Exited { code: 0 }) {
                text.extend(format!("The service `{name}` ended before the command: it {}.\n", how(ending)).bytes());
                text.extend(tail(printed.try_clone()));
            }
            let lines: Vec<Vec<u8>> =
                logs.iter().flat_map(|log| lines_with(log, errors)).take(MOST_LINES + 1).collect();
            if !lines.is_empty() {
                text.extend(format!("The service `{name}` logged errors:\n").bytes());
                text.extend(lines.iter().take(MOST_LINES).flatten());
            }
            if lines.len() > MOST_LINES {
                text.extend(b"[\xe2\x80\xa6 and more of them]\n");
            }
        }
        self.tell(&text);
    }

    fn tell_failure(&mut self, name: &str, reason: &str) {
        let mut text = format!("The service `{name}` did not start: {reason}. The command was not run.\n").into_bytes();
        if let Some(Started { service, printed, .. }) = self.started.last().filter(|last| last.service.name == name) {
            text.extend(tail(printed.try_clone()));
            for log in &service.logs {
                let end = tail(sys::open_regular(log).map(File::from));
                if !end.is_empty() {
                    text.extend(format!("The end of {}:\n", log.display()).bytes());
                    text.extend(end);
                }
            }
        }
        self.tell(&text);
    }

    fn tell(&mut self, text: &[u8]) {
        // If this fails, nobody is left to be told.
        let _ = self.stderr.write_all(text);
    }
}

/// Waits until a service is ready. Otherwise the inner result is why it is not.
fn await_ready(service: &Service, pid: i32, pidfd: OwnedFd) -> io::Result<Result<(), String>> {
    let end = Instant::now().checked_add(service.deadline);
    let mut running = Some(pidfd);
    let mut pause = FIRST_PAUSE;
    while !is_ready(&service.ready) {
        let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Ok(Err(late(service)));
        }
        let patience = if service.ready == Readiness::Returned { left } else { pause.min(left) };
        let event = running.as_ref().map_or(Wait::Nothing, |pidfd| Wait::Readable(pidfd.as_fd()));
        if sys::wait(&[event], Some(patience))?[0] {
            let ending = sys::reap(pid, true)?.map(|reaped| init::ending(reaped.status));
            match (ending, &service.ready) {
                (Some(Ending::Exited { code: 0 }), Readiness::Returned) => return Ok(Ok(())),
                // A daemon that does the rest on its own.
                (Some(Ending::Exited { code: 0 }), _) => running = None,
                (ending, _) => return Ok(Err(ending.map_or_else(String::new, |ending| format!("it {}", how(ending))))),
            }
        }
        pause = LONGEST_PAUSE.min(2 * pause);
    }
    Ok(Ok(()))
}

fn is_ready(ready: &Readiness) -> bool {
    match ready {
        Readiness::Returned => false,
        Readiness::Port { port } => accepts(*port),
        Readiness::File { path } => path.symlink_metadata().is_ok(),
    }
}

/// Whether something listens at this port of the loopback interface.
fn accepts(port: u16) -> bool {
    let addresses: [SocketAddr; 2] = [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()];
    addresses.iter().any(|address| TcpStream::connect_timeout(address, CONNECTING).is_ok())
}

fn late(Service { ready, deadline, .. }: &Service) -> String {
    let lacking = match ready {
        Readiness::Returned => "its command did not return".to_owned(),
        Readiness::Port { port } => format!("nothing accepted a connection at port {port}"),
        Readiness::File { path } => format!("there was no {}", path.display()),
    };
    format!("{lacking} within {deadline:?}")
}

fn how(ending: Ending) -> String {
    match ending {
        Ending::Exited { code } => format!("exited with status {code}"),
        Ending::Signalled { signal } => format!("was ended by signal {signal}"),
        _ => "was ended".to_owned(),
    }
}

/// The last lines of a file, without those that are cut; of one that can't be read, nothing or why.
fn tail(file: io::Result<File>) -> Vec<u8> {
    let read = |mut file: File| -> io::Result<Vec<u8>> {
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut end = Vec::new();
        file.take(TAIL).read_to_end(&mut end)?;
        if length > TAIL
            && let Some(cut) = end.iter().position(|byte| *byte == b'\n')
        {
            end.drain(..=cut);
        }
        Ok(end)
    };
    match file.and_then(read) {
        Ok(mut end) => {
            if !matches!(end.last(), None | Some(b'\n')) {
                end.push(b'\n');
            }
            end
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => format!("(It can't be read: {error}.)\n").into_bytes(),
    }
}

/// The lines of a log that hold one of these words, each with its end.
fn lines_with(log: &Path, words: &[String]) -> Vec<Vec<u8>> {
    let Ok(file) = sys::open_regular(log).map(File::from) else { return Vec::new() };
    let has = |line: &[u8], word: &str| line.windows(word.len()).any(|part| part == word.as_bytes());
    let lines = BufReader::new(file.take(SEARCHED)).split(b'\n').map_while(Result::ok);
    let told = lines.filter(|line| words.iter().any(|word| has(line, word)));
    told.map(|mut line| {
        line.truncate(LONGEST_LINE);
        line.push(b'\n');
        line
    })
    .collect()
}
