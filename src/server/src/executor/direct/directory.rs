//! The private directory of a program without namespaces, and its removal.
//!
//! The server holds a lock on each directory while it is in use. A server that is killed leaves its directories behind
//! without a lock, and the next one on this machine that needs such a directory removes them.
//!
//! The contents were made by a program that is not trusted and may still be dying. So nothing is found by a path: each
//! entry is opened in its parent without following links, and deep directories are moved up before they are read, so
//! that neither depth nor modes get in the way.

use std::ffi::{CStr, CString};
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::thread;
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, flock, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use tokio::runtime::Handle;

use super::ExecutorError;

/// Begins the name of a directory that is locked, or may be removed.
const IN_USE_PREFIX: &str = "sandbox-mcp-run-";
/// Begins the name of a directory that is still to be locked.
const NEW_PREFIX: &str = "sandbox-mcp-new-";

/// The number of attempts to remove a directory: processes that were killed a moment ago may still write into it.
const REMOVE_ATTEMPTS: u32 = 20;
const REMOVE_RETRY_DELAY: Duration = Duration::from_millis(10);

/// A directory for one program. Where it is dropped within a runtime, the blocking pool removes it, since that may take
/// a while.
#[derive(Debug)]
pub struct PrivateDirectory {
    /// `None` once it is being removed.
    locked: Option<LockedDirectory>,
    path: PathBuf,
}

/// The directory itself, which is removed when this is dropped.
#[derive(Debug)]
struct LockedDirectory {
    path: PathBuf,
    /// The directory for temporary files.
    parent: OwnedFd,
    name: CString,
    /// Locked for as long as it is open.
    directory: OwnedFd,
    removed: bool,
}

impl PrivateDirectory {
    /// Makes a directory below the directory for temporary files, after those of servers that were killed were removed.
    /// This blocks.
    ///
    /// # Errors
    ///
    /// There is no directory for temporary files, or it cannot be written to.
    pub fn new() -> Result<Self, ExecutorError> {
        static SWEEP: Once = Once::new();
        let parent = std::env::temp_dir();
        let failed = |operation, path: &Path| {
            let path = path.to_owned();
            move |cause| ExecutorError::Directory { operation, path, cause }
        };
        // Landlock and the program are given the path without links.
        let parent = fs::canonicalize(&parent).map_err(failed("find the directory for temporary files", &parent))?;
        SWEEP.call_once(|| sweep(&parent));
        Self::below(&parent).map_err(failed("make a private directory in", &parent))
    }

