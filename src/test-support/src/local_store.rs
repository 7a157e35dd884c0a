//! Queries of the store for benches.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix_store::store_path::{STORE, StorePath};

/// Lists directories of the store.
pub fn directories() -> impl Iterator<Item = String> {
    let entries = fs::read_dir(STORE).expect("read the store").flatten();
    let is_directory = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let paths = entries.filter(is_directory).filter_map(|entry| entry.path().into_os_string().into_string().ok());
    paths.filter(|path| StorePath::parse(path).is_ok())
}

pub fn store_path(path: &Path) -> PathBuf {
    path.components().take(4).collect()
}

/// Returns the closure of these paths.
pub fn requisites(paths: &BTreeSet<PathBuf>) -> BTreeSet<String> {
    let output = Command::new("nix-store").args(["--query", "--requisites"]).args(paths).output().expect("ask Nix");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("store paths are text").lines().map(str::to_owned).collect()
}

pub fn is_valid(path: &str) -> bool {
    let output = Command::new("nix-store").args(["--check-validity", path]).output();
    output.expect("ask Nix").status.success()
}
