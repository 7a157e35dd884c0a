//! What `doctor` says of this machine's Nix.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use nix_store::endpoint::Endpoint;
use nix_store::store_path::STORE;

use crate::cli::doctor::report::{Finding, broken, good, missing};
use crate::nix::build_users::{self, setting};
use crate::nix::realise::Realiser;

/// The files that name the groups of this machine.
const GROUPS: &str = "/etc/group";

/// The most characters of what a program says of its failure.
const MAX_REASON: usize = 400;

/// Reports on Nix. A server without pinned environments (`is_needed` is false) only uses the host's toolchains.
pub fn findings(realiser: &Realiser, is_needed: bool) -> Vec<Finding> {
    let Some(program) = realiser.nix_store() else {
        let detail = "not found on PATH and in the usual profiles: pinned environments can't be realised here; install Nix, as \
                      root on Debian with `apt install nix-bin`";
        return vec![missing("nix-store", detail).where_needed(is_needed)];
    };
    let mut findings = match answer(program, &["--version"]) {
        Ok(version) => vec![good("nix-store", format!("{} ({version})", program.display()))],
        Err(reason) => {
            let detail = format!("{} does not start: {reason}", program.display());
            // Nothing else would answer either.
            return vec![missing("nix-store", detail).where_needed(is_needed)];
        }
    };
    let settings = settings(program);
    findings.push(match settings.as_deref().map(|settings| setting(settings, "sandbox")) {
        Ok(Some("true")) => good("build sandbox", "on"),
        Ok(Some(value)) => missing(
            "build sandbox",
            format!("{value}: derivations are built unsandboxed; set `sandbox = true` in /etc/nix/nix.conf"),
        ),
        Ok(None) => missing("build sandbox", "Nix does not report whether it is on"),
        Err(reason) => missing("build sandbox", format!("Nix does not report its configuration: {reason}")),
    });
    if let Ok(settings) = &settings {
        findings.extend(builds(settings));
    }
    // The same socket that calls use, which a variable can name.
    if let Endpoint::Socket(socket) = Endpoint::socket() {
        findings.push(daemon(&socket));
    }
    findings.into_iter().map(|finding| finding.where_needed(is_needed)).collect()
}

/// Reports whether root can build. Other users leave that to a daemon, or build as themselves.
fn builds(settings: &str) -> Option<Finding> {
    let is_local =
        setting(settings, "store").is_none_or(|store| !store.starts_with("daemon") && !store.contains("://"));
    if !rustix::process::geteuid().is_root() || !is_local {
        return None;
    }
    Some(match build_users::check(settings, &fs::read_to_string(GROUPS).unwrap_or_default()) {
        Ok(()) => good("build users", setting(settings, "build-users-group").unwrap_or_default()),
        Err(reason) => broken("build users", format!("{reason}; until then, calls get nothing that the store lacks")),
    })
}

fn settings(nix_store: &Path) -> Result<String, String> {
    let nix = nix_store.with_file_name("nix");
    let ask = |command: &[&str]| answer(&nix, &[&["--extra-experimental-features", "nix-command"], command].concat());
    // Newer versions have it under another name than older ones.
    ask(&["config", "show"]).or_else(|_| ask(&["show-config"]))
}

fn daemon(socket: &Path) -> Finding {
    let shown = socket.display();
    match UnixStream::connect(socket) {
        Ok(_) => good("daemon", format!("listens at {shown}")),
        Err(_) if is_writable(Path::new(STORE)) => {
            good("daemon", format!("not running at {shown}; not needed, since this user can write to the store"))
        }
        Err(error) => missing("daemon", format!("{shown}: {error}: only what is in the store already can be used")),
    }
}

/// Returns what a program prints, or else why there is nothing, in its own words.
fn answer(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    match said.is_empty() {
        true => Err(output.status.to_string()),
        false => Err(said.chars().take(MAX_REASON).collect()),
    }
}

fn is_writable(directory: &Path) -> bool {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::State;

    #[test]
    fn daemon_at_another_socket_is_found() {
        let directory = tempfile::tempdir().expect("make a directory");
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("listen");
        let finding = daemon(&socket);
        assert!(finding.state == State::Good && finding.detail.contains("listens at"), "{finding:?}");
        let finding = daemon(&directory.path().join("other"));
        assert!(finding.detail.contains("other") && !finding.detail.contains("listens"), "{finding:?}");
    }

    #[test]
    fn program_that_fails_is_told_in_its_own_words() {
        let fails = |script| answer(Path::new("/bin/sh"), &["-c", script]).unwrap_err();
        assert_eq!(fails("echo 'error: no\n  permissions' >&2; exit 1"), "error: no permissions");
        assert_eq!(fails("exit 7"), "exit status: 7");
        assert!(answer(Path::new("/no/such/program"), &[]).unwrap_err().contains("No such file"));
        assert_eq!(answer(Path::new("/bin/sh"), &["-c", "echo ' 2.8 '"]).unwrap(), "2.8");
    }
}
