//! Carries out steps, in whichever process: a manager, a sandbox's first process, or the program's own.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sandbox_plan::{Environment, Failure, Namespace, Resource, Route, Step};

use crate::fault::failed;
use crate::tree::Tree;
use crate::{landlock, privileges, sys};

/// Who the program is, as this process sees users.
#[derive(Clone, Copy)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// The only one in a user namespace.
    pub sole: bool,
}

impl User {
    pub fn of(environment: &Environment, sole_user: bool) -> Self {
        let identity = &environment.identity;
        if environment.namespaces.contains(&Namespace::User) {
            Self { uid: identity.uid, gid: identity.gid, sole: sole_user }
        } else {
            Self { uid: identity.host_uid, gid: identity.host_gid, sole: false }
        }
    }
}

/// Where steps are carried out.
pub struct Site {
    pub user: User,
    tree: Tree,
    /// Tells how full the sandbox's private directories are.
    pub scratch: Option<OwnedFd>,
    /// The server's, to be handed over with the start.
    pub sockets: Vec<OwnedFd>,
    /// Whether this process could get no new privileges before it said so itself: then somebody may have confined it.
    confined: bool,
}

impl Site {
    pub fn new(user: User) -> Result<Self, Failure> {
        let tree = Tree::new((user.uid, user.gid)).map_err(failed("open /"))?;
        Ok(Self { user, tree, scratch: None, sockets: Vec::new(), confined: false })
    }

    /// Each step is dropped when it is done, so that the files' contents do not count as this process's memory when
    /// its limits are set.
    pub fn apply(&mut self, steps: impl IntoIterator<Item = Step>) -> Result<(), Failure> {
        let mut steps: VecDeque<Step> = steps.into_iter().collect();
        while let Some(step) = steps.pop_front() {
            match &step {
                Step::PivotRoot => self.tree.pivot(&steps)?,
                Step::Landlock { required: false, .. } if sys::landlock_version().is_err() => {}
                Step::Landlock { required: false, scoped, .. }
                    if self.confined && landlock::would_bar_moving(&self.tree) =>
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
            Step::Mask { hidden, read_only } => tree.mask(hidden, read_only),
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
            // Theirs are failures of more than one phrase.
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
