//! The files of a builder's output: the result of the program, without anything that would differ if it ran again with
//! the same result.
//!
//! | file | content |
//! |---|---|
//! | [`ENDING`] | a [`RunRecord`] |
//! | [`STDOUT`], [`STDERR`] | the kept part of the program's output, see [`Captured`] |
//! | [`ARTIFACTS`] | the files, directories and links in its directory for artifacts; missing if there are none |
//! | [`OMITTED`] | the artifacts that are not there, see [`Omitted`]; missing if there are none |
//! | [`LEFT`] | the names of files that it left in its working directory, see [`Left`]; missing if there are none |
//!
//! Times are in the log, see [`RunCost`].
//!
//! [`Captured`]: crate::capture::Captured
//! [`Left`]: crate::left::Left

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::disk::FullDisk;
use crate::{Ending, Limit, Usage};

pub const ENDING: &str = "ending";
pub const STDOUT: &str = "stdout";
pub const STDERR: &str = "stderr";
pub const ARTIFACTS: &str = "artifacts";
pub const OMITTED: &str = "omitted";
pub const LEFT: &str = "left";

/// How many files and directories of the artifacts the server looks at, and how many directories deep, the outermost
/// included. An output holds one more of each, so that the server sees that there were too many.
pub const MAX_ENTRIES: usize = 20_000;
pub const MAX_DEPTH: usize = 8;
/// Bytes of all artifacts. A sandbox's tmpfs may be larger, and a sparse file can be larger than that.
pub const MAX_ARTIFACT_BYTES: u64 = 64 << 20;
/// Bytes of a file's beginning that are enough to tell its kind.
pub const BEGINNING_BYTES: u64 = 64;

/// The words that stand for what a disk had no room for.
const FULL: [(&str, FullDisk); 3] = [("no", FullDisk::No), ("space", FullDisk::Space), ("files", FullDisk::Files)];

/// How a program ended, and the lengths of its output and errors, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunRecord {
    pub ending: Ending,
    pub stdout: u64,
    pub stderr: u64,
    /// What its disk had no room for.
    pub full: FullDisk,
}

impl fmt::Display for RunRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ending {
            Ending::Exited { code } => writeln!(f, "exited {code}"),
            Ending::Signalled { signal } => writeln!(f, "signalled {signal}"),
            Ending::Unready => writeln!(f, "unready 0"),
            Ending::TimedOut => writeln!(f, "timed-out 0"),
            Ending::OverLimit { limit: Limit::Memory { bytes } } => writeln!(f, "over-memory {bytes}"),
            Ending::OverLimit { limit: Limit::Processes { count } } => writeln!(f, "over-processes {count}"),
        }?;
        let full = FULL.iter().find(|(_, full)| *full == self.full).map_or("no", |(word, _)| word);
        writeln!(f, "stdout {}\nstderr {}\nfull {full}", self.stdout, self.stderr)
    }
}

/// A file or line that was not written by a builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record is malformed")]
pub struct ParseRecordError;

impl FromStr for RunRecord {
    type Err = ParseRecordError;

    fn from_str(text: &str) -> Result<Self, ParseRecordError> {
        let mut lines = text.lines().map_while(|line| line.split_once(' '));
        let (kind, number) = lines.next().ok_or(ParseRecordError)?;
        let ending = match kind {
            "exited" => Ending::Exited { code: parse(number)? },
            "signalled" => Ending::Signalled { signal: parse(number)? },
            "unready" => Ending::Unready,
            "timed-out" => Ending::TimedOut,
            "over-memory" => Ending::OverLimit { limit: Limit::Memory { bytes: parse(number)? } },
            "over-processes" => Ending::OverLimit { limit: Limit::Processes { count: parse(number)? } },
            _ => return Err(ParseRecordError),
        };
        match (lines.next(), lines.next(), lines.next(), lines.next()) {
            (Some(("stdout", stdout)), Some(("stderr", stderr)), Some(("full", word)), None) => {
                let full = FULL.iter().find(|(known, _)| *known == word).ok_or(ParseRecordError)?.1;
                Ok(Self { ending, stdout: parse(stdout)?, stderr: parse(stderr)?, full })
            }
            _ => Err(ParseRecordError),
        }
    }
}

fn parse<T: FromStr>(number: &str) -> Result<T, ParseRecordError> {
    number.parse().map_err(|_| ParseRecordError)
}

/// The time and memory that a run used, as a line of the builder's log. It is not part of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunCost {
    pub duration: Duration,
    pub usage: Usage,
}

/// Begins each line of the log that is the builder's own. What the program prints is not in the log.
pub const LOG_PREFIX: &str = "sandbox-mcp: ";
/// Follows [`LOG_PREFIX`] in the line of a run's costs.
const COST: &str = "the run took ";

impl fmt::Display for RunCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { duration, usage } = self;
        let (wall, cpu, memory) = (duration.as_micros(), usage.cpu.as_micros(), usage.peak_memory);
        write!(f, "{LOG_PREFIX}{COST}{wall} µs, {cpu} µs of processor time and {memory} bytes")
    }
}

impl FromStr for RunCost {
    type Err = ParseRecordError;

    fn from_str(line: &str) -> Result<Self, ParseRecordError> {
        let rest = line.strip_prefix(LOG_PREFIX).and_then(|line| line.strip_prefix(COST)).ok_or(ParseRecordError)?;
        let numbers: Vec<u64> = rest.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [wall, cpu, peak_memory] = numbers[..] else { return Err(ParseRecordError) };
        let usage = Usage { cpu: Duration::from_micros(cpu), peak_memory };
        Ok(Self { duration: Duration::from_micros(wall), usage })
    }
}

