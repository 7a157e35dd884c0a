//! Servers to attack.

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

use crate::attack::{Attack, AttackVerdict, Need};
use crate::host::{self, AttackedHost, NOBODY, VARIABLE};
use test_support::client::{self, Reply, Server};
use test_support::nix_daemon::Daemon;

/// The time limit of a call. Attacks that do not wait for the limit take at most a quarter of it.
const CALL_TIMEOUT_SECONDS: u64 = 20;

/// How long a victim may take to become ready, or to end.
const VICTIM_TIMEOUT: Duration = Duration::from_secs(30);

/// The limit on the server's memory, whatever its programs print.
const MAX_SERVER_BYTES: u64 = 256 << 20;

/// The tools that attacks use, each with the parameter for its code and a trivial program.
const TOOLS: [(&str, &str, &str); 3] =
    [("python", "main_py", "print(1)"), ("shell", "main_sh", "true"), ("network-tools", "main_sh", "true")];

/// The first version of Landlock that confines abstract unix sockets and signals.
const LANDLOCK_WITH_SCOPES: i64 = 6;

/// Held while a bomb runs. With one bomb at a time, the load on the machine is at most what one call may use.
static BOMB_LOCK: Mutex<()> = Mutex::new(());

/// The user that runs the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum User {
    Root,
    /// This process's user, or nobody if that is root.
    Ordinary,
}

impl User {
    /// Returns the users that this process can run servers as.
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

/// A running server to attack.
pub struct Target {
    pub executor: String,
    pub user: User,
    server: Server,
    host: Arc<AttackedHost>,
    /// The module that Python's attacks import.
    library: String,
    /// The tools that cannot run here, with the reasons.
    unavailable: BTreeMap<&'static str, String>,
    /// The limits of each tool as its description states them, by their placeholders in attacks.
    limits: BTreeMap<&'static str, Vec<(&'static str, Option<String>)>>,
    /// The kernel's version of Landlock, or 0.
    landlock: i64,
    /// Whether programs are root outside of their user namespace, without privileges: Nix has no build users.
    is_root_outside: bool,
    /// The Nix daemon that the server uses, if it is not the machine's own.
    _daemon: Option<Daemon>,
}

impl Target {
    /// Starts a server, and finds out which tools can run. If `must_work`, every supported tool must run.
    pub fn start(executor: &str, user: User, library: &str, host: &Arc<AttackedHost>, must_work: bool) -> Self {
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

    /// Returns whether programs are root outside. Files in /proc that are not readable for others belong to the outer
    /// root. Inside, that is the program's user only if the program is root outside.
    fn is_root_outside(&self) -> bool {
        const OWNER: &str = "print(os.stat('/proc/1/fd').st_uid == os.getuid())";
        self.server.call("python", self.arguments("python", OWNER)).output().trim() == "True"
    }

    /// Returns why the attack cannot be carried out here. `None` if it can.
    pub fn missing(&self, attack: &Attack) -> Option<String> {
        let (tool, program) = attack.program();
        if let Some(reason) = self.unavailable.get(tool) {
            return Some(reason.clone());
        }
        if attack.needs == Some(Need::LandlockScopes) && self.landlock < LANDLOCK_WITH_SCOPES {
            return Some(format!(
                "this kernel has version {} of Landlock, but {LANDLOCK_WITH_SCOPES} is needed",
                self.landlock
            ));
        }
        if attack.needs == Some(Need::OtherUser) && self.is_root_outside {
            return Some("programs are root outside: this Nix has no build users".to_owned());
        }
        let mut facts = self.host.facts().into_iter();
        let missing = facts.find(|(word, fact)| fact.is_none() && program.contains(word));
        missing.map(|(word, _)| format!("this host has no {}", word.trim_matches(['{', '}'])))
    }

    /// Carries out an attack, and checks that nothing of it is left.
    pub fn carry_out(&self, attack: &Attack, group: &str) -> Result<Completion, Failed> {
        let _lock = (group == crate::BOMBS).then(|| BOMB_LOCK.lock().unwrap_or_else(PoisonError::into_inner));
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
            return Err("the attack left a process".into());
        }
        Ok(first)
    }

    fn attack_once(&self, attack: &Attack, token: &str, secret: &str) -> Result<Completion, Failed> {
        let (tool, program) = attack.program();
        let fill = |text: &str| self.fill(tool, text, token);
        let reply = self.server.call(tool, self.arguments(tool, &fill(program)));
        let verdict = attack.judge(&reply, fill);
        let whole = reply.everything();
        let stolen = self.host.secrets().into_iter().chain([("the victim's secret", secret)]);
        let mut harm: Vec<String> = stolen
            .filter(|(_, secret)| whole.contains(secret))
            .map(|(name, _)| format!("the result contains {name}"))
            .chain(self.host.damage())
            .collect();
        if self.server.received().iter().any(|message| message.to_string().contains(token)) {
            harm.push("the server sent the program's output as a protocol message".to_owned());
        }
        match verdict {
            AttackVerdict::Held if harm.is_empty() => Ok(Completion::Completed),
            AttackVerdict::NotHere(reason) if harm.is_empty() => Ok(Completion::ignored_with(reason)),
            AttackVerdict::NotHeld(wrong) => Err(failure(&[harm, wrong].concat(), &reply)),
            AttackVerdict::Held | AttackVerdict::NotHere(_) => Err(failure(&harm, &reply)),
        }
    }

