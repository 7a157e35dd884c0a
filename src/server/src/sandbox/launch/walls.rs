//! Which walls stand: seen from inside a sandbox, and compared with what is seen from here.

use std::fmt;
use std::fs;
use std::io;

use sandbox_plan::{Inside, Namespace, SandboxEnvironment};

use super::manager::Manager;
use super::{Controls, LaunchError};

/// One layer of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wall {
    Namespaces,
    NoCapabilities,
    NoNewPrivileges,
    Seccomp,
    Landlock,
    ControlGroups,
}

impl Wall {
    /// Without these, no program is run in a namespace sandbox.
    pub fn is_required(self) -> bool {
        !matches!(self, Self::Landlock | Self::ControlGroups)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::NoCapabilities => "no capabilities",
            Self::NoNewPrivileges => "no_new_privs",
            Self::Seccomp => "seccomp",
            Self::Landlock => "landlock",
            Self::ControlGroups => "cgroups",
        }
    }

    /// What is lost where it does not stand.
    pub fn cost(self) -> &'static str {
        match self {
            Self::Namespaces => "programs would see this machine's files, processes and network",
            Self::NoCapabilities => "programs would have privileges inside their namespaces",
            Self::NoNewPrivileges => "programs could gain privileges by set-user-id files",
            Self::Seccomp => "programs would reach every system call of this kernel",
            Self::Landlock => "file access is confined by the mount namespace alone",
            Self::ControlGroups => {
                "memory is added up every few milliseconds instead of being bounded by the kernel; memfd_create, System V \
                 memory and shared anonymous mappings are refused; the memory of socket buffers is not bounded"
            }
        }
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A wall, and why it does not stand if it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    pub wall: Wall,
    pub missing: Option<String>,
}

/// All layers, in the order of their importance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walls {
    pub layers: Vec<Layer>,
}

impl Walls {
    /// Whether programs may be run: all that is required stands.
    pub fn hold(&self) -> bool {
        self.missing().all(|layer| !layer.wall.is_required())
    }

    pub fn missing(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| layer.missing.is_some())
    }

    /// The names of those that stand.
    pub fn names(&self) -> Vec<&'static str> {
        self.layers.iter().filter(|layer| layer.missing.is_none()).map(|layer| layer.wall.name()).collect()
    }

    /// What is known when no sandbox could be made at all.
    fn none(reason: &str) -> Self {
        let layer = |wall| Layer { wall, missing: Some(reason.to_owned()) };
        Self { layers: ALL.map(layer).into() }
    }
}

const ALL: [Wall; 6] =
    [Wall::Namespaces, Wall::NoCapabilities, Wall::NoNewPrivileges, Wall::Seccomp, Wall::Landlock, Wall::ControlGroups];

/// Makes a sandbox of this environment, and looks around in it.
pub async fn probe(environment: &SandboxEnvironment, controls: &Controls) -> Walls {
    let found = async { Manager::start(environment, 0).await?.look().await }.await;
    match found {
        Ok(inside) => compare(&inside, environment, controls),
        Err(error) => Walls::none(&reason(&error)),
    }
}

/// Why there is no sandbox, and what can be done about it.
fn reason(error: &LaunchError) -> String {
    match apparmor_profile() {
        Some(profile) if matches!(error, LaunchError::Refused(failure) if is_refusal(failure.errno)) => {
            format!(
                "{error}. AppArmor bars unprivileged user namespaces here; to allow them to this program, save the \
                 following as /etc/apparmor.d/sandbox-mcp and run `sudo apparmor_parser -r /etc/apparmor.d/sandbox-mcp`:\n\n{profile}"
            )
        }
        _ => error.to_string(),
    }
}

fn is_refusal(errno: i32) -> bool {
    [libc::EPERM, libc::EACCES].contains(&errno)
}

/// The profile to install where AppArmor keeps user namespaces from programs that it does not know.
pub fn apparmor_profile() -> Option<String> {
    let barred = fs::read_to_string("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").ok()?;
    let program = std::env::current_exe().ok()?;
    (barred.trim() == "1").then(|| {
        format!(
            "abi <abi/4.0>,\ninclude <tunables/global>\n\nprofile sandbox-mcp \"{}\" flags=(unconfined) {{\n  userns,\n}}\n",
            program.display()
        )
    })
}

fn compare(inside: &Inside, environment: &SandboxEnvironment, controls: &Controls) -> Walls {
    let layer = |wall| Layer { wall, missing: missing(wall, inside, environment, controls) };
    Walls { layers: ALL.map(layer).into() }
}

fn missing(wall: Wall, inside: &Inside, environment: &SandboxEnvironment, controls: &Controls) -> Option<String> {
    let breached = |names: &[&str]| inside.breaches.iter().find(|breach| names.contains(&breach.as_str()));
    match wall {
        Wall::Namespaces => match (shared(inside, environment), breached(&["read-only root", "user namespaces"])) {
            (Err(error), _) => Some(format!("this process's own namespaces can't be told: {error}")),
            (Ok(shared), _) if !shared.is_empty() => Some(format!("the host's own are inside: {}", shared.join(", "))),
            (_, Some(breach)) => Some(format!("a program got past this: {breach}")),
            _ => None,
        },
        Wall::NoCapabilities => {
            let held = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
                .into_iter()
                .find(|set| field(inside, set).is_none_or(|value| value.bytes().any(|digit| digit != b'0')));
            held.map(|set| format!("{set} is not empty"))
                .or_else(|| breached(&["capabilities"]).map(|_| "a program could set the host name".to_owned()))
        }
        Wall::NoNewPrivileges => unless(inside, "NoNewPrivs", "1"),
        Wall::Seccomp => unless(inside, "Seccomp", "2"),
        Wall::Landlock => match inside.landlock {
            None => Some("this kernel has none, or it is not among its `lsm=`".to_owned()),
            Some(_) => breached(&["landlock"]).map(|_| "a program opened what is not allowed".to_owned()),
        },
        Wall::ControlGroups => controls.reason().map(str::to_owned),
    }
}

/// The value of a line of /proc/self/status.
fn field<'inside>(inside: &'inside Inside, name: &str) -> Option<&'inside str> {
    inside.status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn unless(inside: &Inside, name: &str, expected: &str) -> Option<String> {
    match field(inside, name) {
        Some(value) if value == expected => None,
        Some(value) => Some(format!("{name} is {value}")),
        None => Some(format!("this kernel tells no {name}")),
    }
}

/// The namespaces that should be the sandbox's own and are this process's.
fn shared(inside: &Inside, environment: &SandboxEnvironment) -> io::Result<Vec<String>> {
    let names = environment.namespaces.iter().map(|namespace| match namespace {
        Namespace::User => "user",
        Namespace::Mount => "mnt",
        Namespace::Pid => "pid",
        Namespace::Network => "net",
        Namespace::Ipc => "ipc",
        Namespace::Uts => "uts",
        Namespace::Cgroup => "cgroup",
    });
    let own = names.map(|name| fs::read_link(format!("/proc/self/ns/{name}")));
    let own = own.collect::<io::Result<Vec<_>>>()?;
    Ok(own
        .into_iter()
        .map(|namespace| namespace.display().to_string())
        .filter(|namespace| inside.namespaces.contains(namespace))
        .collect())
}
