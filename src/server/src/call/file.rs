//! The files that a caller puts into a sandbox. Their names stay inside the working directory.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::call::encoding::Encoding;
use crate::call::field;

/// The longest name of one file or directory on Linux's file systems, in bytes.
const MAX_COMPONENT_BYTES: usize = 255;
/// The longest file name, in bytes: what system calls accept, less the working directory.
const MAX_PATH_BYTES: usize = 4000;

/// A file for the working directory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "GivenFile")]
pub struct File {
    pub name: FileName,
    pub content: Vec<u8>,
    /// Whether the program may execute it, whatever the permissions of the sandbox's files are.
    pub executable: bool,
}

/// A file as a client gives it.
#[derive(Deserialize)]
#[serde(expecting = "an object of filename and content")]
struct GivenFile {
    filename: FileName,
    content: String,
    #[serde(default, deserialize_with = "field::encoding")]
    encoding: Encoding,
    #[serde(default, deserialize_with = "field::flag")]
    executable: bool,
}

impl TryFrom<GivenFile> for File {
    type Error = FileError;

    fn try_from(GivenFile { filename, content, encoding, executable }: GivenFile) -> Result<Self, FileError> {
        match encoding.decode(content) {
            Ok(content) => Ok(Self { name: filename, content, executable }),
            Err(error) => Err(FileError::Base64 { name: filename.0.display().to_string(), error }),
        }
    }
}

/// A relative path without `..`, `.` and repeated `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct FileName(PathBuf);

impl TryFrom<String> for FileName {
    type Error = FileError;

    fn try_from(name: String) -> Result<Self, FileError> {
        Self::parse(&name)
    }
}

/// Why a file is refused; the text names the file and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("file name {} {reason}", shown(name))]
    Name { name: String, reason: String },
    #[error("the content of file {} is not base64: {error}", shown(name))]
    Base64 { name: String, error: base64::DecodeError },
}

/// Quotes a name, or the beginning of a long one.
fn shown(name: &str) -> String {
    match name.char_indices().nth(100) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{name:?}"),
    }
}

impl FileError {
    /// Returns the error of a name that the sandbox uses itself.
    pub fn taken(name: &FileName, by: &str) -> Self {
        Self::Name { name: name.0.display().to_string(), reason: format!("is that of {by}: choose another one") }
    }
}

impl FileName {
    /// Parses the name that a caller gave.
    ///
    /// # Errors
    ///
    /// Fails with what to change if the name is empty, too long, absolute, a directory, or leads upwards.
    pub fn parse(name: &str) -> Result<Self, FileError> {
        let refuse = |reason: &str| Err(FileError::Name { name: name.to_owned(), reason: reason.to_owned() });
        if name.is_empty() {
            return refuse("is empty: give each file a name");
        }
        if name.contains('\0') {
            return refuse("holds a NUL character: remove it");
        }
        if name.ends_with('/') {
            return refuse("names a directory: give a file name; directories are made as needed");
        }
        let mut path = PathBuf::new();
        for component in Path::new(name).components() {
            match component {
                Component::Normal(part) if part.len() > MAX_COMPONENT_BYTES => {
                    return refuse(&format!("has a part of {} bytes: {MAX_COMPONENT_BYTES} at most", part.len()));
                }
                Component::Normal(part) => path.push(part),
                Component::CurDir => {}
                Component::ParentDir => return refuse("holds `..`: name a file below the working directory"),
                Component::RootDir | Component::Prefix(_) => {
                    return refuse("is absolute: name it relative to the working directory");
                }
            }
        }
        if path.as_os_str().is_empty() || name.ends_with("/.") {
            return refuse("names a directory: give a file name; directories are made as needed");
        }
        if path.as_os_str().len() > MAX_PATH_BYTES {
            return refuse(&format!("has {} bytes: {MAX_PATH_BYTES} at most", path.as_os_str().len()));
        }
        Ok(Self(path))
    }

    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// Returns the directories above the file, the outermost first.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        let mut above: Vec<&Path> = self.0.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
        above.reverse();
        above.into_iter()
    }
}