    /// Starts a victim and waits until it is ready. Returns the id of its request.
    fn begin_victim(&self, program: &str, token: &str, secret: &str) -> u64 {
        let program = self.fill("python", program, token).replace("{secret}", secret);
        let id = self.server.begin_call("python", self.arguments("python", &program));
        let is_ready = wait_until(|| host::processes_named(token) > 0);
        assert!(is_ready, "the victim is not ready: {:?}", self.server.received());
        id
    }

    /// Cancels the call of a victim, and waits until its process has ended.
    fn end_victim(&self, id: u64, token: &str) {
        self.server.notify("notifications/cancelled", json!({"requestId": id, "reason": "the attack is over"}));
        assert!(wait_until(|| host::processes_named(token) == 0), "a cancelled call is still running");
    }

    /// Checks that the server still answers, and that its memory is within the limit.
    fn is_well(&self) -> Result<(), Failed> {
        let tool = if self.unavailable.contains_key("shell") { "python" } else { "shell" };
        let code = if tool == "shell" { "echo alive" } else { "print('alive')" };
        let reply = self.server.call(tool, self.arguments(tool, code));
        if reply.is_error() || reply.text_content() != "alive\n" {
            return Err(format!("the next call has an unexpected result: {reply}").into());
        }
        match self.server.peak_memory() {
            peak if peak > MAX_SERVER_BYTES => Err(format!("the server used {} MB", peak >> 20).into()),
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

    /// Substitutes the placeholders of a text.
    fn fill(&self, tool: &str, text: &str, token: &str) -> String {
        let own = [
            ("{token}", Some(token.to_owned())),
            ("{server_pid}", Some(self.server.pid.to_string())),
            ("{timeout}", Some(CALL_TIMEOUT_SECONDS.to_string())),
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
        if begun.elapsed() > VICTIM_TIMEOUT {
            return false;
        }
        sleep(Duration::from_millis(5));
    }
    true
}

/// The socket of the machine's own Nix daemon.
const MACHINE_DAEMON_SOCKET: &str = "/nix/var/nix/daemon-socket/socket";

/// Returns the command of a server with a secret in its environment, and the daemon through which an ordinary user
/// reaches Nix.
fn command(executor: &str, user: User, host: &AttackedHost) -> (Command, Option<Daemon>) {
    let timeout = CALL_TIMEOUT_SECONDS.to_string();
    // Victims wait for attacks, which must not wait for them.
    let arguments = ["--executor", executor, "--timeout", &timeout, "--calls-at-once", "64", "--structured-results"];
    let (mut command, mut daemon) = (Command::new(client::program()), None);
    if user == User::Ordinary && rustix::process::geteuid().is_root() {
        let home = host.private(&format!("home-{executor}"), Some(NOBODY));
        // The user may not have access to cargo's target directory.
        let program = home.join("sandbox-mcp");
        fs::copy(client::program(), &program).expect("copy the server");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("let everybody run the server");
        command = Command::new(program);
        command.env("HOME", &home).env_remove("XDG_STATE_HOME").current_dir(&home).uid(NOBODY).gid(NOBODY);
        let has_nix =
            || Command::new("nix-daemon").arg("--version").output().is_ok_and(|output| output.status.success());
        if executor.starts_with("derivation") && !Path::new(MACHINE_DAEMON_SOCKET).exists() && has_nix() {
            let daemon = daemon.insert(Daemon::start(&host.private(&format!("daemon-{executor}"), None)));
            command.env("NIX_DAEMON_SOCKET_PATH", &daemon.socket);
        }
    }
    command.args(arguments).env(VARIABLE, &host.variable_secret);
    (command, daemon)
}

/// Returns the limits that each tool's description states. They are `None` for tools that are not listed, because they
/// cannot run here.
fn limits(server: &Server) -> BTreeMap<&'static str, Vec<(&'static str, Option<String>)>> {
    let id = server.request("tools/list", json!({}));
    let listed = server.answer(id).unwrap_or_else(|error| panic!("cannot list the tools: {error:?}"));
    let description = |tool: &str| {
        let found = listed["tools"].as_array()?.iter().find(|listed| listed["name"] == tool)?;
        Some(found["description"].as_str().unwrap_or_default().to_owned())
    };
    let limit = |tool: &str, pattern: &str| {
        let text = description(tool)?;
        let found = Regex::new(pattern).expect("the pattern is valid").captures(&text);
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
