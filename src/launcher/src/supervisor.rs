//! The launcher's outer process: keeps one sandbox itself, or starts a manager and stays behind as its guard.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use sandbox_plan::{
    CALL_HEADER_BYTES, Failure, MAX_CALL_BYTES, Namespace, Order, Report, SandboxEnvironment, Step, read_message,
    write_message,
};

use crate::cgroup::Groups;
use crate::descendants;
use crate::fault::failed;
use crate::keeper::Keeper;
use crate::pool::ReadyPool;
use crate::sandbox::CallDescriptors;
use crate::steps::{SandboxUser, StepRunner};
use crate::sys::{self, Signal, StandardStream, Wait};
use crate::template::{SandboxTemplate, clone_flag, is_sole_user, map_users};

/// Serves the server at the other end of `control`.
pub fn serve(mut control: UnixStream) {
    let result = match read_message::<Order>(&mut control, MAX_CALL_BYTES) {
        Ok(None) => return,
        Ok(Some(Order::Once(environment))) => once(environment, &control),
        Ok(Some(Order::Serve { environment, ready })) => manage(environment, ready, &control),
        Err(error) => Err(failed("read the order")(error)),
    };
    if let Err(failure) = result {
        // If this fails, the server is gone.
        let _ = write_message(&mut control, &Report::Failed(failure));
    }
}

/// Runs one sandbox from start to end. Its reports go out by `control`.
fn once(environment: SandboxEnvironment, mut control: &UnixStream) -> Result<(), Failure> {
    let mut header = [0; CALL_HEADER_BYTES];
    control.read_exact(&mut header).map_err(failed("read the call"))?;
    let mut parents: Vec<OwnedFd> = server().map_err(failed("watch the server"))?.into_iter().collect();
    if !environment.namespaces.contains(&Namespace::Pid) {
        parents.push(guard().map_err(failed("start the launcher's guard"))?);
    }
    let sole_user = is_sole_user(&environment.identity);
    let groups = Groups::open(&environment.cgroups)?;
    let template = SandboxTemplate::new(environment, sole_user, groups)?;
    let take_descriptors = || -> io::Result<CallDescriptors> {
        let copy = |fd: BorrowedFd| fd.try_clone_to_owned();
        let outputs = [copy(io::stdout().as_fd())?, copy(io::stderr().as_fd())?];
        // The reader of the program's output must see its end as soon as the program has closed it.
        for stream in [StandardStream::Output, StandardStream::Errors] {
            sys::replace_stream(&template.null, stream)?;
        }
        Ok(CallDescriptors { caller: control.try_clone()?, outputs, header })
    };
    let descriptors = take_descriptors().map_err(failed("let go of the program's output"))?;
    let mut keeper = Keeper::of_one(template, parents);
    keeper.begin(descriptors);
    // A program of the same user in the same pid namespace could otherwise trace this process.
    sys::set_dumpable(false).map_err(failed("seal the launcher"))?;
    keeper.work();
    Ok(())
}

/// Starts a manager and stays behind as its guard, in the host's namespaces.
fn manage(environment: SandboxEnvironment, ready: usize, control: &UnixStream) -> Result<(), Failure> {
    let needed = [Namespace::User, Namespace::Mount, Namespace::Pid];
    if needed.iter().any(|namespace| !environment.namespaces.contains(namespace)) {
        let operation = "serve calls without user, mount and pid namespaces".to_owned();
        return Err(Failure { operation, errno: libc::EINVAL });
    }
    let server = server().map_err(failed("watch the server"))?;
    let groups = Groups::open(&environment.cgroups)?;
    let sole_user = is_sole_user(&environment.identity);
    let identity = environment.identity.clone();
    let (mut ours, theirs) = UnixStream::pair().map_err(failed("make a socket pair"))?;
    let flags = needed.iter().fold(0, |all, namespace| all | clone_flag(*namespace));
    let null = File::open("/dev/null").map_err(failed("open /dev/null"))?;
    for stream in [StandardStream::Output, StandardStream::Errors] {
        sys::replace_stream(&null, stream).map_err(failed("let go of the output"))?;
    }
    let Some((pid, pidfd)) = sys::clone_process(flags).map_err(failed("make the manager's namespaces"))? else {
        drop(ours);
        be_manager(environment, ready, sole_user, groups, control, theirs);
    };
    drop(theirs);
    let mapped = map_users(pid, &identity, sole_user);
    if mapped.is_ok() {
        // If the manager has ended already, `watch` finds out.
        let _ = ours.write_all(&[0]);
        watch(control, server, &pidfd, &ours);
    }
    sys::send_signal(pidfd.as_fd(), Signal::KILL);
    // The manager ends after all processes below it.
    let _ = sys::reap(pid, true);
    groups.sweep();
    mapped
}

