//! The launcher's outer process: makes the sandbox, watches it, and answers for its end.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sandbox_launcher::{
    Ending, Failure, Identity, LARGEST_PLAN, LARGEST_REPORT, Namespace, Plan, Report, Usage, read_message,
    write_message,
};

use crate::fault::failed;
use crate::sys::{self, Wait};
use crate::{descendants, init};

/// Serves the server at the other end of `control`: one plan in, reports out.
pub fn serve(mut control: UnixStream) {
    let report = match read_message::<Plan>(&mut control, LARGEST_PLAN) {
        Ok(None) => return,
        Ok(Some(plan)) => match run(plan, &mut control) {
            Ok(None) => return,
            Ok(Some(report)) => report,
            Err(failure) => Report::Failed(failure),
        },
        Err(error) => Report::Failed(failed("read the plan")(error)),
    };
    // If this fails, nobody is left to be told.
    let _ = write_message(&mut control, &report);
}

/// Runs one sandbox from start to end. None: the server is gone, and so is the sandbox.
fn run(plan: Plan, control: &mut UnixStream) -> Result<Option<Report>, Failure> {
    let deadline = plan.deadline;
    let sandbox = Sandbox::start(plan)?;
    let end = sandbox.watch(control, deadline);
    // Whatever the end was: the report says that nothing is left.
    let usage = sandbox.clear_away();
    Ok(match end.map_err(failed("watch the sandbox"))? {
        End::Told(Report::Ended { ending, usage: told }) => {
            // What pid 1 and its children took includes the processes that were killed at the end; but its memory
            // held the plan, so that the program's peak is better told by pid 1.
            Some(Report::Ended { ending, usage: Usage { cpu: usage.cpu, peak_memory: told.peak_memory } })
        }
        End::Told(report) => Some(report),
        End::TimedOut => Some(Report::Ended { ending: Ending::TimedOut, usage }),
        End::Cancelled => None,
    })
}

struct Sandbox {
    pid: i32,
    pidfd: OwnedFd,
    /// The other end is pid 1's, and nobody else's.
    first: UnixStream,
    pid_namespace: bool,
    /// Those whose death ends the sandbox: the server and, without a pid namespace, the guard.
    wardens: [Option<OwnedFd>; 2],
}

enum End {
    Told(Report),
    TimedOut,
    Cancelled,
}

impl Sandbox {
    fn start(plan: Plan) -> Result<Self, Failure> {
        let pid_namespace = plan.namespaces.contains(&Namespace::Pid);
        let server = server().map_err(failed("watch the server"))?;
        let guard = if pid_namespace { None } else { Some(guard().map_err(failed("start the launcher's guard"))?) };
        let null = File::open("/dev/null").map_err(failed("open /dev/null"))?;
        let (first, supervisor) = UnixStream::pair().map_err(failed("make a socket pair"))?;
        let sole_user = !maps_root(&plan.identity);
        let flags = plan.namespaces.iter().map(|namespace| flag(*namespace)).fold(0, |all, flag| all | flag);
        let Some((pid, pidfd)) = sys::clone_process(flags).map_err(failed("make the sandbox's namespaces"))? else {
            enter(plan, sole_user, supervisor, &null);
        };
        drop(supervisor);
        let mut sandbox = Self { pid, pidfd, first, pid_namespace, wardens: [server, guard] };
        match sandbox.release(&plan, &null) {
            Ok(()) => Ok(sandbox),
            Err(failure) => {
                sandbox.clear_away();
                Err(failure)
            }
        }
    }

    /// Lets pid 1 go to work.
    fn release(&mut self, plan: &Plan, null: &File) -> Result<(), Failure> {
        // Whoever reads the program's output is to see its end when the program has closed it.
        let silence = |stream| sys::replace_stream(null.as_raw_fd(), stream);
        silence(1).and_then(|()| silence(2)).map_err(failed("let go of the program's output"))?;
        if plan.namespaces.contains(&Namespace::User) {
            map_users(self.pid, &plan.identity)?;
        }
        // A program of the same user in the same pid namespace could otherwise trace this process.
        sys::prctl(libc::PR_SET_DUMPABLE, 0).map_err(failed("seal the launcher"))?;
        // If pid 1 is gone already, the watch finds out.
        let _ = self.first.write_all(&[0]);
        Ok(())
    }

