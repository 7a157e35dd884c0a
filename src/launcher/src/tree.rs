//! The file system of a sandbox: mounts, directories, files and links below a root that is still being built.
//!
//! The new root is mounted on top of `/`, where only its descriptor leads to it: the lookup of an absolute path still
//! starts at the host's root, below it. So sources of binds are never hidden by earlier mounts, and no directory of the
//! host is needed to build the root in. Targets are resolved as if the new root were the root, so that a link such as
//! `/bin` -> `/nix/store/…/bin` leads into the new tree and never into the host's.

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use sandbox_plan::{Directory, Failure, Replacement, Step};

use crate::fault::failed;
use crate::sys;

/// The file system of a sandbox while it is being built.
pub struct Tree {
    root: OwnedFd,
    /// The user and group that `owned` files belong to.
    owner: (u32, u32),
    /// The directory that was used last: successive binds tend to be in `/nix/store`.
    last: Option<(PathBuf, OwnedFd)>,
    /// Copies of the host's mounts for steps after PivotRoot, in the order of the steps.
    taken: VecDeque<OwnedFd>,
    pivoted: bool,
}

impl Tree {
    /// Returns the tree of this process's root. Steps change that, until a tmpfs is mounted at `/`.
    pub fn new(owner: (u32, u32)) -> io::Result<Self> {
        let root = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open("/")?;
        Ok(Self { root: root.into(), owner, last: None, taken: VecDeque::new(), pivoted: false })
    }

    /// Carries out [`Step::Tmpfs`].
    pub fn tmpfs(&mut self, target: &Path, size: u64, inodes: u64, mode: u32, owned: bool) -> io::Result<()> {
        // To the kernel, 0 means "no limit".
        let mut options = vec![
            (c"size", number(size.max(1))?),
            (c"nr_inodes", number(inodes.max(1))?),
            (c"mode", c_string(format!("{mode:o}"))?),
        ];
        if owned {
            options.extend([(c"uid", number(self.owner.0.into())?), (c"gid", number(self.owner.1.into())?)]);
        }
        let mount = sys::new_mount(c"tmpfs", &options, sys::NO_SET_UID | sys::NO_DEVICES)?;
        if target == Path::new("/") && !self.pivoted {
            sys::attach_mount(mount.as_fd(), self.root.as_fd(), c"")?;
            self.last = None;
            self.root = mount;
            return Ok(());
        }
        self.attach(&mount, target, owned)
    }

    /// Carries out [`Step::Scratch`]. The first of the directories hides the tmpfs itself, so that no path leads from
    /// one of them to another. Returns a descriptor of the file system, which tells how full it is.
    pub fn scratch(&mut self, size: u64, inodes: u64, directories: &[Directory]) -> io::Result<Option<OwnedFd>> {
        let Some(first) = directories.first() else { return Ok(None) };
        let options =
            [(c"size", number(size.max(1))?), (c"nr_inodes", number(inodes.max(1))?), (c"mode", c"0700".to_owned())];
        let whole = sys::new_mount(c"tmpfs", &options, sys::NO_SET_UID | sys::NO_DEVICES)?;
        self.attach(&whole, &first.target, first.owned)?;
        for (index, directory) in directories.iter().enumerate() {
            let name = number(index as u64)?;
            sys::make_directory(whole.as_fd(), &name, directory.mode)?;
            let part = sys::open_directory(whole.as_fd(), &name)?;
            change_owner(part.as_fd(), directory.owned.then_some(self.owner))?;
            let mount = sys::copy_directory(part.as_fd())?;
            self.attach(&mount, &directory.target, directory.owned)?;
        }
        Ok(Some(whole))
    }