/// Waits for the end of the manager, the server or the control socket, and closes the descriptors whose closing would
/// hold the manager up.
fn watch(control: &UnixStream, server: Option<OwnedFd>, manager: &OwnedFd, closing: &UnixStream) {
    let server = server.as_ref().map_or(Wait::Nothing, |server| Wait::Readable(server.as_fd()));
    let manager = Wait::Readable(manager.as_fd());
    let events = [Wait::HungUp(control.as_fd()), server, manager, Wait::Readable(closing.as_fd())];
    while let Ok(occurred) = sys::wait(&events, None) {
        if occurred[..3].contains(&true) {
            return;
        }
        if occurred[3] && !matches!(sys::receive_descriptors(closing.as_fd(), &mut [0]), Ok((1, _))) {
            return;
        }
    }
}

/// Runs the manager, the first process of its pid namespace: its end is the end of all its sandboxes.
fn be_manager(
    environment: SandboxEnvironment,
    ready: usize,
    sole_user: bool,
    groups: Groups,
    mut control: &UnixStream,
    mut guard: UnixStream,
) -> ! {
    let released = sys::die_with_parent().and_then(|()| guard.read_exact(&mut [0]));
    if released.is_err() {
        sys::exit(1);
    }
    let slow = environment.ahead.is_some();
    match prepare(environment, sole_user, groups) {
        Ok(template) => {
            if write_message(&mut control, &Report::Ready).is_ok() {
                Keeper::of_many(template, control, guard, ReadyPool::of(ready, slow)).work();
            }
        }
        Err(failure) => {
            let _ = write_message(&mut control, &Report::Failed(failure));
        }
    }
    sys::exit(0)
}

/// Makes the view, of which each sandbox gets a copy.
fn prepare(mut environment: SandboxEnvironment, sole_user: bool, groups: Groups) -> Result<SandboxTemplate, Failure> {
    sys::make_mounts_private().map_err(failed("prepare the manager"))?;
    let view: Vec<Step> = std::mem::take(&mut environment.view);
    let mut runner = StepRunner::new(SandboxUser::of(&environment, sole_user))?;
    runner.apply(view)?;
    // What one sandbox could change, the next one would find.
    runner.apply([Step::ReadOnly { target: "/".into() }])?;
    // From here on, outside means the manager's namespace.
    environment.identity.host_uid = environment.identity.uid;
    environment.identity.host_gid = environment.identity.gid;
    SandboxTemplate::new(environment, sole_user, groups)
}

/// Opens a pidfd of the server, to notice its death; `None` if it is in another pid namespace or has died. The end of
/// the control socket tells the same, unless another process has got a copy of the server's end.
fn server() -> io::Result<Option<OwnedFd>> {
    match sys::parent_pid() {
        None => Ok(None),
        Some(pid) => match sys::open_pidfd(pid) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            opened => opened.map(Some),
        },
    }
}

/// Leaves this process as a guard and goes on in a copy, which gets the guard's pidfd.
///
/// Without a pid namespace only a live subreaper can kill every descendant. Orphans come to the supervisor; if it is
/// killed they come to the guard, and if the guard is killed the supervisor notices.
fn guard() -> io::Result<OwnedFd> {
    // A program of the same user could otherwise trace the guard.
    sys::set_dumpable(false)?;
    sys::become_subreaper()?;
    let pidfd = sys::open_pidfd(sys::own_pid())?;
    let Some((supervisor, _)) = sys::clone_process(0)? else {
        // This process has user maps to write and orphans to adopt, and has inherited neither setting as it needs it.
        sys::set_dumpable(true)?;
        sys::become_subreaper()?;
        return Ok(pidfd);
    };
    // Only the supervisor holds the control socket and the program's output.
    if let Ok(null) = File::open("/dev/null") {
        let _ = sys::detach(&null, null.as_fd());
    }
    let _ = sys::reap(supervisor, true);
    descendants::kill_all();
    sys::exit(0)
}
