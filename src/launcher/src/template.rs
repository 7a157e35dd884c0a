//! What all sandboxes of one keeper have in common, and the users and namespaces that they are made of.

use std::fs::{self, File};
use std::mem::take;

use sandbox_plan::{Failure, Identity, Namespace, SandboxEnvironment};

use crate::cgroup::Groups;
use crate::fault::failed;
use crate::processors::ProcessorLoad;
use crate::sys;

/// What all sandboxes of one keeper have in common.
pub struct SandboxTemplate {
    pub environment: SandboxEnvironment,
    /// Whether the program's user is the only one in the sandbox's user namespace.
    pub sole_user: bool,
    /// The namespaces that clone makes for pid 1, as clone's flags.
    pub at_clone: i32,
    /// The namespaces that pid 1 makes itself, because creating these is slow and would block the keeper's loop.
    by_pid_1: i32,
    pub groups: Groups,
    pub null: File,
    /// The number of sandboxes that were made so far.
    pub made: u64,
}

/// What the first process of a sandbox gets to know.
pub struct InitArguments {
    /// Its view is empty where a manager has made it already.
    pub environment: SandboxEnvironment,
    /// The namespaces to make, as clone's flags.
    pub namespaces: i32,
    /// Whether the program's user is the only one in the sandbox's user namespace.
    pub sole_user: bool,
    /// The processors to stay on; `None` if all may be used.
    pub processors: Option<Vec<usize>>,
}

impl SandboxTemplate {
    pub fn new(environment: SandboxEnvironment, sole_user: bool, groups: Groups) -> Result<Self, Failure> {
        let all = environment.namespaces.iter().fold(0, |all, namespace| all | clone_flag(*namespace));
        let at_clone = all & (libc::CLONE_NEWUSER | libc::CLONE_NEWPID);
        let null = File::open("/dev/null").map_err(failed("open /dev/null"))?;
        Ok(Self { environment, sole_user, at_clone, by_pid_1: all & !at_clone, groups, null, made: 0 })
    }

    /// Returns the processors of the next sandbox, beside others that load the processors so. They are among those that
    /// this process may use just now, which can change. `None` if the sandbox may use all of them.
    pub fn next_processors(&self, load: &ProcessorLoad) -> Result<Option<Vec<usize>>, Failure> {
        let Some(count) = self.environment.watch.processors else { return Ok(None) };
        let allowed = sys::processors().map_err(failed("count the processors"))?;
        Ok(load.choose(count as usize, &allowed, sys::current_processor()))
    }

    /// Takes the arguments of a sandbox's first process out of this copy of the template, which the process has for
    /// itself. `ahead`: whether its program may be started before there is a call.
    pub fn take_init_arguments(&mut self, ahead: bool, processors: Option<Vec<usize>>) -> InitArguments {
        let all = &mut self.environment;
        // Large lists are moved, so that they do not count twice as this process's memory.
        let environment = SandboxEnvironment {
            view: take(&mut all.view),
            sandbox: take(&mut all.sandbox),
            walls: take(&mut all.walls),
            ahead: take(&mut all.ahead).filter(|_| ahead),
            ..all.clone()
        };
        InitArguments { environment, namespaces: self.by_pid_1, sole_user: self.sole_user, processors }
    }
}

/// Returns the flag by which clone and unshare make a namespace.
pub fn clone_flag(namespace: Namespace) -> i32 {
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

/// Writes the uid and gid maps of a process's new user namespace. If the launcher is root, the set-up is done as root,
/// which can read the sources of binds that others can't, and the program is another user.
pub fn map_users(pid: i32, identity: &Identity, sole_user: bool) -> Result<(), Failure> {
    let Identity { uid, gid, host_uid, host_gid } = *identity;
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/{pid}/{file}"), text).map_err(failed(format!("write the sandbox's {file}")))
    };
    if sole_user {
        write("uid_map", format!("{uid} {host_uid} 1\n"))?;
        // An ordinary user may map a group only after giving up the right to change groups.
        write("setgroups", "deny".to_owned())?;
        write("gid_map", format!("{gid} {host_gid} 1\n"))
    } else {
        write("uid_map", format!("0 0 1\n{uid} {host_uid} 1\n"))?;
        write("gid_map", format!("0 0 1\n{gid} {host_gid} 1\n"))
    }
}

/// Returns whether the sandbox's user namespace holds no other user than the program's.
pub fn is_sole_user(identity: &Identity) -> bool {
    (identity.host_uid, identity.host_gid) == sys::own_identity()
}
