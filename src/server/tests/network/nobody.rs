//! The same tests as an ordinary user.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{env, fs};

use crate::internet;

const NOBODY: u32 = 65534;

/// Where this process is root, runs all tests as nobody first. False: one has failed.
pub fn run_tests() -> bool {
    if !internet::is_root() {
        return true;
    }
    // Nobody may not be able to reach the directory of this program.
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
