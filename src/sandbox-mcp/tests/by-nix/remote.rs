//! Nix gives calls to builders on other machines: here two ssh servers of this machine, each with a store of its own.

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use crate::stores::{Private, Setup};
use test_support::nix_daemon::halt;

const SSHD: &str = "/usr/sbin/sshd";
const NAMES: [&str; 2] = ["builder-one", "builder-two"];
const CALLS: u64 = 50;

pub fn is_possible() -> bool {
    Path::new(SSHD).exists()
}

/// A machine that builds, as far as Nix can tell.
struct Builder(Child);

impl Builder {
    fn start(directory: &Path, name: &str) -> (Self, u16) {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
        let port = port.expect("find a free port").port();
        let own = directory.join(name);
        fs::create_dir(&own).expect("make a directory");
        let nix = "build-users-group =\nsandbox = true\nsandbox-fallback = false\nsubstituters =\n";
        fs::write(own.join("nix.conf"), nix).expect("write a file");
        // The shell that sshd starts shall read nothing of a home.
        let (directory, own_directory) = (directory.display(), own.display());
        let path = std::env::var("PATH").unwrap_or_default();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {directory}/host\nAuthorizedKeysFile {directory}/user.pub\n\
             StrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\nMaxStartups 100\n\
             SetEnv NIX_CONF_DIR={own_directory} PATH={path} HOME={own_directory}\n"
        );
        let file = own.join("sshd_config");
        fs::write(&file, config).expect("write a file");
        fs::create_dir_all("/run/sshd").expect("make the directory that sshd wants");
        let log = fs::File::create(own.join("log")).expect("make a file");
        let child = Command::new(SSHD).args(["-D", "-e", "-f"]).arg(&file).stdin(Stdio::null()).stderr(log).spawn();
        let builder = Self(child.expect("start sshd"));
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{name} does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        (builder, port)
    }

    /// Ends all that the machine does, as a power cut would.
    fn kill(&mut self) {
        let own = Pid::from_raw(self.0.id() as i32).expect("a process has an id");
        halt(own);
        for process in below(own) {
            let _ = kill_process(process, Signal::KILL);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The processes that come from this one, each before those that come from it.
fn below(process: Pid) -> Vec<Pid> {
    let parent = |pid: &str| -> Option<i32> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:\t"))?.parse().ok()
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes: Vec<(i32, i32)> = processes
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((name.parse().ok()?, parent(&name)?))
        })
        .collect();
    let mut found = vec![process.as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(processes.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.into_iter().skip(1).filter_map(Pid::from_raw).collect()
}

/// The builders, and a server whose Nix knows of them.
struct Farm {
    // Before the directory, in which they work.
    private: Private,
    builders: Vec<Builder>,
    _directory: TempDir,
}

impl Farm {
    /// `remote`: the value of `--remote-builders`.
    fn start(remote: &str) -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        for name in ["host", "user"] {
            let key = directory.path().join(name);
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key).status();
            assert!(made.expect("start ssh-keygen").success());
        }
        let (mut hosts, mut machines) = (String::new(), Vec::new());
        let place = directory.path().display();
        let started = NAMES.map(|name| {
            let (builder, port) = Builder::start(directory.path(), name);
            let _ = write!(
                hosts,
                "Host {name}\nHostName 127.0.0.1\nPort {port}\nUser root\nIdentityFile {place}/user\nBatchMode yes\n\
                 StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\nConnectTimeout 10\n"
            );
            let system = format!("{}-linux", std::env::consts::ARCH);
            machines.push(format!("ssh-ng://{name}?remote-store={place}/{name}/store {system} - 4 1"));
            builder
        });
        let ssh = directory.path().join("ssh_config");
        fs::write(&ssh, hosts).expect("write a file");
        let private = Private::of(Setup {
            size: 1 << 30,
            config: &format!("builders = {}", machines.join(" ; ")),
            variables: &[("NIX_SSHOPTS", &format!("-F {}", ssh.display()))],
            arguments: &["--executor", "derivation", "--remote-builders", remote, "--calls-at-once", "4"],
            ..Setup::default()
        });
        Self { private, builders: started.into(), _directory: directory }
    }

    /// How many builds have been told of that are the builder's.
    fn builds_at(&self, name: &str) -> usize {
        let is_of = |message: &serde_json::Value| {
            message["params"]["message"]
                .as_str()
                .is_some_and(|message| message.contains("building") && message.contains(name))
        };
        self.private.server.received().iter().filter(|message| is_of(message)).count()
    }
}

/// Who prefers remote builders does not depend on them.
pub fn preferred() -> Result<(), Failed> {
    let mut farm = Farm::start("prefer");
    let run = |farm: &Farm, code: &str| {
        let call = json!({"name": "shell", "arguments": {"main_sh": code}, "_meta": {"progressToken": code}});
        farm.private.server.reply(farm.private.server.request("tools/call", call))
    };
    let builds = |farm: &Farm| NAMES.iter().map(|name| farm.builds_at(name)).sum::<usize>();
    assert_eq!(run(&farm, "echo elsewhere").output(), "elsewhere\n");
    assert_eq!(builds(&farm), 1, "{:?}", farm.private.server.received());
    farm.builders.iter_mut().for_each(Builder::kill);
    assert_eq!(run(&farm, "echo here").output(), "here\n");
    assert_eq!(builds(&farm), 1, "{:?}", farm.private.server.received());
    Ok(())
}

/// Fifty calls over two builders, of which one ends in their midst.
pub fn spread() -> Result<(), Failed> {
    let mut farm = Farm::start("only");
    let server = &farm.private.server;
    let calls: Vec<_> = (0..CALLS)
        .map(|number| {
            let arguments = json!({"main_sh": format!("sleep 0.3; echo {number}")});
            server.request(
                "tools/call",
                json!({"name": "shell", "arguments": arguments, "_meta": {"progressToken": number}}),
            )
        })
        .collect();
    let told = |name| farm.builds_at(name);
    let begun = Instant::now();
    while NAMES.iter().any(|name| told(name) < 3) {
        assert!(begun.elapsed() < Duration::from_secs(120), "not both builders have work: {:?}", server.received());
        std::thread::sleep(Duration::from_millis(50));
    }
    farm.builders[1].kill();
    let mut answered = 0;
    for (number, call) in calls.into_iter().enumerate() {
        let reply = server.reply(call);
        if reply.is_error() {
            let refusal = reply.refusal();
            assert!(
                refusal.contains("Nix did not realise /nix/store/") && refusal.contains("builder-two"),
                "{refusal}"
            );
        } else {
            assert_eq!(reply.output(), format!("{number}\n"), "{reply}");
            answered += 1;
        }
    }
    // No more were lost than were under way.
    assert!(answered >= CALLS - 4, "{answered} answers");
    farm.private.assert_works();
    farm.builders[0].kill();
    let reply = server.sh("echo out");
    let refusal = reply.refusal();
    assert!(refusal.contains("cannot build") && NAMES.iter().all(|name| refusal.contains(name)), "{refusal}");
    Ok(())
}
