//! Makes sandboxes as an environment says, runs one program in each, and reports how it ended.
//!
//! # Processes
//!
//! ```text
//! server ── guard ──┊── manager ──┊── pid 1 ── program ── whatever it starts
//!                   ┊             ┊   init     worker
//!                   ┊             ┊── pid 1 ── worker, waiting
//! ```
//!
//! - The *server* starts one launcher for each environment in use. It has threads, a large memory and secrets; this
//!   binary is a process of its own because forking such a process is slow, and because the wish to die with one's parent
//!   is bound to the parent's thread.
//! - The launcher itself becomes the *guard* (supervisor.rs). It stays in the host's namespaces, clones the manager into
//!   new ones, and waits: for the server's end, or the manager's.
//! - The *manager* makes the environment's view once: it binds the closure, pivots to it, and makes it read-only. From then
//!   on it has no sight of the host. It is the first process of its pid namespace, so that its end is the end of all. Its
//!   one loop (keeper.rs) takes calls, keeps as many sandboxes ready as were lately needed (pool.rs), watches deadlines
//!   and limits (watch.rs), and answers no call before everything of its sandbox is gone.
//! - *Pid 1* of each sandbox (init.rs) is a copy of the manager in namespaces of its own, the user namespace included, so
//!   that the kernel counts each sandbox's processes alone. It takes the sandbox's steps, forks the worker, and waits for a
//!   call. Then it writes the call's files, gives up its privileges, lets the worker go, and reaps. When the program ends,
//!   pid 1 exits, and the kernel kills what is left in the pid namespace.
//! - The *worker* (worker.rs) puts the walls around itself ahead of the call: limits, no privileges, Landlock, seccomp. When
//!   it is let go it becomes the *program*, which has all walls around it from its first instruction.
//! - *Services* of the call (services.rs) are started by the worker before that, behind its walls, and are children of
//!   pid 1, which waits until each is ready and tells what went wrong with them.
//!
//! A sandbox serves one call. All that takes time is done before the call comes, or after its answer. Programs that are
//! started ahead take a processor for a while themselves: the next is started when its predecessor's call has ended, or
//! after a quarter of a second.
//!
//! Where the order says how the program can be told to wait, that begins with the program itself: in a sandbox that is made
//! ahead of its call, the worker is the program already, whose standard input ends when the call has come. What it prints
//! comes by pipes of its own, which pid 1 hands to the caller. A call for another program has it killed.
//!
//! A launcher can also be told to make one sandbox only. There is no manager then: the launcher is the keeper of this one
//! sandbox itself, and pid 1 makes the view too. This is the way of sandboxes without a pid namespace.
//!
//! # As a builder
//!
//! Nix starts this binary too, as the builder of a derivation (builder.rs). It is then its own server: it makes the plan out
//! of the derivation's variables, starts a copy of itself as the launcher of one sandbox, and writes what came of it into
//! the derivation's output.
//!
//! # Descriptors
//!
//! | process | 0 | 1, 2 | others |
//! |---|---|---|---|
//! | guard | control socket, to notice its end | /dev/null | pidfds of the manager and the server, control groups |
//! | manager | control socket: the order and calls in, word of being ready out | /dev/null | of each sandbox a pidfd, a socket to its pid 1 and its private directories, of each call its socket, control groups |
//! | pid 1 | /dev/null | /dev/null | a socket to the manager, one to the worker, until the start the sockets of a gateway, and from call to start the call's socket and the program's output; of a program that was started ahead, until the start, the writing end of its input and the reading ends of its output; beside services the program's errors to the end, and a file that each prints into |
//! | worker | /dev/null | /dev/null, then the program's output | a socket to pid 1, until it is the program |
//! | program | /dev/null, or a pipe that comes to its end as the call comes | its output | none |
//!
//! A call comes as one message of the control socket, with three descriptors: a socket of its own, and what gets the
//! program's output and its errors. The manager passes all three on to a pid 1 and keeps the socket, whose end means that
//! the call is cancelled. Pid 1 reads the call from it, hands the sockets of a gateway over, and tells the start; the manager tells the end, and with it
//! hands over descriptors of the directory for artifacts and of the working directory, when nothing else can reach them any more. Nobody but the
//! program holds its output, so that the server sees its end as soon as the program and its children have closed it; where
//! there are services, pid 1 holds its errors too, behind which it tells of theirs.
//!
//! # How everything ends
//!
//! - The program ends: pid 1 tells the manager, exits, and takes the rest along, services included.
//! - A service does not get ready: so does pid 1, without the program's start.
//! - The deadline passes, a limit is exceeded, or the server closes the call's socket: the manager kills pid 1, and the
//!   kernel kills the rest.
//! - The server closes the control socket or dies, by SIGKILL too: guard and manager both notice. The manager exits and
//!   the guard kills it, and the kernel kills all that is below. The guard removes the control groups that are left.
//! - The guard dies: the manager has asked to die with its parent (PR_SET_PDEATHSIG). The kernel forgets this when the
//!   user changes, so pid 1, which asks for it too, asks again, and looks whether it came too late.
//! - Pid 1 can't be killed from within its pid namespace.
//!
//! Without a pid namespace there is one process more, between server and keeper: a guard of another kind. Both it and the
//! keeper adopt the orphans of what is below them, and kill until they have no child any more (descendants.rs): the keeper
//! at the sandbox's end or the guard's death, the guard at the keeper's. A program of their own user could kill both,
//! unless Landlock confines its signals. It can kill the process that stands for pid 1, whereupon the keeper kills the
//! rest.
//!
//! # Walls
//!
//! | wall | stops |
//! |---|---|
//! | user namespaces, one in the other | privileges over anything outside; as root, the program is another user outside as well |
//! | no further user namespaces | privileges over new namespaces, and the kernel code that only they reach |
//! | mount namespace, new root, pivot_root | sight of any file that is not bound; the old root is detached, not hidden |
//! | read-only, nosuid, nodev binds | changes to what is bound, and set-user-id programs and devices in it |
//! | pid namespace | sight of and signals to other processes; survival of the program's end |
//! | network namespace | everything but its own loopback, abstract unix sockets of others included |
//! | ipc, uts, cgroup namespaces | shared memory and queues, the host name, the host's cgroup paths |
//! | masks of /proc | what it tells of the machine, and settings that would change it |
//! | no capabilities, no_new_privs, locked secure bits | getting privileges back by any program |
//! | Landlock | the same files in another way, and signals and abstract sockets that lead outside |
//! | seccomp | kernel interfaces that namespaces don't cover |
//! | session of its own, only fds 0 to 2, no variable that the plan does not name | terminals, descriptors and secrets that would be inherited |
//! | pid 1 not dumpable, its arguments erased | a look at the host through /proc/1 |
//!
//! # Limits
//!
//! | what | by a control group | otherwise |
//! |---|---|---|
//! | memory | the kernel kills, the manager names the limit | the manager adds up the processes' memory, their page tables, their tmpfs and the most that their sockets can hold, the sooner again the closer they are to the limit; seccomp refuses memory that is no process's own |
//! | processes | the kernel refuses | RLIMIT_NPROC, which counts the sandbox's user namespace alone |
//! | processors | a quota, of which a tenth of a second can be saved up | sched_setaffinity, which seccomp then keeps from being undone |
//! | disk | tmpfs of a size and a number of files | the same |
//! | open files, core dumps | rlimits | the same |
//!
//! What no control group bounds and nobody can see is the memory of files which are mapped, shared, from /dev/zero, and
//! that of socket buffers where the sandbox has no network namespace of its own.
//!
//! # Deliberately absent
//!
//! Threads, async, a shell, a configuration file, and but for builders arguments, variables and a log: all comes by the
//! order and its calls, and all goes by reports. Standard error is the program's, so that nothing here ever writes to it. There is no set-user-id
//! mode: whoever may start the launcher could do all that it does. Nothing falls back silently: a step that the kernel
//! refuses ends the sandbox with a report, and what to do without is the server's choice. Nothing of a sandbox is used
//! again: what would have to be cleaned is made anew. Linux 5.12 is needed where there are mounts (mount_setattr), and 5.9
//! elsewhere (close_range).

mod builder;
mod cgroup;
mod descendants;
mod fault;
mod init;
mod inside;
mod keeper;
mod landlock;
mod mould;
mod pool;
mod privileges;
mod sandbox;
mod services;
mod steps;
mod supervisor;
mod sys;
mod tree;
mod watch;
mod worker;

use std::os::unix::net::UnixStream;

pub use sys::{open_sockets, route_to_loopback, start};

/// Decides what this process is: a builder of Nix's, or the supervisor that the server has started.
fn launch() {
    sys::settle_signals();
    // The directories of a sandbox's root must be open to the sandbox's user, whatever the mask of whoever started this.
    sys::set_umask(0o022);
    if builder::is_meant() {
        builder::build();
    }
    // Standard error is the program's: not even our own bugs may write to it.
    std::panic::set_hook(Box::new(|_| {}));
    if sys::close_others(None).is_ok() {
        // A group leader can't begin a session, and need not: the server made it one.
        let _ = sys::new_session();
        supervisor::serve(UnixStream::from(sys::take_input()));
    }
}
