//! The read-only files that a program sees: its environment, which is either pinned or the host's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use sandbox_plan::plan::OUT;
use sandbox_plan::view::{self, CLOSURE};
pub use sandbox_plan::view::{Bind, Link};
use thiserror::Error;

use crate::call::definition::{ENVIRONMENT_PLACEHOLDER, Sandbox};
use crate::call::packages::Packages;
use nix_store::store_path::{StorePath, StorePathError};

/// The read-only part of a sandbox's file system, and the variables that go with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub origin: Origin,
    pub binds: Vec<Bind>,
    pub links: Vec<Link>,
    /// The value of `PATH`.
    pub path: String,
    /// Variables that the environment needs in addition to those of the sandbox's definition.
    pub variables: Vec<(String, String)>,
    /// The arguments and files with which the interpreter runs the entrypoint.
    pub launch: Launch,
    /// The packages that are added to the environment.
    pub packages: Packages,
}

/// The arguments and files with which an interpreter of the host runs an entrypoint. They are empty for pinned
/// interpreters, which are configured when they are built.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Launch {
    /// Arguments to insert before the last argument, which is the entrypoint.
    pub arguments: Vec<String>,
    /// Files that the arguments refer to: their paths in the sandbox, and their contents.
    pub files: Vec<(PathBuf, Vec<u8>)>,
}

/// The source of a view's programs.
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

/// The reason why the view of an environment cannot be made.
#[derive(Debug, Error)]
pub enum ViewError {
    #[error("cannot read {path}: {cause}", path = .path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("cannot parse {path}: {cause}", path = .path.display())]
    Closure { path: PathBuf, cause: StorePathError },
}

impl View {
    /// Returns a view without any files, for sandboxes that run no program.
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

    /// Returns the view of a realised environment: its closure, and nothing else of the store.
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

    /// Returns this view with the closures of realised packages. The directories of packages are appended to search
    /// paths, so that the environment's own files take precedence.
    pub fn with(&self, packages: &Packages) -> Result<Self, ViewError> {
        let mut joined = Self { packages: packages.clone(), ..self.clone() };
        for out in packages.outs().map(Path::new) {
            view::join(&mut joined.binds, out, closure(out)?.lines());
        }
        Ok(joined)
    }

    /// Returns whether the store paths of this view still exist. Nix may have collected them as garbage.
    pub(crate) fn is_present(&self) -> bool {
        match &self.origin {
            Origin::Pinned(out) => out.exists() && self.packages.outs().all(|out| Path::new(out).exists()),
            Origin::Host => true,
        }
    }

    /// Substitutes the environment's path in the value of a variable. `None` if the value refers to the pinned
    /// environment and this view is the host's.
    pub fn fill(&self, value: &str) -> Option<String> {
        match &self.origin {
            Origin::Pinned(out) => Some(value.replace(ENVIRONMENT_PLACEHOLDER, &out.display().to_string())),
            Origin::Host => (!value.contains(ENVIRONMENT_PLACEHOLDER)).then(|| value.to_owned()),
        }
    }

    /// Returns the command of a sandbox's program, with the arguments of a call.
    pub fn command(&self, sandbox: &Sandbox, args: &[String]) -> Vec<String> {
        let mut command = sandbox.command(args);
        let before_last = sandbox.command.len().saturating_sub(1);
        command.splice(before_last..before_last, self.launch.arguments.iter().cloned());
        command
    }

    /// Returns all environment variables of a program. Nothing is inherited from the server.
    pub fn variables(&self, sandbox: &Sandbox) -> Vec<(String, String)> {
        let mut variables: Vec<(String, String)> = [
            ("HOME", "/sandbox"),
            // C.UTF-8 differs from C only in LC_CTYPE, and programs then read one locale file instead of twelve for
            // LANG.
            ("LC_CTYPE", "C.UTF-8"),
            ("OUT", OUT),
            ("PATH", &self.path),
            ("PWD", sandbox.workdir),
            // The same as in /etc/passwd, which a shell then does not need to read.
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
            set("LOCALE_ARCHIVE", view::LOCALES.to_owned());
            set("TZDIR", view::ZONES.to_owned());
            if !sandbox.network.is_closed() {
                set("SSL_CERT_FILE", view::CERTIFICATES.to_owned());
            }
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

/// Adds the variables of a call to those of its sandbox, which take precedence.
pub fn with_env(mut own: Vec<(String, String)>, env: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let count = own.len();
    for (name, value) in env {
        if own[..count].iter().all(|(known, _)| known != name) {
            own.push((name.clone(), value.clone()));
        }
    }
    own
}

/// Reads the closure of an environment or package from its list of store paths.
fn closure(out: &Path) -> Result<String, ViewError> {
    let list = out.join(CLOSURE);
    let text = fs::read_to_string(&list).map_err(|cause| ViewError::Read { path: list.clone(), cause })?;
    for line in text.lines() {
        StorePath::parse(line).map_err(|cause| ViewError::Closure { path: list.clone(), cause })?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::catalog::catalog;
    use crate::call::program_input::own_variables;
    use crate::call::tool::Tool;

    #[test]
    fn sandbox_sets_no_variable_that_could_be_given() {
        for Tool { sandbox, .. } in catalog().tools {
            let own = own_variables(sandbox, &Packages::default());
            for (name, _) in View::empty().variables(sandbox) {
                assert!(own.contains(&*name), "{name}");
            }
        }
    }
}