/// An artifact that is not part of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Omitted {
    /// Relative to the directory of artifacts.
    pub path: PathBuf,
    pub reason: OmissionReason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OmissionReason {
    Fifo,
    Socket,
    Device,
    /// The kernel refused to read it.
    Unreadable {
        errno: i32,
    },
    /// Together with the artifacts before it, it would have exceeded [`MAX_ARTIFACT_BYTES`].
    Large {
        /// Bytes.
        size: u64,
        /// The first [`BEGINNING_BYTES`] of its content.
        beginning: Vec<u8>,
    },
}

impl Omitted {
    /// Encodes the content of the file: for each a word, a number, bytes in base 16 and a path, terminated by a NUL.
    pub fn write(all: &[Self]) -> Vec<u8> {
        let mut text = Vec::new();
        for Self { path, reason } in all {
            let (word, number, bytes) = match reason {
                OmissionReason::Fifo => ("fifo", 0, &[][..]),
                OmissionReason::Socket => ("socket", 0, &[][..]),
                OmissionReason::Device => ("device", 0, &[][..]),
                OmissionReason::Unreadable { errno } => ("unreadable", u64::from(errno.unsigned_abs()), &[][..]),
                OmissionReason::Large { size, beginning } => ("large", *size, &beginning[..]),
            };
            let bytes: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            text.extend(format!("{word} {number} {bytes} ").bytes());
            text.extend(path.as_os_str().as_bytes());
            text.push(0);
        }
        text
    }

    /// Decodes the content of the file.
    pub fn read(text: &[u8]) -> Result<Vec<Self>, ParseRecordError> {
        text.split_inclusive(|byte| *byte == 0).map(Self::read_one).collect()
    }

    fn read_one(text: &[u8]) -> Result<Self, ParseRecordError> {
        let mut parts = text.strip_suffix(&[0]).ok_or(ParseRecordError)?.splitn(4, |byte| *byte == b' ');
        let mut part = || parts.next().ok_or(ParseRecordError);
        let (word, number, bytes, path) = (part()?, part()?, part()?, part()?);
        let number = str::from_utf8(number).map_err(|_| ParseRecordError)?;
        let reason = match word {
            b"fifo" => OmissionReason::Fifo,
            b"socket" => OmissionReason::Socket,
            b"device" => OmissionReason::Device,
            b"unreadable" => match parse(number)? {
                errno @ 0.. => OmissionReason::Unreadable { errno },
                _ => return Err(ParseRecordError),
            },
            b"large" => OmissionReason::Large { size: parse(number)?, beginning: from_base_16(bytes)? },
            _ => return Err(ParseRecordError),
        };
        Ok(Self { path: Path::new(OsStr::from_bytes(path)).to_owned(), reason })
    }
}

fn from_base_16(digits: &[u8]) -> Result<Vec<u8>, ParseRecordError> {
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(|pair| byte(pair).ok_or(ParseRecordError)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_written_is_parsed_the_same_and_other_text_refused() {
        for ending in [
            Ending::Exited { code: 3 },
            Ending::Signalled { signal: 9 },
            Ending::Unready,
            Ending::TimedOut,
            Ending::OverLimit { limit: Limit::Memory { bytes: u64::MAX } },
            Ending::OverLimit { limit: Limit::Processes { count: 64 } },
        ] {
            let record = RunRecord {
                ending,
                stdout: 0,
                stderr: u64::MAX,
                full: if ending == Ending::TimedOut { FullDisk::Files } else { FullDisk::No },
            };
            assert_eq!(record.to_string().parse(), Ok(record));
        }
        for text in
            ["", "exited", "exited x\nstdout 1\nstderr 2\n", "exited 0\nstdout 1\n", "exited 0\nstderr 1\nstdout 2\n"]
        {
            let text = format!("{text}full no\n");
            assert_eq!(text.parse::<RunRecord>(), Err(ParseRecordError), "{text}");
        }
    }

    #[test]
    fn cost_is_parsed_from_its_line_only() {
        let usage = Usage { cpu: Duration::from_micros(1_000_001), peak_memory: 1 << 40 };
        let cost = RunCost { duration: Duration::from_micros(17), usage };
        assert_eq!(cost.to_string().parse(), Ok(cost));
        assert_eq!("sandbox-mcp: the run took a while".parse::<RunCost>(), Err(ParseRecordError));
        assert_eq!("building 1 2 3".parse::<RunCost>(), Err(ParseRecordError));
    }

    #[test]
    fn omitted_names_of_any_bytes_are_read_the_same() {
        let omitted = |path: &[u8], reason| Omitted { path: OsStr::from_bytes(path).into(), reason };
        let all = [
            omitted(b"a b/\xff\n", OmissionReason::Fifo),
            omitted(b" ", OmissionReason::Socket),
            omitted(b"c", OmissionReason::Unreadable { errno: 13 }),
            omitted(b"d e", OmissionReason::Large { size: 1 << 40, beginning: b"\x89PNG ".to_vec() }),
        ];
        assert_eq!(Omitted::read(&Omitted::write(&all)).as_deref(), Ok(&all[..]));
        assert_eq!(Omitted::read(b""), Ok(vec![]));
        assert_eq!(Omitted::read(b"fifo 0  a"), Err(ParseRecordError));
        assert_eq!(Omitted::read(b"unreadable -13  a\0"), Err(ParseRecordError));
    }
}
