//! Carries out the steps of a plan, in a manager, in a sandbox's first process or in the program's own process.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sandbox_plan::{Failure, Namespace, Resource, Route, SandboxEnvironment, Step};

use crate::fault::failed;
use crate::tree::Tree;
use crate::{landlock, privileges, sys};

/// The program's user, as this process sees users.
#[derive(Clone, Copy)]
pub struct SandboxUser {
    pub uid: u32,
    pub gid: u32,
    /// Whether it is the only user in its user namespace.
    pub sole: bool,
}

impl SandboxUser {
    /// Returns the user of an environment's programs.
    pub fn of(environment: &SandboxEnvironment, sole_user: bool) -> Self {
        let identity = &environment.identity;
        if environment.namespaces.contains(&Namespace::User) {
            Self { uid: identity.uid, gid: identity.gid, sole: sole_user }
        } else {
            Self { uid: identity.host_uid, gid: identity.host_gid, sole: false }
        }
    }
}

/// Carries out steps, and keeps what they make for later ones.
pub struct StepRunner {
    pub user: SandboxUser,
    tree: Tree,
    /// A descriptor that tells how full the sandbox's private directories are.
    pub scratch: Option<OwnedFd>,
    /// The sockets of a gateway, for the server.
    pub sockets: Vec<OwnedFd>,
    /// Whether no_new_privs was set before this process set it: then another program may have confined this process.
    confined: bool,
}

impl StepRunner {
    pub fn new(user: SandboxUser) -> Result<Self, Failure> {
        let tree = Tree::new((user.uid, user.gid)).map_err(failed("open /"))?;
        Ok(Self { user, tree, scratch: None, sockets: Vec::new(), confined: false })
    }

    /// Takes steps in their order. Each is dropped when it is done, so that the contents of files do not count as this
    /// process's memory when its limits are set.
    pub fn apply(&mut self, steps: impl IntoIterator<Item = Step>) -> Result<(), Failure> {
        let mut steps: VecDeque<Step> = steps.into_iter().collect();
        while let Some(step) = steps.pop_front() {
            match &step {
                Step::PivotRoot => self.tree.pivot(&steps)?,
                Step::Landlock { required: false, .. } if sys::landlock_version().is_err() => {}
                Step::Landlock { required: false, scoped, .. }
                    if self.confined && landlock::would_prevent_moving(&self.tree) =>
                {
                    landlock::scope(*scoped)?;
                }
                Step::Landlock { read, write, scoped, .. } => landlock::confine(&self.tree, read, write, *scoped)?,
                other => self.take(other).map_err(failed(step.to_string()))?,
            }
        }
        Ok(())
    }

    fn take(&mut self, step: &Step) -> io::Result<()> {
        let Self { user, tree, scratch, sockets, confined } = self;
        match step {
            Step::Tmpfs { target, size, inodes, mode, owned } => tree.tmpfs(target, *size, *inodes, *mode, *owned),
            Step::Scratch { size, inodes, directories } => {
                *scratch = tree.scratch(*size, *inodes, directories)?;
                Ok(())
            }
            Step::Bind { source, target } => tree.bind(source, target),
            Step::Proc { target } => tree.proc(target),
            Step::Terminals { target, most } => tree.terminals(target, *most),
            Step::Mask { hidden, replaced, read_only } => tree.mask(hidden, replaced, read_only),
            Step::Setting { name, value } => set(name, value),
            Step::Device { path } => tree.device(path),
            Step::Directory { path, mode, owned } => tree.directory(path, *mode, *owned),
            Step::Symlink { path, target } => tree.symlink(path, target),
            Step::File { path, content, mode, owned } => tree.file(path, content, *mode, *owned),
            Step::ReadOnly { target } => tree.read_only(target),
            Step::Hostname { name } => sys::set_hostname(name),
            Step::Loopback => sys::loopback_up(),
            Step::Gateway { routes, listeners, resolver } => {
                *sockets = gateway(routes, listeners, *resolver)?;
                Ok(())
            }
            Step::Limit { resource, value } => sys::limit(rlimit(*resource), *value),
            Step::DropPrivileges => privileges::drop(user.uid, user.gid, user.sole),
            Step::NoNewPrivileges => {
                *confined = sys::has_no_new_privileges()?;
                sys::set_no_new_privileges()
            }
            Step::Seccomp { program } => sys::install_seccomp(program),
            // `apply` takes these, whose failures name more than the step.
            Step::PivotRoot | Step::Landlock { .. } => unreachable!(),
        }
    }
}

fn gateway(routes: &[Route], listeners: &[SocketAddrV4], resolver: SocketAddrV4) -> io::Result<Vec<OwnedFd>> {
    for Route { network, prefix } in routes {
        sys::route_to_loopback(*network, *prefix, Ipv4Addr::LOCALHOST)?;
    }
    sys::open_sockets(listeners, resolver)
}

fn set(name: &str, value: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(Path::new("/proc/sys").join(name.trim_start_matches('/')))?;
    file.write_all(value.as_bytes())
}

/// Returns the kernel's limit for a resource.
fn rlimit(resource: Resource) -> sys::Resource {
    match resource {
        Resource::Data => sys::Resource::Data,
        Resource::Processes => sys::Resource::Nproc,
        Resource::OpenFiles => sys::Resource::Nofile,
        Resource::FileSize => sys::Resource::Fsize,
        Resource::CoreSize => sys::Resource::Core,
        Resource::CpuTime => sys::Resource::Cpu,
    }
}
