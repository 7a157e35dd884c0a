//! Finds the files that a program left in its working directory. They are deleted with the sandbox, so the caller is
//! told their names, in case they were meant as results.
//!
//! Only the top of the directory is read, when no process can write to it. Files and directories are named that the
//! call did not bring, and files that have changed. Not named is what is unlikely to be a result: hidden files, links,
//! pipes and the like, compiled programs, and files that tools keep for themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path};

use crate::Step;
use crate::plan::OUT;

/// Names that compilers and interpreters use for their own files.
const TOOL_NAMES: [&str; 5] = ["Cargo.lock", "__pycache__", "go.sum", "node_modules", "target"];
/// Extensions of compiled files.
const COMPILED_EXTENSIONS: [&str; 3] = ["class", "o", "pyc"];

/// The number of entries that are read.
const MAX_ENTRIES: usize = 10_000;
/// The number of files that are named; the others are counted.
const MAX_NAMES: usize = 50;

/// The files that a program left in its working directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Left {
    /// Sorted; the names of directories end in a slash.
    pub names: Vec<OsString>,
    /// The number of files that are not named.
    pub more: u64,
}

/// Reads a working directory, whose path in the sandbox is `workdir`, and into which `steps` have written the call's
/// files. Files that the program has made unreadable are not named.
pub fn find(directory: BorrowedFd, workdir: &Path, steps: &[Step]) -> Left {
    // A path of the directory even if it was renamed.
    let opened = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
    let given = given(workdir, steps);
    let is_left = |entry: &DirEntry| match given.get(&*entry.file_name()) {
        Some(GivenEntry::File(content)) => is_changed(&entry.path(), content),
        Some(GivenEntry::Directory) => false,
        None => is_result(entry),
    };
    let entries = fs::read_dir(opened).into_iter().flatten().flatten().take(MAX_ENTRIES);
    let names: BTreeSet<OsString> = entries.filter(is_left).map(|entry| name(&entry)).collect();
    let more = names.len().saturating_sub(MAX_NAMES) as u64;
    Left { names: names.into_iter().take(MAX_NAMES).collect(), more }
}

/// An entry of the working directory that was there before the program.
enum GivenEntry<'a> {
    File(&'a [u8]),
    /// A directory with files of the call, or the directory of artifacts.
    Directory,
}

fn given<'a>(workdir: &Path, steps: &'a [Step]) -> BTreeMap<&'a OsStr, GivenEntry<'a>> {
    let mut given = BTreeMap::new();
    if let Some(Component::Normal(out)) =
        Path::new(OUT).strip_prefix(workdir).ok().and_then(|out| out.components().next())
    {
        given.insert(out, GivenEntry::Directory);
    }
    for step in steps {
        let (path, content) = match step {
            Step::File { path, content, .. } => (path, Some(content)),
            Step::Directory { path, .. } => (path, None),
            _ => continue,
        };
        let Ok(path) = path.strip_prefix(workdir) else { continue };
        let mut components = path.components();
        let Some(Component::Normal(first)) = components.next() else { continue };
        let what = match content {
            Some(content) if components.next().is_none() => GivenEntry::File(content),
            _ => GivenEntry::Directory,
        };
        given.insert(first, what);
    }
    given
}

