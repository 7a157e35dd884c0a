//! What a builder leaves in its output, for whoever asked for the build: what the program did, and nothing that would
//! be different if it did the same again.
//!
//! | file | content |
//! |---|---|
//! | [`ENDING`] | a [`Record`] |
//! | [`STDOUT`], [`STDERR`] | what was kept of the program's output, see [`Captured`] |
//! | [`ARTIFACTS`] | the files, directories and links that it left; missing if there are none |
//! | [`OMITTED`] | what it left besides that is not there, see [`Omitted`]; missing if there is nothing |
//! | [`LEFT`] | the names of what it left in its working directory, see [`Left`]; missing if there is nothing |
//!
//! Times are told in the log, by [`Cost`].
//!
//! [`Captured`]: crate::capture::Captured
//! [`Left`]: crate::left::Left

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::{Ending, Limit, Usage};

pub const ENDING: &str = "ending";
pub const STDOUT: &str = "stdout";
pub const STDERR: &str = "stderr";
pub const ARTIFACTS: &str = "artifacts";
pub const OMITTED: &str = "omitted";
pub const LEFT: &str = "left";

/// Bytes of all artifacts. A sandbox's tmpfs may have more, and a file of holes has more without taking any.
pub const MOST_ARTIFACTS: u64 = 64 << 20;
/// Bytes that tell what a file is.
pub const BEGINNING: u64 = 64;

/// How a program ended, and how much it printed, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    pub ending: Ending,
    pub stdout: u64,
    pub stderr: u64,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ending {
            Ending::Exited { code } => writeln!(f, "exited {code}"),
            Ending::Signalled { signal } => writeln!(f, "signalled {signal}"),
            Ending::Unready => writeln!(f, "unready 0"),
            Ending::TimedOut => writeln!(f, "timed-out 0"),
            Ending::OverLimit { limit: Limit::Memory { bytes } } => writeln!(f, "over-memory {bytes}"),
            Ending::OverLimit { limit: Limit::Processes { count } } => writeln!(f, "over-processes {count}"),
        }?;
        writeln!(f, "stdout {}\nstderr {}", self.stdout, self.stderr)
    }
}

/// A text that is none of a builder's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRecord;

impl FromStr for Record {
    type Err = NoRecord;

    fn from_str(text: &str) -> Result<Self, NoRecord> {
        let mut lines = text.lines().map_while(|line| line.split_once(' '));
        let (kind, number) = lines.next().ok_or(NoRecord)?;
        let ending = match kind {
            "exited" => Ending::Exited { code: parse(number)? },
            "signalled" => Ending::Signalled { signal: parse(number)? },
            "unready" => Ending::Unready,
            "timed-out" => Ending::TimedOut,
            "over-memory" => Ending::OverLimit { limit: Limit::Memory { bytes: parse(number)? } },
            "over-processes" => Ending::OverLimit { limit: Limit::Processes { count: parse(number)? } },
            _ => return Err(NoRecord),
        };
        match (lines.next(), lines.next(), lines.next()) {
            (Some(("stdout", stdout)), Some(("stderr", stderr)), None) => {
                Ok(Self { ending, stdout: parse(stdout)?, stderr: parse(stderr)? })
            }
            _ => Err(NoRecord),
        }
    }
}

fn parse<T: FromStr>(number: &str) -> Result<T, NoRecord> {
    number.parse().map_err(|_| NoRecord)
}

/// What a run took: a line of the builder's log, which is no part of its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    pub duration: Duration,
    pub usage: Usage,
}

/// Begins the line. What the program prints is in no log.
const COST: &str = "sandbox-mcp: the run took ";

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { duration, usage } = self;
        let (wall, cpu, memory) = (duration.as_micros(), usage.cpu.as_micros(), usage.peak_memory);
        write!(f, "{COST}{wall} µs, {cpu} µs of processor time and {memory} bytes")
    }
}

impl FromStr for Cost {
    type Err = NoRecord;

    fn from_str(line: &str) -> Result<Self, NoRecord> {
        let rest = line.strip_prefix(COST).ok_or(NoRecord)?;
        let numbers: Vec<u64> = rest.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [wall, cpu, peak_memory] = numbers[..] else { return Err(NoRecord) };
        let usage = Usage { cpu: Duration::from_micros(cpu), peak_memory };
        Ok(Self { duration: Duration::from_micros(wall), usage })
    }
}

/// Something that a program left and an output can't hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Omitted {
    /// Relative to the directory of artifacts.
    pub path: PathBuf,
    pub reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    Fifo,
    Socket,
    Device,
    /// The kernel refused to let it be read.
    Unreadable {
        errno: i32,
    },
    /// With this many bytes it would have been too much, together with what was there before it. Its beginning tells
    /// what it is.
    Large {
        size: u64,
        beginning: Vec<u8>,
    },
}

