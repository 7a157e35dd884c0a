//! Collects the files that a program left for its caller in its directory of artifacts.
//!
//! Whatever the program did to the directory, nothing outside it is read, no link in it is followed, nothing in it is executed
//! or changed, and no read blocks: see [`walk`]. The kind of a file is told by its content, not by its name: see [`kind`] and
//! [`mod@image`]. Anything that is not returned is named with the reason.

pub(crate) mod image;
mod kind;
pub(crate) mod name;
mod natural;
#[cfg(test)]
mod tests;
pub(crate) mod text;
mod walk;

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use sandbox_plan::record::{MAX_DEPTH, MAX_ENTRIES};

pub use kind::Kind;
pub use name::shown;
pub use walk::open_beneath as open;

/// Limits on artifacts. Some keep the reply small enough for clients; others bound the server's own work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// The number of files.
    pub files: usize,
    /// The number of images.
    pub images: usize,
    /// The longest side of an image, in pixels.
    pub pixels: u32,
    /// The size of one image, of one text, and of one file of any other kind, in bytes.
    pub image: u64,
    pub text: u64,
    pub other: u64,
    /// The size of all texts together, in bytes.
    pub texts: u64,
    /// The size of all files together, in bytes.
    pub total: u64,
    /// The depth of nested directories, including the outermost.
    pub depth: usize,
    /// The number of files and directories that are visited.
    pub entries: usize,
    /// The number of files that are named without being returned.
    pub named: usize,
}

/// The limits of a successful call. The APIs of models refuse images with a side of more than 8000 pixels. Common clients drop
/// messages of more than 16 MB; in JSON, an image grows by a third, and a text of control characters sixfold.
pub const CAPS: Caps = Caps {
    files: 32,
    images: 20,
    pixels: 8000,
    image: 3_000_000,
    text: 200_000,
    other: 1_000_000,
    texts: 1_000_000,
    total: 6_000_000,
    depth: MAX_DEPTH,
    entries: MAX_ENTRIES,
    named: 50,
};

/// The size of all files of a failed call that are not text, in bytes. They make 100,000 characters of base64, no more than a
/// long text: Gemini CLI shows its model the whole result of such a call as JSON. Clients that show the images of a failed
/// call, such as Codex, still get the usual plots, which have some 30 kB each; Claude Code drops them.
const MAX_FAILURE_BYTES: u64 = 75_000;

impl Caps {
    /// Returns the size limit of one file of a kind, in bytes.
    pub fn most(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Image(_) => self.image,
            Kind::Text(_) => self.text,
            Kind::Other(_) => self.other,
        }
    }
}

/// The files that a program left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Artifacts {
    /// The files of a directory in natural order of their names, followed by those of its subdirectories.
    pub files: Vec<Artifact>,
    pub left_out: Vec<LeftOut>,
    /// The number of files that were left out and are not named.
    pub not_named: u64,
}

/// A file that is returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Relative to the directory.
    pub path: PathBuf,
    pub kind: Kind,
    pub content: Vec<u8>,
}

/// A file or directory that is not returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub path: PathBuf,
    /// The size in bytes. `None` if it is not a regular file.
    pub size: Option<u64>,
    pub reason: Reason,
}

/// The reason why a file or directory is not returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A link, a FIFO or the like.
    NoFile {
        kind: &'static str,
    },
    /// It does not belong to the owner of the directory.
    Foreign,
    /// There are more files than the limit.
    Files {
        most: usize,
    },
    /// There are more images than the limit.
    Images {
        most: usize,
    },
    TooLarge {
        most: u64,
    },
    /// It is an image with a side of more pixels than the limit.
    Pixels {
        most: u32,
    },
    /// Together with the files before it, it exceeds the limit on their size.
    Together {
        most: u64,
    },
    /// The call failed, and together with the files before it, it exceeds the limit for failed calls.
    OfFailure {
        most: u64,
    },
    /// It is a directory that is nested too deeply.
    TooDeep {
        most: usize,
    },
    /// It is a directory that was not read completely.
    Entries {
        most: usize,
    },
    /// The kernel refused to read it, for example because the program removed the permission.
    Unreadable {
        error: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile { kind } => write!(f, "it is {kind}: only regular files are returned"),
            Self::Foreign => f.write_str("it belongs to another user"),
            Self::Files { most } => write!(f, "no more than {most} files are returned"),
            Self::Images { most } => write!(f, "no more than {most} images are returned"),
            Self::Pixels { most } => write!(f, "a side has more than {most} pixels: save it at a lower resolution"),
            Self::TooLarge { most } => write!(f, "no more than {most} bytes of such a file are returned"),
            Self::Together { most } => write!(f, "no more than {most} bytes are returned together"),
            Self::OfFailure { most } => {
                write!(f, "of a call that failed no more than {most} bytes of images and binary files are returned")
            }
            Self::TooDeep { most } => write!(f, "directories are looked into {most} levels deep"),
            Self::Entries { most } => write!(f, "no more than {most} files and directories are looked at"),
            Self::Unreadable { error } => write!(f, "it can't be read: {error}"),
        }
    }
}

