//! Homes in a temporary directory, and a tool's view of them.

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

/// A home with toolchains, and nothing else on the search path but what a test names.
pub struct Home {
    pub path: PathBuf,
    pub variables: BTreeMap<String, String>,
    _directory: TempDir,
}

impl Home {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        // Some machines have a link on the way to their temporary directory.
        let path = fs::canonicalize(directory.path()).expect("the directory is there").join("home/user");
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

    /// A program that is no script. It can't be run.
    pub fn program(&self, path: &str) -> &Self {
        self.executable(path, "\x7fELF")
    }

    /// A program that is a script.
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

    /// The directories are searched in this order, and relative ones are of the home.
    pub fn host(&self, search_path: &[&str]) -> Host {
        let search_path = search_path.iter().map(|directory| self.at(directory)).collect();
        Host { search_path, home: Some(self.path.clone()), variables: self.variables.clone(), for_others: false }
    }

    pub fn view(&self, tool: &str, search_path: &[&str]) -> Result<View, HostError> {
        Ok((*toolchain(sandbox(tool), &self.host(search_path))?.view()).clone())
    }

    /// What the tool sees of the home.
    #[track_caller]
    pub fn shown(&self, tool: &str, search_path: &[&str]) -> Vec<String> {
        self.of_home(&self.view(tool, search_path).expect("the tool can run"))
    }

    /// What a view shows of the home, with paths relative to it.
    pub fn of_home(&self, view: &View) -> Vec<String> {
        let relative = |path: &Path| path.strip_prefix(&self.path).ok().map(|path| path.display().to_string());
        view.binds.iter().filter_map(|bind| relative(&bind.source)).collect()
    }

    /// The links of a view that lie in the home or are made for the view, with paths relative to the home.
    pub fn links_of_home(&self, view: &View) -> Vec<(String, String)> {
        let relative = |path: &Path| path.strip_prefix(&self.path).unwrap_or(path).display().to_string();
        let is_ours = |link: &&Link| link.path.starts_with(&self.path) || link.path.starts_with("/run/host");
        view.links.iter().filter(is_ours).map(|link| (relative(&link.path), relative(&link.target))).collect()
    }

    /// The directories that come before the system's on `PATH`, relative to the home.
    pub fn path_of_home(&self, view: &View) -> Vec<String> {
        let is_ours = |path: &&str| !super::super::SYSTEM_PATH.contains(path);
        let relative = |path: &str| path.strip_prefix(&format!("{}/", self.path.display())).unwrap_or(path).to_owned();
        view.path.split(':').filter(is_ours).map(relative).collect()
    }

    #[track_caller]
    pub fn error(&self, tool: &str, search_path: &[&str]) -> String {
        self.view(tool, search_path).expect_err("the tool can't run").to_string()
    }
}