    /// Carries out [`Step::Mask`], after the pivot: files are hidden by what the sandbox has already. Most paths cost
    /// one system call.
    pub fn mask(&mut self, hidden: &[PathBuf], replaced: &[Replacement], read_only: &[PathBuf]) -> io::Result<()> {
        let mut empty: Option<CString> = None;
        for path in hidden {
            let path = c_string(path.as_os_str().as_bytes())?;
            // This copies the mount of the sandbox's own device, which is read-only.
            match sys::bind(c"/dev/null", &path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::NotADirectory => match &empty {
                    Some(empty) => sys::bind(empty, &path)?,
                    None => {
                        let directory = sys::open_in_root(self.root.as_fd(), &path, true)?;
                        sys::attach_mount(empty_directory()?.as_fd(), directory.as_fd(), c"")?;
                        empty = Some(path);
                    }
                },
                result => result?,
            }
        }
        for Replacement { path, by } in replaced {
            let [path, by] = [path, by].map(|path| c_string(path.as_os_str().as_bytes()));
            match sys::bind(&by?, &path?) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        for path in read_only {
            let Some(found) = self.find(path)? else { continue };
            let copy = sys::copy_directory(found.as_fd())?;
            sys::restrict_mount(copy.as_fd(), sys::READ_ONLY, false)?;
            sys::attach_mount(copy.as_fd(), found.as_fd(), c"")?;
        }
        Ok(())
    }

    fn find(&self, path: &Path) -> io::Result<Option<OwnedFd>> {
        match self.open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    /// Carries out [`Step::Bind`].
    pub fn bind(&mut self, source: &Path, target: &Path) -> io::Result<()> {
        let mount = self.take(source)?;
        sys::restrict_mount(mount.as_fd(), sys::READ_ONLY | sys::NO_SET_UID | sys::NO_DEVICES, true)?;
        self.attach(&mount, target, false)
    }

    /// Carries out [`Step::Device`].
    pub fn device(&mut self, path: &Path) -> io::Result<()> {
        let mount = self.take(path)?;
        // A read-only mount still lets a device be written to, but not its mode, owner or times.
        sys::restrict_mount(mount.as_fd(), sys::READ_ONLY | sys::NO_SET_UID | sys::NO_EXEC, true)?;
        self.attach(&mount, path, false)
    }

    /// Carries out [`Step::Proc`].
    pub fn proc(&mut self, target: &Path) -> io::Result<()> {
        let mount = sys::new_mount(c"proc", &[], sys::NO_SET_UID | sys::NO_DEVICES | sys::NO_EXEC)?;
        self.attach(&mount, target, false)
    }

    /// Carries out [`Step::Terminals`].
    pub fn terminals(&mut self, target: &Path, most: u32) -> io::Result<()> {
        let options =
            [(c"ptmxmode", c"0666".to_owned()), (c"mode", c"0620".to_owned()), (c"max", number(most.into())?)];
        match sys::new_mount(c"devpts", &options, sys::NO_SET_UID | sys::NO_EXEC) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            mount => self.attach(&mount?, target, false),
        }
    }

    /// Carries out [`Step::Directory`].
    pub fn directory(&mut self, path: &Path, mode: u32, owned: bool) -> io::Result<()> {
        let owner = owned.then_some(self.owner);
        let (parent, name) = self.parent_of(path, owned)?;
        let made = match sys::make_directory(parent, &name, mode) {
            Ok(()) if !owned => return Ok(()),
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error),
        };
        let directory = sys::open_directory(parent, &name)?;
        if !made {
            sys::change_mode(directory.as_fd(), mode)?;
        }
        change_owner(directory.as_fd(), owner)
    }

    /// Carries out [`Step::Symlink`].
    pub fn symlink(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        let (parent, name) = self.parent_of(path, false)?;
        sys::make_symlink(parent, &name, &c_string(target.as_os_str().as_bytes())?)
    }

    /// Carries out [`Step::File`].
    pub fn file(&mut self, path: &Path, content: &[u8], mode: u32, owned: bool) -> io::Result<()> {
        let owner = owned.then_some(self.owner);
        let (parent, name) = self.parent_of(path, owned)?;
        let mut file = File::from(sys::create_file(parent, &name, mode)?);
        file.write_all(content)?;
        change_owner(file.as_fd(), owner)
    }

    /// Carries out [`Step::ReadOnly`].
    pub fn read_only(&mut self, target: &Path) -> io::Result<()> {
        sys::restrict_mount(self.open(target)?.as_fd(), sys::READ_ONLY, false)
    }

