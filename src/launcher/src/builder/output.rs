//! Writes a builder's output: how the program ended, what it printed, and its artifacts.
//!
//! No process of the sandbox is left, so that the files do not change while they are copied. Links are copied and never
//! followed.

use std::env;
use std::fs::{self, DirEntry, File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use sandbox_plan::disk::FullDisk;
use sandbox_plan::record::{
    ARTIFACTS, BEGINNING_BYTES, ENDING, LEFT, MAX_ARTIFACT_BYTES, MAX_DEPTH, MAX_ENTRIES, OMITTED, OmissionReason,
    Omitted, RunRecord, STDERR, STDOUT,
};

use super::{BuilderError, OUT, ProgramRun, system};

/// Writes the result of a run.
pub fn write(run: &ProgramRun) -> Result<(), BuilderError> {
    let out = PathBuf::from(env::var_os(OUT).unwrap_or_default());
    let record = RunRecord {
        ending: run.ending,
        stdout: run.stdout.total(),
        stderr: run.stderr.total(),
        full: run.artifacts.as_ref().map_or(FullDisk::No, FullDisk::of),
    };
    let write = || -> io::Result<()> {
        fs::create_dir(&out)?;
        fs::write(out.join(ENDING), record.to_string())?;
        fs::write(out.join(STDOUT), run.stdout.kept())?;
        fs::write(out.join(STDERR), run.stderr.kept())?;
        if !run.left.is_empty() {
            fs::write(out.join(LEFT), run.left.write())?;
        }
        let Some(artifacts) = &run.artifacts else { return Ok(()) };
        let mut copy =
            ArtifactCopy { from: directory(artifacts), to: out.join(ARTIFACTS), entries: 0, bytes: 0, omitted: vec![] };
        copy.directory(Path::new(""), 1)?;
        if copy.entries == 0 {
            fs::remove_dir(&copy.to)?;
        }
        if !copy.omitted.is_empty() {
            fs::write(out.join(OMITTED), Omitted::write(&copy.omitted))?;
        }
        Ok(())
    };
    write().map_err(system("write the output"))
}

/// Returns a path of a directory that is not in any mount namespace.
fn directory(descriptor: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(descriptor.as_raw_fd().to_string())
}

/// The state of copying artifacts into the output.
struct ArtifactCopy {
    from: PathBuf,
    to: PathBuf,
    entries: usize,
    bytes: u64,
    omitted: Vec<Omitted>,
}

impl ArtifactCopy {
    /// Copies a directory, in the order of the names, so that the same files exceed a limit every time.
    fn directory(&mut self, path: &Path, depth: usize) -> io::Result<()> {
        fs::create_dir(self.to.join(path))?;
        if depth == MAX_DEPTH + 1 {
            return Ok(());
        }
        let listed = fs::read_dir(self.from.join(path)).and_then(Iterator::collect::<io::Result<Vec<DirEntry>>>);
        let mut entries = match listed {
            Ok(entries) => entries,
            Err(error) => {
                self.omit(path, unreadable(&error));
                return Ok(());
            }
        };
        entries.sort_by_key(DirEntry::file_name);
        for entry in entries {
            if self.entries == MAX_ENTRIES + 1 {
                break;
            }
            self.entries += 1;
            self.entry(&path.join(entry.file_name()), entry.file_type()?, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, kind: FileType, depth: usize) -> io::Result<()> {
        let (from, to) = (self.from.join(path), self.to.join(path));
        if kind.is_dir() {
            self.directory(path, depth + 1)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(from)?, to)?;
        } else if kind.is_file() {
            match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(from) {
                Ok(file) => self.file(path, file, &to)?,
                Err(error) => self.omit(path, unreadable(&error)),
            }
        } else {
            let fifo_or_socket = if kind.is_fifo() { OmissionReason::Fifo } else { OmissionReason::Socket };
            let is_device = kind.is_char_device() || kind.is_block_device();
            self.omit(path, if is_device { OmissionReason::Device } else { fifo_or_socket });
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, file: File, to: &Path) -> io::Result<()> {
        let facts = file.metadata()?;
        if facts.len() > MAX_ARTIFACT_BYTES - self.bytes {
            let mut beginning = Vec::new();
            file.take(BEGINNING_BYTES).read_to_end(&mut beginning)?;
            self.omit(path, OmissionReason::Large { size: facts.len(), beginning });
            return Ok(());
        }
        // Nix keeps no other permission than whether a file can be executed.
        let mode = if facts.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(mode).open(to)?;
        self.bytes += io::copy(&mut file.take(MAX_ARTIFACT_BYTES - self.bytes), &mut copy)?;
        Ok(())
    }

    fn omit(&mut self, path: &Path, reason: OmissionReason) {
        self.omitted.push(Omitted { path: path.to_owned(), reason });
    }
}

fn unreadable(error: &io::Error) -> OmissionReason {
    OmissionReason::Unreadable { errno: error.raw_os_error().unwrap_or(libc::EIO) }
}
