//! Finds the files that a program left in its working directory. They are deleted with the sandbox, so the caller is
//! told their names, in case they were meant as results.
//!
//! Looks at the top of the directory, and into the directories that the call brought there, once nothing can write to
//! them. Names the files and directories that the call did not bring, and the files that are no longer as it brought
//! them. Does not name what no reader waits for: hidden names, links, pipes and the like, programs that were compiled, and
//! what tools keep for themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::Step;
use crate::plan::OUT;

/// Names that compilers and interpreters use for their own files.
const TOOL_NAMES: [&str; 6] = ["Cargo.lock", "__pycache__", "go.mod", "go.sum", "node_modules", "target"];
/// Extensions of compiled files.
const COMPILED_EXTENSIONS: [&str; 3] = ["class", "o", "pyc"];

/// How executable files of compilers begin: ELF, Mach-O and PE. The permission does not tell: the call's own files have it,
/// and copies of them inherit it.
const PROGRAM_MAGICS: [&[u8]; 4] = [b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"MZ"];

/// How many entries are looked at.
const MAX_ENTRIES: usize = 10_000;
/// How many are named; the others are counted.
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
    let mut search = LeftFileSearch { given: given(workdir, steps), names: BTreeSet::new(), entries: 0 };
    search.look(&opened, Path::new(""));
    let more = search.names.len().saturating_sub(MAX_NAMES) as u64;
    Left { names: search.names.into_iter().take(MAX_NAMES).collect(), more }
}

struct LeftFileSearch<'a> {
    /// By the path below the working directory.
    given: BTreeMap<PathBuf, GivenEntry<'a>>,
    names: BTreeSet<OsString>,
    /// How many were looked at.
    entries: usize,
}

impl LeftFileSearch<'_> {
    /// Looks at the entries of one directory, whose path below the working directory is `place`.
    fn look(&mut self, directory: &Path, place: &Path) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return;
            }
            let path = place.join(entry.file_name());
            let is_left = match self.given.get(&path) {
                Some(GivenEntry::File(content)) => is_changed(&entry.path(), content),
                Some(GivenEntry::Artifacts) => false,
                Some(GivenEntry::Directory) => {
                    // Not where a link leads that the program has put there instead.
                    if is_directory(&entry) && !is_of_tools(&entry.file_name()) {
                        self.look(&entry.path(), &path);
                    }
                    false
                }
                None => is_result(&entry),
            };
            if is_left {
                let mut name = path.into_os_string();
                if is_directory(&entry) {
                    name.push("/");
                }
                self.names.insert(name);
            }
        }
    }
}

/// An entry of the working directory that was there before the program.
enum GivenEntry<'a> {
    File(&'a [u8]),
    Directory,
    /// The directory of artifacts, whose files are returned.
    Artifacts,
}

fn given<'a>(workdir: &Path, steps: &'a [Step]) -> BTreeMap<PathBuf, GivenEntry<'a>> {
    let mut given = BTreeMap::new();
    let mut bring = |path: &Path, what| {
        let Ok(path) = path.strip_prefix(workdir) else { return };
        for parent in path.ancestors().skip(1) {
            given.entry(parent.to_owned()).or_insert(GivenEntry::Directory);
        }
        given.insert(path.to_owned(), what);
    };
    for step in steps {
        match step {
            Step::File { path, content, .. } => bring(path, GivenEntry::File(content)),
            Step::Directory { path, .. } => bring(path, GivenEntry::Directory),
            _ => {}
        }
    }
    bring(Path::new(OUT), GivenEntry::Artifacts);
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
    if is_of_tools(&name) || COMPILED_EXTENSIONS.iter().any(|other| extension == Some(OsStr::new(other))) {
        return false;
    }
    is_directory(entry) || entry.file_type().is_ok_and(|kind| kind.is_file()) && !is_program(entry)
}

fn is_of_tools(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".") || TOOL_NAMES.iter().any(|other| name == *other)
}

fn is_directory(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir())
}

/// Returns whether a file is executable and what a compiler made.
fn is_program(entry: &DirEntry) -> bool {
    if entry.metadata().is_ok_and(|facts| facts.permissions().mode() & 0o100 == 0) {
        return false;
    }
    let mut beginning = Vec::new();
    let read = open(&entry.path()).and_then(|file| file.take(4).read_to_end(&mut beginning));
    read.is_ok() && PROGRAM_MAGICS.iter().any(|program| beginning.starts_with(program))
}

/// A file that was not written by a builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the list of files is malformed")]
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
        fs::write(directory.join("deep/same"), "content").unwrap();
        let names = ["longer", "new", "other", "plots/"].map(OsString::from).to_vec();
        assert_eq!(left(&directory, &steps), Left { names, more: 0 });
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn files_in_given_directories_are_named_by_their_paths() {
        let directory = directory("given");
        let steps = ["data/in.csv", "data/deep/old", "package/a.py", "node_modules/a/b", "link/a"]
            .map(|name| file(&format!("/sandbox/{name}"), b"content"));
        for name in ["data/deep", "data/plots", "package/__pycache__", "node_modules/a", "elsewhere"] {
            fs::create_dir_all(directory.join(name)).unwrap();
        }
        for name in ["data/in.csv", "package/a.py"] {
            fs::write(directory.join(name), "content").unwrap();
        }
        let new =
            ["data/out.csv", "data/deep/old", "package/b.pyc", "package/.hidden", "node_modules/a/c", "elsewhere/d"];
        for name in new {
            fs::write(directory.join(name), "new").unwrap();
        }
        symlink("elsewhere", directory.join("link")).unwrap();
        let names = ["data/deep/old", "data/out.csv", "data/plots/", "elsewhere/"].map(OsString::from).to_vec();
        assert_eq!(left(&directory, &steps), Left { names, more: 0 });
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn executable_files_are_named_unless_compiled() {
        let directory = directory("executable");
        let contents: [(&str, &[u8]); 6] = [
            ("copy.csv", b"a,b\n"),
            ("elf", b"\x7fELF\x02"),
            ("empty", b""),
            ("mach-o", b"\xcf\xfa\xed\xfe\x07"),
            ("pe.exe", b"MZ\x90"),
            ("script.sh", b"#!/bin/sh\n"),
        ];
        for (name, content) in contents {
            fs::write(directory.join(name), content).unwrap();
            fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let names = ["copy.csv", "empty", "script.sh"].map(OsString::from).to_vec();
        assert_eq!(left(&directory, &[]), Left { names, more: 0 });
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_no_reader_waits_for_is_not_named() {
        let directory = directory("tools");
        for name in [".cache", "Main.class", "main.o", "Cargo.lock", "program", "given"] {
            fs::write(directory.join(name), "\x7fELF").unwrap();
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
