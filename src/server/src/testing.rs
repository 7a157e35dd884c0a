//! Runs the body of a test as another user, or with a kernel feature disabled by a seccomp filter.
//!
//! User ids and seccomp filters apply to a thread and its children, so each body runs in its own thread.

use std::collections::BTreeMap;
use std::future::Future;
use std::thread;

use rustix::fs::{Gid, Uid};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::call::capture::Captured;
use crate::call::choice::Executor;
use crate::call::outcome::{Ending, Outcome, RunResult};

/// Returns the result of a program in a sandbox that has printed these errors and left nothing.
pub fn run_result(ending: Ending, stderr: &str) -> RunResult {
    let mut printed = Captured::default();
    printed.push(stderr.as_bytes());
    RunResult {
        ending,
        full: Default::default(),
        stdout: Captured::default(),
        stderr: printed,
        artifacts: Default::default(),
        left: Default::default(),
        refused: Default::default(),
        duration: Default::default(),
        usage: Default::default(),
        cached: false,
        walls: vec!["namespaces"],
        notes: Vec::new(),
    }
}

/// Returns the outcome of a call with this result, in a pinned environment.
pub fn outcome(result: RunResult) -> Outcome {
    Outcome {
        result,
        met: None,
        missed: Default::default(),
        workdir: "/sandbox",
        executor: Executor::Namespace,
        fallback: None,
        environment: "/nix/store/x".into(),
        derivation: None,
        ignored: Vec::new(),
    }
}

/// The user that runs a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The user that runs the tests.
    Own,
    /// An unprivileged user, which root switches to.
    Nobody,
}

/// A feature that a kernel may lack, or that a container may deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacking {
    UserNamespaces,
    Landlock,
    Seccomp,
}

/// Returns all users that this process can switch to.
pub fn everybody() -> Vec<Caller> {
    if rustix::process::geteuid().is_root() { vec![Caller::Own, Caller::Nobody] } else { vec![Caller::Own] }
}

/// Runs a body as `caller`, with these kernel features disabled.
pub fn run<T: Send, F: Future<Output = T>>(caller: Caller, lacking: &[Lacking], body: impl FnOnce() -> F + Send) -> T {
    let on_thread = move || {
        become_caller(caller);
        for lacking in lacking {
            seccompiler::apply_filter(&filter(*lacking)).expect("install a filter");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("make a runtime");
        runtime.block_on(body())
    };
    thread::scope(|scope| match scope.spawn(on_thread).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn become_caller(caller: Caller) {
    const NOBODY: u32 = 65534;
    if caller == Caller::Nobody {
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        rustix::thread::set_thread_groups(&[]).expect("leave all groups");
        rustix::thread::set_thread_res_gid(gid, gid, gid).expect("become the group nobody");
        rustix::thread::set_thread_res_uid(uid, uid, uid).expect("become nobody");
    }
}

fn filter(lacking: Lacking) -> BpfProgram {
    let flag = |argument, flag: i32| {
        let flag = flag as u64;
        let operator = SeccompCmpOp::MaskedEq(flag);
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, flag).expect("a condition");
        vec![SeccompRule::new(vec![condition]).expect("a rule")]
    };
    let (errno, rules): (i32, Vec<(i64, Vec<SeccompRule>)>) = match lacking {
        // The error that older Debian kernels and containers give.
        Lacking::UserNamespaces => (
            libc::EPERM,
            vec![(libc::SYS_clone, flag(0, libc::CLONE_NEWUSER)), (libc::SYS_unshare, flag(0, libc::CLONE_NEWUSER))],
        ),
        Lacking::Landlock => (
            libc::ENOSYS,
            vec![
                (libc::SYS_landlock_create_ruleset, vec![]),
                (libc::SYS_landlock_add_rule, vec![]),
                (libc::SYS_landlock_restrict_self, vec![]),
            ],
        ),
        // Existing filters cannot be removed, and prctl has other uses.
        Lacking::Seccomp => (libc::ENOSYS, vec![(libc::SYS_seccomp, vec![])]),
    };
    let rules: BTreeMap<i64, Vec<SeccompRule>> = rules.into_iter().collect();
    let architecture = std::env::consts::ARCH.try_into().expect("a known architecture");
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32), architecture)
        .and_then(TryInto::try_into)
        .expect("compile a filter")
}
