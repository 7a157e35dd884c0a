//! Simulated homes in temporary directories, and the views of tools with them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::super::{Host, HostError, toolchain};
use crate::call::definition::Sandbox;
use crate::call::tool::Tool;
use crate::sandbox::view::{Link, View};

pub fn sandbox(tool: &str) -> &'static Sandbox {
    &Tool::by_name(tool).expect("the tool exists").sandbox
}

/// A home with toolchains. The search path contains only the directories that a test names.
pub struct Home {
    pub path: PathBuf,
    pub variables: BTreeMap<String, String>,
    _directory: TempDir,
}

impl Home {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        // The path of the temporary directory may contain links.
        let path = fs::canonicalize(directory.path()).expect("the directory exists").join("home/user");
        fs::create_dir_all(&path).expect("make a home");
        Self { path, variables: BTreeMap::new(), _directory: directory }
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.path.join(path)
    }

    pub fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("it has a parent")).expect("make directories");
        fs::write(path, text).expect("write a file");
        self
    }

    /// Adds a program that is not a script. It cannot be run.
    pub fn program(&self, path: &str) -> &Self {
        self.executable(path, "\x7fELF")
    }

    /// Adds a program that is a script.
    pub fn script(&self, path: &str, text: &str) -> &Self {
        self.executable(path, &format!("#!/bin/sh\n{text}\n"))
    }

    fn executable(&self, path: &str, text: &str) -> &Self {
        self.file(path, text);
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(0o755)).expect("set a mode");
        self
    }

    pub fn link(&self, path: &str, target: impl AsRef<Path>) -> &Self {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("it has a parent")).expect("make directories");
        symlink(target, path).expect("make a link");
        self
    }

    /// Returns a host with this search path, in this order. Relative directories are inside the home.
    pub fn host(&self, search_path: &[&str]) -> Host {
        let search_path = search_path.iter().map(|directory| self.at(directory)).collect();
        Host { search_path, home: Some(self.path.clone()), variables: self.variables.clone(), for_others: false }
    }

    pub fn view(&self, tool: &str, search_path: &[&str]) -> Result<View, HostError> {
        Ok((*toolchain(sandbox(tool), &self.host(search_path))?.view()).clone())
    }

    /// Returns the paths of the home that the tool sees.
    #[track_caller]
    pub fn shown(&self, tool: &str, search_path: &[&str]) -> Vec<String> {
        self.of_home(&self.view(tool, search_path).expect("the tool can run"))
    }

    /// Returns the paths that a view shows of the home, relative to it.
    pub fn of_home(&self, view: &View) -> Vec<String> {
        let relative = |path: &Path| path.strip_prefix(&self.path).ok().map(|path| path.display().to_string());
        view.binds.iter().filter_map(|bind| relative(&bind.source)).collect()
    }

    /// Returns the links of a view that are in the home or made for the view, with paths relative to the home.
    pub fn links_of_home(&self, view: &View) -> Vec<(String, String)> {
        let relative = |path: &Path| path.strip_prefix(&self.path).unwrap_or(path).display().to_string();
        let is_ours = |link: &&Link| link.path.starts_with(&self.path) || link.path.starts_with("/run/host");
        view.links.iter().filter(is_ours).map(|link| (relative(&link.path), relative(&link.target))).collect()
    }

    /// Returns the directories that precede the system's on `PATH`, relative to the home.
    pub fn path_of_home(&self, view: &View) -> Vec<String> {
        let is_ours = |path: &&str| !super::super::SYSTEM_PATH.contains(path);
        let relative = |path: &str| path.strip_prefix(&format!("{}/", self.path.display())).unwrap_or(path).to_owned();
        view.path.split(':').filter(is_ours).map(relative).collect()
    }

    #[track_caller]
    pub fn error(&self, tool: &str, search_path: &[&str]) -> String {
        self.view(tool, search_path).expect_err("the tool cannot run").to_string()
    }
}