impl File {
    /// Returns a file that is not executable.
    ///
    /// # Errors
    ///
    /// As those of [`FileName::parse`].
    pub fn parse(name: &str, content: impl Into<Vec<u8>>) -> Result<Self, FileError> {
        Ok(Self { name: FileName::parse(name)?, content: content.into(), executable: false })
    }

    /// Joins the files that have parameters of their own, as far as those were given, with the additional ones.
    ///
    /// # Errors
    ///
    /// Fails if two files have the same name, or if one file is a directory of another.
    pub fn join<'a>(
        named: impl IntoIterator<Item = (&'a str, Option<String>)>,
        additional: Vec<File>,
    ) -> Result<Vec<File>, FileError> {
        let mut files = Vec::new();
        for (name, content) in named {
            files.extend(content.map(|content| File::parse(name, content)).transpose()?);
        }
        let named = files.len();
        files.extend(additional);
        let mut names = BTreeSet::new();
        for file in &files {
            let name = file.name.as_path();
            let refuse = |reason: String| Err(FileError::Name { name: name.display().to_string(), reason });
            if !names.insert(name) {
                return match files[..named].iter().any(|named| named.name == file.name) {
                    true => refuse("has a parameter of its own: do not repeat it among the additional files".into()),
                    false => refuse("is given twice: give each file once".into()),
                };
            }
        }
        for file in &files {
            if let Some(directory) = file.name.directories().find(|directory| names.contains(directory)) {
                return Err(FileError::Name {
                    name: file.name.as_path().display().to_string(),
                    reason: format!("needs a directory {directory:?}, which is also given as a file: rename one"),
                });
            }
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_name_is_taken_and_its_directories_are_known() {
        let name = FileName::parse("./a/b/./c.txt").unwrap();
        assert_eq!(name.as_path(), Path::new("a/b/c.txt"));
        assert_eq!(name.directories().collect::<Vec<_>>(), [Path::new("a"), Path::new("a/b")]);
    }

    #[test]
    fn unsafe_file_name_is_refused_with_the_reason() {
        let long_part = "x".repeat(4000);
        let long_path = "x/".repeat(2001) + "x";
        for (name, reason) in [
            ("", "is empty"),
            ("/etc/passwd", "is absolute"),
            ("../main.py", "holds `..`"),
            ("a/../../b", "holds `..`"),
            ("a\0b", "NUL"),
            ("a/", "names a directory"),
            (".", "names a directory"),
            ("a/.", "names a directory"),
            (&long_part, "part of 4000 bytes"),
            (&long_path, "4003 bytes"),
        ] {
            let error = FileName::parse(name).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert!(error.len() < 1000, "the error stays readable");
        }
    }

    #[test]
    fn names_that_meet_are_refused() {
        let file = |name: &str| File::parse(name, "").unwrap();
        let join = |additional: &[&str]| {
            File::join(
                [("main.py", Some(String::new())), ("go.mod", None)],
                additional.iter().map(|name| file(name)).collect(),
            )
            .map_err(|error| error.to_string())
        };
        assert_eq!(join(&["a.py", "b/a.py"]).unwrap().len(), 3);
        assert_eq!(join(&["go.mod"]).unwrap().len(), 2, "its parameter was left out");
        assert!(join(&["main.py"]).unwrap_err().contains("parameter of its own"));
        assert!(join(&["./main.py"]).unwrap_err().contains("parameter of its own"));
        assert!(join(&["a", "a"]).unwrap_err().contains("given twice"));
        assert!(join(&["a", "a/b"]).unwrap_err().contains("also given as a file"));
        assert!(join(&["main.py/b"]).unwrap_err().contains("also given as a file"));
    }
}