    fn below(parent: &Path) -> io::Result<Self> {
        let locked = LockedDirectory::below(parent)?;
        Ok(Self { path: locked.path.clone(), locked: Some(locked) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a directory in it, unless something else is there by now.
    pub fn open(&self, path: &Path) -> Option<OwnedFd> {
        let mut directory = self.locked.as_ref()?.directory.try_clone().ok()?;
        for part in path.strip_prefix(&self.path).ok()?.components() {
            directory = open_directory(directory.as_fd(), &c_string(Path::new(&part)).ok()?).ok()?;
        }
        Some(directory)
    }

    /// Removes the directory with everything in it. This blocks.
    ///
    /// # Errors
    ///
    /// Something in the directory cannot be removed.
    pub fn remove(mut self) -> Result<(), ExecutorError> {
        match self.locked.take() {
            Some(locked) => locked.remove(),
            None => Ok(()),
        }
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        if let (Some(locked), Ok(runtime)) = (self.locked.take(), Handle::try_current()) {
            // A runtime that ends drops the closure, which removes the directory as well.
            runtime.spawn_blocking(move || drop(locked));
        }
    }
}

impl LockedDirectory {
    fn below(parent: &Path) -> io::Result<Self> {
        let new = tempfile::Builder::new()
            .prefix(NEW_PREFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        let directory = open_directory(CWD, &c_string(new.path())?)?;
        flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
        // Only now does it get the name by which it would be swept away if it had no lock.
        let unique =
            new.path().file_name().and_then(|name| name.to_str()?.strip_prefix(NEW_PREFIX)).unwrap_or_default();
        let name = format!("{IN_USE_PREFIX}{unique}");
        let path = parent.join(&name);
        fs::rename(new.path(), &path)?;
        // The old name is gone, so there is nothing for the temporary directory to remove.
        let _ = new.keep();
        let parent = open_directory(CWD, &c_string(parent)?)?;
        Ok(Self { path, parent, name: CString::new(name)?, directory, removed: false })
    }

    fn remove(mut self) -> Result<(), ExecutorError> {
        self.removed = true;
        self.remove_with_retries().map_err(|cause| ExecutorError::Directory {
            operation: "remove the private directory",
            path: self.path.clone(),
            cause,
        })
    }

    fn remove_with_retries(&self) -> io::Result<()> {
        let mut result = Ok(());
        for attempt in 0..REMOVE_ATTEMPTS {
            if attempt > 0 {
                thread::sleep(REMOVE_RETRY_DELAY);
            }
            result = remove(self.parent.as_fd(), &self.name, self.directory.as_fd());
            if result.is_ok() {
                break;
            }
        }
        result
    }
}

impl Drop for LockedDirectory {
    fn drop(&mut self) {
        if !self.removed
            && let Err(error) = self.remove_with_retries()
        {
            tracing::warn!("cannot remove the private directory {}: {error}", self.path.display());
        }
    }
}

/// Removes the directories of servers that no longer run.
fn sweep(parent: &Path) {
    let sweep_one = |name: &CStr, parent: BorrowedFd| -> io::Result<()> {
        let directory = open_directory(parent, name)?;
        flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
        remove(parent, name, directory.as_fd())
    };
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().as_bytes().starts_with(IN_USE_PREFIX.as_bytes()));
    let names: Vec<CString> = ours.filter_map(|entry| CString::new(entry.file_name().as_bytes()).ok()).collect();
    let Ok(Ok(parent)) = c_string(parent).map(|path| open_directory(CWD, &path)) else { return };
    for name in names {
        // A directory that is in use or belongs to somebody else stays.
        if let Err(error) = sweep_one(&name, parent.as_fd()) {
            tracing::debug!("{} stays: {error}", name.to_string_lossy());
        }
    }
}

/// Removes `directory`, which is `name` in `parent`.
fn remove(parent: BorrowedFd, name: &CStr, directory: BorrowedFd) -> io::Result<()> {
    let mut moved = 0;
    loop {
        let entries = entries(directory)?;
        if entries.is_empty() {
            return Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?);
        }
        for entry in entries {
            match is_directory(directory, &entry)? {
                true => flatten(directory, &entry, &mut moved)?,
                false => unlinkat(directory, &entry, AtFlags::empty())?,
            }
        }
    }
}

/// Removes the directory `name` of `top`, and leaves the directories in it to `top`, under new names.
fn flatten(top: BorrowedFd, name: &CStr, moved: &mut u64) -> io::Result<()> {
    let directory = open_directory(top, name)?;
    for entry in entries(directory.as_fd())? {
        if is_directory(directory.as_fd(), &entry)? {
            // A directory can't be moved by who may not write to it.
            open_directory(directory.as_fd(), &entry)?;
            move_up(directory.as_fd(), &entry, top, moved)?;
        } else {
            unlinkat(&directory, &entry, AtFlags::empty())?;
        }
    }
    Ok(unlinkat(top, name, AtFlags::REMOVEDIR)?)
}

/// Moves a directory to `top`, under the next number that is no name there yet.
fn move_up(from: BorrowedFd, name: &CStr, top: BorrowedFd, moved: &mut u64) -> io::Result<()> {
    loop {
        *moved += 1;
        match renameat(from, name, top, format!("{moved}")) {
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            result => return Ok(result?),
        }
    }
}

/// Opens a directory, and makes it ours to read and write if its mode says otherwise. A link is refused.
fn open_directory(parent: BorrowedFd, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = openat(parent, name, flags | OFlags::PATH, Mode::empty())?;
    let mode = rustix::fs::fstat(&handle)?.st_mode & 0o777;
    if mode & 0o700 != 0o700 {
        // The handle allows nothing but this way of naming the very directory that it is.
        fs::set_permissions(format!("/proc/self/fd/{}", handle.as_raw_fd()), Permissions::from_mode(0o700))?;
    }
    Ok(openat(&handle, c".", flags | OFlags::RDONLY, Mode::empty())?)
}

fn entries(directory: BorrowedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if ![c".", c".."].contains(&&*name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn is_directory(parent: BorrowedFd, name: &CStr) -> io::Result<bool> {
    let facts = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(facts.st_mode) == FileType::Directory)
}

fn c_string(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweep_removes_only_unlocked_directories() {
        let parent = tempfile::tempdir().unwrap();
        let in_use = PrivateDirectory::below(parent.path()).unwrap();
        fs::write(in_use.path().join("file"), "").unwrap();
        let left = parent.path().join(format!("{IN_USE_PREFIX}left"));
        fs::create_dir_all(left.join("a/b")).unwrap();
        fs::set_permissions(left.join("a"), Permissions::from_mode(0o000)).unwrap();
        let others = [parent.path().join(format!("{NEW_PREFIX}x")), parent.path().join("sandbox-mcp-x")];
        others.iter().for_each(|path| fs::create_dir(path).unwrap());
        let link = parent.path().join(format!("{IN_USE_PREFIX}link"));
        std::os::unix::fs::symlink(&others[0], &link).unwrap();

        sweep(parent.path());
        assert!(!left.exists());
        assert!(in_use.path().join("file").exists() && others.iter().all(|path| path.exists()) && link.is_symlink());
        let path = in_use.path().to_owned();
        in_use.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn directory_with_numbers_as_names_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let directory = PrivateDirectory::below(parent.path()).unwrap();
        for path in ["1/x", "2/x", "a/b/c", "a/4"] {
            fs::create_dir_all(directory.path().join(path)).unwrap();
        }
        fs::write(directory.path().join("3"), "").unwrap();
        directory.remove().unwrap();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn directory_dropped_in_a_runtime_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let directory = PrivateDirectory::below(parent.path()).unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        drop(directory);
        while fs::read_dir(parent.path()).unwrap().count() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
