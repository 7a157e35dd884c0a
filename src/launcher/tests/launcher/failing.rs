//! Sandboxes that can't be made, and programs that can't be started.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use sandbox_plan::{Failure, MAX_REPORT_BYTES, Report, Step, read_message};

use crate::support::{Change, as_everybody, as_everybody_once, program, programs};

#[test]
fn missing_program_is_named() {
    as_everybody(|caller| {
        let mut plan = caller.plan("");
        plan.program().arguments[0] = "no-such-program".to_owned();
        assert_eq!(caller.run(&plan).failure(), ("start no-such-program", libc::ENOENT));
        plan.program().arguments[0] = "./no-such-program".to_owned();
        assert_eq!(caller.run(&plan).failure(), ("start ./no-such-program", libc::ENOENT));
        plan.program().arguments = vec![String::new()];
        assert_eq!(caller.run(&plan).failure(), ("start ", libc::ENOENT));
        plan.program().arguments.clear();
        assert_eq!(caller.run(&plan).failure(), ("start a program without a name", libc::ENOENT));
    });
}

#[test]
fn program_that_cannot_be_executed_is_named() {
    as_everybody(|caller| {
        let mut plan = caller.plan("");
        let file = |path: &str, content: &str, mode| Step::File {
            path: path.into(),
            content: content.into(),
            mode,
            owned: true,
        };
        plan.environment.sandbox.extend([
            file("/sandbox/plain", "#!/bin/sh\necho ran\n", 0o644),
            file("/sandbox/good", "#!/bin/sh\necho ran $0 $1\n", 0o755),
            file("/sandbox/orphan", "#!/no/such/shell\n", 0o755),
            file("/sandbox/text", "words\n", 0o755),
        ]);
        for (name, errno) in [("plain", libc::EACCES), ("orphan", libc::ENOENT), ("text", libc::ENOEXEC)] {
            plan.program().arguments = vec![format!("./{name}")];
            assert_eq!(caller.run(&plan).failure(), (&*format!("start ./{name}"), errno));
        }
        // The lookup goes along the program's PATH, inside, past what can't be executed.
        plan.program().variables[0].1 = format!("/nowhere::/sandbox:{}", plan.program().variables[0].1);
        plan.program().arguments = vec!["plain".to_owned()];
        assert_eq!(caller.run(&plan).failure(), ("start plain", libc::EACCES));
        plan.program().arguments = vec!["good".to_owned(), "well".to_owned()];
        assert_eq!(caller.run(&plan).text(), "ran /sandbox/good well");
        plan.program().variables.clear();
        assert_eq!(caller.run(&plan).failure(), ("start good", libc::ENOENT));
    });
}

#[test]
fn missing_directory_is_named() {
    as_everybody(|caller| {
        let mut plan = caller.plan("");
        plan.call.program = Some(program("true", "/sandbox/none"));
        assert_eq!(caller.run(&plan).failure(), ("enter /sandbox/none", libc::ENOENT));
    });
}

#[test]
fn arguments_with_a_nul_are_a_failure() {
    as_everybody(|caller| {
        assert_eq!(caller.sh("echo a\0b").failure(), ("start sh", libc::EINVAL));
        assert_eq!(caller.sh(&"x".repeat(4 << 20)).failure(), ("start sh", libc::E2BIG));
    });
}

#[test]
fn refused_step_is_named_with_its_path_and_errno() {
    let path = |path: &str| path.into();
    let programs = programs();
    let below = |name: &str| format!("{programs}/{name}");
    let bind = |source: &str, target: &str| Step::Bind { source: path(source), target: path(target) };
    let file = |target: &str| Step::File { path: path(target), content: vec![], mode: 0o644, owned: false };
    let directory = |target: &str| Step::Directory { path: path(target), mode: 0o755, owned: false };
    let cases = [
        (bind("/no/such/source", "/mnt"), "bind /no/such/source at /mnt".to_owned(), libc::ENOENT),
        (bind(programs, &below("none/such")), format!("bind {programs} at {programs}/none/such"), libc::EROFS),
        (bind(programs, "relative"), format!("bind {programs} at relative"), libc::EINVAL),
        (bind(programs, "/tmp/../out"), format!("bind {programs} at /tmp/../out"), libc::EINVAL),
        (bind(programs, "/tmp/nul\0nul"), format!("bind {programs} at /tmp/nul\0nul"), libc::EINVAL),
        (Step::Device { path: path("/dev/none") }, "bind the device /dev/none".to_owned(), libc::ENOENT),
        (file(&below("none")), format!("write {programs}/none"), libc::EROFS),
        (file("/tmp"), "write /tmp".to_owned(), libc::EEXIST),
        (file("/dev/null/x"), "write /dev/null/x".to_owned(), libc::ENOTDIR),
        (directory("/dev/null"), "make the directory /dev/null".to_owned(), libc::ENOTDIR),
        (Step::Symlink { path: path("/tmp"), target: path("x") }, "link /tmp to x".to_owned(), libc::EEXIST),
        (Step::ReadOnly { target: path("/none") }, "make /none read-only".to_owned(), libc::ENOENT),
        (Step::ReadOnly { target: path("/dev") }, "make /dev read-only".to_owned(), libc::EINVAL),
        (Step::Hostname { name: "x".repeat(65) }, "set the host name ".to_owned(), libc::EINVAL),
        (Step::Seccomp { program: vec![0; 7] }, "install the seccomp filter".to_owned(), libc::EINVAL),
    ];
    as_everybody(|caller| {
        for (step, operation, errno) in &cases {
            let mut plan = caller.plan("true");
            match step {
                Step::Bind { .. } | Step::Device { .. } => plan.environment.view.push(step.clone()),
                _ => plan.environment.sandbox.push(step.clone()),
            }
            let outcome = caller.run(&plan);
            let failure = outcome.failure();
            assert!(
                failure.0.starts_with(operation.as_str()) && failure.1 == *errno,
                "{failure:?}, not {operation}, {errno}"
            );
            assert!(!outcome.started);
            assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
        }
    });
}

#[test]
fn mounts_without_a_mount_namespace_are_a_failure() {
    as_everybody_once(|caller| {
        // Never as real root, who could do it to the host.
        if caller.is_root() {
            return;
        }
        let mut plan = caller.plan("true");
        plan.environment.namespaces.clear();
        let outcome = caller.run(&plan);
        assert_eq!(outcome.failure(), ("mount a tmpfs at /", libc::EPERM));
    });
}

#[test]
fn bytes_that_are_not_an_order_are_a_failure() {
    as_everybody_once(|caller| {
        for frame in [&b"\x04\0\0\0\xff\xff\xff\xff"[..], b"\0\0\0\0", b"\xff\xff\xff\xff"] {
            let (mut control, theirs) = UnixStream::pair().unwrap();
            let mut command = caller.command();
            let child =
                command.stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            control.write_all(frame).unwrap();
            let report = read_message(&mut control, MAX_REPORT_BYTES).unwrap();
            let failure = Failure { operation: "read the order".to_owned(), errno: libc::EBADMSG };
            assert_eq!(report, Some(Report::Failed(failure)));
            let output = child.wait_with_output().unwrap();
            assert_eq!((output.stdout, output.stderr), (vec![], vec![]));
        }
    });
}