impl Omitted {
    /// All of them as the content of the file: each a word, a number, bytes in base 16 and a path, with a NUL behind.
    pub fn write(all: &[Self]) -> Vec<u8> {
        let mut text = Vec::new();
        for Self { path, reason } in all {
            let (word, number, bytes) = match reason {
                Reason::Fifo => ("fifo", 0, &[][..]),
                Reason::Socket => ("socket", 0, &[][..]),
                Reason::Device => ("device", 0, &[][..]),
                Reason::Unreadable { errno } => ("unreadable", u64::from(errno.unsigned_abs()), &[][..]),
                Reason::Large { size, beginning } => ("large", *size, &beginning[..]),
            };
            let bytes: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            text.extend(format!("{word} {number} {bytes} ").bytes());
            text.extend(path.as_os_str().as_bytes());
            text.push(0);
        }
        text
    }

    pub fn read(text: &[u8]) -> Result<Vec<Self>, NoRecord> {
        text.split_inclusive(|byte| *byte == 0).map(Self::read_one).collect()
    }

    fn read_one(text: &[u8]) -> Result<Self, NoRecord> {
        let mut parts = text.strip_suffix(&[0]).ok_or(NoRecord)?.splitn(4, |byte| *byte == b' ');
        let mut part = || parts.next().ok_or(NoRecord);
        let (word, number, bytes, path) = (part()?, part()?, part()?, part()?);
        let number = str::from_utf8(number).map_err(|_| NoRecord)?;
        let reason = match word {
            b"fifo" => Reason::Fifo,
            b"socket" => Reason::Socket,
            b"device" => Reason::Device,
            b"unreadable" => match parse(number)? {
                errno @ 0.. => Reason::Unreadable { errno },
                _ => return Err(NoRecord),
            },
            b"large" => Reason::Large { size: parse(number)?, beginning: from_base_16(bytes)? },
            _ => return Err(NoRecord),
        };
        Ok(Self { path: Path::new(OsStr::from_bytes(path)).to_owned(), reason })
    }
}

fn from_base_16(digits: &[u8]) -> Result<Vec<u8>, NoRecord> {
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(|pair| byte(pair).ok_or(NoRecord)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_nothing_else_is_one() {
        for ending in [
            Ending::Exited { code: 3 },
            Ending::Signalled { signal: 9 },
            Ending::Unready,
            Ending::TimedOut,
            Ending::OverLimit { limit: Limit::Memory { bytes: u64::MAX } },
            Ending::OverLimit { limit: Limit::Processes { count: 64 } },
        ] {
            let record = Record { ending, stdout: 0, stderr: u64::MAX };
            assert_eq!(record.to_string().parse(), Ok(record));
        }
        for text in
            ["", "exited", "exited x\nstdout 1\nstderr 2\n", "exited 0\nstdout 1\n", "exited 0\nstderr 1\nstdout 2\n"]
        {
            assert_eq!(text.parse::<Record>(), Err(NoRecord), "{text}");
        }
    }

    #[test]
    fn a_cost_is_read_from_its_line_and_no_other() {
        let usage = Usage { cpu: Duration::from_micros(1_000_001), peak_memory: 1 << 40 };
        let cost = Cost { duration: Duration::from_micros(17), usage };
        assert_eq!(cost.to_string().parse(), Ok(cost));
        assert_eq!("sandbox-mcp: the run took a while".parse::<Cost>(), Err(NoRecord));
        assert_eq!("building 1 2 3".parse::<Cost>(), Err(NoRecord));
    }

    #[test]
    fn names_of_any_bytes_are_omitted_with_their_reasons() {
        let omitted = |path: &[u8], reason| Omitted { path: OsStr::from_bytes(path).into(), reason };
        let all = [
            omitted(b"a b/\xff\n", Reason::Fifo),
            omitted(b" ", Reason::Socket),
            omitted(b"c", Reason::Unreadable { errno: 13 }),
            omitted(b"d e", Reason::Large { size: 1 << 40, beginning: b"\x89PNG ".to_vec() }),
        ];
        assert_eq!(Omitted::read(&Omitted::write(&all)).as_deref(), Ok(&all[..]));
        assert_eq!(Omitted::read(b""), Ok(vec![]));
        assert_eq!(Omitted::read(b"fifo 0  a"), Err(NoRecord));
        assert_eq!(Omitted::read(b"unreadable -13  a\0"), Err(NoRecord));
    }
}