/// Returns whether a file of the call has another content now. One that was deleted or replaced does not count.
fn is_changed(path: &Path, given: &[u8]) -> bool {
    let Some(mut file) = open(path).ok().filter(|file| file.metadata().is_ok_and(|facts| facts.is_file())) else {
        return false;
    };
    if file.metadata().is_ok_and(|facts| facts.len() != given.len() as u64) {
        return true;
    }
    let mut rest = given;
    let mut buffer = [0; 64 << 10];
    while !rest.is_empty() {
        match file.read(&mut buffer) {
            Ok(count) if count > 0 && rest.starts_with(&buffer[..count]) => rest = &rest[count..],
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
    false
}

/// Opens a file without following a link, and without waiting for the other end of a pipe.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

/// Returns whether a file that the program made may be meant as a result.
fn is_result(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let extension = Path::new(&name).extension();
    if name.as_bytes().starts_with(b".")
        || TOOL_NAMES.iter().any(|other| name == *other)
        || COMPILED_EXTENSIONS.iter().any(|other| extension == Some(OsStr::new(other)))
    {
        return false;
    }
    match entry.file_type() {
        Ok(kind) if kind.is_dir() => true,
        Ok(kind) if kind.is_file() => entry.metadata().is_ok_and(|facts| facts.permissions().mode() & 0o100 == 0),
        _ => false,
    }
}

fn name(entry: &DirEntry) -> OsString {
    let mut name = entry.file_name();
    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
        name.push("/");
    }
    name
}

/// A file that was not written by a builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not as a builder writes it")]
pub struct ParseLeftError;

impl Left {
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.more == 0
    }

    /// Encodes the content of the file: the number of further files, and each name, terminated by NULs.
    pub fn write(&self) -> Vec<u8> {
        let mut text = format!("{}\0", self.more).into_bytes();
        for name in &self.names {
            text.extend(name.as_bytes());
            text.push(0);
        }
        text
    }

    pub fn read(text: &[u8]) -> Result<Self, ParseLeftError> {
        let mut parts = text.strip_suffix(&[0]).ok_or(ParseLeftError)?.split(|byte| *byte == 0);
        let more = str::from_utf8(parts.next().ok_or(ParseLeftError)?).map_err(|_| ParseLeftError)?;
        let more = more.parse().map_err(|_| ParseLeftError)?;
        Ok(Self { names: parts.map(|name| OsStr::from_bytes(name).to_owned()).collect(), more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    fn file(path: &str, content: &[u8]) -> Step {
        Step::File { path: path.into(), content: content.to_vec(), mode: 0o755, owned: true }
    }

    fn left(directory: &Path, steps: &[Step]) -> Left {
        find(File::open(directory).unwrap().as_fd(), Path::new("/sandbox"), steps)
    }

    fn directory(test: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("sandbox-launcher-left-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        directory
    }

    #[test]
    fn new_and_changed_files_are_named() {
        let directory = directory("changed");
        let steps =
            ["same", "other", "longer", "gone", "deep/same"].map(|name| file(&format!("/sandbox/{name}"), b"content"));
        for (name, content) in [("same", "content"), ("other", "CONTENT"), ("longer", "content!"), ("new", "")] {
            fs::write(directory.join(name), content).unwrap();
        }
        for name in ["deep", "plots"] {
            fs::create_dir(directory.join(name)).unwrap();
        }
        let names = ["longer", "new", "other", "plots/"].map(OsString::from).to_vec();
        assert_eq!(left(&directory, &steps), Left { names, more: 0 });
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn hidden_compiled_and_tool_files_are_not_named() {
        let directory = directory("tools");
        for name in [".cache", "Main.class", "main.o", "Cargo.lock", "program", "given"] {
            fs::write(directory.join(name), "x").unwrap();
        }
        fs::set_permissions(directory.join("program"), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["target", "__pycache__", "out"] {
            fs::create_dir(directory.join(name)).unwrap();
        }
        symlink("program", directory.join("link")).unwrap();
        // What was given is a link now.
        fs::remove_file(directory.join("given")).unwrap();
        symlink("/etc/passwd", directory.join("given")).unwrap();
        let out = Step::Directory { path: "/sandbox/out".into(), mode: 0o755, owned: true };
        assert_eq!(left(&directory, &[file("/sandbox/given", b""), out]), Left::default());
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn many_files_are_named_up_to_the_limit_and_counted() {
        let directory = directory("many");
        for number in 100..160 {
            fs::write(directory.join(number.to_string()), "").unwrap();
        }
        let Left { names, more } = left(&directory, &[]);
        assert_eq!((names.len(), names[0].to_str(), more), (MAX_NAMES, Some("100"), 10));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn left_written_is_read_the_same_and_other_text_refused() {
        let names = [&b"a b"[..], b"\xff\n/"].map(|name| OsStr::from_bytes(name).to_owned()).to_vec();
        for left in [Left { names, more: 3 }, Left::default()] {
            assert_eq!(Left::read(&left.write()), Ok(left));
        }
        for text in [&b""[..], b"1", b"x\0", b"\0"] {
            assert_eq!(Left::read(text), Err(ParseLeftError));
        }
    }
}
