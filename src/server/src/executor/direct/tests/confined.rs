//! What a program can and can't do without namespaces.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::support::{lacking, without_namespaces};

#[test]
fn host_toolchains_run_in_namespaces_where_possible() {
    for setting in lacking(&[]) {
        let outcome = setting.run("shell", "pwd; echo $HOME").unwrap();
        assert_eq!(outcome.stdout.text(), "/sandbox\n/sandbox\n");
        assert_eq!((outcome.walls[0], outcome.notes.len()), ("namespaces", 0));
    }
}

#[test]
fn host_toolchains_run_behind_walls_without_namespaces() {
    let hello = [
        ("shell", "echo hello; for i in 1 2 3; do echo $i; done | wc -l", "hello\n3\n"),
        (
            "python",
            "import subprocess\nprint(subprocess.check_output(['sh', '-c', 'echo hello'], text=True))",
            "hello\n\n",
        ),
        ("javascript", "require('child_process').exec('echo hello', (_, text) => console.log(text))", "hello\n\n"),
        ("rust", "fn main() { std::thread::spawn(|| println!(\"hello\")).join().unwrap() }", "hello\n"),
        ("go", "package main\nimport \"fmt\"\nfunc main() { fmt.Println(\"hello\") }", "hello\n"),
        ("java", "class Main { public static void main(String[] a) { System.out.println(\"hello\"); } }", "hello\n"),
    ];
    for setting in without_namespaces() {
        for (tool, code, expected) in hello {
            let Some(outcome) = setting.run(tool, code) else { continue };
            assert_eq!(outcome.stdout.text(), expected, "{setting:?}: {tool}: {}", outcome.stderr.text());
            assert!(outcome.walls.contains(&"landlock") && outcome.walls.contains(&"seccomp"), "{:?}", outcome.walls);
            assert!(!outcome.walls.contains(&"namespaces") && outcome.notes[0].contains("in place of /sandbox"));
        }
    }
}

#[test]
fn workdir_home_and_tmp_are_private_and_removed() {
    for setting in without_namespaces() {
        let code = "pwd; echo $HOME; echo $TMPDIR; echo x > $TMPDIR/x && cat $TMPDIR/x; ls; stat -c %a ..; stat -c %U .; \
                    echo y > y && cat y";
        let outcome = setting.run("shell", code).unwrap();
        let text = outcome.stdout.text();
        let lines: Vec<&str> = text.lines().collect();
        let private = Path::new(lines[0]).parent().unwrap();
        let here = |name: &str| private.join(name).display().to_string();
        assert_eq!(lines[..6], [&here("sandbox"), &here("sandbox"), &here("tmp"), "x", "main.sh", "out"], "{text}");
        assert_eq!(lines[6], "700", "{text}");
        assert_ne!(lines[7], "root", "the program is an ordinary user");
        assert_eq!(lines[8], "y", "{text}");
        assert!(!private.exists(), "{} is left", private.display());
        assert!(outcome.notes[0].contains(&here("sandbox")), "{:?}", outcome.notes);
    }
}

#[test]
fn artifacts_are_returned_without_following_links() {
    for setting in without_namespaces() {
        let (_directory, path) = setting.open_directory();
        let code = format!("echo left > $OUT/file.txt; ln -s {}/secret $OUT/link", path.display());
        let artifacts = setting.run("shell", &code).unwrap().artifacts;
        let names: Vec<String> = artifacts.files.iter().map(|file| file.path.display().to_string()).collect();
        assert_eq!(names, ["file.txt"], "{setting:?}");
        let code = format!("import os\nos.rmdir(os.environ['OUT']); os.symlink({path:?}, os.environ['OUT'])");
        if let Some(outcome) = setting.run("python", &code) {
            assert!(outcome.succeeded() && outcome.artifacts.files.is_empty(), "{outcome:?}");
        }
    }
}

#[test]
fn program_over_its_memory_limit_is_ended() {
    for setting in without_namespaces() {
        let code = "keep = []\nwhile True: keep.append(b'x' * 10_000_000)";
        let Some(outcome) = setting.run("python", code) else { continue };
        assert!(!outcome.succeeded(), "{setting:?}: {:?}", outcome.ending);
        let limit = crate::call::tool::Tool::by_name("python").unwrap().sandbox.resources.memory_mb << 20;
        assert!(outcome.usage.peak_memory < limit * 3 / 2, "{}", outcome.usage.peak_memory);
    }
}

