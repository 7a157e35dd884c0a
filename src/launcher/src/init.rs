//! The sandbox's first process (pid 1): builds the sandbox, forks the program's process, waits for a call, and reaps
//! every process that ends.

use std::fs::File;
use std::io::{self, Read};
use std::mem::take;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use sandbox_plan::{
    Call, Ending, Failure, Limit, MAX_CALL_BYTES, Namespace, Program, Report, ServiceSpec, Step, Usage, encode,
    read_message, write_message,
};

use crate::fault::failed;
use crate::services::Services;
use crate::steps::{SandboxUser, StepRunner};
use crate::sys::{self, Wait};
use crate::template::InitArguments;
use crate::worker::Worker;
use crate::{privileges, usage, worker};

/// Runs in the new process, with fds 0 to 2 on /dev/null. `keeper` is the only other descriptor: a byte comes in when
/// the user maps are written, then one with a call's descriptors; reports go out.
pub fn run(arguments: InitArguments, mut keeper: UnixStream) -> ! {
    // From here on the keeper's death kills this process. If it died before, the read finds its end closed.
    let released = sys::die_with_parent().and_then(|()| keeper.read_exact(&mut [0]));
    if released.is_err() {
        sys::exit(1);
    }
    let report = live(arguments, &mut keeper).unwrap_or_else(Report::Failed);
    // If this fails, the keeper is gone.
    let _ = write_message(&mut keeper, &report);
    sys::exit(0)
}

/// Goes through the phases of pid 1's life, and returns its last report.
fn live(arguments: InitArguments, keeper: &mut UnixStream) -> Result<Report, Failure> {
    let mut init = Init::build(arguments)?;
    let worker = worker::start(&mut init.runner, &init.arguments)?;
    init.report_ready(keeper)?;
    let ReceivedCall { mut caller, outputs, call } = ReceivedCall::wait(keeper)?;
    let worker = init.fit_worker(worker, &call)?;
    init.runner.apply(call.steps)?;
    init.confine(keeper)?;
    init.report_start(&mut caller, &worker, keeper)?;
    // Nothing more is said to the caller from here.
    drop(caller);
    init.run_program(worker, call.services, call.program, outputs)
}

/// Pid 1 and what it has built.
struct Init {
    arguments: InitArguments,
    user: SandboxUser,
    runner: StepRunner,
    /// The program's limit of processes, if this process can count them: without a pid namespace the processes in sight
    /// are not only this sandbox's.
    max_processes: Option<u64>,
    /// Whether the program has no privileges, so that this process gives up its own as well.
    drops_privileges: bool,
}

/// A call with the descriptors that came with it.
struct ReceivedCall {
    caller: UnixStream,
    /// Where the program's output and its errors go.
    outputs: [OwnedFd; 2],
    call: Call,
}

impl Init {
    /// Makes the namespaces, and takes all steps that can be taken before a call.
    fn build(mut arguments: InitArguments) -> Result<Self, Failure> {
        sys::unshare(arguments.namespaces).map_err(failed("make the sandbox's namespaces"))?;
        let environment = &mut arguments.environment;
        prepare(&environment.namespaces).map_err(failed("prepare the sandbox's first process"))?;
        let user = SandboxUser::of(environment, arguments.sole_user);
        let mut runner = StepRunner::new(user)?;
        runner.apply([take(&mut environment.view), take(&mut environment.sandbox)].concat())?;
        let counts_processes = environment.namespaces.contains(&Namespace::Pid);
        let max_processes = environment.watch.processes.filter(|_| counts_processes);
        let drops_privileges = environment.walls.contains(&Step::DropPrivileges);
        if drops_privileges {
            privileges::prevent_regaining().map_err(failed("bar new privileges"))?;
        }
        Ok(Self { arguments, user, runner, max_processes, drops_privileges })
    }

    /// Tells the keeper that the sandbox is ready. With the report go descriptors: one that keeps the mount namespace,
    /// one that tells how full the private directories are, and those of the directories that are handed to the server
    /// in the end, of which the first can stand for the second too.
    fn report_ready(&mut self, keeper: &UnixStream) -> Result<(), Failure> {
        let open =
            |path: &PathBuf| File::open(path).map(OwnedFd::from).map_err(failed(format!("open {}", path.display())));
        let paths = take(&mut self.arguments.environment.handed_over);
        let handed_over = paths.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let scratch = self.runner.scratch.take();
        let stdin = io::stdin();
        // Without a /proc there is no way to keep the namespace, and the sandbox's end takes longer.
        let namespace = File::open("/proc/self/ns/mnt");
        let namespace = namespace.as_ref().map_or(stdin.as_fd(), File::as_fd);
        let scratch = scratch.as_ref().or(handed_over.first());
        let descriptors: Vec<BorrowedFd> =
            [namespace].into_iter().chain(scratch.into_iter().chain(&handed_over).map(OwnedFd::as_fd)).collect();
        send_report(keeper, &Report::Ready, &descriptors).map_err(failed("report that the sandbox is ready"))
    }

    /// Replaces a worker that is another call's program already.
    fn fit_worker(&mut self, worker: Worker, call: &Call) -> Result<Worker, Failure> {
        if worker.serves(call) {
            return Ok(worker);
        }
        worker.end();
        self.arguments.environment.ahead = None;
        worker::start(&mut self.runner, &self.arguments)
    }

