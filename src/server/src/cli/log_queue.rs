//! A bounded queue in front of a stream, so that logging never waits for the reader of the log.
//!
//! A client that never reads the server's standard error leaves its pipe full, where a write waits forever. The queue has a
//! thread of its own that waits instead. `tracing-appender` offers the same, but prints on standard output, which belongs to
//! the protocol, if its queue is full at the end.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The most bytes of lines that wait to be written.
const MAX_BYTES: usize = 1 << 20;

/// How long the end of the process waits for a reader of the log that takes no further line.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Lines that wait to be written. Clones are the same queue.
#[derive(Debug, Clone, Default)]
pub struct LogQueue(Arc<LogShared>);

#[derive(Debug, Default)]
struct LogShared {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LogState {
    lines: VecDeque<Vec<u8>>,
    /// The length of all `lines` in bytes.
    bytes: usize,
    /// The number of lines dropped since that was last told. Until it is told, all lines are dropped, so that it is told
    /// where they would have stood.
    dropped: u64,
    /// The number of lines written.
    written: u64,
    is_writing: bool,
}

impl LogQueue {
    /// Starts the thread that writes to a stream, and calls `tell` with the number of dropped lines once there is room
    /// again. `tell` may write to the queue.
    ///
    /// # Errors
    ///
    /// Fails if there can be no further thread.
    pub fn start(to: impl Write + Send + 'static, tell: impl Fn(u64) + Send + 'static) -> io::Result<Self> {
        let queue = Self::default();
        let shared = queue.0.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_lines(to, tell))?;
        Ok(queue)
    }

    /// Waits until all lines are written, or nobody has read any for [`FLUSH_TIMEOUT`].
    pub fn flush(&self) {
        let mut state = self.0.state();
        while !state.is_idle() {
            let before = state.written;
            let timeout;
            (state, timeout) =
                self.0.changed.wait_timeout(state, FLUSH_TIMEOUT).unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() && state.written == before {
                return;
            }
        }
    }
}

/// Takes a whole line by each write, and never fails.
impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state();
        if state.dropped > 0 || state.bytes + line.len() > MAX_BYTES {
            state.dropped += 1;
        } else {
            state.bytes += line.len();
            state.lines.push_back(line.to_vec());
        }
        self.0.changed.notify_all();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogShared {
    fn state(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lines(&self, mut to: impl Write, tell: impl Fn(u64)) {
        let mut state = self.state();
        loop {
            state.is_writing = true;
            if let Some(line) = state.lines.pop_front() {
                state.bytes -= line.len();
                drop(state);
                // A line that cannot be written is lost: telling so would need the same stream.
                let _ = to.write_all(&line);
                state = self.state();
                state.written += 1;
            } else if state.dropped > 0 {
                let dropped = std::mem::take(&mut state.dropped);
                drop(state);
                tell(dropped);
                state = self.state();
            } else {
                state.is_writing = false;
                self.changed.notify_all();
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            self.changed.notify_all();
        }
    }
}

impl LogState {
    fn is_idle(&self) -> bool {
        self.lines.is_empty() && self.dropped == 0 && !self.is_writing
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, PipeReader, pipe};

    use super::*;

    /// Starts a queue in front of a pipe, which tells of dropped lines by a line.
    fn queue() -> (LogQueue, PipeReader) {
        let (reader, writer) = pipe().expect("make a pipe");
        let told = Arc::new(Mutex::new(None::<LogQueue>));
        let queue = LogQueue::start(writer, {
            let told = told.clone();
            move |dropped| {
                if let Some(queue) = &mut *told.lock().unwrap() {
                    queue.write_all(format!("dropped {dropped}\n").as_bytes()).unwrap();
                }
            }
        });
        let queue = queue.expect("start a thread");
        *told.lock().unwrap() = Some(queue.clone());
        (queue, reader)
    }

    #[test]
    fn flush_waits_until_a_reader_has_all_lines() {
        let (mut queue, reader) = queue();
        let lines: Vec<String> = (0..10_000).map(|number| format!("line {number}")).collect();
        let reading = thread::spawn(move || BufReader::new(reader).lines().take(10_000).collect::<Result<Vec<_>, _>>());
        for line in &lines {
            queue.write_all(format!("{line}\n").as_bytes()).unwrap();
        }
        LogQueue::flush(&queue);
        assert!(queue.0.state().is_idle());
        assert_eq!(reading.join().unwrap().unwrap(), lines);
    }

    #[test]
    fn lines_beyond_the_bound_are_dropped_and_counted() {
        let (mut queue, reader) = queue();
        let line = [&b"x".repeat(1023)[..], b"\n"].concat();
        for _ in 0..3000 {
            queue.write_all(&line).unwrap();
        }
        LogQueue::flush(&queue);
        assert!(queue.0.state().bytes <= MAX_BYTES);
        let (mut read, mut told) = (0, None);
        for line in BufReader::new(reader).lines().map(Result::unwrap) {
            match line.strip_prefix("dropped ") {
                Some(dropped) => told = Some(dropped.parse::<usize>().unwrap()),
                None => read += 1,
            }
            if told.is_some() {
                break;
            }
        }
        assert!((1024..1500).contains(&read), "{read} lines were kept");
        assert_eq!(told, Some(3000 - read));
    }
}
