//! A control group for each sandbox. Which files hold which limits is the order's business; the directories are opened
//! before a manager turns its back on the host.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sandbox_plan::{Alarm, Cgroup, Failure, Limit};

use crate::fault::failed;
use crate::sys;
use crate::tree::c_string;

/// Begins the name of each group.
const PREFIX: &str = "sandbox-mcp-";

/// The directories in which sandboxes get theirs.
pub struct Groups {
    parents: Vec<(Cgroup, OwnedFd)>,
    /// The launcher's pid, which is part of each group's name.
    keeper: i32,
}

/// The groups of one sandbox, one for each parent.
pub struct Group {
    members: Vec<Member>,
}

struct Member {
    parent: OwnedFd,
    name: String,
    directory: File,
    path: PathBuf,
    alarms: Vec<(Alarm, File)>,
}

impl Groups {
    pub fn open(cgroups: &[Cgroup]) -> Result<Self, Failure> {
        let parents = cgroups
            .iter()
            .map(|cgroup| {
                let directory = OpenOptions::new()
                    .read(true)
                    .custom_flags(libc::O_DIRECTORY)
                    .open(&cgroup.directory)
                    .map_err(failed(format!("open the control group {}", cgroup.directory.display())))?;
                Ok((cgroup.clone(), directory.into()))
            })
            .collect::<Result<_, Failure>>()?;
        let groups = Self { parents, keeper: sys::own_pid() };
        groups.sweep_after_others();
        Ok(groups)
    }

    /// Makes a sandbox's groups, with their limits set.
    pub fn make(&self, number: u64) -> Result<Group, Failure> {
        let mut group = Group { members: Vec::new() };
        for (cgroup, parent) in &self.parents {
            let name = format!("{PREFIX}{}-{number}", self.keeper);
            match Member::make(cgroup, parent, name) {
                Ok(member) => group.members.push(member),
                Err(failure) => {
                    group.remove();
                    return Err(failure);
                }
            }
        }
        Ok(group)
    }

    /// Removes what this launcher has left.
    pub fn sweep(&self) {
        self.remove_where(|keeper| keeper == self.keeper);
    }

    /// Removes what launchers have left that were killed before they could do it. Only empty groups can be removed.
    fn sweep_after_others(&self) {
        self.remove_where(|keeper| !Path::new("/proc").join(keeper.to_string()).exists());
    }

    fn remove_where(&self, is_meant: impl Fn(i32) -> bool) {
        for (cgroup, parent) in &self.parents {
            for entry in fs::read_dir(&cgroup.directory).into_iter().flatten().flatten() {
                let name = entry.file_name();
                if keeper_of(&name).is_some_and(&is_meant)
                    && let Ok(name) = c_string(name.as_encoded_bytes())
                {
                    let _ = sys::remove_directory(parent.as_fd(), &name);
                }
            }
        }
    }
}

/// The launcher that a group's name names.
fn keeper_of(name: &OsStr) -> Option<i32> {
    let (keeper, _) = name.to_str()?.strip_prefix(PREFIX)?.split_once('-')?;
    keeper.parse().ok()
}

impl Member {
    fn make(cgroup: &Cgroup, parent: &OwnedFd, name: String) -> Result<Self, Failure> {
        let path = cgroup.directory.join(&name);
        let make = || -> io::Result<(OwnedFd, File)> {
            let c_name = c_string(name.as_str())?;
            sys::make_directory(parent.as_fd(), &c_name, 0o755)?;
            Ok((parent.try_clone()?, sys::open_directory(parent.as_fd(), &c_name)?.into()))
        };
        let (parent, directory) = make().map_err(failed(format!("make the control group {}", path.display())))?;
        let mut member = Self { parent, name, directory, path, alarms: Vec::new() };
        match member.settle(cgroup) {
            Ok(()) => Ok(member),
            Err(failure) => {
                member.remove();
                Err(failure)
            }
        }
    }

    fn settle(&mut self, cgroup: &Cgroup) -> Result<(), Failure> {
        for (file, value) in &cgroup.settings {
            self.write(file, value).map_err(failed(format!("set {} to {value}", self.path.join(file).display())))?;
        }
        for alarm in &cgroup.alarms {
            let file = sys::open_file(
                self.directory.as_fd(),
                &c_string(&*alarm.file).map_err(failed("name a file"))?,
                OFlags::RDONLY,
            )
            .map_err(failed(format!("open {}", self.path.join(&alarm.file).display())))?;
            self.alarms.push((alarm.clone(), file.into()));
        }
        Ok(())
    }

    fn write(&self, file: &str, value: &str) -> io::Result<()> {
        let file = sys::open_file(self.directory.as_fd(), &c_string(file)?, OFlags::WRONLY)?;
        File::from(file).write_all(value.as_bytes())
    }

    fn remove(self) {
        // Its last process can be gone for its parent, and not yet for the group.
        const TRIES: u32 = 100;
        let Self { parent, name, directory, alarms, .. } = self;
        drop((directory, alarms));
        let Ok(name) = c_string(name) else { return };
        for _ in 0..TRIES {
            match sys::remove_directory(parent.as_fd(), &name) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    std::thread::sleep(std::time::Duration::from_micros(100));
                }
                _ => return,
            }
        }
    }
}

impl Group {
    /// Moves this process in, which has one thread, and thereby all that it will start. It can take milliseconds, in
    /// which the kernel waits for all processors, so that it is done by whoever moves and not by a keeper.
    pub fn join(&self) -> Result<(), Failure> {
        for member in &self.members {
            // For a thread that moves itself the kernel waits for nobody. Version 2 moves whole processes only.
            let moved = match member.write("tasks", "0") {
                Err(error) if error.kind() == ErrorKind::NotFound => member.write("cgroup.procs", "0"),
                moved => moved,
            };
            moved.map_err(failed(format!("enter the control group {}", member.path.display())))?;
        }
        Ok(())
    }

    /// The limit that was met, if any was.
    pub fn alarm(&self) -> Option<Limit> {
        let alarms = self.members.iter().flat_map(|member| &member.alarms);
        alarms
            .filter(|(alarm, file)| count(alarm, file).is_some_and(|count| count > 0))
            .map(|(alarm, _)| alarm.limit)
            .next()
    }

    pub fn remove(self) {
        self.members.into_iter().for_each(Member::remove);
    }
}

/// The number behind the alarm's key.
fn count(alarm: &Alarm, file: &File) -> Option<u64> {
    use std::os::unix::fs::FileExt;
    let mut buffer = [0; 1024];
    let length = file.read_at(&mut buffer, 0).ok()?;
    let text = str::from_utf8(&buffer[..length]).ok()?;
    text.lines().find_map(|line| line.strip_prefix(&*alarm.key)?.trim().parse().ok())
}
