//! Runs the same tests as an unprivileged user.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{env, fs};

use crate::internet;

const NOBODY: u32 = 65534;

/// Runs all tests as the user nobody, if this process is root. Returns whether they passed.
pub fn run_tests() -> bool {
    if !internet::is_root() {
        return true;
    }
    // The user nobody may not have access to the directory of this program.
    let directory = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .expect("make a directory");
    let copy = directory.path().join("network");
    fs::copy(env::current_exe().unwrap(), &copy).expect("copy this program");
    println!("as nobody:");
    let mut command = Command::new(copy);
    command.args(env::args_os().skip(1)).uid(NOBODY).gid(NOBODY).current_dir("/");
    command.status().expect("start this program as nobody").success()
}
