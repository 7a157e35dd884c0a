//! Probes the walls of a sandbox: looks at them from inside, and compares that with the outside.

use std::fmt;
use std::fs;
use std::io;

use sandbox_plan::{Inside, Namespace, SandboxEnvironment};

use super::manager::Manager;
use super::{Controls, LaunchError};

/// One layer of isolation of a sandbox.
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
    /// Returns whether no program is run in namespaces without this wall.
    pub fn is_required(self) -> bool {
        !matches!(self, Self::Landlock | Self::ControlGroups)
    }

    /// Returns the name that results and `doctor` show.
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

    /// Describes the consequence of running without this wall.
    pub fn cost(self) -> &'static str {
        match self {
            Self::Namespaces => "programs would see this machine's files, processes and network",
            Self::NoCapabilities => "programs would have privileges inside their namespaces",
            Self::NoNewPrivileges => "programs could gain privileges by set-user-id files",
            Self::Seccomp => "programs would reach every system call of this kernel",
            Self::Landlock => "file access is confined only by the mount namespace",
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

/// A wall, and whether it is available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    pub wall: Wall,
    /// The reason why the wall is missing. `None` if it is available.
    pub missing: Option<String>,
}

/// The layers of a sandbox, in the order of their importance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxWalls {
    pub layers: Vec<Layer>,
}

impl SandboxWalls {
    /// Returns whether all required walls are available, so that programs may be run.
    pub fn has_all_required(&self) -> bool {
        self.missing().all(|layer| !layer.wall.is_required())
    }

    /// Returns the layers that are missing.
    pub fn missing(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| layer.missing.is_some())
    }

    /// Returns the names of the walls that are available.
    pub fn names(&self) -> Vec<&'static str> {
        self.layers.iter().filter(|layer| layer.missing.is_none()).map(|layer| layer.wall.name()).collect()
    }

    /// Returns all walls as missing, because no sandbox could be made.
    fn none(reason: &str) -> Self {
        let layer = |wall| Layer { wall, missing: Some(reason.to_owned()) };
        Self { layers: ALL_WALLS.map(layer).into() }
    }
}

const ALL_WALLS: [Wall; 6] =
    [Wall::Namespaces, Wall::NoCapabilities, Wall::NoNewPrivileges, Wall::Seccomp, Wall::Landlock, Wall::ControlGroups];

/// Makes a sandbox of this environment, and probes its walls from inside.
pub async fn probe(environment: &SandboxEnvironment, controls: &Controls) -> SandboxWalls {
    let found = async { Manager::start(environment, 0).await?.probe().await }.await;
    match found {
        Ok(inside) => compare(&inside, environment, controls),
        Err(error) => SandboxWalls::none(&reason(&error)),
    }
}

/// Explains why there is no sandbox, with a remedy if AppArmor is the cause.
fn reason(error: &LaunchError) -> String {
    match apparmor_profile() {
        Some(profile) if matches!(error, LaunchError::Refused(failure) if is_refusal(failure.errno)) => {
            format!(
                "{error}. AppArmor blocks unprivileged user namespaces here; to allow them to this program, save the \
                 following as /etc/apparmor.d/sandbox-mcp and run `sudo apparmor_parser -r /etc/apparmor.d/sandbox-mcp`:\n\n{profile}"
            )
        }
        _ => error.to_string(),
    }
}

fn is_refusal(errno: i32) -> bool {
    [libc::EPERM, libc::EACCES].contains(&errno)
}

/// Returns an AppArmor profile that allows user namespaces to this program. `None` if AppArmor does not restrict them.
pub fn apparmor_profile() -> Option<String> {
    let restricted = fs::read_to_string("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").ok()?;
    let program = std::env::current_exe().ok()?;
    (restricted.trim() == "1").then(|| {
        format!(
            "abi <abi/4.0>,\ninclude <tunables/global>\n\nprofile sandbox-mcp \"{}\" flags=(unconfined) {{\n  userns,\n}}\n",
            program.display()
        )
    })
}

fn compare(inside: &Inside, environment: &SandboxEnvironment, controls: &Controls) -> SandboxWalls {
    let layer = |wall| Layer { wall, missing: missing(wall, inside, environment, controls) };
    SandboxWalls { layers: ALL_WALLS.map(layer).into() }
}

fn missing(wall: Wall, inside: &Inside, environment: &SandboxEnvironment, controls: &Controls) -> Option<String> {
    let breached = |names: &[&str]| inside.breaches.iter().find(|breach| names.contains(&breach.as_str()));
    match wall {
        Wall::Namespaces => match (shared(inside, environment), breached(&["read-only root", "user namespaces"])) {
            (Err(error), _) => Some(format!("cannot read this process's own namespaces: {error}")),
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
        Wall::NoNewPrivileges => unexpected_status(inside, "NoNewPrivs", "1"),
        Wall::Seccomp => unexpected_status(inside, "Seccomp", "2"),
        Wall::Landlock => match inside.landlock {
            None => Some("this kernel does not support it, or `lsm=` does not list it".to_owned()),
            Some(_) => breached(&["landlock"]).map(|_| "a program opened what is not allowed".to_owned()),
        },
        Wall::ControlGroups => controls.reason().map(str::to_owned),
    }
}

/// Returns the value of a field of /proc/self/status as seen inside.
fn field<'inside>(inside: &'inside Inside, name: &str) -> Option<&'inside str> {
    inside.status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Compares a field of /proc/self/status. `None` if it has the expected value, otherwise the reason why not.
fn unexpected_status(inside: &Inside, name: &str, expected: &str) -> Option<String> {
    match field(inside, name) {
        Some(value) if value == expected => None,
        Some(value) => Some(format!("{name} is {value}")),
        None => Some(format!("this kernel does not report {name}")),
    }
}

/// Returns the namespaces that should be separate, but are the same as this process's.
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
