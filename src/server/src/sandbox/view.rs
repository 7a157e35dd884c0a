//! What a program sees of the file system besides its own directories: an environment, pinned or of the host.

use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use sandbox_plan::plan::OUT;
use sandbox_plan::view::{self, CLOSURE};
pub use sandbox_plan::view::{Bind, Link};

use crate::call::definition::{ENVIRONMENT_PLACEHOLDER, Sandbox};
use crate::call::packages::Packages;
use nix_store::store_path::{StorePath, StorePathError};

/// The read-only part of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub origin: Origin,
    pub binds: Vec<Bind>,
    pub links: Vec<Link>,
    /// The value of `PATH`.
    pub path: String,
    /// Variables that the environment itself needs, besides those of the sandbox's definition.
    pub variables: Vec<(String, String)>,
    /// What is put between the program that runs an entrypoint and the entrypoint.
    pub launch: Launch,
    /// What there is besides the environment.
    pub packages: Packages,
}

/// How the host's interpreter is told to run an entrypoint; a pinned one knows by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Launch {
    /// Arguments before the entrypoint's name, which is the last.
    pub arguments: Vec<String>,
    /// Files of ours that they lead to, by their places in the sandbox.
    pub files: Vec<(PathBuf, Vec<u8>)>,
}

/// Where the programs come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The output path of the environment's derivation.
    Pinned(PathBuf),
    /// Toolchains found on this host.
    Host,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned(out) => out.display().fmt(f),
            Self::Host => f.write_str("host"),
        }
    }
}

/// Why the view of an environment can't be made.
#[derive(Debug)]
pub enum ViewError {
    Read { path: PathBuf, source: io::Error },
    Closure { path: PathBuf, source: StorePathError },
}

impl fmt::Display for ViewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::Closure { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl std::error::Error for ViewError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Closure { source, .. } => Some(source),
        }
    }
}

impl View {
    /// The view of a sandbox in which no program is to run.
    pub fn empty() -> Self {
        Self {
            origin: Origin::Host,
            binds: Vec::new(),
            links: Vec::new(),
            path: String::new(),
            variables: Vec::new(),
            launch: Launch::default(),
            packages: Packages::default(),
        }
    }

    /// The view of a realised environment: its closure and nothing else of the store.
    pub fn pinned(out: &Path) -> Result<Self, ViewError> {
        let text = closure(out)?;
        let (binds, links) = view::pinned(out, text.lines());
        Ok(Self {
            origin: Origin::Pinned(out.to_owned()),
            binds,
            links,
            path: out.join("bin").display().to_string(),
            ..Self::empty()
        })
    }

    /// The same with realised packages: their closures too, and their directories at the ends of search paths, where they
    /// stand behind what the environment has.
    pub fn with(&self, packages: &Packages) -> Result<Self, ViewError> {
        let mut joined = Self { packages: packages.clone(), ..self.clone() };
        for out in packages.outs().map(Path::new) {
            view::join(&mut joined.binds, out, closure(out)?.lines());
        }
        Ok(joined)
    }

    /// Whether what the view shows is still there: an environment or package may have been collected as garbage.
    pub fn is_present(&self) -> bool {
        match &self.origin {
            Origin::Pinned(out) => out.exists() && self.packages.outs().all(|out| Path::new(out).exists()),
            Origin::Host => true,
        }
    }

    /// The value of a variable of a definition, in this view. None: it points into the pinned environment, which has no
    /// meaning on the host.
    pub fn fill(&self, value: &str) -> Option<String> {
        match &self.origin {
            Origin::Pinned(out) => Some(value.replace(ENVIRONMENT_PLACEHOLDER, &out.display().to_string())),
            Origin::Host => (!value.contains(ENVIRONMENT_PLACEHOLDER)).then(|| value.to_owned()),
        }
    }

    /// The command of a sandbox's program.
    pub fn command(&self, sandbox: &Sandbox) -> Vec<String> {
        let mut command: Vec<String> = sandbox.command.iter().map(|argument| (*argument).to_owned()).collect();
        let place = command.len().saturating_sub(1);
        command.splice(place..place, self.launch.arguments.iter().cloned());
        command
    }

    /// All environment variables of a program: the sandbox's view of them, and nothing inherited.
    pub fn variables(&self, sandbox: &Sandbox) -> Vec<(String, String)> {
        let mut variables: Vec<(String, String)> = [
            ("HOME", "/sandbox"),
            // Of all that LANG would say too, this is what differs from C, and one file to be read instead of twelve.
            ("LC_CTYPE", "C.UTF-8"),
            ("OUT", OUT),
            ("PATH", &self.path),
            ("PWD", sandbox.workdir),
            // As /etc/passwd has it, which a shell need not read then.
            ("SHELL", "/bin/sh"),
            ("TMPDIR", "/tmp"),
            ("USER", sandbox.user),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let mut set = |name: &str, value: String| match variables.iter_mut().find(|(known, _)| known == name) {
            Some(variable) => variable.1 = value,
            None => variables.push((name.to_owned(), value)),
        };
        if let Origin::Pinned(_) = self.origin {
            set("TZDIR", view::ZONES.to_owned());
        }
        for (name, value) in &self.variables {
            set(name, value.clone());
        }
        for (name, value) in sandbox.variables {
            if let Some(value) = self.fill(value) {
                set(name, value);
            }
        }
        for (name, directory) in self.packages.search_paths() {
            match variables.iter_mut().find(|(known, _)| known == name) {
                Some((_, value)) => value.extend([":", &directory]),
                None => variables.push((name.to_owned(), directory)),
            }
        }
        variables
    }
}

/// The closure of an environment or package, as its file lists it.
fn closure(out: &Path) -> Result<String, ViewError> {
    let list = out.join(CLOSURE);
    let text = fs::read_to_string(&list).map_err(|source| ViewError::Read { path: list.clone(), source })?;
    for line in text.lines() {
        StorePath::parse(line).map_err(|source| ViewError::Closure { path: list.clone(), source })?;
    }
    Ok(text)
}
