//! A control group for each sandbox. The order says which files hold which limits; the directories are opened before a
//! manager leaves the host's mount namespace.

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
const NAME_PREFIX: &str = "sandbox-mcp-";

/// The control groups in which sandboxes get groups of their own.
pub struct Groups {
    parents: Vec<(Cgroup, OwnedFd)>,
    /// The pid of the launcher, which is part of each group's name.
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
    /// Opens the directories, and removes groups that earlier launchers have left.
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

    /// Makes a sandbox's groups and sets their limits.
    pub fn make(&self, number: u64) -> Result<Group, Failure> {
        let mut group = Group { members: Vec::new() };
        for (cgroup, parent) in &self.parents {
            let name = format!("{NAME_PREFIX}{}-{number}", self.keeper);
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

    /// Removes the groups that this launcher has left.
    pub fn sweep(&self) {
        self.remove_where(|keeper| keeper == self.keeper);
    }

    /// Removes the groups of launchers that were killed before they could do it. The kernel keeps groups that are not
    /// empty.
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

/// Returns the pid of the launcher that a group belongs to, from its name.
fn keeper_of(name: &OsStr) -> Option<i32> {
    let (keeper, _) = name.to_str()?.strip_prefix(NAME_PREFIX)?.split_once('-')?;
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
        match member.configure(cgroup) {
            Ok(()) => Ok(member),
            Err(failure) => {
                member.remove();
                Err(failure)
            }
        }
    }

    fn configure(&mut self, cgroup: &Cgroup) -> Result<(), Failure> {
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
        // The group can have its last process for a moment longer than the parent of that process.
        const MAX_TRIES: u32 = 100;
        let Self { parent, name, directory, alarms, .. } = self;
        drop((directory, alarms));
        let Ok(name) = c_string(name) else { return };
        for _ in 0..MAX_TRIES {
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
    /// Moves this process, which has one thread, into the groups, and thereby all processes that it will start. This
    /// can take milliseconds, in which the kernel waits for all processors, so a keeper must not do it for others.
    pub fn join(&self) -> Result<(), Failure> {
        for member in &self.members {
            // A thread that moves itself does not have to wait. Version 2 moves only whole processes.
            let moved = match member.write("tasks", "0") {
                Err(error) if error.kind() == ErrorKind::NotFound => member.write("cgroup.procs", "0"),
                moved => moved,
            };
            moved.map_err(failed(format!("enter the control group {}", member.path.display())))?;
        }
        Ok(())
    }

    /// Returns the limit that was met, if any.
    pub fn alarm(&self) -> Option<Limit> {
        let alarms = self.members.iter().flat_map(|member| &member.alarms);
        alarms
            .filter(|(alarm, file)| count(alarm, file).is_some_and(|count| count > 0))
            .map(|(alarm, _)| alarm.limit)
            .next()
    }

    /// Removes the groups, which must be empty.
    pub fn remove(self) {
        self.members.into_iter().for_each(Member::remove);
    }
}

/// Reads the number after an alarm's key.
fn count(alarm: &Alarm, file: &File) -> Option<u64> {
    use std::os::unix::fs::FileExt;
    let mut buffer = [0; 1024];
    let length = file.read_at(&mut buffer, 0).ok()?;
    let text = str::from_utf8(&buffer[..length]).ok()?;
    text.lines().find_map(|line| line.strip_prefix(&*alarm.key)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeper_of_a_group_name_is_its_pid() {
        let keeper = |name: &str| keeper_of(OsStr::new(name));
        assert_eq!(keeper("sandbox-mcp-123-7"), Some(123));
        for name in
            ["", "sandbox-mcp-123", "sandbox-mcp-trial-1", "sandbox-mcp-1x-2", "other-123-7", "sandbox-mcp-123.scope"]
        {
            assert_eq!(keeper(name), None, "{name}");
        }
    }
}
