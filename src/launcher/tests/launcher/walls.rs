//! Who a program is, and what it can't reach, in namespaces.

use std::path::Path;
use std::process::Command;

use sandbox_plan::{Ending, Namespace, Plan, Resource, Step};

use crate::support::{Change, LaunchMode, TestCaller, as_everybody};

/// Returns the value of a line of /proc/self/status.
fn field<'text>(status: &'text str, name: &str) -> &'text str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).trim()
}

#[test]
fn program_has_no_capabilities() {
    as_everybody(|caller| {
        let outcome = caller.sh("cat /proc/self/status; cat /proc/self/uid_map");
        let status = outcome.text();
        assert_eq!(field(status, "Uid"), "1000\t1000\t1000\t1000");
        assert_eq!(field(status, "Gid"), "100\t100\t100\t100");
        if caller.is_root() {
            assert_eq!(field(status, "Groups"), "");
        }
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(field(status, set), "0000000000000000", "{set}");
        }
        assert_eq!(field(status, "NoNewPrivs"), "1");
        let Some(map) = status.lines().last() else { unreachable!() };
        // A manager's namespace lies between, so that not even this number of the host is told.
        let host = match caller.mode {
            LaunchMode::Once => caller.identity().host_uid.to_string(),
            LaunchMode::Served => "1000".to_owned(),
        };
        assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["1000", &host, "1"]);
    });
}

#[test]
fn program_has_default_signals_and_its_own_session() {
    as_everybody(|caller| {
        let outcome = caller.sh("cat /proc/self/status; cut -d' ' -f 6,7 /proc/$$/stat; echo $$");
        let status = outcome.text();
        for mask in ["SigBlk", "SigIgn"] {
            assert_eq!(field(status, mask), "0000000000000000", "{mask}");
        }
        // Session and terminal: the program leads the one, and has none of the other.
        let lines: Vec<&str> = status.lines().rev().take(2).collect();
        assert_eq!(lines, ["2", "2 0"]);
    });
}

