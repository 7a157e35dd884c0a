//! Services: programs that pid 1 starts before the call's own, and the reports about their failures.
//!
//! The worker starts each service after confining itself, so that a service is confined like the program and both are
//! in one domain of Landlock: they can signal each other. Pid 1 is nevertheless the parent, since the program must not
//! have children that it does not know. The output of a service goes to an unnamed file, and is shown if the service
//! fails.
//!
//! Pid 1 is less confined than the processes that write what it reads here: it follows no link, and opens only regular
//! files.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use sandbox_plan::{Ending, Failure, Program, ServiceReadiness, ServiceSpec};

use crate::fault::failed;
use crate::sys::{self, Wait};
use crate::worker::Worker;

/// The time between two looks for a port or a file: doubled after each look, up to the maximum.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(1);
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(16);
/// A listener on the loopback interface accepts a connection within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Bytes of a file's end that are shown.
const TAIL_BYTES: u64 = 4096;
/// Bytes of a log that are searched for errors.
const MAX_SEARCHED_BYTES: u64 = 1 << 20;
/// Lines of a log that are shown, and bytes of each.
const MAX_SHOWN_LINES: usize = 20;
const MAX_LINE_BYTES: usize = 1000;

/// The services of a call.
pub struct Services {
    started: Vec<Started>,
    /// The program's standard error, where service failures are reported.
    stderr: File,
}

struct Started {
    service: ServiceSpec,
    pid: i32,
    /// Its output.
    printed: File,
    /// How it ended, if it ended while the program ran.
    ending: Option<Ending>,
}

impl Services {
    /// Starts services one after the other, each when the one before it is ready. Returns `None` if one did not get
    /// ready, which was reported on the program's standard error.
    pub fn start(
        services: Vec<ServiceSpec>,
        program: &Program,
        worker: &mut Worker,
        stderr: BorrowedFd,
    ) -> Result<Option<Self>, Failure> {
        let stderr = File::from(stderr.try_clone_to_owned().map_err(failed("keep the program's standard error"))?);
        let mut all = Self { started: Vec::new(), stderr };
        for service in services {
            let name = service.name.clone();
            if let Err(reason) = all.start_one(service, program, worker)? {
                all.report_failure(&name, &reason);
                return Ok(None);
            }
        }
        Ok(Some(all))
    }

    /// Starts a service and waits until it is ready. The inner error is the reason why it did not get ready.
    fn start_one(
        &mut self,
        service: ServiceSpec,
        program: &Program,
        worker: &mut Worker,
    ) -> Result<Result<(), String>, Failure> {
        let failed = |error| failed(format!("start the service {}", service.name))(error);
        if let ServiceReadiness::Port { port } = service.ready
            && accepts(port)
        {
            return Ok(Err(format!("port {port} is taken already")));
        }
        let printed = sys::unnamed_file(program.temporary_directory()).map(File::from).map_err(failed)?;
        let arguments = service.command.clone();
        let pid = worker.start_beside(
            Program {
                arguments,
                variables: program.variables.clone(),
                directory: program.directory.clone(),
                input: Vec::new(),
            },
            printed.as_fd(),
        )?;
        let pidfd = sys::open_pidfd(pid).map_err(failed)?;
        let ready = await_ready(&service, pid, pidfd).map_err(failed)?;
        self.started.push(Started { service, pid, printed, ending: None });
        Ok(ready)
    }

    /// Notes that a process has ended.
    pub fn ended(&mut self, pid: i32, ending: Ending) {
        if let Some(started) = self.started.iter_mut().find(|started| started.pid == pid) {
            started.ending = Some(ending);
        }
    }

    /// Reports what went wrong with the services while the program ran.
    pub fn finish(mut self) {
        let mut text = Vec::new();
        for Started { service: ServiceSpec { name, logs, errors, .. }, printed, ending, .. } in &self.started {
            if let Some(ending) = ending.filter(|ending| *ending != Ending::Exited { code: 0 }) {
                text.extend(
                    format!("The service `{name}` ended before the command: it {}.\n", describe_ending(ending)).bytes(),
                );
                text.extend(tail(printed.try_clone()));
            }
            let lines: Vec<Vec<u8>> =
                logs.iter().flat_map(|log| lines_with(log, errors)).take(MAX_SHOWN_LINES + 1).collect();
            if !lines.is_empty() {
                text.extend(format!("The service `{name}` logged errors:\n").bytes());
                text.extend(lines.iter().take(MAX_SHOWN_LINES).flatten());
            }
            if lines.len() > MAX_SHOWN_LINES {
                text.extend(b"[\xe2\x80\xa6 and more of them]\n");
            }
        }
        self.write(&text);
    }

