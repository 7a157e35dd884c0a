//! The files that a program left for its caller, read out of a directory that the program had to itself.
//!
//! Whatever the program made of the directory, nothing outside of it is read, nothing in it is followed, executed or
//! changed, and no read waits: see [`walk`]. What a file is, its content tells and not its name: see [`kind`] and
//! [`mod@image`]. What is not returned is named with the reason.

pub(crate) mod image;
mod kind;
pub(crate) mod name;
mod natural;
#[cfg(test)]
mod tests;
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
    /// Files.
    pub files: usize,
    /// Images.
    pub images: usize,
    /// Pixels of an image's longest side.
    pub pixels: u32,
    /// Bytes of one image, of one text, and of one file of any other kind.
    pub image: u64,
    pub text: u64,
    pub other: u64,
    /// Bytes of all texts.
    pub texts: u64,
    /// Bytes of all files.
    pub total: u64,
    /// Directories within each other, the outermost included.
    pub depth: usize,
    /// Files and directories that are looked at.
    pub entries: usize,
    /// Files that are named although they are not returned.
    pub named: usize,
}

/// The APIs of models refuse images with a side of more than 8000 pixels.
/// A message that is longer than 16 MB is dropped by common clients. In JSON an image grows by a third, and a text of
/// control characters sixfold.
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

/// Bytes of all images and other files of a failed call that are no text. In base64 they are 100,000 characters, no more than
/// of a long text: Gemini CLI shows its model the whole result of such a call as JSON. Clients that show the images of one
/// (Codex does, Claude Code drops them) still get the usual plots, which have some 30 kB each.
const OF_FAILURE: u64 = 75_000;

impl Caps {
    /// Bytes of one file of a kind.
    pub fn most(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Image(_) => self.image,
            Kind::Text => self.text,
            Kind::Other(_) => self.other,
        }
    }
}

/// What a program left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Artifacts {
    /// Those of a directory by name, with numbers in their order, and after them those of the directories in it.
    pub files: Vec<Artifact>,
    pub left_out: Vec<LeftOut>,
    /// How many more were left out than are named.
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
    /// Bytes of a file; nothing else has a size that means anything.
    pub size: Option<u64>,
    pub reason: Reason,
}

/// Why something is not returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A link, a FIFO or the like.
    NoFile {
        kind: &'static str,
    },
    /// It belongs to someone else than the directory.
    Foreign,
    /// There are more files than are returned.
    Files {
        most: usize,
    },
    /// There are more images than are returned.
    Images {
        most: usize,
    },
    TooLarge {
        most: u64,
    },
    /// An image of more pixels than a model is shown.
    Pixels {
        most: u32,
    },
    /// Together with the files before it, it would be more than is returned.
    Together {
        most: u64,
    },
    /// The call failed, and together with the files before it, it would be more than is returned then.
    OfFailure {
        most: u64,
    },
    /// A directory below too many others.
    TooDeep {
        most: usize,
    },
    /// A directory of which not all was looked at.
    Entries {
        most: usize,
    },
    /// The kernel refused to let it be read, as when the program took the permission away.
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

/// Why a directory of artifacts cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} the directory of artifacts: {source}")]
pub struct ArtifactError {
    pub operation: &'static str,
    pub source: io::Error,
}

/// Collects the files of a directory, to which nothing should write any longer. Whatever happens to the directory
/// meanwhile, this reads nothing outside it and terminates, but the files may then be of different moments.
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

    /// Adds what is known from elsewhere to be left out, each in its place.
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

    /// Leaves out what is too much for the result of a call that failed.
    pub fn bound_for_failure(&mut self) {
        let mut total = 0;
        let is_kept = |file: &Artifact| {
            let size = if file.kind == Kind::Text { 0 } else { file.size() };
            let fits = total + size <= OF_FAILURE;
            total += if fits { size } else { 0 };
            fits
        };
        let (kept, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.files).into_iter().partition(is_kept);
        self.files = kept;
        let reason = Reason::OfFailure { most: OF_FAILURE };
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
    /// The name as it can be shown in one line.
    pub fn name(&self) -> String {
        name::shown(&self.path)
    }

    /// The file's URI inside the sandbox, whose directory of artifacts is `directory`.
    pub fn uri(&self, directory: &Path) -> String {
        name::uri(&directory.join(&self.path))
    }

    pub fn size(&self) -> u64 {
        self.content.len() as u64
    }
}

impl LeftOut {
    /// Where it comes among others: a directory's files by their names, and after them what is in its directories.
    fn place(&self) -> Vec<(bool, natural::Key)> {
        let names: Vec<_> = self.path.iter().collect();
        // Of a directory is told where its content would be.
        let is_directory = matches!(self.reason, Reason::TooDeep { .. } | Reason::Entries { .. });
        let last = names.len().saturating_sub(1);
        let place = |(index, name): (usize, &&OsStr)| (index < last || is_directory, natural::key(name.as_bytes()));
        names.iter().enumerate().map(place).collect()
    }

    /// The name as it can be shown in one line.
    pub fn name(&self) -> String {
        name::shown(&self.path)
    }
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}
