//! Limits that the keeper of a sandbox sees to, and what they say when they are met.

use std::time::Duration;

use sandbox_plan::{Directory, Ending, Limit, Namespace, Plan, Resource, Step, Watch};

use crate::support::{Change, TestCaller, as_everybody, as_everybody_served};

const MB: u64 = 1 << 20;

/// Makes the plan of a sandbox whose memory is watched, with one tmpfs for its private directories.
fn watched(caller: &TestCaller, script: &str, memory: u64) -> Plan {
    let mut plan = caller.plan(script);
    plan.environment.watch.memory = Some(memory);
    let place = |target: &str, mode, owned| Directory { target: target.into(), mode, owned };
    let scratch = Step::Scratch {
        size: 200 * MB,
        inodes: 1000,
        directories: vec![place("/sandbox", 0o755, true), place("/tmp", 0o1777, false)],
    };
    plan.environment.sandbox.splice(0..2, [scratch]);
    plan
}

fn memory(bytes: u64) -> Ending {
    Ending::OverLimit { limit: Limit::Memory { bytes } }
}

#[test]
fn memory_over_the_limit_ends_the_sandbox_and_is_named() {
    as_everybody(|caller| {
        let limit = 100 * MB;
        let within = caller.run(&watched(&caller, "head -c 40000000 /dev/zero | tail -c 40000000 | wc -c", limit));
        assert_eq!(within.text(), "40000000");
        let over =
            caller.run(&watched(&caller, "head -c 900000000 /dev/zero | tail -c 900000000 | wc -c; sleep 900", limit));
        assert_eq!(over.ending(), memory(limit), "{over:?}");
        let Some(sandbox_plan::Report::Ended { usage, .. }) = over.report else { unreachable!() };
        assert!(usage.peak_memory < 4 * limit, "{usage:?}");
    });
}

#[test]
fn memory_is_added_up_over_processes() {
    as_everybody(|caller| {
        let limit = 100 * MB;
        let script =
            "for i in 1 2 3 4 5; do (head -c 40000000 /dev/zero | tail -c 40000000 | (sleep 5; wc -c)) & done; wait";
        assert_eq!(caller.run(&watched(&caller, script, limit)).ending(), memory(limit));
    });
}

/// Makes the plan of a Python program whose memory is watched.
fn watched_python(caller: &TestCaller, code: &str, memory: u64) -> Plan {
    let mut plan = watched(caller, "", memory);
    plan.program().arguments = ["python3", "-c", code].map(str::to_owned).into();
    plan
}

#[test]
fn page_tables_count_as_memory() {
    as_everybody(|caller| {
        let limit = 30 * MB;
        let dense = "
import mmap, time
flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
memory = mmap.mmap(-1, SIZE << 30, flags=flags, prot=mmap.PROT_READ)
time.sleep(SECONDS)";
        let sparse = "
import ctypes, mmap, time
map = ctypes.CDLL(None).mmap
map.argtypes, map.restype = [ctypes.c_size_t, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long], ctypes.c_size_t
flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
for page in range(SIZE << 9):
    map((1 << 44) + (page << 21), 4096, mmap.PROT_READ, flags, -1, 0)
time.sleep(SECONDS)";
        for code in [dense, sparse] {
            let code = |size, seconds| code.replace("SIZE", size).replace("SECONDS", seconds);
            assert_eq!(caller.run(&watched_python(&caller, &code("16", "900"), limit)).ending(), memory(limit));
            let within = caller.run(&watched_python(&caller, &code("3", "0.3"), limit));
            assert_eq!(within.ending(), Ending::Exited { code: 0 }, "{within:?}");
        }
    });
}

#[test]
fn sockets_count_with_their_capacity() {
    as_everybody(|caller| {
        let limit = 100 * MB;
        let held = "
import socket, time
kept = [socket.socketpair() for _ in range(PAIRS)]
time.sleep(SECONDS)";
        let let_go = "
import socket, time
kept = []
for _ in range(PAIRS):
    sender, receiver = socket.socketpair()
    sender.send(bytes(9999))
    sender.close()
    kept.append(receiver)
time.sleep(SECONDS)";
        for code in [held, let_go] {
            let run = |pairs, seconds, change: fn(&mut Plan)| {
                let code = code.replace("PAIRS", pairs).replace("SECONDS", seconds);
                let mut plan = watched_python(&caller, &code, limit);
                plan.environment.watch.socket = Some(MB);
                change(&mut plan);
                caller.run(&plan).ending()
            };
            assert_eq!(run("60", "900", |_| ()), memory(limit));
            assert_eq!(run("30", "0.3", |_| ()), Ending::Exited { code: 0 });
            // Nobody else's sockets are counted, and thus not its own either.
            let on_the_hosts_network = |plan: &mut Plan| {
                plan.environment.namespaces.retain(|namespace| *namespace != Namespace::Network);
                plan.environment.sandbox.retain(|step| *step != Step::Loopback);
            };
            assert_eq!(run("60", "0.3", on_the_hosts_network), Ending::Exited { code: 0 });
        }
    });
}

#[test]
fn files_in_private_directories_count_as_memory() {
    as_everybody(|caller| {
        let limit = 100 * MB;
        let script = "head -c 60000000 /dev/zero > /tmp/a; sleep 0.3; echo fine; head -c 60000000 /dev/zero > /sandbox/b; sleep 900";
        let outcome = caller.run(&watched(&caller, script, limit));
        assert_eq!((outcome.ending(), outcome.stdout.as_str()), (memory(limit), "fine\n"), "{outcome:?}");
    });
}

