//! The sandbox's first process: applies the steps, starts the program, and reaps whatever ends.

use std::collections::VecDeque;
use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use sandbox_launcher::{Ending, Failure, Namespace, Plan, Program, Report, Resource, Step, Usage, write_message};

use crate::fault::failed;
use crate::sys::{self, Wait};
use crate::tree::{Tree, c_string};
use crate::{landlock, privileges};

/// Runs in the new process, in its new namespaces, with fds 0 to 2 as the program gets them. `supervisor` is the
/// one other descriptor: a byte comes in when the user maps stand, reports go out. `sole_user` tells that the program's
/// user is the only one in a user namespace.
pub fn run(plan: Plan, sole_user: bool, mut supervisor: UnixStream) -> ! {
    // From here on the supervisor's death is ours. Had it died before, the read finds its end closed.
    let ready = die_with_parent().and_then(|()| supervisor.read_exact(&mut [0]));
    if ready.is_err() {
        sys::exit(1);
    }
    let report = match live(plan, sole_user, &mut supervisor) {
        Ok((ending, usage)) => Report::Ended { ending, usage },
        Err(failure) => Report::Failed(failure),
    };
    // If this fails, nobody is left to be told.
    let _ = write_message(&mut supervisor, &report);
    sys::exit(0)
}

fn live(plan: Plan, sole_user: bool, supervisor: &mut UnixStream) -> Result<(Ending, Usage), Failure> {
    let user = if plan.namespaces.contains(&Namespace::User) {
        User { uid: plan.identity.uid, gid: plan.identity.gid, sole: sole_user }
    } else {
        User { uid: plan.identity.host_uid, gid: plan.identity.host_gid, sole: false }
    };
    prepare(&plan.namespaces).map_err(failed("prepare the sandbox's first process"))?;
    apply(plan.view.into_iter().chain(plan.call).collect(), user)?;
    seal(supervisor).map_err(failed("seal the sandbox's first process"))?;

    let directory = &plan.program.directory;
    std::env::set_current_dir(directory).map_err(failed(format!("enter {}", directory.display())))?;
    write_message(supervisor, &Report::Started).map_err(failed("report the start"))?;
    let name = plan.program.arguments.first().map_or("a program without a name", String::as_str);
    let pid = start(&plan.program).map_err(failed(format!("start {name}")))?;
    wait_for(pid).map_err(failed(format!("wait for {name}")))
}

/// Who the program is, as this process sees users.
struct User {
    uid: u32,
    gid: u32,
    sole: bool,
}

fn prepare(namespaces: &[Namespace]) -> io::Result<()> {
    // The program can read the arguments and the name of pid 1.
    sys::erase_arguments();
    sys::set_name(c"sandbox")?;
    // Modes are those of the plan.
    sys::set_umask(0);
    if namespaces.contains(&Namespace::Mount) { sys::make_mounts_private() } else { Ok(()) }
}

/// Each step is dropped when it is done, so that the files' contents do not count as this process's memory when
/// its limits are set.
fn apply(mut steps: VecDeque<Step>, user: User) -> Result<(), Failure> {
    let mut tree = Tree::new((user.uid, user.gid)).map_err(failed("open /"))?;
    while let Some(step) = steps.pop_front() {
        let result = match &step {
            Step::Tmpfs { target, size, inodes, mode, owned } => tree.tmpfs(target, *size, *inodes, *mode, *owned),
            Step::Bind { source, target } => tree.bind(source, target),
            Step::Proc { target } => tree.proc(target),
            Step::Device { path } => tree.device(path),
            Step::Directory { path, mode, owned } => tree.directory(path, *mode, *owned),
            Step::Symlink { path, target } => tree.symlink(path, target),
            Step::File { path, content, mode, owned } => tree.file(path, content, *mode, *owned),
            Step::ReadOnly { target } => tree.read_only(target),
            Step::PivotRoot => {
                tree.pivot(&steps)?;
                Ok(())
            }
            Step::Hostname { name } => sys::set_hostname(name),
            Step::Loopback => sys::loopback_up(),
            Step::Limit { resource, value } => sys::limit(number(*resource), *value),
            Step::DropPrivileges => privileges::drop(user.uid, user.gid, user.sole),
            Step::NoNewPrivileges => sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1),
            Step::Landlock { read, write, scoped } => {
                landlock::confine(&tree, read, write, *scoped)?;
                Ok(())
            }
            Step::Seccomp { program } => sys::install_seccomp(program),
        };
        result.map_err(failed(step.to_string()))?;
    }
    Ok(())
}

