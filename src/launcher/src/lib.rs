//! Makes sandboxes for an environment, runs one program in each, and reports how it ended.
//!
//! # Theory of operation
//!
//! ```text
//! server ── guard ──┊── manager ──┊── pid 1 ── program ── its own children
//!                   ┊             ┊   init     worker
//!                   ┊             ┊── pid 1 ── worker, waiting for a call
//! ```
//!
//! The server starts one launcher for each environment in use. The launcher is a program of its own because forking the
//! server, which has threads and a large memory, would be slow, and because the kernel's parent-death signal depends on
//! the parent's thread.
//!
//! 1. The launcher reads the order and becomes the *guard* (supervisor.rs). The guard stays in the host's namespaces,
//!    clones the manager into new ones, and waits for the end of the server or of the manager.
//! 2. The *manager* builds the environment's view: it binds the closure, pivots to it and makes it read-only. From then
//!    on it does not see the host. It is the first process of its pid namespace, so that its end is the end of all
//!    sandboxes.
//! 3. The manager's loop (keeper.rs) takes calls, keeps as many sandboxes ready as were recently needed (pool.rs),
//!    watches deadlines and limits (watch.rs), and reports the end of a call after all processes of its sandbox are
//!    gone.
//! 4. For each sandbox the manager clones *pid 1* (init.rs) into namespaces of its own, including a user namespace, for
//!    which the kernel counts processes separately. Pid 1 takes the sandbox's steps, forks the worker, and waits for a
//!    call.
//! 5. The *worker* (worker.rs) confines itself ahead of the call: limits, no privileges, Landlock, seccomp.
//! 6. When a call comes, pid 1 writes its files, gives up its own privileges, starts the call's *services*
//!    (services.rs), and lets the worker execute the *program*, which is confined from its first instruction. The
//!    worker also starts the services, which are confined like the program; they are children of pid 1.
//! 7. Pid 1 reaps. When the program ends, pid 1 reports and exits, and the kernel kills what is left in the pid
//!    namespace.
//!
//! A sandbox serves one call. Everything slow is done before the call or after its answer.
//!
//! **Programs ahead of their calls.** If the order says how the program can be told to wait, the worker executes it
//! before there is a call. Its standard input ends when the call has come. Its output comes by pipes of its own, which
//! pid 1 hands to the caller. If a call is for another program, the waiting one is killed. Since starting a program
//! takes a processor, the next one is started when the running call has ended, or after a quarter of a second.
//!
//! **One sandbox.** For [`Order::Once`](sandbox_plan::Order::Once) there is no manager: the launcher is the keeper of
//! the one sandbox itself, and pid 1 builds the view too. Sandboxes without a pid namespace are made this way. They
//! have one process more, a guard between the server and the keeper. Both are subreapers and kill their descendants
//! (descendants.rs): the keeper at the end of the sandbox or of the guard, the guard at the end of the keeper. A
//! program of the same user could kill both, unless Landlock confines its signals.
//!
//! **Builder.** Nix starts this binary as the builder of a derivation (builder/mod.rs). It then does the server's part
//! as well: it makes the plan from the derivation's variables, starts a copy of itself as the launcher of one sandbox,
//! and writes the result into the output.
//!
//! # Descriptors
//!
//! The *control socket* carries the order and the calls in, and the report that the manager is ready out. A call is one
//! message with three descriptors: the *call's socket*, and the writing ends of the program's output and errors. The
//! manager passes all three to a pid 1 and keeps the socket; when the server closes it, the call is cancelled. By the
//! call's socket pid 1 reads the call and sends the sockets of a gateway, and the report of the start. The manager
//! sends the report of the end, together with descriptors of the directory for artifacts and of the working directory,
//! which no process can reach by then.
//!
//! Descriptors 0 to 2 are the control socket (0) and /dev/null in guard and manager, and /dev/null in pid 1 and worker,
//! unless stated otherwise. In addition:
//!
//! - The guard has pidfds of the manager and the server, control groups, and a socket by which the manager passes
//!   descriptors whose closing is slow.
//! - The manager has the other end of that, control groups, for each sandbox a pidfd, a socket to its pid 1 and its
//!   private directories, and for each call its socket.
//! - Pid 1 has a socket to the manager and one to the worker. From the call to the start it has the call's socket, the
//!   program's output and the sockets of a gateway. If the program was started ahead, it has the ends of its pipes
//!   until the start. If there are services, it keeps the program's errors to report about them, and a file with each
//!   one's output.
//! - The worker has a socket to pid 1 until it is the program.
//! - The program has its output as 1 and 2, and only if it was started ahead a pipe as 0. It has no other descriptor.
//!
//! Only the program holds its output, so that the server sees its end as soon as the program and its children have
//! closed it.
//!
//! # How everything ends
//!
//! - The program ends, or a service does not get ready: pid 1 reports this and exits.
//! - The deadline passes, a limit is exceeded, or the server closes the call's socket: the manager kills pid 1.
//! - The server closes the control socket or dies, also by SIGKILL: guard and manager both notice. The manager exits
//!   and the guard kills it. The guard removes the control groups that are left.
//! - The guard dies: the manager has asked the kernel to kill it then (PR_SET_PDEATHSIG). A change of user cancels such
//!   a request, so pid 1 makes it again after its own, and checks whether its parent died meanwhile.
//!
//! In each case the kernel kills the processes below. No process can kill pid 1 from inside its pid namespace.
//!
//! # Layers
//!
//! | layer | prevents |
//! |---|---|
//! | user namespaces, one in the other | privileges over anything outside; if the launcher is root, the program is also another user outside |
//! | no further user namespaces | privileges over new namespaces, and the kernel code that only they reach |
//! | mount namespace, new root, pivot_root | sight of any file that is not bound; the old root is detached, not hidden |
//! | read-only, nosuid, nodev binds | changes to bound files, and the use of set-user-id programs and devices among them |
//! | devpts of its own | terminals of others, the one that the server was started on included |
//! | pid namespace | sight of and signals to other processes; survival of the program's end |
//! | network namespace | all connections but those on its own loopback interface, also by abstract unix sockets |
//! | ipc, uts, cgroup namespaces | use of the host's shared memory, queues, host name and cgroup paths |
//! | masks of /proc | reading facts about the machine, and changing its settings |
//! | no capabilities, no_new_privs, locked secure bits | regaining privileges by any program |
//! | Landlock | access to the same files in another way; signals and abstract sockets that lead outside |
//! | seccomp | use of kernel interfaces that namespaces don't cover |
//! | session of its own, only descriptors 0 to 2, only the plan's variables | inheriting terminals, descriptors and secrets |
//! | pid 1 not dumpable, its arguments erased | a look at the host through /proc/1 |
//!
//! # Limits
//!
//! | resource | with a control group | without |
//! |---|---|---|
//! | memory | the kernel kills, the manager names the limit | the manager adds up the memory of the processes, their page tables, their tmpfs and the capacity of their sockets, more often the closer they are to the limit; seccomp refuses memory that belongs to no process |
//! | processes | the kernel refuses | RLIMIT_NPROC, which counts the sandbox's user namespace only |
//! | processors | sched_setaffinity, and a quota should the program widen that | sched_setaffinity, which seccomp keeps the program from changing |
//! | disk | the size and number of files of a tmpfs | the same |
//! | open files, core dumps | rlimits | the same |
//! | pseudo-terminals | their number in a devpts | the same |
//!
//! Without a control group, nothing limits the memory of shared mappings of /dev/zero; nor that of socket buffers, if
//! the sandbox has no network namespace of its own.
//!
//! # Deliberately absent
//!
//! - Threads, async and a shell.
//! - Configuration files, and, except for builders, arguments, variables and a log: all input comes by the order and
//!   its calls, all output goes by reports. Standard error is the program's, so the launcher never writes to it.
//! - A set-user-id mode: a user who may start the launcher could do everything that it does.
//! - Fallbacks: a step that the kernel refuses ends the sandbox with a report, and the server decides what to do
//!   without it.
//! - Reuse of a sandbox.
//!
//! Linux 5.12 is needed for sandboxes with mounts (mount_setattr), and 5.9 for others (close_range).

mod builder;
mod cgroup;
mod descendants;
mod fault;
mod init;
mod inside;
mod keeper;
mod landlock;
mod pool;
mod privileges;
mod processors;
mod sandbox;
mod services;
mod steps;
mod supervisor;
mod sys;
mod template;
mod tree;
mod usage;
mod watch;
mod worker;

use std::os::unix::net::UnixStream;

pub use sys::{open_sockets, route_to_loopback, start};

/// Runs as a builder of Nix's, or as the supervisor that the server has started.
fn launch() {
    sys::settle_signals();
    // The directories of a sandbox's root must be open to the sandbox's user, whatever mask this process has inherited.
    sys::set_umask(0o022);
    if builder::is_meant() {
        builder::build();
    }
    // Standard error is the program's: not even a panic may write to it.
    std::panic::set_hook(Box::new(|_| {}));
    if sys::close_others(None).is_ok() {
        // This fails for the leader of a process group, which the server has put into a session of its own.
        let _ = sys::new_session();
        supervisor::serve(UnixStream::from(sys::take_input()));
    }
}
