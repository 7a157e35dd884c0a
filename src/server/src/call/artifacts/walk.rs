//! Reads a directory whose contents a hostile program controls.
//!
//! Every name is resolved relative to the descriptor of its directory, one component at a time, and neither links nor other
//! file systems are entered. So a name may change between being looked at and being opened: the opened file still lies in the
//! directory, and its descriptor tells its type.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Artifact, ArtifactError, Artifacts, Caps, Kind, LeftOut, Reason, image, natural, path_of};

/// The number of bytes of a file that are read to tell its kind.
const BEGINNING: u64 = 4096;

pub(super) fn collect(directory: OwnedFd, caps: &Caps) -> Result<Artifacts, ArtifactError> {
    let failed = |operation| move |error: Errno| ArtifactError { operation, cause: error.into() };
    // The descriptor may have been opened with O_PATH.
    let opened = open(directory.as_fd(), c".", OFlags::DIRECTORY).map_err(failed("open"))?;
    let owner = rustix::fs::fstat(&opened).map_err(failed("look at"))?.st_uid;
    let mut walk = Walk { caps, owner, found: Artifacts::default(), looked_at: 0, images: 0, texts: 0, total: 0 };
    walk.directory(opened, b"", 1).map_err(failed("list"))?;
    Ok(walk.found)
}

struct Walk<'caps> {
    caps: &'caps Caps,
    /// The owner of the directory. Where it is on no mount of its own, a program can hard-link another user's file into it,
    /// which the program itself cannot read.
    owner: u32,
    found: Artifacts,
    looked_at: usize,
    /// The number of images found so far.
    images: usize,
    /// The size in bytes of the texts, and of all files, found so far.
    texts: u64,
    total: u64,
}

