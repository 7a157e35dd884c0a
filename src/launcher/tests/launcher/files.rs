//! What a program sees of the file system.

use std::fs;
use std::path::{Path, PathBuf};

use sandbox_plan::{Replacement, Resource, Step};

use crate::support::{Change, as_everybody, host_programs};

fn file(path: &str, content: impl Into<Vec<u8>>, mode: u32, owned: bool) -> Step {
    Step::File { path: path.into(), content: content.into(), mode, owned }
}

#[test]
fn host_root_is_not_visible() {
    as_everybody(|caller| {
        let outcome =
            caller.sh("ls -A / /dev; ls -A /proc/1/root/ /proc/1/cwd/ 2>/dev/null; cat /etc/passwd 2>/dev/null; pwd");
        let (names, _) = outcome.text().split_once("\n/sandbox").expect("pwd comes last");
        let known = [
            "dev", "proc", "sandbox", "tmp", "fd", "full", "null", "random", "tty", "urandom", "zero", "/:", "/dev:",
            "",
        ];
        let programs: Vec<PathBuf> = host_programs()
            .into_iter()
            .map(|step| match step {
                Step::Bind { target: path, .. } | Step::Symlink { path, .. } => path,
                _ => unreachable!(),
            })
            .collect();
        for name in names.lines() {
            let known =
                known.contains(&name) || programs.iter().any(|path| path.starts_with(Path::new("/").join(name)));
            assert!(known, "{name} in {names}");
        }
    });
}

#[test]
fn old_root_is_detached() {
    as_everybody(|caller| {
        let outcome = caller.sh("cat /proc/self/mountinfo");
        let points: Vec<&str> = outcome.text().lines().filter_map(|line| line.split(' ').nth(4)).collect();
        assert_eq!(points.iter().filter(|point| **point == "/").count(), 1, "{points:?}");
        assert!(!points.contains(&"/sys"), "{points:?}");
    });
}

#[test]
fn root_and_programs_are_read_only() {
    as_everybody(|caller| {
        let script = "for at in / /dev /usr /nix/store; do [ -d $at ] && touch $at/x; done 2>&1 | grep -v 'Read-only file system'; \
                      chmod 777 / 2>&1; chmod 666 /dev/null 2>&1; echo fine > /dev/null; echo done";
        let outcome = caller.sh(script);
        let refusals = outcome.text().lines().filter(|line| line.contains("Read-only file system")).count();
        assert_eq!(
            (refusals, outcome.text().lines().last(), outcome.text().lines().count()),
            (2, Some("done"), 3),
            "{outcome:?}"
        );
    });
}

#[test]
fn private_directories_have_limits_of_bytes_and_files() {
    as_everybody(|caller| {
        let mut plan = caller.plan(
            "cd small; head -c 3000000 /dev/zero > a; stat -c %s a; rm a; for i in $(seq 60); do touch $i || break; done; ls | wc -l",
        );
        let small =
            Step::Tmpfs { target: "/sandbox/small".into(), size: 1 << 20, inodes: 50, mode: 0o1777, owned: false };
        plan.environment.sandbox.push(small);
        let outcome = caller.run(&plan);
        assert_eq!(outcome.text(), "1048576\n49");
        assert!(outcome.stderr.contains("No space left"), "{outcome:?}");
    });
}

#[test]
fn tmpfs_of_size_0_holds_no_data() {
    as_everybody(|caller| {
        let mut plan = caller.plan("head -c 100000 /dev/zero > none/a; ls none");
        plan.environment.sandbox.push(Step::Tmpfs {
            target: "/sandbox/none".into(),
            size: 0,
            inodes: 0,
            mode: 0o1777,
            owned: false,
        });
        assert_eq!(caller.run(&plan).text(), "");
    });
}

#[test]
fn files_have_their_content_mode_and_owner() {
    as_everybody(|caller| {
        let content: Vec<u8> = (0..10 << 20).map(|index: u32| (index % 251) as u8).collect();
        let mut plan = caller.plan(
            "cd /sandbox; stat -c '%a %u:%g %s %n' script data src src/deep src/deep/file /etc/passwd /etc; ./script; \
             echo more >> src/deep/file && touch src/new && cat src/deep/file; cat data",
        );
        plan.environment.view.push(file("/etc/passwd", "sandbox:x:1000:100\n", 0o644, false));
        plan.call.steps.splice(
            0..0,
            [
                file("/sandbox/script", "#!/bin/sh\necho ran\n", 0o755, true),
                file("/sandbox/data", content.clone(), 0o600, true),
                file("/sandbox/src/deep/file", "text\n", 0o640, true),
            ],
        );
        let running = caller.run(&plan);
        let output = running.text();
        // Where root is not mapped, the program's user is the only one there is.
        let other = if caller.is_root() { "0:0" } else { "1000:100" };
        let expected = format!(
            "755 1000:100 19 script\n600 1000:100 {} data\n755 1000:100 {{}} src\n755 1000:100 {{}} src/deep\n\
             640 1000:100 5 src/deep/file\n644 {other} 19 /etc/passwd\n755 {other} {{}} /etc\nran\ntext\nmore\n",
            content.len()
        );
        let mut rest = output;
        for part in expected.split("{}") {
            let at = rest.find(part).unwrap_or_else(|| panic!("no {part:?} in {}", &output[..output.len().min(800)]));
            rest = &rest[at + part.len()..];
        }
        assert_eq!(rest, String::from_utf8_lossy(&content).trim_end());
    });
}

