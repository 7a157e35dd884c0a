//! Reads the record that the builder has written into a run's output.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use sandbox_plan::Ending;
use sandbox_plan::disk::FullDisk;
use sandbox_plan::left::Left;
use sandbox_plan::record::{self, ARTIFACTS, ENDING, LEFT, OMITTED, Omitted, RunRecord, STDERR, STDOUT};

use crate::call::artifacts::{self, Kind, LeftOut, Reason};
use crate::call::capture::Captured;

/// The bytes of a file, other than an artifact, that are read.
const MAX_FILE_BYTES: u64 = 32 << 20;

/// The record of a run.
pub struct RecordedRun {
    pub ending: Ending,
    pub full: FullDisk,
    pub stdout: Captured,
    pub stderr: Captured,
    pub artifacts: Option<OwnedFd>,
    pub left_out: Vec<LeftOut>,
    pub left: Left,
}

/// Reads everything except the artifacts, of which only the directory is opened. No link is followed.
///
/// # Errors
///
/// A file cannot be read, or it is not as the launcher writes it.
pub fn read(out: &Path) -> io::Result<RecordedRun> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(out, flags, Mode::empty())?;
    let file = |name| content(directory.as_fd(), name);
    let record: RunRecord = str::from_utf8(&file(ENDING)?).map_err(malformed)?.parse().map_err(|_| not_ours(ENDING))?;
    let stream = |name, total| Captured::of(&file(name)?, total).ok_or_else(|| not_ours(name));
    let omitted = match file(OMITTED) {
        Ok(text) => Omitted::read(&text).map_err(|_| not_ours(OMITTED))?,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let left = match file(LEFT) {
        Ok(text) => Left::read(&text).map_err(|_| not_ours(LEFT))?,
        Err(error) if error.kind() == ErrorKind::NotFound => Left::default(),
        Err(error) => return Err(error),
    };
    let artifacts = match artifacts::open(directory.as_fd(), ARTIFACTS, OFlags::DIRECTORY) {
        Ok(directory) => Some(directory),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(RecordedRun {
        ending: record.ending,
        full: record.full,
        stdout: stream(STDOUT, record.stdout)?,
        stderr: stream(STDERR, record.stderr)?,
        artifacts,
        left_out: omitted.into_iter().map(left_out).collect(),
        left,
    })
}

fn content(directory: BorrowedFd, name: &str) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::from(artifacts::open(directory, name, OFlags::empty())?).take(MAX_FILE_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

fn left_out(omitted: Omitted) -> LeftOut {
    let (size, reason) = match omitted.reason {
        record::OmissionReason::Fifo => (None, Reason::NoFile { kind: "a FIFO" }),
        record::OmissionReason::Socket => (None, Reason::NoFile { kind: "a socket" }),
        record::OmissionReason::Device => (None, Reason::NoFile { kind: "a device" }),
        record::OmissionReason::Unreadable { errno } => {
            (None, Reason::Unreadable { error: io::Error::from_raw_os_error(errno).to_string() })
        }
        record::OmissionReason::Large { size, beginning } => {
            (Some(size), Reason::TooLarge { most: artifacts::CAPS.most(Kind::of_beginning(&beginning)) })
        }
    };
    LeftOut { path: omitted.path, size, reason }
}

fn malformed(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

fn not_ours(name: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("its file {name} is not as the launcher writes it"))
}
