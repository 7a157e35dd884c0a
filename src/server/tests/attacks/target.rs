//! A server that is attacked.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fmt, fs};

use libtest_mimic::{Completion, Failed};
use regex_lite::Regex;
use serde_json::{Value, json};

use crate::attack::{Attack, Need, Verdict};
use crate::content;
use crate::host::{self, Host, NOBODY, VARIABLE};
use test_support::client::{self, Reply, Server};
use test_support::nix_daemon::Daemon;

/// Seconds that a program may run. The longest attack that does not wait for this takes a quarter of it.
const TIMEOUT: u64 = 20;

/// How long a victim may take to be ready, or to be gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that a server may hold at most, whatever its programs print.
const SERVER_MEMORY: u64 = 256 << 20;

/// The tools that attacks use, with a call that needs nothing, and the name of the parameter that takes their code.
const TOOLS: [(&str, &str, &str); 3] =
    [("python", "main_py", "print(1)"), ("shell", "main_sh", "true"), ("network-tools", "main_sh", "true")];

/// The first version of Landlock that confines abstract unix sockets and signals.
const SCOPES: i64 = 6;

/// Bombs go off one at a time: what the machine has to bear is then what one of them may use.
static ONE_BOMB: Mutex<()> = Mutex::new(());

/// Who runs the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum User {
    Root,
    /// This process's own user, or else what root becomes.
    Ordinary,
}

impl User {
    pub fn all() -> Vec<Self> {
        if rustix::process::geteuid().is_root() { vec![Self::Root, Self::Ordinary] } else { vec![Self::Ordinary] }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Ordinary => "user",
        })
    }
}

pub struct Target {
    pub executor: String,
    pub user: User,
    server: Server,
    host: Arc<Host>,
    /// What Python's attacks import.
    library: String,
    /// Why a tool can't run here.
    unavailable: BTreeMap<&'static str, String>,
    /// What each tool's description says of its limits, by the words that stand for them in attacks.
    limits: BTreeMap<&'static str, Vec<(&'static str, Option<String>)>>,
    /// The version of Landlock that the kernel has, 0 for none.
    landlock: i64,
    /// Programs are the machine's root to the kernel, without privileges: Nix has no users for its builders.
    is_root_outside: bool,
    /// Serves the server's Nix.
    _daemon: Option<Daemon>,
}

impl Target {
    pub fn start(executor: &str, user: User, library: &str, host: &Arc<Host>, must_work: bool) -> Self {
        let (mut command, daemon) = command(executor, user, host);
        let server = Server::spawn(&mut command).greeted();
        let mut target = Self {
            executor: executor.to_owned(),
            user,
            host: host.clone(),
            library: library.to_owned(),
            unavailable: BTreeMap::new(),
            limits: limits(&server),
            landlock: 0,
            is_root_outside: false,
            server,
            _daemon: daemon,
        };
        for (tool, parameter, code) in TOOLS {
            let reply = target.server.call(tool, json!({ parameter: code }));
            if reply.is_nowhere() || !must_work && reply.is_unavailable() {
                target.unavailable.insert(tool, reply.text().to_owned());
            }
        }
        if !target.unavailable.contains_key("python") {
            target.landlock = target.landlock_version();
            target.is_root_outside = target.is_root_outside();
        }
        target
    }

    fn landlock_version(&self) -> i64 {
        const VERSION: &str = "try: print(call('landlock_create_ruleset', None, 0, 1))\nexcept OSError: print(0)";
        let reply = self.server.call("python", self.arguments("python", VERSION));
        reply.output().trim().parse().unwrap_or_else(|error| panic!("{error}: {reply}"))
    }

    /// What is not for other processes to look at belongs to root, who is nobody inside unless that is the program.
    fn is_root_outside(&self) -> bool {
        const OWNER: &str = "print(os.stat('/proc/1/fd').st_uid == os.getuid())";
        self.server.call("python", self.arguments("python", OWNER)).output().trim() == "True"
    }