#[test]
fn host_files_cannot_be_read_or_changed() {
    for setting in without_namespaces() {
        let (_directory, path) = setting.open_directory();
        let before = fs::metadata(path.join("secret")).unwrap();
        let code = format!(
            "cd {}; cat secret; ls .; ls below; echo x > secret; echo x >> secret; echo x > new; mkdir new; rm secret; \
             rmdir below; mv secret other; mv $HOME/main.sh below/; ln secret $TMPDIR/secret; ln -s secret new; \
             truncate -s 0 secret; mkfifo new; cp main.sh below/; cat /etc/passwd; ls /home /; cat /proc/1/cmdline; \
             echo $?",
            path.display()
        );
        let outcome = setting.run("shell", &code).unwrap();
        assert_eq!(outcome.stdout.text(), "1\n", "{setting:?}: {}", outcome.stderr.text());
        let after = fs::metadata(path.join("secret")).unwrap();
        assert_eq!((before.ino(), before.mtime(), before.len()), (after.ino(), after.mtime(), after.len()));
        let names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(fs::read_dir(path.join("below")).unwrap().count(), 0);
    }
}

#[test]
fn file_modes_owners_and_attributes_cannot_be_changed() {
    let code = "import os\n\
                def tried(name, *arguments, **named):\n\
                \x20   try: getattr(os, name)(*arguments, **named)\n\
                \x20   except OSError as error: return error.errno\n\
                \x20   print(name, 'was allowed')\n\
                below = os.open('.', os.O_RDONLY)\n\
                tried('chmod', SECRET, 0)\n\
                tried('chmod', SECRET, 0o644)\n\
                tried('chmod', SECRET, 0o4700)\n\
                tried('chmod', SECRET, 0, dir_fd=below)\n\
                tried('chown', SECRET, os.getuid(), os.getgid())\n\
                tried('setxattr', SECRET, 'user.x', b'x')\n\
                print('end')\n";
    // Only files of the program's user could be changed, and root's programs have none.
    for setting in without_namespaces().into_iter().filter(super::support::Setting::runs_as_caller) {
        let (_directory, path) = setting.open_directory();
        let secret = path.join("secret");
        let before = fs::metadata(&secret).unwrap();
        let Some(text) = setting.python(&format!("SECRET = {secret:?}\n{code}")) else { continue };
        assert_eq!(text, "end\n", "{setting:?}");
        let after = fs::metadata(&secret).unwrap();
        assert_eq!((before.mode(), before.ctime_nsec()), (after.mode(), after.ctime_nsec()));
    }
}

#[test]
fn files_can_be_linked_copied_unpacked_and_executed() {
    for setting in without_namespaces() {
        let code = "cd $TMPDIR; printf 'echo script' > a; chmod +x a && ./a; cp -p a b && ./b; \
                    tar cf c.tar a && rm a && tar xf c.tar && ./a; \
                    echo 'int main() { return 0; }' > d.c && cc -o d d.c && ./d && echo linked";
        assert_eq!(setting.sh(code), "script\nscript\nscript\nlinked\n", "{setting:?}");
        let code = "import shutil, stat, os\n\
                    shutil.copy2('main.py', 'copy.py'); shutil.copytree(os.environ['HOME'], os.environ['TMPDIR'] + '/tree')\n\
                    print(open('copy.py').read() == open('main.py').read())\n";
        if let Some(text) = setting.python(code) {
            assert_eq!(text, "True\n", "{setting:?}");
        }
    }
}

#[test]
fn network_and_host_services_are_unreachable() {
    let code = "import socket, errno\n\
                kinds = [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET]\n\
                for family in range(0, 46):\n\
                \x20   for kind in kinds:\n\
                \x20       try: socket.socket(family, kind)\n\
                \x20       except OSError: continue\n\
                \x20       print('a socket of family', family, 'and type', kind)\n\
                for kind in kinds[1:3]:\n\
                \x20   try: socket.socketpair(socket.AF_UNIX, kind)\n\
                \x20   except OSError: continue\n\
                \x20   print('a pair of type', kind)\n\
                for kind in (kinds[0], kinds[3]):\n\
                \x20   a, b = socket.socketpair(socket.AF_UNIX, kind)\n\
                \x20   try: a.connect(SERVICE); print('connected')\n\
                \x20   except OSError: pass\n\
                \x20   try: a.sendto(b'x', SERVICE); print('sent elsewhere') if b.recv(1) != b'x' else None\n\
                \x20   except OSError: pass\n\
                a.send(b'x'); print(b.recv(1))\n";
    for setting in without_namespaces() {
        let (_directory, path) = setting.open_directory();
        let service = path.join("below/service");
        let listener = UnixListener::bind(&service).unwrap();
        listener.set_nonblocking(true).unwrap();
        let Some(text) = setting.python(&format!("SERVICE = {service:?}\n{code}")) else { continue };
        assert_eq!(text, "b'x'\n", "{setting:?}");
        assert!(listener.accept().is_err(), "nobody came");
    }
}

