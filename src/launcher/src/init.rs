//! The sandbox's first process: makes what the sandbox is to hold, forks the program's process, waits for a call,
//! and reaps whatever ends.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use sandbox_plan::{
    Call, Ending, Environment, Failure, LARGEST_CALL, Limit, Namespace, Report, Step, Usage, encode, read_message,
    write_message,
};

use crate::fault::failed;
use crate::services::Services;
use crate::steps::{Site, User};
use crate::sys::{self, Wait};
use crate::{privileges, watch, worker};

/// What the sandbox's first process is told at its birth.
pub struct Birth {
    /// Its view is empty where a manager has made it already.
    pub environment: Environment,
    /// The namespaces that are not made yet.
    pub namespaces: i32,
    /// The program's user is the only one in a user namespace.
    pub sole_user: bool,
    /// The processors to stay on.
    pub processors: Option<Vec<usize>>,
}

/// Runs in the new process, with fds 0 to 2 on /dev/null. `keeper` is the one other descriptor: a byte comes in when
/// the user maps stand, then one with a call's descriptors; reports go out.
pub fn run(birth: Birth, mut keeper: UnixStream) -> ! {
    // From here on the keeper's death is ours. Had it died before, the read finds its end closed.
    let born = sys::die_with_parent().and_then(|()| keeper.read_exact(&mut [0]));
    if born.is_err() {
        sys::exit(1);
    }
    let report = live(birth, &mut keeper).unwrap_or_else(Report::Failed);
    // If this fails, nobody is left to be told.
    let _ = write_message(&mut keeper, &report);
    sys::exit(0)
}

fn live(mut birth: Birth, keeper: &mut UnixStream) -> Result<Report, Failure> {
    sys::unshare(birth.namespaces).map_err(failed("make the sandbox's namespaces"))?;
    let environment = &mut birth.environment;
    prepare(&environment.namespaces).map_err(failed("prepare the sandbox's first process"))?;
    let user = User::of(environment, birth.sole_user);
    let mut site = Site::new(user)?;
    site.apply([std::mem::take(&mut environment.view), std::mem::take(&mut environment.sandbox)].concat())?;
    // Without a pid namespace the processes in sight are not this sandbox's.
    let crowd = environment.watch.processes.filter(|_| environment.namespaces.contains(&Namespace::Pid));
    let handed_over = std::mem::take(&mut environment.handed_over);
    let drops = environment.walls.contains(&Step::DropPrivileges);
    if drops {
        privileges::bar().map_err(failed("bar new privileges"))?;
    }
    let mut worker = worker::start(&mut site, &birth)?;
    tell_ready(keeper, site.scratch.take(), &handed_over)?;

    let (mut caller, [stdout, stderr]) = await_call(keeper).map_err(failed("wait for a call"))?;
    let call: Call = read_message(&mut caller, LARGEST_CALL)
        .and_then(|call| call.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()))
        .map_err(failed("read the call"))?;
    if !worker.serves(&call) {
        worker.end();
        birth.environment.ahead = None;
        worker = worker::start(&mut site, &birth)?;
    }
    site.apply(call.steps)?;
    if drops {
        sys::set_no_new_privileges().map_err(failed("bar new privileges"))?;
        privileges::drop(user.uid, user.gid, user.sole).map_err(failed("give up privileges"))?;
    }
    seal(keeper).map_err(failed("seal the sandbox's first process"))?;
    hand_over(std::mem::take(&mut site.sockets), &caller)?;
    worker.hand_over(&caller)?;
    // Straight to the caller, and before it is true: whoever has not read this can be sure that nothing was begun, even
    // if the keeper is lost.
    write_message(&mut caller, &Report::Started)
        .and_then(|()| write_message(keeper, &Report::Started))
        .map_err(failed("report the start"))?;
    drop(caller);
    let services = match &call.program {
        Some(program) if !call.services.is_empty() => {
            match Services::start(call.services, program, &mut worker, stderr.as_fd())? {
                None => {
                    let ending = explain(Ending::Unready, crowd);
                    return Ok(Report::Ended { ending, usage: Usage::default() });
                }
                started => started,
            }
        }
        _ => None,
    };
    if let Some(inside) = worker.release(call.program, [stdout, stderr])? {
        return Ok(Report::Found(inside));
    }
    let (ending, usage) = wait_for(worker.pid, services).map_err(failed("wait for the program"))?;
    Ok(Report::Ended { ending: explain(ending, crowd), usage })
}