fn number(resource: Resource) -> libc::c_uint {
    match resource {
        Resource::Data => libc::RLIMIT_DATA,
        Resource::Processes => libc::RLIMIT_NPROC,
        Resource::OpenFiles => libc::RLIMIT_NOFILE,
        Resource::FileSize => libc::RLIMIT_FSIZE,
        Resource::CoreSize => libc::RLIMIT_CORE,
        Resource::CpuTime => libc::RLIMIT_CPU,
    }
}

/// Shuts this process off from the program, which may be the same user.
fn seal(supervisor: &UnixStream) -> io::Result<()> {
    // Neither traced nor looked into: /proc/1/{fd,environ,mem,exe,…} are closed to the program.
    sys::prctl(libc::PR_SET_DUMPABLE, 0)?;
    // The program's own mask.
    sys::set_umask(0o022);
    // The kernel forgets the wish to die with the parent at every change of user.
    die_with_parent()?;
    match sys::wait([Wait::HungUp(supervisor.as_fd())], Some(Duration::ZERO))? {
        None | Some([false]) => Ok(()),
        Some([true]) => sys::exit(1),
    }
}

fn die_with_parent() -> io::Result<()> {
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as _)
}

fn start(program: &Program) -> io::Result<i32> {
    let strings = |texts: Vec<String>| texts.into_iter().map(c_string).collect::<io::Result<Vec<CString>>>();
    let variables = program.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let pid = sys::spawn(&look_up(program)?, &strings(program.arguments.clone())?, &strings(variables)?)?;
    // Whoever reads the program's output is to see its end when the program has closed it.
    sys::replace_stream(0, 1)?;
    sys::replace_stream(0, 2)?;
    Ok(pid)
}

/// The program's path: looked up along `PATH` as the program will see it, unless it holds a slash.
fn look_up(program: &Program) -> io::Result<CString> {
    let missing = || io::Error::from_raw_os_error(libc::ENOENT);
    let name = program.arguments.first().filter(|name| !name.is_empty()).ok_or_else(missing)?;
    if name.contains('/') {
        return c_string(name.as_str());
    }
    let path =
        program.variables.iter().find(|(variable, _)| variable == "PATH").map_or("", |(_, value)| value.as_str());
    let mut outcome = missing();
    for directory in path.split(':').filter(|directory| !directory.is_empty()) {
        let candidate = c_string(format!("{directory}/{name}"))?;
        match sys::executable(&candidate) {
            Ok(()) => return Ok(candidate),
            // A file that can't be executed says more than none at all.
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => outcome = error,
            Err(_) => {}
        }
    }
    Err(outcome)
}

/// Reaps all that ends until the program does. When this process then exits, the rest of the pid namespace is killed.
fn wait_for(pid: i32) -> io::Result<(Ending, Usage)> {
    let mut usage = Usage::default();
    loop {
        let Some(reaped) = sys::reap(-1, true)? else { continue };
        usage.cpu += reaped.cpu;
        usage.peak_memory = usage.peak_memory.max(reaped.peak_memory);
        if reaped.pid == pid {
            return Ok((ending(reaped.status), usage));
        }
    }
}

/// The meaning of a wait status.
pub fn ending(status: i32) -> Ending {
    if libc::WIFSIGNALED(status) {
        Ending::Signalled { signal: libc::WTERMSIG(status) }
    } else {
        Ending::Exited { code: libc::WEXITSTATUS(status) }
    }
}