    fn report_failure(&mut self, name: &str, reason: &str) {
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
        self.write(&text);
    }

    fn write(&mut self, text: &[u8]) {
        // If this fails, nobody reads it.
        let _ = self.stderr.write_all(text);
    }
}

/// Waits until a service is ready. The inner error is the reason why it did not get ready.
fn await_ready(service: &ServiceSpec, pid: i32, pidfd: OwnedFd) -> io::Result<Result<(), String>> {
    let end = Instant::now().checked_add(service.deadline);
    let mut running = Some(pidfd);
    let mut interval = MIN_POLL_INTERVAL;
    while !is_ready(&service.ready) {
        let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Ok(Err(describe_timeout(service)));
        }
        let timeout = if service.ready == ServiceReadiness::Returned { left } else { interval.min(left) };
        let event = running.as_ref().map_or(Wait::Nothing, |pidfd| Wait::Readable(pidfd.as_fd()));
        if sys::wait(&[event], Some(timeout))?[0] {
            let ending = sys::reap(pid, true)?.map(|reaped| reaped.ending());
            match (ending, &service.ready) {
                (Some(Ending::Exited { code: 0 }), ServiceReadiness::Returned) => return Ok(Ok(())),
                // The service goes on as a daemon.
                (Some(Ending::Exited { code: 0 }), _) => running = None,
                (ending, _) => {
                    return Ok(
                        Err(ending.map_or_else(String::new, |ending| format!("it {}", describe_ending(ending)))),
                    );
                }
            }
        }
        interval = MAX_POLL_INTERVAL.min(2 * interval);
    }
    Ok(Ok(()))
}

fn is_ready(ready: &ServiceReadiness) -> bool {
    match ready {
        ServiceReadiness::Returned => false,
        ServiceReadiness::Port { port } => accepts(*port),
        ServiceReadiness::File { path } => path.symlink_metadata().is_ok(),
    }
}

/// Returns whether something listens at this port of the loopback interface.
fn accepts(port: u16) -> bool {
    let addresses: [SocketAddr; 2] = [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()];
    addresses.iter().any(|address| TcpStream::connect_timeout(address, CONNECT_TIMEOUT).is_ok())
}

fn describe_timeout(ServiceSpec { ready, deadline, .. }: &ServiceSpec) -> String {
    let lacking = match ready {
        ServiceReadiness::Returned => "its command did not return".to_owned(),
        ServiceReadiness::Port { port } => format!("nothing accepted a connection at port {port}"),
        ServiceReadiness::File { path } => format!("there was no {}", path.display()),
    };
    format!("{lacking} within {deadline:?}")
}

fn describe_ending(ending: Ending) -> String {
    match ending {
        Ending::Exited { code } => format!("exited with status {code}"),
        Ending::Signalled { signal } => format!("was ended by signal {signal}"),
        _ => "was ended".to_owned(),
    }
}