impl Walk<'_> {
    /// Collects the files of one directory, and then those of its subdirectories.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be listed.
    fn directory(&mut self, directory: OwnedFd, prefix: &[u8], depth: usize) -> Result<(), Errno> {
        let mut listing = Dir::new(directory)?;
        let names = self.list(&mut listing, prefix)?;
        let directory = listing.fd()?;
        let mut below = VecDeque::new();
        for name in names {
            let path = [prefix, name.as_bytes()].concat();
            let facts = match rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(facts) => facts,
                Err(error) => {
                    self.leave_out(&path, None, error.into());
                    continue;
                }
            };
            match FileType::from_raw_mode(facts.st_mode) {
                FileType::Directory => below.push_back((name, path)),
                FileType::RegularFile => match self.file(directory, &name) {
                    Ok((kind, content)) => {
                        self.total += content.len() as u64;
                        self.images += usize::from(matches!(kind, Kind::Image(_)));
                        self.texts += if kind.is_text() { content.len() as u64 } else { 0 };
                        self.found.files.push(Artifact { path: path_of(&path), kind, content });
                    }
                    Err(why) => self.leave_out(&path, Some(facts.st_size as u64), why),
                },
                other => self.leave_out(&path, None, no_file(other).into()),
            }
        }
        for (name, path) in below {
            if depth == self.caps.depth {
                self.leave_out(&path, None, Reason::TooDeep { most: depth }.into());
                continue;
            }
            let entered = open(directory, &name, OFlags::DIRECTORY)
                .and_then(|opened| self.directory(opened, &[&path[..], b"/"].concat(), depth + 1));
            if let Err(error) = entered {
                self.leave_out(&path, None, error.into());
            }
        }
        Ok(())
    }

    /// Returns the names in a directory, in natural order.
    fn list(&mut self, directory: &mut Dir, prefix: &[u8]) -> Result<Vec<CString>, Errno> {
        let mut names = Vec::new();
        while let Some(entry) = directory.read().transpose()? {
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if self.looked_at == self.caps.entries {
                let path = prefix.strip_suffix(b"/").unwrap_or(prefix);
                self.leave_out(path, None, Reason::Entries { most: self.caps.entries }.into());
                break;
            }
            self.looked_at += 1;
            names.push(name.to_owned());
        }
        names.sort_by_cached_key(|name| natural::key(name.as_bytes()));
        Ok(names)
    }

    fn file(&self, directory: BorrowedFd, name: &CStr) -> Result<(Kind, Vec<u8>), Why> {
        if self.found.files.len() == self.caps.files {
            return Err(Reason::Files { most: self.caps.files }.into());
        }
        let file = File::from(open(directory, name, OFlags::empty())?);
        let facts = rustix::fs::fstat(&file)?;
        match FileType::from_raw_mode(facts.st_mode) {
            FileType::RegularFile => {}
            other => return Err(no_file(other).into()),
        }
        if facts.st_uid != self.owner {
            return Err(Reason::Foreign.into());
        }
        let mut content = Vec::new();
        (&file).take(BEGINNING).read_to_end(&mut content)?;
        let (most, beyond) = self.most(Kind::of_beginning(&content), facts.st_size as u64);
        if facts.st_size as u64 > most {
            return Err(beyond.into());
        }
        // The file may have grown, and may still be growing.
        let more = (most + 1).saturating_sub(content.len() as u64);
        (&file).take(more).read_to_end(&mut content)?;
        if content.len() as u64 > most {
            return Err(beyond.into());
        }
        let image = image::read(&content);
        if image.is_some_and(|image| image.longest_side() > self.caps.pixels) {
            return Err(Reason::Pixels { most: self.caps.pixels }.into());
        }
        if image.is_some() && self.images == self.caps.images {
            return Err(Reason::Images { most: self.caps.images }.into());
        }
        // Its kind may differ from what its first bytes suggested.
        let kind = Kind::of(&content, name.to_bytes(), image);
        let (most, beyond) = self.most(kind, content.len() as u64);
        if content.len() as u64 > most {
            return Err(beyond.into());
        }
        Ok((kind, content))
    }

    /// Returns how many bytes of a file can be returned, and the reason to give if it has more. `size` is its reported size.
    fn most(&self, kind: Kind, size: u64) -> (u64, Reason) {
        let caps = self.caps;
        let (most, left, together) = match kind {
            Kind::Image(_) => (caps.image, caps.total - self.total, caps.total),
            Kind::Other(_) => (caps.other, caps.total - self.total, caps.total),
            Kind::Text(_) if caps.texts - self.texts < caps.total - self.total => {
                (caps.text, caps.texts - self.texts, caps.texts)
            }
            Kind::Text(_) => (caps.text, caps.total - self.total, caps.total),
        };
        // If the file alone is too large, the size of the others does not matter.
        if size > most || most <= left {
            (most.min(left), Reason::TooLarge { most })
        } else {
            (left, Reason::Together { most: together })
        }
    }

    fn leave_out(&mut self, path: &[u8], size: Option<u64>, why: Why) {
        if let Why::Is(reason) = why {
            self.found.leave_out(self.caps, LeftOut { path: path_of(path), size, reason });
        }
    }
}

/// The reason why a name gives no file.
enum Why {
    /// It no longer exists.
    Gone,
    Is(Reason),
}

impl From<Reason> for Why {
    fn from(reason: Reason) -> Self {
        Self::Is(reason)
    }
}

impl From<Errno> for Why {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT => Self::Gone,
            // It has replaced something else.
            Errno::LOOP => no_file(FileType::Symlink).into(),
            Errno::XDEV => Reason::NoFile { kind: "another file system" }.into(),
            error => io::Error::from(error).into(),
        }
    }
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        Self::Is(Reason::Unreadable { error: error.to_string() })
    }
}

fn no_file(kind: FileType) -> Reason {
    let kind = match kind {
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Directory => "a directory",
        _ => "of an unknown type",
    };
    Reason::NoFile { kind }
}

/// Opens a name of a directory for reading. Fails if it is a link.
pub fn open_beneath(directory: BorrowedFd, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(open(directory, &CString::new(name)?, flags)?)
}

/// Opens a name for reading, without blocking on a FIFO and without acquiring a controlling terminal.
fn open(directory: BorrowedFd, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    // `..` is never resolved, so EAGAIN can only mean that opening would block.
    rustix::io::retry_on_intr(|| rustix::fs::openat2(directory, name, flags, Mode::empty(), resolve))
}