    fn watch(&self, control: &mut UnixStream, deadline: Duration) -> io::Result<End> {
        // A deadline beyond the end of time is none.
        let mut end = Instant::now().checked_add(deadline);
        let mut started = false;
        loop {
            let [server, guard] = self
                .wardens
                .each_ref()
                .map(|pidfd| pidfd.as_ref().map_or(Wait::Nothing, |fd| Wait::Readable(fd.as_fd())));
            let events = [Wait::Readable(self.first.as_fd()), Wait::HungUp(control.as_fd()), server, guard];
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let Some([told, hung_up, serverless, unguarded]) = sys::wait(events, left)? else {
                return Ok(End::TimedOut);
            };
            if hung_up || serverless || unguarded {
                return Ok(End::Cancelled);
            }
            if !told {
                continue;
            }
            match read_message(&mut &self.first, LARGEST_REPORT) {
                Ok(Some(Report::Started)) => {
                    started = true;
                    end = Instant::now().checked_add(deadline);
                    if write_message(control, &Report::Started).is_err() {
                        return Ok(End::Cancelled);
                    }
                }
                Ok(Some(report)) => return Ok(End::Told(report)),
                // Pid 1 was killed before it could say more. Without a pid namespace the program can do that.
                Ok(None) | Err(_) if started => {
                    let ending = Ending::Signalled { signal: libc::SIGKILL };
                    return Ok(End::Told(Report::Ended { ending, usage: Usage::default() }));
                }
                Ok(None) | Err(_) => {
                    let operation = "set the sandbox up: its first process was killed".to_owned();
                    return Ok(End::Told(Report::Failed(Failure { operation, errno: libc::ECHILD })));
                }
            }
        }
    }

    /// Kills what is left of the sandbox and waits until it is gone. Tells what all of it took.
    fn clear_away(&self) -> Usage {
        sys::send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        if !self.pid_namespace {
            return descendants::kill_all();
        }
        // Pid 1 is gone when all others of its namespace are.
        match sys::reap(self.pid, true) {
            Ok(Some(reaped)) => Usage { cpu: reaped.cpu, peak_memory: reaped.peak_memory },
            _ => Usage::default(),
        }
    }
}

/// The first steps of the new process: it holds what the program gets, one end of a socket, and nothing else.
fn enter(plan: Plan, sole_user: bool, supervisor: UnixStream, null: &File) -> ! {
    let ready = sys::replace_stream(null.as_raw_fd(), 0).and_then(|()| sys::close_others(Some(supervisor.as_fd())));
    match ready {
        Ok(()) => init::run(plan, sole_user, supervisor),
        Err(_) => sys::exit(1),
    }
}

/// The server's process, to notice its death. The end of the control socket tells as much, unless some other
/// process got a copy of the server's end.
fn server() -> io::Result<Option<OwnedFd>> {
    match sys::parent_pid() {
        0 => Ok(None),
        pid => match sys::open_pidfd(pid) {
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
    sys::prctl(libc::PR_SET_DUMPABLE, 0)?;
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1)?;
    let pidfd = sys::open_pidfd(sys::own_pid())?;
    let Some((supervisor, _)) = sys::clone_process(0)? else {
        // Neither is inherited as it is needed: this process has user maps to write and orphans to adopt.
        sys::prctl(libc::PR_SET_DUMPABLE, 1)?;
        sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1)?;
        return Ok(pidfd);
    };
    // The control socket and the program's output are the supervisor's alone.
    if let Ok(null) = File::open("/dev/null") {
        let silence = |stream| sys::replace_stream(null.as_raw_fd(), stream);
        let _ = silence(0).and_then(|()| silence(1)).and_then(|()| silence(2));
    }
    let _ = sys::reap(supervisor, true);
    descendants::kill_all();
    sys::exit(0)
}

fn flag(namespace: Namespace) -> i32 {
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

fn map_users(pid: i32, identity: &Identity) -> Result<(), Failure> {
    let Identity { uid, gid, host_uid, host_gid } = *identity;
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/{pid}/{file}"), text).map_err(failed(format!("write the sandbox's {file}")))
    };
    if maps_root(identity) {
        // Set-up is done as root, which reaches sources of binds that others can't; the program is someone else.
        write("uid_map", format!("0 0 1\n{uid} {host_uid} 1\n"))?;
        write("gid_map", format!("0 0 1\n{gid} {host_gid} 1\n"))
    } else {
        write("uid_map", format!("{uid} {host_uid} 1\n"))?;
        // Who is not root may map a group only after giving up the right to change groups.
        write("setgroups", "deny".to_owned())?;
        write("gid_map", format!("{gid} {host_gid} 1\n"))
    }
}

/// Whether the sandbox's user namespace holds root besides the program's user.
fn maps_root(identity: &Identity) -> bool {
    (identity.host_uid, identity.host_gid) != sys::own_identity()
}