/// Returns the last lines of a file, without a line that is cut at its beginning. For a file that can't be read,
/// returns the reason; for a missing file, nothing.
fn tail(file: io::Result<File>) -> Vec<u8> {
    let read = |mut file: File| -> io::Result<Vec<u8>> {
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut end = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut end)?;
        if length > TAIL_BYTES
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

/// Returns the lines of a log that contain one of these words, each with a line feed. Of lines with the same message, the
/// first is returned, with their number.
fn lines_with(log: &Path, words: &[String]) -> Vec<Vec<u8>> {
    let Ok(file) = sys::open_regular(log).map(File::from) else { return Vec::new() };
    let has = |line: &[u8], word: &str| line.windows(word.len()).any(|part| part == word.as_bytes());
    let lines = BufReader::new(file.take(MAX_SEARCHED_BYTES)).split(b'\n').map_while(Result::ok);
    let matching = lines.filter(|line| words.iter().any(|word| has(line, word)));
    let mut merged: Vec<(Vec<u8>, usize)> = Vec::new();
    let mut positions: HashMap<Vec<Vec<u8>>, usize> = HashMap::new();
    for line in matching {
        let position = *positions.entry(message(&line)).or_insert(merged.len());
        match merged.get_mut(position) {
            Some((_, count)) => *count += 1,
            None => merged.push((line, 1)),
        }
    }
    let describe = |(mut line, count): (Vec<u8>, usize)| {
        line.truncate(MAX_LINE_BYTES);
        if count > 1 {
            line.extend(format!(" [{count} times]").bytes());
        }
        line.push(b'\n');
        line
    };
    merged.into_iter().map(describe).collect()
}

/// Returns the words of a line of a log, without the time, the level and the numbers that it begins with.
fn message(line: &[u8]) -> Vec<Vec<u8>> {
    // `2026-11-30T08:30:00Z` is a number, as far as this matters, and `worker1` is none.
    let is_number = |word: &[u8]| {
        word.iter().any(u8::is_ascii_digit) && !word.windows(2).any(|pair| pair.iter().all(u8::is_ascii_alphabetic))
    };
    let is_level = |word: &[u8]| word.starts_with(b"[") && word.ends_with(b"]");
    let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.skip_while(|word| is_number(word) || is_level(word)).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    fn file(test: &str, content: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("sandbox-launcher-services-{test}-{}", std::process::id()));
        fs::write(&path, content).unwrap();
        path
    }

    fn tail_of(test: &str, content: &[u8]) -> String {
        let path = file(test, content);
        let end = tail(File::open(&path));
        fs::remove_file(path).unwrap();
        String::from_utf8(end).unwrap()
    }

    #[test]
    fn tail_of_a_short_file_is_all_of_it() {
        assert_eq!(tail_of("empty", b""), "");
        assert_eq!(tail_of("short", b"one\ntwo"), "one\ntwo\n");
    }

    #[test]
    fn tail_of_a_long_file_begins_with_a_whole_line() {
        let text: String = (0..1000).map(|number| format!("{number:03} line\n")).collect();
        let end = tail_of("long", text.as_bytes());
        assert!(text.ends_with(&end) && end.len() as u64 <= TAIL_BYTES);
        assert_eq!(end.len() % "000 line\n".len(), 0);
    }

    #[test]
    fn tail_of_a_long_line_is_its_end() {
        assert_eq!(tail_of("line", &[b'x'; 5000]).len() as u64, TAIL_BYTES + 1);
    }

    #[test]
    fn tail_of_an_unreadable_file_is_the_reason() {
        assert_eq!(tail(Err(io::ErrorKind::NotFound.into())), b"");
        let refused = tail(Err(io::Error::from_raw_os_error(libc::EACCES)));
        assert!(String::from_utf8(refused).unwrap().contains("Permission denied"));
    }

    #[test]
    fn lines_with_a_word_are_found_and_cut() {
        let long = "x".repeat(2 * MAX_LINE_BYTES);
        let path = file("words", format!("fine\n[error] one\nan error\n[crit] {long}").as_bytes());
        let found = lines_with(&path, &["[error]".to_owned(), "[crit]".to_owned()]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], b"[error] one\n");
        assert_eq!(found[1].len(), MAX_LINE_BYTES + 1);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn lines_with_the_same_message_become_one_with_their_number() {
        let log = [
            "2026/11/30 08:12:11 [error] 15#15: *7 connect() failed (111: refused), upstream: 127.0.0.1:80",
            "2026/11/30 08:12:12 [error] 15#15: *8 connect() failed (111: refused), upstream: 127.0.0.1:81",
            "2026/11/30 08:12:13 [error] 16#16: *19 connect() failed (111: refused), upstream: 127.0.0.1:80",
            "2026-11-30T08:12:14.123Z [error] timeout",
            "2026-11-30T08:12:15.456Z [error] timeout",
            "[error] timeout",
            "[error] line 1",
            "[error] line 2",
        ];
        let path = file("same", log.join("\n").as_bytes());
        let found = lines_with(&path, &["[error]".to_owned()]).concat();
        fs::remove_file(path).unwrap();
        let expected = format!("{} [2 times]\n{}\n{} [3 times]\n{}\n{}\n", log[0], log[1], log[3], log[6], log[7]);
        assert_eq!(String::from_utf8(found).unwrap(), expected);
    }

    #[test]
    fn timeout_is_described_by_what_was_awaited() {
        let service = |ready| ServiceSpec {
            name: String::new(),
            command: vec![],
            ready,
            deadline: Duration::from_secs(2),
            logs: vec![],
            errors: vec![],
        };
        let text = describe_timeout(&service(ServiceReadiness::Port { port: 80 }));
        assert_eq!(text, "nothing accepted a connection at port 80 within 2s");
        assert_eq!(describe_timeout(&service(ServiceReadiness::Returned)), "its command did not return within 2s");
    }
}