/// The reason why a directory of artifacts cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} the directory of artifacts: {cause}")]
pub struct ArtifactError {
    pub operation: &'static str,
    pub cause: io::Error,
}

/// Collects the files of a directory, which nothing should be writing to any longer. If something does, this still terminates
/// and reads nothing outside the directory, but the files may be of different points in time.
///
/// # Errors
///
/// Fails if the directory itself cannot be read.
pub fn collect(directory: OwnedFd, caps: &Caps) -> Result<Artifacts, ArtifactError> {
    walk::collect(directory, caps)
}

/// Calls [`collect`] with the usual limits, on a thread that may block. The program may have made the directory
/// unreadable, so a failure is reported as something that was left out.
pub async fn gather(directory: OwnedFd) -> Artifacts {
    let collected = tokio::task::spawn_blocking(move || collect(directory, &CAPS)).await;
    let error = match collected {
        Ok(Ok(artifacts)) => return artifacts,
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic.to_string(),
    };
    tracing::warn!("{error}");
    let everything = LeftOut { path: PathBuf::new(), size: None, reason: Reason::Unreadable { error } };
    Artifacts { left_out: vec![everything], ..Artifacts::default() }
}

impl Artifacts {
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.left_out.is_empty()
    }

    /// Adds files that were left out before this directory was read, in order.
    pub fn add_left_out(&mut self, all: Vec<LeftOut>) {
        if all.is_empty() {
            return;
        }
        self.left_out.extend(all);
        self.left_out.sort_by_cached_key(LeftOut::place);
        let excess = self.left_out.len().saturating_sub(CAPS.named);
        self.left_out.truncate(CAPS.named);
        self.not_named += excess as u64;
    }

    /// Leaves out the files that exceed the limit for a failed call.
    pub fn bound_for_failure(&mut self) {
        let mut total = 0;
        let is_kept = |file: &Artifact| {
            let size = if file.kind.is_text() { 0 } else { file.size() };
            let fits = total + size <= MAX_FAILURE_BYTES;
            total += if fits { size } else { 0 };
            fits
        };
        let (kept, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.files).into_iter().partition(is_kept);
        self.files = kept;
        let reason = Reason::OfFailure { most: MAX_FAILURE_BYTES };
        let left_out = |file: Artifact| LeftOut { size: Some(file.size()), path: file.path, reason: reason.clone() };
        self.add_left_out(others.into_iter().map(left_out).collect());
    }

    fn leave_out(&mut self, caps: &Caps, left_out: LeftOut) {
        if self.left_out.len() < caps.named {
            self.left_out.push(left_out);
        } else {
            self.not_named += 1;
        }
    }
}

impl Artifact {
    /// Returns the name, escaped so that it can be shown in one line.
    pub fn name(&self) -> String {
        name::shown(&self.path)
    }

    /// Returns the file's URI in the sandbox, whose directory of artifacts is `directory`.
    pub fn uri(&self, directory: &Path) -> String {
        name::uri(&directory.join(&self.path))
    }

    pub fn size(&self) -> u64 {
        self.content.len() as u64
    }
}

impl LeftOut {
    /// Returns the sort key: a directory's files by name, followed by the contents of its subdirectories.
    fn place(&self) -> Vec<(bool, natural::Key)> {
        let names: Vec<_> = self.path.iter().collect();
        // A directory sorts where its contents would be.
        let is_directory = matches!(self.reason, Reason::TooDeep { .. } | Reason::Entries { .. });
        let last = names.len().saturating_sub(1);
        let place = |(index, name): (usize, &&OsStr)| (index < last || is_directory, natural::key(name.as_bytes()));
        names.iter().enumerate().map(place).collect()
    }

    /// Returns the name, escaped so that it can be shown in one line.
    pub fn name(&self) -> String {
        name::shown(&self.path)
    }
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}
