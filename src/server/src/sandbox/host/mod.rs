//! Toolchains of the host, for sandboxes that run without a pinned environment.
//!
//! A sandbox's definition names the programs that it needs of a host; each is looked up as a shell would, then followed
//! through links and the shims of version managers to the program that really runs ([`locate`]). The view shows the
//! host's `/usr`, the harmless part of `/etc` ([`system`]), and of a toolchain that lives elsewhere its own prefix
//! ([`prefix`]). Nothing else of the home is ever shown: neither the home itself nor a directory that programs share,
//! such as `~/.local`.

mod java;
mod locate;
mod prefix;
mod program_names;
mod system;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::{env, fmt, fs, io};

use self::java::Java;
use crate::call::definition::{self, Sandbox};
use crate::call::tool::TOOLS;
use crate::sandbox::view::{Bind, Link, View};

/// The directory of the sandbox with links to programs that `PATH` would not find by the name they are wanted by.
pub(crate) const LINKS: &str = "/run/host/bin";

/// Where the host's own programs are; these directories are last on a sandbox's `PATH`.
const SYSTEM_PATH: [&str; 6] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Beginnings of the variables that version managers listen to; no other is kept.
const MANAGER_VARIABLES: [&str; 11] =
    ["ASDF_", "GOENV_", "JENV_", "MISE_", "NODENV_", "NVM_", "PYENV_", "RBENV_", "RUSTUP_", "VOLTA_", "XDG_"];

/// Words in the names of variables that are never kept, such as `MISE_GITHUB_TOKEN`, so that a [`Host`] holds no secret.
const SECRETS: [&str; 5] = ["AUTH", "KEY", "PASS", "SECRET", "TOKEN"];

/// What is known of the host when toolchains are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Absolute directories, in the order in which they are searched.
    pub search_path: Vec<PathBuf>,
    pub home: Option<PathBuf>,
    /// What version managers were told through the environment, such as `PYENV_VERSION`.
    pub variables: BTreeMap<String, String>,
    /// Whether programs run as another user than the server, who must be able to reach the toolchains.
    pub for_others: bool,
}

impl Host {
    /// The host as this process sees it.
    pub fn from_environment() -> Self {
        Self::new(&env::var_os("PATH").unwrap_or_default(), env::home_dir(), env::vars_os())
    }

    /// The host as these parts of an environment describe it.
    fn new(path: &OsStr, home: Option<PathBuf>, variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let home = home.filter(|home| home.is_absolute());
        let variables: BTreeMap<String, String> = variables
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| MANAGER_VARIABLES.iter().any(|start| name.starts_with(start)))
            .filter(|(name, _)| !SECRETS.iter().any(|secret| name.contains(secret)))
            .collect();
        let mut search_path: Vec<PathBuf> = Vec::new();
        // Clients often start servers with a bare PATH, so the usual places of toolchains are searched after it.
        let usual = usual_places(home.as_deref(), &variables);
        // A relative entry would make the working directory of the server decide what runs.
        for directory in env::split_paths(path).filter(|path| path.is_absolute()).chain(usual) {
            if !search_path.contains(&directory) {
                search_path.push(directory);
            }
        }
        Self { search_path, home, variables, for_others: false }
    }

    /// The executable files of this name on the search path.
    fn candidates<'a>(&'a self, name: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
        self.search_path.iter().map(move |directory| directory.join(name)).filter(|path| locate::is_executable(path))
    }

    /// The home without symbolic links, to compare with paths that have none either.
    fn true_home(&self) -> Option<PathBuf> {
        self.home.as_ref().map(|home| fs::canonicalize(home).unwrap_or_else(|_| home.clone()))
    }
}

/// Where toolchains are when nobody put them on `PATH`.
fn usual_places(home: Option<&Path>, variables: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = SYSTEM_PATH.map(PathBuf::from).into();
    let nvm = variables.get("NVM_DIR").map(PathBuf::from).or_else(|| Some(home?.join(".nvm")));
    places.extend(nvm.and_then(|nvm| newest_node_of_nvm(&nvm)));
    if let Some(home) = home {
        let below_home = [
            ".cargo/bin",
            ".pyenv/shims",
            ".asdf/shims",
            ".local/share/mise/shims",
            ".local/share/fnm/aliases/default/bin",
            ".volta/bin",
            ".sdkman/candidates/java/current/bin",
            ".local/bin",
        ];
        places.extend(below_home.map(|place| home.join(place)));
    }
    let elsewhere = [
        "/usr/local/go/bin",
        "/usr/lib/go/bin",
        "/usr/lib/jvm/default-java/bin",
        "/usr/lib/jvm/default/bin",
        "/home/linuxbrew/.linuxbrew/bin",
        "/run/current-system/sw/bin",
    ];
    places.extend(elsewhere.map(PathBuf::from));
    places
}