    /// Carries out [`Step::PivotRoot`]. `later` are the steps that follow: their sources are copied now, while the host
    /// is still visible.
    pub fn pivot<'step>(&mut self, later: impl IntoIterator<Item = &'step Step>) -> Result<(), Failure> {
        for step in later {
            if let Step::Bind { source: path, .. } | Step::Device { path } = step {
                self.taken.push_back(copy(path).map_err(failed(step.to_string()))?);
            }
        }
        self.pivoted = true;
        sys::pivot_root(self.root.as_fd()).map_err(failed(Step::PivotRoot.to_string()))
    }

    /// Opens the file at `path`, with links followed within the tree.
    pub fn open(&self, path: &Path) -> io::Result<OwnedFd> {
        sys::open_in_root(self.root.as_fd(), &c_string(path.as_os_str().as_bytes())?, false)
    }

    /// Returns a copy of the host's mount at `path`.
    fn take(&mut self, path: &Path) -> io::Result<OwnedFd> {
        match self.taken.pop_front() {
            Some(mount) => Ok(mount),
            None => copy(path),
        }
    }

    /// Attaches a mount, on a new file or directory if there is none.
    fn attach(&mut self, mount: &OwnedFd, target: &Path, owned: bool) -> io::Result<()> {
        let directory = sys::is_directory(mount.as_fd())?;
        let (parent, name) = self.parent_of(target, owned)?;
        let made = if directory { sys::make_directory(parent, &name, 0o755) } else { sys::make_file(parent, &name) };
        match made {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => sys::attach_mount(mount.as_fd(), parent, &name)?,
        }
        // The descriptor leads below the new mount.
        if self.last.as_ref().is_some_and(|(directory, _)| directory.starts_with(target)) {
            self.last = None;
        }
        Ok(())
    }

    /// Returns the directory that contains `path`, made if missing, and the name in it.
    fn parent_of(&mut self, path: &Path, owned: bool) -> io::Result<(BorrowedFd<'_>, CString)> {
        let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        let (Some(parent), Some(name), true) = (path.parent(), path.file_name(), plain && path.is_absolute()) else {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        };
        let fd = match self.last.take() {
            Some((known, fd)) if known == parent => fd,
            _ => self.open_or_make(parent, owned)?,
        };
        let fd = &self.last.insert((parent.to_owned(), fd)).1;
        Ok((fd.as_fd(), c_string(name.as_bytes())?))
    }

    fn open_or_make(&self, directory: &Path, owned: bool) -> io::Result<OwnedFd> {
        let path = c_string(directory.as_os_str().as_bytes())?;
        let open = || sys::open_in_root(self.root.as_fd(), &path, true);
        match (open(), directory.parent(), directory.file_name()) {
            (Err(error), Some(parent), Some(name)) if error.kind() == ErrorKind::NotFound => {
                let parent = self.open_or_make(parent, owned)?;
                let name = c_string(name.as_bytes())?;
                sys::make_directory(parent.as_fd(), &name, 0o755)?;
                if owned {
                    change_owner(sys::open_directory(parent.as_fd(), &name)?.as_fd(), Some(self.owner))?;
                }
                open()
            }
            (opened, ..) => opened,
        }
    }
}

fn empty_directory() -> io::Result<OwnedFd> {
    let options = [(c"size", number(4096)?), (c"nr_inodes", number(1)?), (c"mode", c"0555".to_owned())];
    sys::new_mount(c"tmpfs", &options, sys::READ_ONLY | sys::NO_SET_UID | sys::NO_DEVICES | sys::NO_EXEC)
}

fn copy(path: &Path) -> io::Result<OwnedFd> {
    sys::copy_mount(&c_string(path.as_os_str().as_bytes())?)
}

/// Changes the owner of a file, if there is one to set.
fn change_owner(file: BorrowedFd, owner: Option<(u32, u32)>) -> io::Result<()> {
    owner.map_or(Ok(()), |(uid, gid)| sys::change_owner(file, uid, gid))
}

fn number(value: u64) -> io::Result<CString> {
    c_string(value.to_string())
}

/// Converts a string for the kernel. One that contains a NUL is an error (EINVAL).
pub fn c_string(text: impl Into<Vec<u8>>) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}
