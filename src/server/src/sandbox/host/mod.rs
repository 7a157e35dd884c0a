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
use std::{env, fs, io};

use thiserror::Error;

use self::java::Java;
use crate::call::catalog::catalog;
use crate::call::definition::{self, Sandbox};
use crate::sandbox::view::{Bind, Link, View};

/// The directory of the sandbox with links to programs that `PATH` would not find under the wanted name.
pub(crate) const LINKS: &str = "/run/host/bin";

/// The directories of the host's own programs. They come last on a sandbox's `PATH`.
const SYSTEM_PATH: [&str; 6] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Prefixes of the variables that version managers read. Other variables are not kept.
const MANAGER_VARIABLES: [&str; 11] =
    ["ASDF_", "GOENV_", "JENV_", "MISE_", "NODENV_", "NVM_", "PYENV_", "RBENV_", "RUSTUP_", "VOLTA_", "XDG_"];

/// Words in the names of variables that may be secrets, such as `MISE_GITHUB_TOKEN`. These are never kept.
const SECRETS: [&str; 5] = ["AUTH", "KEY", "PASS", "SECRET", "TOKEN"];

/// The properties of the host that the search for toolchains depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Absolute directories, in the order in which they are searched.
    pub search_path: Vec<PathBuf>,
    /// The user's home directory. `None` if there is none.
    pub home: Option<PathBuf>,
    /// The environment variables of version managers, such as `PYENV_VERSION`.
    pub variables: BTreeMap<String, String>,
    /// Whether programs run as a user other than the server's, who must have access to the toolchains.
    pub for_others: bool,
}

impl Host {
    /// Returns the host as this process's environment describes it.
    pub fn from_environment() -> Self {
        Self::new(&env::var_os("PATH").unwrap_or_default(), env::home_dir(), env::vars_os())
    }

    /// Returns the host as these parts of an environment describe it.
    fn new(path: &OsStr, home: Option<PathBuf>, variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let home = home.filter(|home| home.is_absolute());
        let variables: BTreeMap<String, String> = variables
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| MANAGER_VARIABLES.iter().any(|start| name.starts_with(start)))
            .filter(|(name, _)| !SECRETS.iter().any(|secret| name.contains(secret)))
            .collect();
        let mut search_path: Vec<PathBuf> = Vec::new();
        // Clients often start servers with a minimal PATH, so the usual directories of toolchains are searched after
        // it.
        let usual = usual_places(home.as_deref(), &variables);
        // Relative entries are dropped, because the programs would depend on the server's working directory.
        for directory in env::split_paths(path).filter(|path| path.is_absolute()).chain(usual) {
            if !search_path.contains(&directory) {
                search_path.push(directory);
            }
        }
        Self { search_path, home, variables, for_others: false }
    }

    /// Returns the executable files of this name on the search path.
    fn candidates<'a>(&'a self, name: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
        self.search_path.iter().map(move |directory| directory.join(name)).filter(|path| locate::is_executable(path))
    }

    /// Returns the home directory without symbolic links, to compare it with resolved paths.
    fn true_home(&self) -> Option<PathBuf> {
        self.home.as_ref().map(|home| fs::canonicalize(home).unwrap_or_else(|_| home.clone()))
    }
}

/// Returns the usual directories of toolchains that are not on `PATH`.
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

/// Returns the directory of the newest Node.js that nvm has installed. nvm has no shims: it changes the `PATH` only in
/// interactive shells.
fn newest_node_of_nvm(nvm: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(nvm.join("versions/node")).ok()?;
    let number = |path: &Path| -> Option<Vec<u32>> {
        path.file_name()?.to_str()?.strip_prefix('v')?.split('.').map(|part| part.parse().ok()).collect()
    };
    // An interrupted installation leaves a directory without a program.
    let complete = versions.flatten().map(|entry| entry.path()).filter(|path| path.join("bin/node").exists());
    Some(complete.max_by_key(|path| number(path))?.join("bin"))
}