#[test]
fn private_directories_share_one_limit() {
    as_everybody(|caller| {
        let script = "head -c 150000000 /dev/zero > /tmp/a; head -c 150000000 /dev/zero > /sandbox/b; \
                      stat -c %s /tmp/a /sandbox/b; stat -c '%a %u' /tmp /sandbox; ls -A /sandbox /tmp; rmdir /tmp/../tmp/1";
        let mut plan = watched(&caller, script, u64::MAX);
        plan.environment.watch = Watch::default();
        let outcome = caller.run(&plan);
        let lines: Vec<&str> = outcome.stdout.lines().collect();
        let sizes: Vec<u64> = lines[..2].iter().map(|line| line.parse().unwrap()).collect();
        assert!(sizes[0] == 150_000_000 && sizes[1] < 60_000_000, "{outcome:?}");
        let other = if caller.is_root() { "1777 0" } else { "1777 1000" };
        assert_eq!(lines[2..4], [other, "755 1000"], "{outcome:?}");
        assert_eq!(lines[4..], ["/sandbox:", "b", "", "/tmp:", "a"], "{outcome:?}");
    });
}

#[test]
fn program_that_ends_at_its_process_limit_is_reported_so() {
    as_everybody(|caller| {
        let mut plan = caller.plan("for i in $(seq 100); do sleep 900 & done 2>/dev/null; sleep 0.5; exit 1");
        plan.environment.watch.processes = Some(20);
        plan.environment.watch.ends_forks = true;
        plan.environment.walls.insert(0, Step::Limit { resource: Resource::Processes, value: 20 });
        let limit = Limit::Processes { count: 20 };
        assert_eq!(caller.run(&plan).ending(), Ending::OverLimit { limit });
        plan.program().arguments[2] = "sleep 0.5; exit 1".to_owned();
        assert_eq!(caller.run(&plan).ending(), Ending::Exited { code: 1 });
        plan.program().arguments[2] =
            "(for i in $(seq 100); do sleep 900 & done) 2>/dev/null; sleep 0.5; exit 0".to_owned();
        assert_eq!(caller.run(&plan).ending(), Ending::OverLimit { limit });
        // Sooner than anybody looks.
        let code = "
import os, time
try:
    while os.fork() > 0:
        pass
    time.sleep(900)
except OSError:
    pass";
        let shell = std::mem::replace(&mut plan.program().arguments, ["python3", "-c", code].map(str::to_owned).into());
        assert_eq!(caller.run(&plan).ending(), Ending::OverLimit { limit });
        plan.program().arguments = shell;
        plan.program().arguments[2] = "for i in $(seq 10); do sleep 900 & done; sleep 0.5; exit 0".to_owned();
        assert_eq!(caller.run(&plan).ending(), Ending::Exited { code: 0 });
    });
}

#[test]
fn sandbox_runs_on_its_number_of_processors() {
    as_everybody(|caller| {
        let mut plan = caller.plan("nproc");
        plan.environment.watch.processors = Some(1);
        assert_eq!(caller.run(&plan).text(), "1");
        plan.environment.watch.processors = Some(1000);
        let all = std::thread::available_parallelism().unwrap().get();
        assert_eq!(caller.run(&plan).text(), all.to_string());
    });
}

#[test]
fn sandboxes_at_once_are_on_different_processors() {
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return;
    }
    as_everybody_served(|caller| {
        let mut plan = caller.plan("grep ^Cpus_allowed_list /proc/self/status; sleep 0.3");
        plan.environment.watch.processors = Some(1);
        for ready in [0, 2] {
            let served = caller.serve(&plan.environment, ready);
            for _ in 0..3 {
                let calls = [0, 1].map(|_| served.begin(&plan.call));
                let seen = calls.map(|call| call.finish().text().to_owned());
                assert_ne!(seen[0], seen[1], "with {ready} ready");
            }
        }
    });
}

#[test]
fn sandbox_stays_on_the_processors_of_its_launcher() {
    let own = rustix::thread::sched_getaffinity(None).expect("the own processors");
    let Some(last) = (0..1024).rev().find(|processor| own.is_set(*processor)) else { return };
    let mut only = rustix::thread::CpuSet::new();
    only.set(last);
    as_everybody(|caller| {
        // Of this thread, which starts the launcher.
        rustix::thread::sched_setaffinity(None, &only).expect("stay on one");
        let mut plan = caller.plan("grep ^Cpus_allowed_list /proc/self/status");
        for count in [1, 2] {
            plan.environment.watch.processors = Some(count);
            assert_eq!(caller.run(&plan).text(), format!("Cpus_allowed_list:\t{last}"));
        }
        rustix::thread::sched_setaffinity(None, &own).expect("leave it");
    });
}

#[test]
fn sandbox_at_its_limits_is_not_killed() {
    as_everybody(|caller| {
        let script = "head -c 70000000 /dev/zero | tail -c 70000000 | (sleep 1; wc -c)";
        let plan = watched(&caller, script, 100 * MB).within(Duration::from_secs(10));
        assert_eq!(caller.run(&plan).text(), "70000000");
    });
}