#[test]
fn existing_directories_get_their_mode() {
    as_everybody(|caller| {
        let mut plan = caller.plan("stat -c '%a %u' /sandbox/new /sandbox/deep /sandbox/sticky; touch /sandbox/new/x && cd /sandbox/new/ && ls");
        let directory = |path: &str, mode| Step::Directory { path: path.into(), mode, owned: true };
        plan.environment.sandbox.extend([
            directory("/sandbox/new", 0o700),
            directory("/sandbox/deep/below", 0o755),
            directory("/sandbox/deep", 0o711),
            directory("/sandbox/sticky", 0o1777),
        ]);
        assert_eq!(caller.run(&plan).text(), "700 1000\n711 1000\n1777 1000\nx");
    });
}

#[test]
fn links_lead_into_the_sandbox_only() {
    as_everybody(|caller| {
        let host = caller.host_directory();
        let mut plan = caller.plan("find /inner /out | sort; cat /inner/file");
        plan.environment.view.extend([
            Step::Directory { path: "/inner".into(), mode: 0o755, owned: false },
            // On the host this path is another directory.
            Step::Symlink { path: "/out".into(), target: "/inner".into() },
            file("/out/file", "inside\n", 0o644, false),
            Step::Symlink { path: "/host".into(), target: host.0.clone() },
            Step::Directory { path: host.0.clone(), mode: 0o755, owned: false },
            file("/host/file", "inside\n", 0o644, false),
            Step::Symlink { path: "/up".into(), target: "../../../../../inner".into() },
            Step::Directory { path: "/up/low".into(), mode: 0o755, owned: false },
        ]);
        assert_eq!(caller.run(&plan).text(), "/inner\n/inner/file\n/inner/low\n/out\ninside");
        assert_eq!(fs::read_dir(&host.0).unwrap().count(), 0);
    });
}

#[test]
fn dangling_link_is_not_written_through() {
    as_everybody(|caller| {
        let mut plan = caller.plan("true");
        plan.environment.sandbox.extend([
            Step::Symlink { path: "/sandbox/link".into(), target: "/sandbox/other".into() },
            file("/sandbox/link", "", 0o644, true),
        ]);
        assert_eq!(caller.run(&plan).failure(), ("write /sandbox/link", libc::EEXIST));
    });
}

#[test]
fn bind_shows_files_and_directories_read_only() {
    as_everybody(|caller| {
        let host = caller.host_directory();
        fs::create_dir(host.0.join("directory")).unwrap();
        fs::write(host.0.join("directory/file"), "content\n").unwrap();
        fs::write(host.0.join("single"), "single\n").unwrap();
        std::os::unix::fs::symlink("single", host.0.join("link")).unwrap();
        let bind = |source: &str, target: &str| Step::Bind { source: host.0.join(source), target: target.into() };
        let mut plan = caller.plan("cat /a/b/file /a/c /a/d; ls /a/b; for at in /a/b/file /a/b/x /a/c; do echo x 2>/dev/null > $at || echo no; done");
        // Two before the pivot, one after it.
        plan.environment.view.insert(1, bind("directory", "/a/b"));
        plan.environment.view.insert(2, bind("single", "/a/c"));
        plan.environment.view.push(bind("link", "/a/d"));
        assert_eq!(caller.run(&plan).text(), "content\nsingle\nsingle\nfile\nno\nno\nno");
        assert_eq!(fs::read_to_string(host.0.join("single")).unwrap(), "single\n");
    });
}

#[test]
fn missing_source_of_a_late_bind_is_named_before_the_pivot() {
    as_everybody(|caller| {
        let mut plan = caller.plan("true");
        plan.environment.view.push(Step::Bind { source: "/no/such".into(), target: "/a".into() });
        assert_eq!(caller.run(&plan).failure(), ("bind /no/such at /a", libc::ENOENT));
    });
}

#[test]
fn mounts_below_a_source_are_read_only() {
    as_everybody(|caller| {
        // /dev has mounts of its own on most machines, which a bind without its submounts would leave out.
        let mut plan = caller.plan("for at in $(cut -d' ' -f5 /proc/self/mountinfo | grep ^/host); do touch $at/x 2>/dev/null && echo $at; done; echo done");
        plan.environment.view.push(Step::Bind { source: "/dev".into(), target: "/host".into() });
        assert_eq!(caller.run(&plan).text(), "done");
    });
}