fn prepare(namespaces: &[Namespace]) -> io::Result<()> {
    // The program can read the arguments and the name of pid 1.
    sys::erase_arguments();
    sys::set_name(c"sandbox")?;
    // Modes are those of the plan.
    sys::set_umask(0);
    if namespaces.contains(&Namespace::Mount) { sys::make_mounts_private() } else { Ok(()) }
}

/// With the word go descriptors: one that keeps the mount namespace, one that tells how full the private directories are,
/// and those of the directories that are handed to the server in the end, of which the first can stand for the second too.
fn tell_ready(keeper: &UnixStream, scratch: Option<OwnedFd>, handed_over: &[PathBuf]) -> Result<(), Failure> {
    let open = |path: &PathBuf| File::open(path).map(OwnedFd::from).map_err(failed(format!("open {}", path.display())));
    let handed_over = handed_over.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let stdin = io::stdin();
    // Without a /proc there is nothing to keep it by, and an end takes longer.
    let namespace = File::open("/proc/self/ns/mnt");
    let namespace = namespace.as_ref().map_or(stdin.as_fd(), File::as_fd);
    let scratch = scratch.as_ref().or(handed_over.first());
    let descriptors: Vec<BorrowedFd> =
        [namespace].into_iter().chain(scratch.into_iter().chain(&handed_over).map(OwnedFd::as_fd)).collect();
    encode(&Report::Ready)
        .and_then(|word| sys::send_descriptors(keeper.as_fd(), &word, &descriptors))
        .map_err(failed("report that the sandbox is ready"))
}

/// Waits for the socket of a call and its two outputs. A keeper that is gone has no more calls.
fn await_call(keeper: &UnixStream) -> io::Result<(UnixStream, [OwnedFd; 2])> {
    let (received, descriptors) = sys::receive_descriptors(keeper.as_fd(), &mut [0])?;
    match <[OwnedFd; 3]>::try_from(descriptors) {
        Ok([call, stdout, stderr]) => {
            let call = UnixStream::from(call);
            // The server may have made it for a loop of its own.
            call.set_nonblocking(false)?;
            Ok((call, [stdout, stderr]))
        }
        Err(_) if received == 0 => sys::exit(0),
        Err(_) => Err(io::Error::from_raw_os_error(libc::EBADMSG)),
    }
}

/// Gives the caller what a gateway has opened. This process keeps none of it.
fn hand_over(sockets: Vec<OwnedFd>, caller: &UnixStream) -> Result<(), Failure> {
    if sockets.is_empty() {
        return Ok(());
    }
    let descriptors: Vec<BorrowedFd> = sockets.iter().map(OwnedFd::as_fd).collect();
    encode(&Report::Opened)
        .and_then(|word| sys::send_descriptors(caller.as_fd(), &word, &descriptors))
        .map_err(failed("hand the sockets of the network's gateway over"))
}

/// Shuts this process off from the program, which may be the same user.
fn seal(keeper: &UnixStream) -> io::Result<()> {
    // Neither traced nor looked into: /proc/1/{fd,environ,mem,exe,…} are closed to the program.
    sys::set_dumpable(false)?;
    // The kernel forgets the wish to die with the parent at every change of user.
    sys::die_with_parent()?;
    match sys::wait(&[Wait::HungUp(keeper.as_fd())], Some(Duration::ZERO))?[..] {
        [true] => sys::exit(1),
        _ => Ok(()),
    }
}

/// Reaps all that ends until the program does. When this process then exits, the rest of the pid namespace is killed.
fn wait_for(pid: i32, mut services: Option<Services>) -> io::Result<(Ending, Usage)> {
    let mut usage = Usage::default();
    loop {
        let Some(reaped) = sys::reap(-1, true)? else { continue };
        usage.cpu += reaped.cpu;
        usage.peak_memory = usage.peak_memory.max(reaped.peak_memory);
        let ending = ending(reaped.status);
        if reaped.pid == pid {
            if let Some(services) = services {
                services.finish();
            }
            return Ok((ending, usage));
        }
        if let Some(services) = &mut services {
            services.ended(reaped.pid, ending);
        }
    }
}

/// A program that ends while there are as many processes as there may be has met that limit: most end at the first
/// fork that is refused, sooner than anybody looks. The program itself is not among them any more.
fn explain(ending: Ending, crowd: Option<u64>) -> Ending {
    match crowd {
        Some(count) if watch::threads() + 1 >= count => Ending::OverLimit { limit: Limit::Processes { count } },
        _ => ending,
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