/// nvm has no shims: it puts the chosen version on the `PATH` of interactive shells alone.
fn newest_node_of_nvm(nvm: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(nvm.join("versions/node")).ok()?;
    let number = |path: &Path| -> Option<Vec<u32>> {
        path.file_name()?.to_str()?.strip_prefix('v')?.split('.').map(|part| part.parse().ok()).collect()
    };
    // An installation that was broken off leaves a directory without a program.
    let complete = versions.flatten().map(|entry| entry.path()).filter(|path| path.join("bin/node").exists());
    Some(complete.max_by_key(|path| number(path))?.join("bin"))
}

/// Why a sandbox can't run on the host's toolchains.
#[derive(Debug)]
pub enum HostError {
    /// No directory of the search path has the program.
    MissingToolchain { tool: &'static str, program: String, searched: Vec<PathBuf> },
    /// The program only stands for another, in a way that is not known here.
    UnknownShim { tool: &'static str, program: String, path: PathBuf, nature: &'static str },
    /// A version manager did not tell where the program is.
    Manager { tool: &'static str, program: String, path: PathBuf, question: String, source: io::Error },
    /// A Java that runs programs and compiles none.
    NoCompiler { tool: &'static str, path: PathBuf },
    /// A Java that can't run a source file.
    OldJava { tool: &'static str, path: PathBuf, version: u32 },
    /// A link or directory on the way to the program can't be read.
    Read { tool: &'static str, path: PathBuf, source: io::Error },
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingToolchain { tool, program, searched } => {
                write!(f, "tool `{tool}` needs `{program}`, which is not in {}: ", shortened(searched))?;
                write!(f, "install it on this host and put it on PATH")
            }
            Self::UnknownShim { tool, program, path, nature } => {
                write!(f, "tool `{tool}` needs `{program}`, but {} is {nature}: ", path.display())?;
                write!(f, "put the directory of the real {program} on PATH before it")
            }
            Self::Manager { tool, program, path, question, source } => {
                write!(f, "tool `{tool}` needs `{program}`, but for the shim {} ", path.display())?;
                write!(f, "`{question}` gave no answer: {source}; choose a version there")
            }
            Self::NoCompiler { tool, path } => {
                write!(f, "tool `{tool}` needs a JDK, but {} has no javac beside it: ", path.display())?;
                write!(f, "install a JDK on this host")
            }
            Self::OldJava { tool, path, version } => {
                write!(f, "tool `{tool}` needs Java {} or newer, but {} is {version}: ", java::OLDEST, path.display())?;
                write!(f, "install a newer JDK on this host")
            }
            Self::Read { tool, path, source } => {
                write!(f, "tool `{tool}`: cannot read {}: {source}; make it readable", path.display())
            }
        }
    }
}

impl std::error::Error for HostError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Manager { source, .. } | Self::Read { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// The first few directories; a search path can have dozens.
fn shortened(searched: &[PathBuf]) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<String> = searched.iter().take(SHOWN).map(|path| path.display().to_string()).collect();
    match searched.len().saturating_sub(SHOWN) {
        0 if shown.is_empty() => "an empty search path".to_owned(),
        0 => shown.join(", "),
        more => format!("{} or {more} more directories", shown.join(", ")),
    }
}

/// What a sandbox has where it runs on the toolchains of the host.
#[derive(Debug)]
pub struct Toolchain {
    /// The programs that the sandbox needs of a host, and where each really is.
    pub programs: Vec<(String, PathBuf)>,
    /// Those of the definition's further programs that this host has, as the definition writes them.
    pub offered: Vec<&'static str>,
    /// The view, but for what is made at the first call.
    found: View,
    java: Option<Java>,
    view: OnceLock<Arc<View>>,
}

impl Toolchain {
    pub fn new(programs: Vec<(String, PathBuf)>, offered: Vec<&'static str>, view: View) -> Self {
        Self { programs, offered, found: view, java: None, view: OnceLock::new() }
    }

    /// Returns what programs see. The first time, this may run a compiler for a second or two.
    pub fn view(&self) -> Arc<View> {
        let whole = || {
            let launch = self.java.as_ref().map(Java::launch).unwrap_or_default();
            Arc::new(View { launch, ..self.found.clone() })
        };
        self.view.get_or_init(whole).clone()
    }
}

/// A tool and the programs of this host that it would run on, for `doctor`.
#[derive(Debug)]
pub struct Found {
    pub tool: &'static str,
    /// Each program's name, and its true path or why it can't be had.
    pub programs: Vec<(String, Result<PathBuf, HostError>)>,
}

/// All tools, in the order of the tool table.
pub fn toolchains(host: &Host) -> Vec<Found> {
    let found = |sandbox: &'static Sandbox| Found {
        tool: sandbox.id,
        programs: sandbox
            .host_programs
            .iter()
            .map(|program| {
                let path = locate::locate(program, sandbox.id, host).map(|located| located.path);
                ((*program).to_owned(), path)
            })
            .collect(),
    };
    TOOLS.iter().map(|tool| found(&tool.sandbox)).collect()
}

/// What a sandbox has and sees when it runs on the toolchains of the host.
///
/// This may run a version manager, each time for at most [`locate::PATIENCE`], so callers keep the result.
pub fn toolchain(sandbox: &Sandbox, host: &Host) -> Result<Toolchain, HostError> {
    let (mut binds, mut links) = system::system(Path::new("/"));
    let mut directories: Vec<PathBuf> = Vec::new();
    let mut wanted: Vec<(String, PathBuf)> = Vec::new();
    let mut java = None;

    let mut programs = Vec::new();
    for &program in sandbox.host_programs {
        let located = locate::locate(program, sandbox.id, host)?;
        let shown = prefix::shown(program, &located, sandbox.id, host)?;
        binds.extend(shown.binds.into_iter().map(Bind::in_place));
        links.extend(shown.links);
        let directory = located.path.parent().unwrap_or(Path::new("/")).to_owned();
        if !directories.contains(&directory) && !is_on_system_path(&directory) {
            directories.push(directory);
        }
        if program == "java" {
            java = java::java(&located.path, sandbox)?;
        }
        let names = program_names::in_sandbox(program).into_iter().map(str::to_owned);
        wanted.extend(names.map(|name| (name, located.path.clone())));
        programs.push((program.to_owned(), located.path));
    }
    let binds = without_nested(binds);
    links.retain(|link| !is_shown(&link.path, &binds));

    let path: Vec<PathBuf> = directories.into_iter().chain(SYSTEM_PATH.map(PathBuf::from)).collect();
    let mut link_directory = None;
    for (name, program) in wanted {
        if first_on(&path, &name, &binds) != fs::canonicalize(&program).ok() {
            links.push(Link::new(Path::new(LINKS).join(name), program));
            link_directory = Some(PathBuf::from(LINKS));
        }
    }
    links.sort();
    links.dedup();
    let has = |shown: &str| {
        let name = definition::name_of(shown);
        let is_linked = links.iter().any(|link| link.path == Path::new(LINKS).join(name));
        is_linked || first_on(&path, name, &binds).is_some_and(|program| locate::is_executable(&program))
    };
    let offered = sandbox.programs.names.iter().copied().filter(|shown| has(shown)).collect();
    let path: Vec<String> = link_directory.into_iter().chain(path).map(|path| path.display().to_string()).collect();
    let view = View { binds, links, path: path.join(":"), ..View::empty() };
    Ok(Toolchain { java, ..Toolchain::new(programs, offered, view) })
}

fn is_on_system_path(directory: &Path) -> bool {
    SYSTEM_PATH.iter().any(|path| fs::canonicalize(path).is_ok_and(|path| path == directory))
}

/// The true path of what a name means inside the sandbox.
fn first_on(path: &[PathBuf], name: &str, binds: &[Bind]) -> Option<PathBuf> {
    path.iter().find_map(|directory| {
        let true_path = fs::canonicalize(directory.join(name)).ok()?;
        let place = fs::canonicalize(directory).ok()?.join(name);
        (is_shown(&place, binds) && is_shown(&true_path, binds)).then_some(true_path)
    })
}

fn is_shown(path: &Path, binds: &[Bind]) -> bool {
    binds.iter().any(|bind| path.starts_with(&bind.target))
}

/// Drops binds that another one covers: each bind costs every call a mount.
fn without_nested(mut binds: Vec<Bind>) -> Vec<Bind> {
    binds.sort_by(|a, b| a.target.cmp(&b.target));
    let mut outer: Vec<Bind> = Vec::new();
    for bind in binds {
        if !is_shown(&bind.target, &outer) {
            outer.push(bind);
        }
    }
    outer
}