#[test]
fn signals_mask_and_descriptors_are_not_inherited() {
    as_everybody(|caller| {
        let launcher = caller.command().get_program().to_owned();
        let mut server = Command::new("sh");
        server.args(["-c", r#"trap '' CHLD TERM HUP PIPE; umask 077; exec 7</etc/passwd; exec "$0""#]).arg(launcher);
        caller.become_caller(&mut server);
        let plan = caller.plan("ls /proc/$$/fd; readlink /proc/$$/fd/0; umask; grep SigIgn /proc/self/status");
        let outcome = caller.start_by(server, &plan).finish();
        assert_eq!(outcome.text(), "0\n1\n2\n/dev/null\n0022\nSigIgn:\t0000000000000000");
    });
}

#[test]
fn program_has_only_the_named_variables() {
    as_everybody(|caller| {
        let mut plan = caller.plan("");
        plan.program().arguments = vec!["env".to_owned()];
        plan.program().variables.push(("EMPTY".to_owned(), String::new()));
        plan.program().variables.push(("NAME".to_owned(), "ü = \"1\"".to_owned()));
        let path = plan.program().variables[0].1.clone();
        let mut command = caller.command();
        command.env("SECRET", "1");
        let outcome = caller.start_by(command, &plan).finish();
        assert_eq!(outcome.text(), format!("PATH={path}\nLANG=C\nEMPTY=\nNAME=ü = \"1\""));
    });
}

#[test]
fn standard_input_is_empty() {
    as_everybody(|caller| assert_eq!(caller.sh("wc -c; readlink /proc/self/fd/0").text(), "0\n/dev/null"));
}

#[test]
fn pid_1_shows_no_file_of_the_host() {
    as_everybody(|caller| {
        let script = "tr -d '\\0' < /proc/1/cmdline; cat /proc/1/comm; ls /proc | grep -c '^[0-9]'; \
                      for secret in environ maps stack syscall io; do cat /proc/1/$secret && echo $secret; done 2>/dev/null; \
                      for link in exe cwd root fd/0 fd/3 ns/mnt; do readlink /proc/1/$link && echo $link; done; \
                      ls /proc/1/fd 2>/dev/null; (: > /proc/1/mem) 2>/dev/null || echo closed";
        let outcome = caller.sh(script);
        // Pid 1, the shell, ls and grep, of which ls sees at least the first three.
        let mut lines: Vec<&str> = outcome.text().lines().collect();
        if caller.is_root_to_the_kernel() {
            // The numbers of its descriptors, and no more than that.
            lines = lines
                .iter()
                .enumerate()
                .filter(|(at, line)| *at < 2 || line.parse::<u8>().is_err())
                .map(|(_, line)| *line)
                .collect();
        }
        assert_eq!((lines[0], lines[2], lines.len()), ("sandbox", "closed", 3), "{outcome:?}");
        assert!(lines[1] == "3" || lines[1] == "4", "{outcome:?}");
    });
}

#[test]
fn network_is_only_a_loopback_interface() {
    as_everybody(|caller| {
        let outcome = caller.sh("tail -n +3 /proc/net/dev | cut -d: -f1; grep -c '127.0.0.1' /proc/net/fib_trie; cat /proc/net/route | wc -l");
        let lines: Vec<&str> = outcome.text().lines().map(str::trim).collect();
        assert!(lines.len() == 3 && lines[0] == "lo" && lines[1] != "0" && lines[2] == "1", "{lines:?}");
    });
}

#[test]
fn loopback_answers_and_the_outside_is_unreachable() {
    as_everybody(|caller| {
        let mut plan = caller.plan("");
        let script = "(: < /dev/tcp/127.0.0.1/9) 2>&1; (: < /dev/tcp/192.0.2.1/9) 2>&1";
        plan.program().arguments = ["bash", "-c", script].map(str::to_owned).into();
        let outcome = caller.run(&plan);
        assert!(
            outcome.stdout.contains("Connection refused") && outcome.stdout.contains("Network is unreachable"),
            "{outcome:?}"
        );
    });
}

#[test]
fn plan_without_network_namespace_shows_the_host_network() {
    as_everybody(|caller| {
        let mut plan = caller.plan("readlink /proc/self/ns/net");
        plan.environment.namespaces.retain(|namespace| *namespace != Namespace::Network);
        plan.environment.sandbox.retain(|step| *step != Step::Loopback);
        let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
        assert_eq!(Path::new(caller.run(&plan).text()), ours);
        assert_ne!(Path::new(caller.sh("readlink /proc/self/ns/net").text()), ours);
    });
}

#[test]
fn every_namespace_is_new() {
    as_everybody(|caller| {
        for name in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
            let outcome = caller.sh(&format!("readlink /proc/self/ns/{name}"));
            let ours = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
            assert!(outcome.text().starts_with(name) && Path::new(outcome.text()) != ours, "{outcome:?}");
        }
        assert_eq!(caller.sh("cat /proc/sys/kernel/hostname").text(), "sandbox");
    });
}

#[test]
fn limits_are_soft_and_hard_and_enforced() {
    as_everybody(|caller| {
        let mut plan = caller.plan(
            "for kind in -S -H; do ulimit $kind -n; ulimit $kind -d; ulimit $kind -c; ulimit $kind -t; done; \
             ulimit -n 100 && ulimit -n 200 2>/dev/null || echo lowered",
        );
        let limit = |resource, value| Step::Limit { resource, value };
        plan.environment.walls.splice(
            0..0,
            [limit(Resource::OpenFiles, 128), limit(Resource::Data, 64 << 20), limit(Resource::CpuTime, 30)],
        );
        assert_eq!(caller.run(&plan).text(), "128\n65536\n0\n30\n128\n65536\n0\n30\nlowered");
    });
}

#[test]
fn limit_above_the_hard_limit_is_the_hard_limit() {
    as_everybody(|caller| {
        let mut plan = caller.plan("ulimit -n");
        let limit = |value| Step::Limit { resource: Resource::OpenFiles, value };
        plan.environment.walls.splice(0..0, [limit(200), limit(u64::MAX)]);
        assert_eq!(caller.run(&plan).text(), "200");
    });
}

#[test]
fn memory_over_the_limit_is_refused() {
    as_everybody(|caller| {
        let limited = |bytes: u32| {
            let mut plan = caller.plan(&format!("head -c {bytes} /dev/zero | tail -c {bytes} | wc -c"));
            plan.environment.walls.insert(0, Step::Limit { resource: Resource::Data, value: 64 << 20 });
            caller.run(&plan)
        };
        assert_eq!(limited(20_000_000).text(), "20000000");
        let outcome = limited(200_000_000);
        assert_ne!(outcome.stdout.trim(), "200000000");
        assert!(outcome.stderr.contains("memory exhausted"), "{outcome:?}");
    });
}

#[test]
fn large_plan_fits_into_a_small_memory_limit() {
    as_everybody(|caller| {
        let mut plan = caller.plan("wc -c < /sandbox/large");
        let content = vec![b'x'; 24 << 20];
        plan.call.steps.push(Step::File { path: "/sandbox/large".into(), content, mode: 0o644, owned: true });
        plan.environment.walls.insert(0, Step::Limit { resource: Resource::Data, value: 8 << 20 });
        assert_eq!(caller.run(&plan).text(), (24 << 20).to_string());
    });
}

#[test]
fn processor_time_over_the_limit_kills() {
    as_everybody(|caller| {
        let mut plan = caller.plan("while :; do :; done");
        plan.environment.walls.insert(0, Step::Limit { resource: Resource::CpuTime, value: 1 });
        assert_eq!(caller.run(&plan).ending(), Ending::Signalled { signal: libc::SIGKILL });
    });
}

/// Makes a filter that answers one system call with EPERM: load its number, compare, return.
fn refuse(call: libc::c_long) -> Vec<u8> {
    let statement = |code: u32, jt: u8, jf: u8, k: u32| {
        let mut bytes = (code as u16).to_ne_bytes().to_vec();
        bytes.extend([jt, jf]);
        bytes.extend(k.to_ne_bytes());
        bytes
    };
    [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
    .concat()
}

fn with_filters(caller: &TestCaller, script: &str, filters: &[libc::c_long]) -> Plan {
    let mut plan = caller.plan(script);
    plan.environment.walls.extend(filters.iter().map(|call| Step::Seccomp { program: refuse(*call) }));
    plan
}

#[test]
fn seccomp_filter_applies_to_the_program() {
    as_everybody(|caller| {
        let plan = with_filters(
            &caller,
            "ln -s a /tmp/b 2>&1; grep Seccomp /proc/self/status",
            &[libc::SYS_symlinkat, libc::SYS_chroot],
        );
        let outcome = caller.run(&plan);
        assert!(outcome.text().contains("Operation not permitted"), "{outcome:?}");
        let around = std::fs::read_to_string("/proc/self/status").expect("read /proc/self/status");
        let filters = |status| field(status, "Seccomp_filters").parse::<u32>().expect("filters are counted");
        assert_eq!((field(outcome.text(), "Seccomp"), filters(outcome.text())), ("2", filters(&around) + 2));
    });
}

#[test]
fn program_starts_under_a_filter_that_refuses_clone3() {
    as_everybody(|caller| {
        assert_eq!(caller.run(&with_filters(&caller, "sh -c 'echo fine'", &[libc::SYS_mount])).text(), "fine");
    });
}

#[test]
fn landlock_applies_inside_namespaces() {
    as_everybody(|caller| {
        let mut plan = caller.plan(
            "echo x > /sandbox/x && cat /sandbox/x; echo x > /tmp/x; cat /tmp/y; ls /proc/self >/dev/null && echo proc",
        );
        plan.environment.sandbox.push(Step::File {
            path: "/tmp/y".into(),
            content: b"secret".into(),
            mode: 0o644,
            owned: true,
        });
        let read = ["/usr", "/bin", "/lib", "/lib64", "/nix/store", "/proc"].map(std::path::PathBuf::from);
        plan.environment.walls.push(Step::Landlock {
            read: read.into_iter().filter(|path| path.exists()).collect(),
            write: vec!["/sandbox".into(), "/dev/null".into()],
            scoped: true,
            required: true,
        });
        let outcome = caller.run(&plan);
        assert_eq!(outcome.text(), "x\nproc", "{outcome:?}");
        assert_eq!(outcome.stderr.matches("Permission denied").count(), 2, "{outcome:?}");
    });
}

/// Confines as Nix 2.34 does its builders. With a further layer that confines files, this one prevents moving them.
#[test]
fn files_can_be_moved_under_a_landlock_layer_without_files() {
    const VERSION: libc::c_ulong = 1;
    const SCOPES: libc::c_long = 6;
    // SAFETY: no pointer is followed.
    if unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, VERSION) } < SCOPES {
        return eprintln!("not tested: this kernel's Landlock knows no scopes");
    }
    as_everybody(|caller| {
        let mut command = caller.command();
        // SAFETY: only system calls are made, with a pointer to a live array of the given size.
        let confine = || unsafe {
            let rules = [0u64, 0, 0b11]; // over no file, no port, but signals and abstract sockets
            let ruleset = libc::syscall(libc::SYS_landlock_create_ruleset, rules.as_ptr(), size_of_val(&rules), 0);
            let done = [
                ruleset,
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into(),
                libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0),
            ];
            if done.contains(&-1) { Err(std::io::Error::last_os_error()) } else { Ok(()) }
        };
        // SAFETY: what is called allocates nothing and takes no lock.
        unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, confine) };
        let mut plan = caller.plan("mkdir one two && echo moved > one/file && ln one/file two/file && cat two/file");
        let [read, write] = [vec!["/".into()], vec!["/sandbox".into()]];
        plan.environment.walls.push(Step::Landlock { read, write, scoped: true, required: false });
        let outcome = caller.start_by(command, &plan).finish();
        assert_eq!(outcome.text(), "moved", "{outcome:?}");
    });
}
