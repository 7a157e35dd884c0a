//! A sandbox as the compiled server knows it: the data that Nix evaluated and build.rs wrote down.

use std::time::Duration;

pub use sandbox_plan::plan::Resources;

use crate::call::choice::Executor;
use sandbox_manifest::parameter::{Parameter, ParameterKind};
use sandbox_manifest::policy::Entry;

/// One sandbox, which is one tool.
#[derive(Debug, Clone, Copy)]
pub struct Sandbox {
    /// The tool's name.
    pub id: &'static str,
    /// The name for people.
    pub name: &'static str,
    pub version: &'static str,
    /// What the tool does; [`description`](mod@crate::mcp::description) adds the rest of what clients are told.
    pub description: &'static str,
    /// What else the pinned environment has, in sentences.
    pub contents: &'static str,
    pub programs: Programs,
    /// The parameters of a call: files first, the entrypoint's before the others, then options.
    pub parameters: &'static [Parameter<'static>],
    pub hints: Hints,
    /// The name of the user that programs run as.
    pub user: &'static str,
    /// The file that the command runs.
    pub entrypoint: &'static str,
    /// The files that may replace it.
    pub instead: &'static [&'static str],
    pub command: &'static [&'static str],
    /// The names of the programs that a host must have for the sandbox to run on its toolchains, each once.
    pub host_programs: &'static [&'static str],
    /// Variables that tell the pinned program to wait for its call, so that it can be started ahead of one. Empty if it
    /// cannot be. A value may hold `{environment}`.
    pub ahead: &'static [(&'static str, &'static str)],
    /// The services that are started before the command.
    pub services: &'static [Service],
    /// How long a program may run, by the wall clock.
    pub timeout: Duration,
    pub network: Network,
    pub resources: Resources,
    /// Where the files are; `/sandbox` or below.
    pub workdir: &'static str,
    /// The permissions of the files that a caller gives.
    pub script_mode: u32,
    /// Whether the working directory is read-only.
    pub read_only: bool,
    /// Environment variables; `{environment}` in a value stands for the environment's output path.
    pub variables: &'static [(&'static str, &'static str)],
    /// `None` if the definition names none.
    pub executor: Option<Executor>,
    /// `None` if the server was built without Nix.
    pub environment: Option<Environment>,
    /// The name of the environment, which is that of the built-in tool that it was made for.
    pub environment_id: &'static str,
    /// The sets whose packages a call may ask for.
    pub package_sets: &'static [&'static PackageSet],
}

impl Sandbox {
    /// Returns whether Nix can carry out its calls: Nix's build sandbox has no network to give.
    pub(crate) fn can_run_by_nix(&self) -> bool {
        self.network == Network::None
    }

    /// Returns the command with the arguments of a call. A script of the command gets its entrypoint's name as `$0` then.
    pub(crate) fn command(&self, args: &[String]) -> Vec<String> {
        let is_script = matches!(self.command, ["sh", "-c", _]) && !args.is_empty();
        let zeroth = is_script.then_some(self.entrypoint);
        let own = self.command.iter().copied().chain(zeroth).map(str::to_owned);
        own.chain(args.iter().cloned()).collect()
    }

    /// Returns what a client is told of the tool's nature. What a call can change outside of its sandbox goes through the
    /// network.
    pub fn annotations(&self) -> Annotations {
        let Hints { read_only, destructive, idempotent, external } = self.hints;
        let is_closed = self.network.is_closed();
        Annotations {
            read_only: read_only.unwrap_or(is_closed),
            destructive: destructive.unwrap_or(false),
            idempotent: idempotent.unwrap_or(true),
            open_world: external.unwrap_or(!is_closed),
        }
    }

    /// Returns whether a call may have files in addition to those that have parameters of their own.
    pub fn takes_additional_files(&self) -> bool {
        self.parameters.iter().any(|parameter| parameter.kind == ParameterKind::Files)
    }

    /// Returns whether a call may ask for packages.
    pub(crate) fn has_packages(&self) -> bool {
        self.package_sets.iter().any(|set| !set.packages.is_empty())
    }

    /// Returns each file that has a parameter of its own, the entrypoint first, with the name of that parameter.
    pub fn named_files(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.parameters.iter().filter_map(|parameter| match parameter.kind {
            ParameterKind::File(file) => Some((parameter.name, file)),
            _ => None,
        })
    }
}

/// Programs for a call's own use. The pinned environment has all of them; a host may have some.
#[derive(Debug, Clone, Copy)]
pub struct Programs {
    /// What names them, in which `{programs}` stands for the list.
    pub sentence: &'static str,
    /// A name each, perhaps with a word of explanation after it.
    pub names: &'static [&'static str],
}

impl Programs {
    pub const NONE: Self = Self { sentence: "", names: &[] };
}

/// The name in an entry of [`Programs::names`].
pub fn name_of(shown: &str) -> &str {
    shown.split(' ').next().unwrap_or_default()
}

/// Packages of one kind.
#[derive(Debug)]
pub struct PackageSet {
    pub id: &'static str,
    pub description: &'static str,
    /// Sorted by name.
    pub packages: &'static [Package],
}

/// A package that a call may ask for.
#[derive(Debug)]
pub struct Package {
    pub name: &'static str,
    /// Empty if it has none.
    pub version: &'static str,
    /// Empty if it has none.
    pub description: &'static str,
    /// The commands or modules by which programs call it, as far as they are known.
    pub provides: &'static [&'static str],
    /// The environment variables that lead programs to it, and the directory in its output that each names.
    pub search_paths: &'static [(&'static str, &'static str)],
    pub environment: Environment,
}

/// A program that is started before the command and runs beside it: a launcher's
/// [`ServiceSpec`](sandbox_plan::ServiceSpec) as static data.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// What messages call it.
    pub name: &'static str,
    pub command: &'static [&'static str],
    pub ready: Readiness,
    /// How long it may take to get ready.
    pub deadline: Duration,
    /// Files that it logs to.
    pub logs: &'static [&'static str],
    /// Words that mark a line of them as an error.
    pub errors: &'static [&'static str],
}

/// How it is known that a service is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Its command has returned, with success.
    Returned,
    /// A TCP port of the loopback interface accepts connections.
    Port(u16),
    /// A file is there.
    File(&'static str),
}

/// What the definition says of the tool's nature; `None` leaves it to the other keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hints {
    pub read_only: Option<bool>,
    pub destructive: Option<bool>,
    pub idempotent: Option<bool>,
    pub external: Option<bool>,
}

impl Hints {
    pub const NONE: Self = Self { read_only: None, destructive: None, idempotent: None, external: None };
}

/// What a client is told of the tool's nature, in MCP's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Annotations {
    pub read_only: bool,
    pub destructive: bool,
    pub idempotent: bool,
    pub open_world: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Nothing but a loopback interface of its own.
    None,
    /// The host's network.
    Bridge,
    /// A loopback interface of its own, and the way to these hosts and ports.
    Allow(&'static [Entry<'static>]),
}

impl Network {
    /// Returns whether nothing outside of the sandbox can be reached. An empty list allows nothing.
    pub fn is_closed(self) -> bool {
        matches!(self, Self::None | Self::Allow([]))
    }
}

/// A pinned environment: the derivation that makes it, and its output.
#[derive(Debug, Clone, Copy)]
pub struct Environment {
    pub drv: &'static str,
    pub out: &'static str,
}

/// The placeholder of the environment's output path in a variable's value.
pub const ENVIRONMENT_PLACEHOLDER: &str = "{environment}";