#[test]
fn set_user_id_programs_and_devices_of_a_bind_have_no_effect() {
    as_everybody(|caller| {
        let mut plan = caller.plan("cat /host/null && echo read; grep ' /host ' /proc/self/mountinfo | cut -d' ' -f6");
        plan.environment.view.push(Step::Bind { source: "/dev".into(), target: "/host".into() });
        let outcome = caller.run(&plan);
        let options: Vec<&str> = outcome.text().split(',').collect();
        assert!(["ro", "nosuid", "nodev"].iter().all(|option| options.contains(option)), "{outcome:?}");
    });
}

#[test]
fn bind_of_files_of_root_is_readable_by_another_user() {
    as_everybody(|caller| {
        if !caller.is_root() {
            return;
        }
        // Like a toolchain below /root: readable itself, behind a directory that is not.
        let host = caller.host_directory();
        let closed = host.0.join("closed");
        fs::create_dir_all(closed.join("toolchain")).unwrap();
        fs::write(closed.join("toolchain/file"), "reached\n").unwrap();
        std::os::unix::fs::chown(&closed, Some(0), Some(0)).unwrap();
        fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let mut plan = caller.plan("cat /opt/file");
        plan.environment.view.push(Step::Bind { source: closed.join("toolchain"), target: "/opt".into() });
        assert_eq!(caller.run(&plan).text(), "reached");
    });
}

#[test]
fn mount_hides_files_below_it() {
    as_everybody(|caller| {
        let mut plan = caller.plan("ls /over /over/inner");
        let tmpfs =
            |target: &str| Step::Tmpfs { target: target.into(), size: 1 << 20, inodes: 10, mode: 0o755, owned: true };
        plan.environment.view.extend([
            file("/over/inner/below", "", 0o644, false),
            tmpfs("/over/inner"),
            file("/over/inner/above", "", 0o644, false),
            tmpfs("/over"),
            file("/over/inner/top", "", 0o644, false),
        ]);
        assert_eq!(caller.run(&plan).text(), "/over:\ninner\n\n/over/inner:\ntop");
    });
}

#[test]
fn file_size_has_the_limit_of_the_plan() {
    as_everybody(|caller| {
        let mut plan = caller.plan("trap '' XFSZ; head -c 3000000 /dev/zero > /tmp/a; stat -c %s /tmp/a");
        plan.environment.walls.insert(0, Step::Limit { resource: Resource::FileSize, value: 100_000 });
        assert_eq!(caller.run(&plan).text(), "100000");
    });
}

#[test]
fn terminals_are_the_sandbox_s_own_and_few() {
    as_everybody(|caller| {
        let mut plan = caller.plan("ls /dev/pts; exec 3<> /dev/ptmx; ls /dev/pts");
        let environment = &mut plan.environment;
        let pivot = environment.view.iter().position(|step| *step == Step::PivotRoot).expect("a step");
        let made = [
            Step::Directory { path: "/dev/pts".into(), mode: 0o755, owned: false },
            Step::Symlink { path: "/dev/ptmx".into(), target: "pts/ptmx".into() },
        ];
        environment.view.splice(pivot..pivot, made);
        environment.sandbox.push(Step::Terminals { target: "/dev/pts".into(), most: 1 });
        assert_eq!(caller.run(&plan).text(), "ptmx\n0\nptmx");
        plan.program().arguments[2] = "exec 3<> /dev/ptmx; exec 4<> /dev/ptmx; echo there".into();
        let outcome = caller.run(&plan);
        assert!(!outcome.stdout.contains("there") && outcome.stderr.contains("No space left"), "{outcome:?}");
    });
}

#[test]
fn files_of_proc_are_replaced_by_the_sandbox_s_own() {
    as_everybody(|caller| {
        let mut plan = caller.plan("cat /proc/stat; (echo x > /proc/stat) 2>/dev/null || echo refused");
        let environment = &mut plan.environment;
        let pivot = environment.view.iter().position(|step| *step == Step::PivotRoot).expect("a step");
        let content = b"ours\n".to_vec();
        let file = Step::File { path: "/run/stat".into(), content, mode: 0o444, owned: false };
        environment.view.splice(pivot..pivot, [file]);
        let replace = |path: &str, by: &str| Replacement { path: path.into(), by: by.into() };
        let replaced = vec![replace("/proc/stat", "/run/stat"), replace("/proc/no-such-file", "/run/stat")];
        environment.sandbox.push(Step::Mask { hidden: vec![], replaced, read_only: vec![] });
        assert_eq!(caller.run(&plan).text(), "ours\nrefused");
    });
}