#[test]
fn bridge_tool_reaches_the_network_but_no_services() {
    for setting in without_namespaces() {
        let code = "cat /etc/hosts > /dev/null && echo resolver; exec python3 - <<'end' || exit 0\n\
                    import socket\n\
                    a = socket.create_server(('127.0.0.1', 0)); b = socket.create_connection(a.getsockname())\n\
                    print('network')\n\
                    try: socket.socket(socket.AF_UNIX); print('services')\n\
                    except OSError: pass\n\
                    end\n";
        let text = setting.run("network-tools", code).unwrap().stdout.text();
        assert!(["resolver\n", "resolver\nnetwork\n"].contains(&&*text), "{setting:?}: {text}");
    }
}

#[test]
fn the_calls_of_the_tables_are_denied() {
    // A number that no call has; the last is one of the x32 interface.
    let code = "import ctypes, errno, platform\n\
                libc = ctypes.CDLL(None, use_errno=True)\n\
                def call(number, *arguments):\n\
                \x20   return 0 if libc.syscall(number, *arguments) >= 0 else errno.errorcode[ctypes.get_errno()]\n\
                x86 = platform.machine() == 'x86_64'\n\
                numbers = dict(ptrace=101, keyctl=250, bpf=321, mount=165, unshare=272, mq_unlink=241) if x86 else \
                dict(ptrace=117, keyctl=219, bpf=280, mount=40, unshare=97, mq_unlink=181)\n\
                for name, number in numbers.items():\n\
                \x20   print(name, call(number, 0x10000000, 0, 0))\n\
                print('clone3', call(435, 0, 0), 'io_uring', call(425, 0, 0), 'statmount', call(457, 0))\n\
                print('x32', call(0x40000000 | 39) if x86 else 'ENOSYS')\n\
                print('personality', call(135 if x86 else 92, 0x0040000), call(135 if x86 else 92, 0xffffffff))\n\
                print('prlimit', *[call(302 if x86 else 261, process, 7, 0, 0) for process in (1, 2, 0)])\n";
    for setting in without_namespaces() {
        let Some(text) = setting.python(code) else { continue };
        let expected = "ptrace EPERM\nkeyctl EPERM\nbpf EPERM\nmount EPERM\nunshare EPERM\nmq_unlink EACCES\n\
                        clone3 ENOSYS io_uring ENOSYS statmount ENOSYS\nx32 ENOSYS\npersonality EPERM 0\nprlimit EPERM EACCES 0\n";
        assert_eq!(text, expected, "{setting:?}");
    }
}

#[test]
fn process_limit_adds_to_what_the_user_runs() {
    for setting in without_namespaces() {
        let text = setting.sh("ulimit -n; ulimit -c; ulimit -f; ulimit -p");
        let lines: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
        let resources = crate::call::tool::Tool::by_name("shell").unwrap().sandbox.resources;
        // The shell counts in blocks of 512 bytes.
        assert_eq!(lines[..3], [resources.files, 0, resources.memory_mb * 2048], "{setting:?}");
        assert!((resources.processes..resources.processes + 100_000).contains(&lines[3]), "{setting:?}: {text}");
    }
}

#[test]
fn runtimes_get_what_they_ask_of_the_machine() {
    for setting in without_namespaces() {
        let code = "const os = require('os'), fs = require('fs');\n\
                    const asked = [os.cpus().length > 0, os.totalmem() > 0, os.tmpdir() == process.env.TMPDIR];\n\
                    fs.mkdtempSync(os.tmpdir() + '/x');\n\
                    new (require('worker_threads').Worker)('', {eval: true});\n\
                    console.log(asked.join());\n";
        if let Some(outcome) = setting.run("javascript", code) {
            assert_eq!(outcome.stdout.text(), "true,true,true\n", "{setting:?}: {}", outcome.stderr.text());
        }
        let code = "import asyncio, concurrent.futures, os, shutil, subprocess, sys, tempfile, threading\n\
                    with tempfile.TemporaryDirectory() as directory, open(directory + '/a', 'w') as file: file.write('x')\n\
                    async def main(): return await (await asyncio.create_subprocess_exec('true')).wait()\n\
                    print(asyncio.run(main()), os.cpu_count() > 0, concurrent.futures.ThreadPoolExecutor().submit(int).result())\n\
                    pid = os.fork()\n\
                    if pid == 0: os.kill(os.getppid(), 0); os._exit(7)\n\
                    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shutil.which('sh') is not None)\n";
        if let Some(text) = setting.python(code) {
            assert_eq!(text, "0 True 0\n7 True\n", "{setting:?}");
        }
    }
}