    /// Gives up privileges, and shuts this process off from the program, which may be the same user.
    fn confine(&self, keeper: &UnixStream) -> Result<(), Failure> {
        if self.drops_privileges {
            let SandboxUser { uid, gid, sole } = self.user;
            sys::set_no_new_privileges().map_err(failed("bar new privileges"))?;
            privileges::drop(uid, gid, sole).map_err(failed("give up privileges"))?;
        }
        seal(keeper).map_err(failed("seal the sandbox's first process"))
    }

    /// Gives the caller the sockets of a gateway and the output of a program that was started ahead, of which this
    /// process keeps nothing, and reports the start.
    fn report_start(
        &mut self,
        caller: &mut UnixStream,
        worker: &Worker,
        keeper: &mut UnixStream,
    ) -> Result<(), Failure> {
        let sockets = take(&mut self.runner.sockets);
        if !sockets.is_empty() {
            let descriptors: Vec<BorrowedFd> = sockets.iter().map(OwnedFd::as_fd).collect();
            send_report(caller, &Report::Opened, &descriptors)
                .map_err(failed("hand the sockets of the network's gateway over"))?;
        }
        worker.hand_over(caller)?;
        // Straight to the caller, and before the start: a caller that has not read this can be sure that nothing was
        // started, even if the keeper is lost.
        write_message(caller, &Report::Started)
            .and_then(|()| write_message(keeper, &Report::Started))
            .map_err(failed("report the start"))
    }

    /// Starts the services, lets the worker become the program, and waits for its end.
    fn run_program(
        &self,
        mut worker: Worker,
        services: Vec<ServiceSpec>,
        program: Option<Program>,
        outputs: [OwnedFd; 2],
    ) -> Result<Report, Failure> {
        let services = match &program {
            Some(program) if !services.is_empty() => {
                let Some(started) = Services::start(services, program, &mut worker, outputs[1].as_fd())? else {
                    let ending = explain(Ending::Unready, self.max_processes);
                    return Ok(Report::Ended { ending, usage: Usage::default() });
                };
                Some(started)
            }
            _ => None,
        };
        if let Some(inside) = worker.release(program, outputs)? {
            return Ok(Report::Found(inside));
        }
        let (ending, usage) = wait_for(worker.pid, services).map_err(failed("wait for the program"))?;
        Ok(Report::Ended { ending: explain(ending, self.max_processes), usage })
    }
}

impl ReceivedCall {
    /// Waits for a call. Ends this process if the keeper is gone, which means that there are no more calls.
    fn wait(keeper: &UnixStream) -> Result<Self, Failure> {
        let (mut caller, outputs) = receive_call_descriptors(keeper).map_err(failed("wait for a call"))?;
        let call = read_message(&mut caller, MAX_CALL_BYTES)
            .and_then(|call| call.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()))
            .map_err(failed("read the call"))?;
        Ok(Self { caller, outputs, call })
    }
}

fn receive_call_descriptors(keeper: &UnixStream) -> io::Result<(UnixStream, [OwnedFd; 2])> {
    let (received, descriptors) = sys::receive_descriptors(keeper.as_fd(), &mut [0])?;
    match <[OwnedFd; 3]>::try_from(descriptors) {
        Ok([caller, stdout, stderr]) => {
            let caller = UnixStream::from(caller);
            // The server may have made it for a loop of its own.
            caller.set_nonblocking(false)?;
            Ok((caller, [stdout, stderr]))
        }
        Err(_) if received == 0 => sys::exit(0),
        Err(_) => Err(io::Error::from_raw_os_error(libc::EBADMSG)),
    }
}

fn prepare(namespaces: &[Namespace]) -> io::Result<()> {
    // The program can read the arguments and the name of pid 1.
    sys::erase_arguments();
    sys::set_name(c"sandbox")?;
    // Modes are those of the plan.
    sys::set_umask(0);
    if namespaces.contains(&Namespace::Mount) { sys::make_mounts_private() } else { Ok(()) }
}

fn send_report(to: &UnixStream, report: &Report, descriptors: &[BorrowedFd]) -> io::Result<()> {
    sys::send_descriptors(to.as_fd(), &encode(report)?, descriptors)
}

fn seal(keeper: &UnixStream) -> io::Result<()> {
    // Neither traced nor looked into: /proc/1/{fd,environ,mem,exe,…} are closed to the program.
    sys::set_dumpable(false)?;
    // A change of user has cancelled the earlier request.
    sys::die_with_parent()?;
    match sys::wait(&[Wait::HungUp(keeper.as_fd())], Some(Duration::ZERO))?[..] {
        [true] => sys::exit(1),
        _ => Ok(()),
    }
}

/// Reaps every process that ends until the program does. When this process then exits, the kernel kills the rest of the
/// pid namespace.
fn wait_for(pid: i32, mut services: Option<Services>) -> io::Result<(Ending, Usage)> {
    let mut usage = Usage::default();
    loop {
        let Some(reaped) = sys::reap(-1, true)? else { continue };
        usage.cpu += reaped.cpu;
        usage.peak_memory = usage.peak_memory.max(reaped.peak_memory);
        if reaped.pid == pid {
            if let Some(services) = services {
                services.finish();
            }
            return Ok((reaped.ending(), usage));
        }
        if let Some(services) = &mut services {
            services.ended(reaped.pid, reaped.ending());
        }
    }
}

/// Returns the reason why a program ended. One that ends while there are as many processes as there may be has met that
/// limit: most end at the first fork that is refused, sooner than the keeper looks. The program itself is reaped by
/// then.
fn explain(ending: Ending, max_processes: Option<u64>) -> Ending {
    match max_processes {
        Some(count) if usage::threads() + 1 >= count => Ending::OverLimit { limit: Limit::Processes { count } },
        _ => ending,
    }
}