    /// Why the attack can't be carried out here.
    pub fn missing(&self, attack: &Attack) -> Option<String> {
        let (tool, program) = attack.program();
        if let Some(reason) = self.unavailable.get(tool) {
            return Some(reason.clone());
        }
        if attack.needs == Some(Need::LandlockScopes) && self.landlock < SCOPES {
            return Some(format!("this kernel's Landlock has version {}, of which it needs {SCOPES}", self.landlock));
        }
        if attack.needs == Some(Need::OtherUser) && self.is_root_outside {
            return Some("programs are root's to the kernel: this Nix has no users for its builders".to_owned());
        }
        let mut facts = self.host.facts().into_iter();
        let missing = facts.find(|(word, fact)| fact.is_none() && program.contains(word));
        missing.map(|(word, _)| format!("this host has no {}", word.trim_matches(['{', '}'])))
    }

    pub fn carry_out(&self, attack: &Attack, group: &str) -> Result<Completion, Failed> {
        let _alone = (group == crate::BOMBS).then(|| ONE_BOMB.lock().unwrap_or_else(PoisonError::into_inner));
        let token = host::secret()[..15].to_owned();
        let secret = host::secret();
        let victim = attack.victim.as_ref().map(|program| self.begin_victim(program, &token, &secret));
        let first = self.attack_once(attack, &token, &secret)?;
        if let Some(victim) = victim {
            if host::processes_named(&token) == 0 {
                return Err("the victim was gone before it could be attacked".into());
            }
            self.end_victim(victim, &token);
            return self.attack_once(attack, &token, &secret);
        }
        if [crate::BOMBS, "results"].contains(&group) {
            self.is_well()?;
        }
        if host::processes_named(&token) > 0 {
            return Err("a process of it is left".into());
        }
        Ok(first)
    }

    fn attack_once(&self, attack: &Attack, token: &str, secret: &str) -> Result<Completion, Failed> {
        let (tool, program) = attack.program();
        let fill = |text: &str| self.fill(tool, text, token);
        let reply = self.server.call(tool, self.arguments(tool, &fill(program)));
        let verdict = attack.judge(&reply, fill);
        let whole = content::everything(&reply);
        let stolen = self.host.secrets().into_iter().chain([("the victim's secret", secret)]);
        let mut harm: Vec<String> = stolen
            .filter(|(_, secret)| whole.contains(secret))
            .map(|(name, _)| format!("the result holds {name}"))
            .chain(self.host.damage())
            .collect();
        if self.server.received().iter().any(|message| message.to_string().contains(token)) {
            harm.push("the server sent what the program had written as a message of its own".to_owned());
        }
        match verdict {
            Verdict::Held if harm.is_empty() => Ok(Completion::Completed),
            Verdict::NotHere(reason) if harm.is_empty() => Ok(Completion::ignored_with(reason)),
            Verdict::NotHeld(wrong) => Err(failure(&[harm, wrong].concat(), &reply)),
            Verdict::Held | Verdict::NotHere(_) => Err(failure(&harm, &reply)),
        }
    }

    /// Starts a victim and waits until it is ready to be attacked. Returns the number of its request.
    fn begin_victim(&self, program: &str, token: &str, secret: &str) -> u64 {
        let program = self.fill("python", program, token).replace("{secret}", secret);
        let id = self.server.begin_call("python", self.arguments("python", &program));
        let is_ready = wait_until(|| host::processes_named(token) > 0);
        assert!(is_ready, "the victim is not ready: {:?}", self.server.received());
        id
    }

    fn end_victim(&self, id: u64, token: &str) {
        self.server.notify("notifications/cancelled", json!({"requestId": id, "reason": "it was attacked enough"}));
        assert!(wait_until(|| host::processes_named(token) == 0), "a cancelled call goes on");
    }

    /// The server answers, and has not grown.
    fn is_well(&self) -> Result<(), Failed> {
        let tool = if self.unavailable.contains_key("shell") { "python" } else { "shell" };
        let code = if tool == "shell" { "echo alive" } else { "print('alive')" };
        let reply = self.server.call(tool, self.arguments(tool, code));
        if reply.is_error() || content::text(&reply) != "alive\n" {
            return Err(format!("the next call is not answered as it should be: {reply}").into());
        }
        match self.server.peak_memory() {
            peak if peak > SERVER_MEMORY => Err(format!("the server held {} MB", peak >> 20).into()),
            _ => Ok(()),
        }
    }