/// The reason why a sandbox cannot run on the host's toolchains.
#[derive(Debug, Error)]
pub enum HostError {
    /// No directory of the search path has the program.
    #[error(
        "cannot run tool `{tool}`: it needs `{program}`, which is not in {directories}; install it on this host and put \
         it on PATH",
        directories = shortened(.searched)
    )]
    MissingToolchain { tool: &'static str, program: String, searched: Vec<PathBuf> },
    /// The file starts another program in an unsupported way.
    #[error(
        "cannot run tool `{tool}`: it needs `{program}`, but {path} is {nature}; put the directory of the real {program} \
         on PATH before it",
        path = .path.display()
    )]
    UnknownShim { tool: &'static str, program: String, path: PathBuf, nature: &'static str },
    /// A version manager did not say where the program is.
    #[error(
        "cannot run tool `{tool}`: it needs `{program}`, but for the shim {path} `{question}` gave no answer: {cause}; \
         choose a version there",
        path = .path.display()
    )]
    Manager { tool: &'static str, program: String, path: PathBuf, question: String, cause: io::Error },
    /// A Java without a compiler.
    #[error(
        "cannot run tool `{tool}`: it needs a JDK, but {path} has no javac beside it; install a JDK on this host",
        path = .path.display()
    )]
    NoCompiler { tool: &'static str, path: PathBuf },
    /// A Java that cannot run source files.
    #[error(
        "cannot run tool `{tool}`: it needs Java {oldest} or newer, but {path} is {version}; install a newer JDK on this \
         host",
        oldest = java::OLDEST,
        path = .path.display()
    )]
    OldJava { tool: &'static str, path: PathBuf, version: u32 },
    /// A link or directory on the way to the program cannot be read.
    #[error("cannot run tool `{tool}`: cannot read {path}: {cause}; make it readable", path = .path.display())]
    Read { tool: &'static str, path: PathBuf, cause: io::Error },
}

/// Lists the first few directories of a search path, which can have dozens.
fn shortened(searched: &[PathBuf]) -> String {
    const MAX_SHOWN: usize = 4;
    let shown: Vec<String> = searched.iter().take(MAX_SHOWN).map(|path| path.display().to_string()).collect();
    match searched.len().saturating_sub(MAX_SHOWN) {
        0 if shown.is_empty() => "an empty search path".to_owned(),
        0 => shown.join(", "),
        more => format!("{} or {more} more directories", shown.join(", ")),
    }
}

/// The toolchains of the host that a sandbox runs on.
#[derive(Debug)]
pub struct Toolchain {
    /// The programs that the sandbox needs of a host, and where each really is.
    pub programs: Vec<(String, PathBuf)>,
    /// The optional programs of the definition that this host has, as the definition writes them.
    pub offered: Vec<&'static str>,
    /// The view without the parts that are made at the first call.
    found: View,
    java: Option<Java>,
    view: OnceLock<Arc<View>>,
}

impl Toolchain {
    /// Returns a toolchain whose view is complete.
    pub fn new(programs: Vec<(String, PathBuf)>, offered: Vec<&'static str>, view: View) -> Self {
        Self { programs, offered, found: view, java: None, view: OnceLock::new() }
    }

    /// Returns the view of the sandbox. The first call may run a compiler for a second or two.
    pub fn view(&self) -> Arc<View> {
        let whole = || {
            let launch = self.java.as_ref().map(Java::launch).unwrap_or_default();
            Arc::new(View { launch, ..self.found.clone() })
        };
        self.view.get_or_init(whole).clone()
    }
}

/// The names of the programs that a tool needs, with their true paths or the reasons why they are missing.
pub type FoundPrograms = Vec<(&'static str, Result<PathBuf, HostError>)>;

/// Looks up the programs of all tools, in the order of the tool table, for `doctor`.
pub fn toolchains(host: &Host) -> Vec<FoundPrograms> {
    let found = |sandbox: &'static Sandbox| {
        let path = |program| locate::locate(program, sandbox.id, host).map(|located| located.path);
        sandbox.host_programs.iter().map(|program| (*program, path(program))).collect()
    };
    catalog().tools.iter().map(|tool| found(&tool.sandbox)).collect()
}

/// What a sandbox has and sees when it runs on the toolchains of the host.
///
/// This may run version managers, each for at most [`locate::MANAGER_TIMEOUT`], so callers keep the result.
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

/// Returns the true path of the program that a name resolves to inside the sandbox.
fn first_on(path: &[PathBuf], name: &str, binds: &[Bind]) -> Option<PathBuf> {
    path.iter().find_map(|directory| {
        let true_path = fs::canonicalize(directory.join(name)).ok()?;
        let shown_path = fs::canonicalize(directory).ok()?.join(name);
        (is_shown(&shown_path, binds) && is_shown(&true_path, binds)).then_some(true_path)
    })
}

fn is_shown(path: &Path, binds: &[Bind]) -> bool {
    binds.iter().any(|bind| path.starts_with(&bind.target))
}

/// Drops binds that are inside of others, because each bind costs a mount in every call.
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
