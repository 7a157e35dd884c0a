//! The launcher's outer process: answers for one sandbox itself, or starts a manager and answers for its end.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use sandbox_plan::{
    CALL_SIZE, Environment, Failure, LARGEST_CALL, Namespace, Order, Report, Step, read_message, write_message,
};

use crate::cgroup::Groups;
use crate::descendants;
use crate::fault::failed;
use crate::keeper::Keeper;
use crate::mould::{Mould, flag, is_sole_user, map_users};
use crate::pool::Pool;
use crate::sandbox::Handover;
use crate::steps::{Site, User};
use crate::sys::{self, Signal, Stream, Wait};

/// Serves the server at the other end of `control`.
pub fn serve(mut control: UnixStream) {
    let result = match read_message::<Order>(&mut control, LARGEST_CALL) {
        Ok(None) => return,
        Ok(Some(Order::Once(environment))) => once(environment, &control),
        Ok(Some(Order::Serve { environment, ready })) => manage(environment, ready, &control),
        Err(error) => Err(failed("read the order")(error)),
    };
    if let Err(failure) = result {
        // If this fails, nobody is left to be told.
        let _ = write_message(&mut control, &Report::Failed(failure));
    }
}

/// Runs one sandbox from start to end. Its reports go out by `control`.
fn once(environment: Environment, mut control: &UnixStream) -> Result<(), Failure> {
    let mut header = [0; CALL_SIZE];
    control.read_exact(&mut header).map_err(failed("read the call"))?;
    let mut wardens: Vec<OwnedFd> = server().map_err(failed("watch the server"))?.into_iter().collect();
    if !environment.namespaces.contains(&Namespace::Pid) {
        wardens.push(guard().map_err(failed("start the launcher's guard"))?);
    }
    let sole_user = is_sole_user(&environment.identity);
    let groups = Groups::open(&environment.cgroups)?;
    let mould = Mould::new(environment, sole_user, groups)?;
    let handover = || -> io::Result<Handover> {
        let copy = |fd: BorrowedFd| fd.try_clone_to_owned();
        let outputs = [copy(io::stdout().as_fd())?, copy(io::stderr().as_fd())?];
        // Whoever reads the program's output is to see its end when the program has closed it.
        for stream in [Stream::Output, Stream::Errors] {
            sys::replace_stream(&mould.null, stream)?;
        }
        Ok(Handover { call: control.try_clone()?, outputs, header })
    };
    let handover = handover().map_err(failed("let go of the program's output"))?;
    let mut keeper = Keeper::of_one(mould, wardens);
    keeper.begin(handover);
    // A program of the same user in the same pid namespace could otherwise trace this process.
    sys::set_dumpable(false).map_err(failed("seal the launcher"))?;
    keeper.work();
    Ok(())
}

/// Starts a manager and stays behind as its guard, in the host's namespaces.
fn manage(environment: Environment, ready: usize, control: &UnixStream) -> Result<(), Failure> {
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
    let flags = needed.iter().fold(0, |all, namespace| all | flag(*namespace));
    let null = File::open("/dev/null").map_err(failed("open /dev/null"))?;
    for stream in [Stream::Output, Stream::Errors] {
        sys::replace_stream(&null, stream).map_err(failed("let go of the output"))?;
    }
    let Some((pid, pidfd)) = sys::clone_process(flags).map_err(failed("make the manager's namespaces"))? else {
        drop(ours);
        be_manager(environment, ready, sole_user, groups, control, theirs);
    };
    drop(theirs);
    let mapped = map_users(pid, &identity, sole_user);
    if mapped.is_ok() {
        // If the manager is gone already, the watch finds out.
        let _ = ours.write_all(&[0]);
        watch(control, server, &pidfd, &ours);
    }
    sys::send_signal(pidfd.as_fd(), Signal::KILL);
    // The manager is gone when all that is below it is.
    let _ = sys::reap(pid, true);
    groups.sweep();
    mapped
}

/// Waits for the end of the manager, the server, or what connects them, and closes what the manager has no time to.
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

/// The manager's life, as the first process of its pid namespace: its end is the end of all its sandboxes.
fn be_manager(
    environment: Environment,
    ready: usize,
    sole_user: bool,
    groups: Groups,
    mut control: &UnixStream,
    mut guard: UnixStream,
) -> ! {
    let born = sys::die_with_parent().and_then(|()| guard.read_exact(&mut [0]));
    if born.is_err() {
        sys::exit(1);
    }
    let slow = environment.ahead.is_some();
    match prepare(environment, sole_user, groups) {
        Ok(mould) => {
            if write_message(&mut control, &Report::Ready).is_ok() {
                Keeper::of_many(mould, control, guard, Pool::of(ready, slow)).work();
            }
        }
        Err(failure) => {
            let _ = write_message(&mut control, &Report::Failed(failure));
        }
    }
    sys::exit(0)
}

/// Makes the view that all sandboxes have a copy of.
fn prepare(mut environment: Environment, sole_user: bool, groups: Groups) -> Result<Mould, Failure> {
    sys::make_mounts_private().map_err(failed("prepare the manager"))?;
    let view: Vec<Step> = std::mem::take(&mut environment.view);
    let mut site = Site::new(User::of(&environment, sole_user))?;
    site.apply(view)?;
    // What one sandbox could change, the next would find.
    site.apply([Step::ReadOnly { target: "/".into() }])?;
    // From here on, who the program is outside is who it is in the manager's namespace.
    environment.identity.host_uid = environment.identity.uid;
    environment.identity.host_gid = environment.identity.gid;
    Mould::new(environment, sole_user, groups)
}

/// The server's process, to notice its death. The end of the control socket tells as much, unless some other
/// process got a copy of the server's end.
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
/// Without a pid namespace nothing but a living process can see to the end of all others. Orphans come to the
/// supervisor. If it is killed they come to the guard, and if the guard is killed the supervisor notices.
fn guard() -> io::Result<OwnedFd> {
    // A program of the same user could otherwise trace the guard.
    sys::set_dumpable(false)?;
    sys::become_subreaper()?;
    let pidfd = sys::open_pidfd(sys::own_pid())?;
    let Some((supervisor, _)) = sys::clone_process(0)? else {
        // Neither is inherited as it is needed: this process has user maps to write and orphans to adopt.
        sys::set_dumpable(true)?;
        sys::become_subreaper()?;
        return Ok(pidfd);
    };
    // The control socket and the program's output are the supervisor's alone.
    if let Ok(null) = File::open("/dev/null") {
        let _ = sys::detach(&null, null.as_fd());
    }
    let _ = sys::reap(supervisor, true);
    descendants::kill_all();
    sys::exit(0)
}