    fn arguments(&self, tool: &str, program: &str) -> Value {
        if tool == "python" {
            let library = json!([{"filename": "attack.py", "content": self.library}]);
            return json!({"main_py": format!("from attack import *\n{program}"), "files": library});
        }
        json!({"main_sh": program})
    }

    /// Puts facts in their places.
    fn fill(&self, tool: &str, text: &str, token: &str) -> String {
        let own = [
            ("{token}", Some(token.to_owned())),
            ("{server_pid}", Some(self.server.pid.to_string())),
            ("{timeout}", Some(TIMEOUT.to_string())),
        ];
        let facts = own.into_iter().chain(self.host.facts()).chain(self.limits[tool].clone());
        facts.fold(text.to_owned(), |text, (word, fact)| match fact {
            Some(fact) => text.replace(word, &fact),
            None => text,
        })
    }
}

fn failure(wrong: &[String], reply: &Reply) -> Failed {
    format!("{}\nin {reply}", wrong.join("\n")).into()
}

fn wait_until(condition: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !condition() {
        if begun.elapsed() > PATIENCE {
            return false;
        }
        sleep(Duration::from_millis(5));
    }
    true
}

/// Where a machine's own daemon listens.
const DAEMON: &str = "/nix/var/nix/daemon-socket/socket";

/// The command of a server, with a secret in its environment, and the daemon by which an ordinary user reaches Nix.
fn command(executor: &str, user: User, host: &Host) -> (Command, Option<Daemon>) {
    let timeout = TIMEOUT.to_string();
    // Victims wait for attacks, which must not wait for them.
    let arguments = ["--executor", executor, "--timeout", &timeout, "--calls-at-once", "64", "--structured-results"];
    let (mut command, mut daemon) = (Command::new(client::program()), None);
    if user == User::Ordinary && rustix::process::geteuid().is_root() {
        let home = host.private(&format!("home-{executor}"), Some(NOBODY));
        // Where cargo puts it may be out of this user's reach.
        let program = home.join("sandbox-mcp");
        fs::copy(client::program(), &program).expect("copy the server");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("let everybody run the server");
        command = Command::new(program);
        command.env("HOME", &home).env_remove("XDG_STATE_HOME").current_dir(&home).uid(NOBODY).gid(NOBODY);
        let has_nix = || Command::new("nix-daemon").arg("--version").output().is_ok_and(|told| told.status.success());
        if executor.starts_with("derivation") && !Path::new(DAEMON).exists() && has_nix() {
            let daemon = daemon.insert(Daemon::start(&host.private(&format!("daemon-{executor}"), None)));
            command.env("NIX_DAEMON_SOCKET_PATH", &daemon.socket);
        }
    }
    command.args(arguments).env(VARIABLE, &host.variable_secret);
    (command, daemon)
}

/// The limits that each tool's description states; none of a tool that is not listed, since nothing can run it here.
fn limits(server: &Server) -> BTreeMap<&'static str, Vec<(&'static str, Option<String>)>> {
    let id = server.request("tools/list", json!({}));
    let listed = server.answer(id).unwrap_or_else(|error| panic!("the tools can't be listed: {error:?}"));
    let description = |tool: &str| {
        let found = listed["tools"].as_array()?.iter().find(|listed| listed["name"] == tool)?;
        Some(found["description"].as_str().unwrap_or_default().to_owned())
    };
    let limit = |tool: &str, pattern: &str| {
        let text = description(tool)?;
        let found = Regex::new(pattern).expect("the pattern is one").captures(&text);
        Some(found.unwrap_or_else(|| panic!("{tool} states no {pattern}: {text:?}"))[1].to_owned())
    };
    let limits = |tool| {
        vec![
            ("{processors}", limit(tool, r"(\d+) CPU core")),
            ("{memory}", limit(tool, r"(\d+) MB RAM")),
            ("{processes}", limit(tool, r"(\d+) processes")),
        ]
    };
    TOOLS.map(|(tool, ..)| (tool, limits(tool))).into()
}
