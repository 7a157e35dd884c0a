//! Writes a builder's output: what the program did, and what it left.
//!
//! Nothing of the sandbox is alive any more, so that what is looked at stays what it is. Links are copied and never
//! followed.

use std::env;
use std::fs::{self, DirEntry, File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use sandbox_plan::record::{
    ARTIFACTS, BEGINNING, ENDING, LEFT, MOST_ARTIFACTS, OMITTED, Omitted, Reason, Record, STDERR, STDOUT,
};

use super::{OUT, Refusal, Run, system};

/// Files and directories, of which the server looks at one less.
const MOST_ENTRIES: usize = 20_001;
/// Directories within each other. The server looks into one less.
const DEEPEST: usize = 9;

pub fn write(run: &Run) -> Result<(), Refusal> {
    let out = PathBuf::from(env::var_os(OUT).unwrap_or_default());
    let record = Record { ending: run.ending, stdout: run.stdout.total(), stderr: run.stderr.total() };
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
            Copy { from: directory(artifacts), to: out.join(ARTIFACTS), entries: 0, bytes: 0, omitted: vec![] };
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

/// A path of a directory that has none in any mount namespace.
fn directory(descriptor: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(descriptor.as_raw_fd().to_string())
}

/// The artifacts on their way into the output.
struct Copy {
    from: PathBuf,
    to: PathBuf,
    entries: usize,
    bytes: u64,
    omitted: Vec<Omitted>,
}

impl Copy {
    /// In the order of their names, so that what is too much is the same every time.
    fn directory(&mut self, path: &Path, depth: usize) -> io::Result<()> {
        fs::create_dir(self.to.join(path))?;
        if depth == DEEPEST {
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
            if self.entries == MOST_ENTRIES {
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
            let fifo_or_socket = if kind.is_fifo() { Reason::Fifo } else { Reason::Socket };
            let is_device = kind.is_char_device() || kind.is_block_device();
            self.omit(path, if is_device { Reason::Device } else { fifo_or_socket });
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, file: File, to: &Path) -> io::Result<()> {
        let facts = file.metadata()?;
        if facts.len() > MOST_ARTIFACTS - self.bytes {
            let mut beginning = Vec::new();
            file.take(BEGINNING).read_to_end(&mut beginning)?;
            self.omit(path, Reason::Large { size: facts.len(), beginning });
            return Ok(());
        }
        // Of the permissions Nix keeps whether a file can be executed.
        let mode = if facts.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(mode).open(to)?;
        self.bytes += io::copy(&mut file.take(MOST_ARTIFACTS - self.bytes), &mut copy)?;
        Ok(())
    }

    fn omit(&mut self, path: &Path, reason: Reason) {
        self.omitted.push(Omitted { path: path.to_owned(), reason });
    }
}

fn unreadable(error: &io::Error) -> Reason {
    Reason::Unreadable { errno: error.raw_os_error().unwrap_or(libc::EIO) }
}
