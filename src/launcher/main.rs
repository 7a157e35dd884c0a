//! Makes a sandbox as a plan says, runs one program in it, and reports how it ended.
//!
//! # Processes
//!
//! ```text
//! server ── launcher ──┊── pid 1 ── program ── whatever it starts
//!           supervisor ┊   init
//! ```
//!
//! - The *server* starts one launcher for each call. It has threads, a large memory and secrets; this binary is a
//!   process of its own because forking such a process is slow, and because the wish to die with one's parent is bound
//!   to the parent's thread.
//! - The launcher itself is the *supervisor* (supervisor.rs). It stays outside, clones pid 1 into the new namespaces,
//!   writes their user maps, and waits: for pid 1's word, the server's end, or the deadline. It does not answer before
//!   everything is gone.
//! - *Pid 1* (init.rs) is a copy of the supervisor. It applies the plan's steps to itself, and thereby to all that it
//!   starts: the order of the steps is the policy. Then it starts the program and reaps. When the program ends, pid 1
//!   exits, and the kernel kills what is left in the pid namespace.
//! - The *program* has the walls around it from its first instruction.
//!
//! # Descriptors
//!
//! | process | 0 | 1, 2 | others |
//! |---|---|---|---|
//! | supervisor | control socket: a plan in, reports out | the program's output, until pid 1 has it | a socket to pid 1, pidfds of pid 1 and the server |
//! | pid 1 | /dev/null | the program's output, until the program has it | the other end of that socket |
//! | program | /dev/null | its output | none |
//!
//! Pid 1 and the supervisor let go of the output at once, so that the server sees its end as soon as the program and
//! its children have closed it.
//!
//! # How everything ends
//!
//! - The program ends: pid 1 tells, exits, and takes the rest along.
//! - The deadline passes, or the server closes its end of the control socket, or the server dies: the supervisor kills
//!   pid 1, and the kernel kills the rest.
//! - The supervisor dies, by SIGKILL too: pid 1 has asked to die with its parent (PR_SET_PDEATHSIG). The kernel forgets
//!   this when the user changes, so pid 1 asks again, and looks whether it came too late.
//! - Pid 1 can't be killed from within its pid namespace.
//!
//! Without a pid namespace there is one process more, between server and supervisor: the *guard*. Both it and the
//! supervisor adopt the orphans of what is below them, and kill until they have no child any more (descendants.rs):
//! the supervisor at the sandbox's end or the guard's death, the guard at the supervisor's. A program of their own user
//! could kill both, unless Landlock confines its signals. It can kill the process that stands for pid 1, whereupon the
//! supervisor kills the rest.
//!
//! # Walls
//!
//! | wall | stops |
//! |---|---|
//! | user namespace | privileges over anything outside; as root, the program is another user outside as well |
//! | mount namespace, new root, pivot_root | sight of any file that is not bound; the old root is detached, not hidden |
//! | read-only, nosuid, nodev binds | changes to what is bound, and set-user-id programs and devices in it |
//! | pid namespace | sight of and signals to other processes; survival of the program's end |
//! | network namespace | everything but its own loopback, abstract unix sockets of others included |
//! | ipc, uts, cgroup namespaces | shared memory and queues, the host name, the host's cgroup paths |
//! | no capabilities, no_new_privs, locked secure bits | getting privileges back by any program |
//! | limits, tmpfs sizes | the use of memory, processes, files and disk |
//! | Landlock, seccomp | the same again in another way, and kernel interfaces that namespaces don't cover |
//! | session of its own, only fds 0 to 2, no variable that the plan does not name | terminals, descriptors and secrets that would be inherited |
//! | pid 1 not dumpable, its arguments erased | a look at the host through /proc/1 |
//!
//! # Deliberately absent
//!
//! Threads, async, a shell, a configuration file, arguments, variables and a log: all comes by the plan, and all goes
//! by reports. Standard error is the program's, so that nothing here ever writes to it. There is no set-user-id mode:
//! whoever may start the launcher could do all that it does. Nothing falls back silently: a step that the kernel
//! refuses ends the sandbox with a report, and what to do without is the server's choice. Linux 5.12 is needed where
//! there are mounts (mount_setattr), and 5.9 elsewhere (close_range).

#![no_main]

mod cgroup;
mod descendants;
mod fault;
mod init;
mod inside;
mod keeper;
mod landlock;
mod pool;
mod privileges;
mod sandbox;
mod steps;
mod supervisor;
mod sys;
mod tree;
mod watch;
mod worker;

use std::os::unix::net::UnixStream;

/// Where the process begins, called by the C entry point in [`sys`].
fn launch() {
    // Standard error is the program's: not even our own bugs may write to it.
    std::panic::set_hook(Box::new(|_| {}));
    sys::settle_signals();
    if sys::close_others(None).is_ok() {
        // A group leader can't begin a session, and need not: the server made it one.
        let _ = sys::new_session();
        supervisor::serve(UnixStream::from(sys::inherited(0)));
    }
}
