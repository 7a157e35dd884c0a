//! What all sandboxes of one keeper have in common, and the users and namespaces that they are made of.

use std::fs::{self, File};

use sandbox_plan::{Environment, Failure, Identity, Namespace};

use crate::cgroup::Groups;
use crate::fault::failed;
use crate::sys;

/// What all sandboxes of one keeper have in common.
pub struct Mould {
    pub environment: Environment,
    pub sole_user: bool,
    /// The namespaces that the clone makes, and those that the new process makes itself: that takes long, and a keeper
    /// has others to look after.
    pub at_clone: i32,
    pub at_birth: i32,
    pub groups: Groups,
    processors: Vec<usize>,
    pub null: File,
    pub made: u64,
}

impl Mould {
    pub fn new(environment: Environment, sole_user: bool, groups: Groups) -> Result<Self, Failure> {
        let all = environment.namespaces.iter().fold(0, |all, namespace| all | flag(*namespace));
        let at_clone = all & (libc::CLONE_NEWUSER | libc::CLONE_NEWPID);
        let null = File::open("/dev/null").map_err(failed("open /dev/null"))?;
        let processors = sys::processors().map_err(failed("count the processors"))?;
        Ok(Self { environment, sole_user, at_clone, at_birth: all & !at_clone, groups, processors, null, made: 0 })
    }

    /// The next sandbox's processors, which it is to share with as few others as possible.
    pub fn next_processors(&self) -> Option<Vec<usize>> {
        let count = self.environment.watch.processors? as usize;
        if count >= self.processors.len() {
            return None;
        }
        let all = self.processors.iter().cycle();
        Some(all.skip(self.made as usize * count % self.processors.len()).take(count).copied().collect())
    }
}

pub fn flag(namespace: Namespace) -> i32 {
    match namespace {
        Namespace::User => libc::CLONE_NEWUSER,
        Namespace::Mount => libc::CLONE_NEWNS,
        Namespace::Pid => libc::CLONE_NEWPID,
        Namespace::Network => libc::CLONE_NEWNET,
        Namespace::Ipc => libc::CLONE_NEWIPC,
        Namespace::Uts => libc::CLONE_NEWUTS,
        Namespace::Cgroup => libc::CLONE_NEWCGROUP,
    }
}

/// Writes a new user namespace's maps. As root set-up is done as root, which reaches sources of binds that others can't;
/// the program is someone else.
pub fn map_users(pid: i32, identity: &Identity, sole_user: bool) -> Result<(), Failure> {
    let Identity { uid, gid, host_uid, host_gid } = *identity;
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/{pid}/{file}"), text).map_err(failed(format!("write the sandbox's {file}")))
    };
    if sole_user {
        write("uid_map", format!("{uid} {host_uid} 1\n"))?;
        // Who is not root may map a group only after giving up the right to change groups.
        write("setgroups", "deny".to_owned())?;
        write("gid_map", format!("{gid} {host_gid} 1\n"))
    } else {
        write("uid_map", format!("0 0 1\n{uid} {host_uid} 1\n"))?;
        write("gid_map", format!("0 0 1\n{gid} {host_gid} 1\n"))
    }
}

/// Whether the sandbox's user namespace holds no other user than the program's.
pub fn is_sole_user(identity: &Identity) -> bool {
    (identity.host_uid, identity.host_gid) == sys::own_identity()
}
