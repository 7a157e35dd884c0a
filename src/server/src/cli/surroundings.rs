//! Normalises what the process inherits (umask, signals, limits), so that a server works the same wherever it is started.
//!
//! Rust's runtime sees to closed standard streams, and to SIGPIPE.

use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

/// The file mode creation mask that this process works with.
const MASK: u32 = 0o022;

/// The mask that it was started with.
static INHERITED_MASK: AtomicU32 = AtomicU32::new(MASK);

/// Puts right what can keep sandboxes from being made. To be called before there is another thread.
pub fn settle() {
    // The directories of a sandbox's root are made with modes less the mask, and must be open to another user: the
    // sandbox's own.
    INHERITED_MASK.store(umask(Mode::from_raw_mode(MASK)).as_raw_mode(), Ordering::Relaxed);
    settle_signals();
    // A sandbox with an allow-list takes a descriptor for each entry, and two for each connection. That the usual soft
    // limit is low is for programs that can't count further; programs in sandboxes get a limit of their own.
    raise(Resource::Nofile);
    // The launcher is written into memory, where that limit counts, too.
    raise(Resource::Fsize);
}

/// Writes files that are the user's own, and neither a sandbox's nor the server's, with the mask of whoever started this
/// process.
pub fn with_inherited_mask<T>(write: impl FnOnce() -> T) -> T {
    let own = umask(Mode::from_raw_mode(INHERITED_MASK.load(Ordering::Relaxed)));
    let written = write();
    umask(own);
    written
}

/// Makes of a soft limit what the hard one allows.
fn raise(resource: Resource) {
    let limit = getrlimit(resource);
    // It fails for nobody: every process may.
    let _ = setrlimit(resource, Rlimit { current: limit.maximum, ..limit });
}

#[allow(unsafe_code, reason = "no safe function sets a signal to be ignored")]
fn settle_signals() {
    // SAFETY: neither disposition is a function of ours; an all-zero sigset_t is the empty set, and the old set is
    // not asked for.
    unsafe {
        // A parent that ignores it would make children vanish before their status is read.
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        // A write beyond the limit on file sizes is then an error, which says what is wrong.
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        // A blocked SIGTERM would never stop the server.
        let none: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}
