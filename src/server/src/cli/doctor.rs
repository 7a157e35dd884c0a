//! The command `doctor`: what this machine offers, what each missing thing costs, and how to get it.

use std::fmt::{self, Write};
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::call::catalog::catalog;
use crate::executor::direct;
use crate::nix::realise::Realiser;
use crate::runner::Runner;
use crate::sandbox::backend::Backend;
use crate::sandbox::host;
use crate::sandbox::plan;
use crate::sandbox::walls::MachineWalls;
use nix_store::archive::Archive;
use nix_store::endpoint::Endpoint;

/// One line of the report.
struct Finding {
    state: State,
    what: String,
    /// What it is, or why it is missing, what that costs, and how to get it.
    detail: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// Calls run, but not as well as they could.
    Lacking,
    /// Calls do not run.
    Bad,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.state {
            State::Good => "ok",
            State::Lacking => "--",
            State::Bad => "!!",
        };
        write!(f, "{sign}  {:<20}", self.what)?;
        // Further lines stand below the first.
        let mut lines = self.detail.lines();
        f.write_str(lines.next().unwrap_or_default())?;
        lines.try_for_each(|line| write!(f, "\n{:24}{line}", ""))
    }
}

fn good(what: impl Into<String>, detail: impl Into<String>) -> Finding {
    Finding { state: State::Good, what: what.into(), detail: detail.into() }
}

fn lacking(what: impl Into<String>, detail: impl Into<String>) -> Finding {
    Finding { state: State::Lacking, what: what.into(), detail: detail.into() }
}

fn bad(what: impl Into<String>, detail: impl Into<String>) -> Finding {
    Finding { state: State::Bad, what: what.into(), detail: detail.into() }
}

/// Prints the report. The status is 0 if every tool can be called.
pub async fn run(runner: &Runner) -> ExitCode {
    let walls = runner.executors().walls().await;
    let sections = [
        ("Nix", nix(runner.realiser())),
        ("Environments", environments(runner.realiser())),
        ("Walls of a sandbox", layers(walls)),
        ("Without namespaces", remaining(walls)),
        ("Network of this host", vec![ping()]),
        ("Toolchains of this host", toolchains(walls)),
        ("Tools", tools(runner).await),
    ];
    let mut text = String::new();
    for (title, findings) in &sections {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{title}");
        for finding in findings {
            let _ = writeln!(text, "  {finding}");
        }
        text.push('\n');
    }
    print!("{text}");
    let works = sections.iter().flat_map(|(_, findings)| findings).all(|finding| finding.state != State::Bad);
    if works { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn nix(realiser: &Realiser) -> Vec<Finding> {
    let Some(program) = realiser.nix_store() else {
        return vec![lacking(
            "nix-store",
            "not found on PATH and in the usual profiles: pinned environments can't be realised here; install Nix, as \
             root on Debian with `apt install nix-bin`",
        )];
    };
    let mut findings = vec![match answer(program, &["--version"]) {
        Some(version) => good("nix-store", format!("{} ({version})", program.display())),
        None => lacking("nix-store", format!("{} does not start", program.display())),
    }];
    let nix = program.with_file_name("nix");
    let config = answer(&nix, &["--extra-experimental-features", "nix-command", "show-config"]).unwrap_or_default();
    findings.push(match config.lines().find_map(|line| line.strip_prefix("sandbox = ")) {
        Some("true") => good("build sandbox", "on"),
        Some(value) => lacking(
            "build sandbox",
            format!("{value}: derivations are built unsandboxed; set `sandbox = true` in /etc/nix/nix.conf"),
        ),
        None => lacking("build sandbox", "Nix does not tell whether it is on"),
    });
    // The same socket that calls use, which a variable can name.
    if let Endpoint::Socket(socket) = Endpoint::socket() {
        findings.push(daemon(&socket));
    }
    findings
}

fn daemon(socket: &Path) -> Finding {
    let shown = socket.display();
    match UnixStream::connect(socket) {
        Ok(_) => good("daemon", format!("listens at {shown}")),
        Err(_) if is_writable(Path::new("/nix/store")) => {
            good("daemon", format!("none at {shown}, and none is needed: the store is this user's"))
        }
        Err(error) => lacking("daemon", format!("{shown}: {error}: only what is in the store already can be used")),
    }
}

fn environments(realiser: &Realiser) -> Vec<Finding> {
    let Some(system) = catalog().system else {
        return vec![lacking(
            "pinned",
            "none: this server was built without Nix, so tools run on this host's toolchains; `nix build` makes one with \
             pinned environments",
        )];
    };
    let mut findings = vec![good("system", system), derivations(catalog().archive)];
    findings.extend(catalog().tools.iter().filter_map(|tool| Some((tool, tool.sandbox.environment.as_ref()?))).map(
        |(tool, environment)| {
            let id = tool.sandbox.id;
            match (Path::new(environment.out).exists(), realiser.nix_store()) {
                (true, _) => good(id, environment.out),
                (false, Some(_)) => {
                    lacking(id, "not realised yet: the first call waits for that; `--build` does it now")
                }
                (false, None) => {
                    bad(id, format!("{} is not in the store, and there is no Nix to bring it", environment.out))
                }
            }
        },
    ));
    findings
}

/// Reports the derivations that Nix builds the environments from.
fn derivations(archive: &[u8]) -> Finding {
    match Archive::unpack(archive).and_then(|unpacked| Ok(unpacked.paths()?.derivations())) {
        Ok(count) => good(
            "derivations",
            format!(
                "{count} come with this server ({} kB); they are unpacked when they are needed",
                archive.len() / 1024
            ),
        ),
        Err(error) => bad("derivations", format!("{error}; install this server's package again")),
    }
}

fn layers(walls: &MachineWalls) -> Vec<Finding> {
    let finding = |layer: &crate::sandbox::launch::Layer| match &layer.missing {
        None => good(layer.wall.name(), "stands"),
        Some(reason) => lacking(layer.wall.name(), format!("{reason}\nwithout it, {}", layer.wall.cost())),
    };
    let mut findings: Vec<Finding> = walls.sandbox.layers.iter().map(finding).collect();
    if let Err(missing) = &walls.namespaces {
        findings.push(lacking("sandbox", missing.to_string()));
    }
    findings
}

fn remaining(walls: &MachineWalls) -> Vec<Finding> {
    let mut findings = vec![match &walls.landlock {
        Ok(landlock) => good("landlock", format!("version {}", landlock.0)),
        Err(missing) => lacking("landlock", format!("{missing}\nwithout it, the host's files can't be walled off")),
    }];
    findings.push(match &walls.seccomp {
        Ok(()) => good("seccomp", "stands"),
        Err(missing) => lacking("seccomp", format!("{missing}\nwithout it, the network can't be walled off")),
    });
    findings
}

/// Tests whether programs can ping: they have no raw sockets, and the kernel's ping sockets are for some groups only.
fn ping() -> Finding {
    const RANGE: &str = "/proc/sys/net/ipv4/ping_group_range";
    let text = fs::read_to_string(RANGE).unwrap_or_default();
    let group = u64::from(plan::identity().host_gid);
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    match numbers[..] {
        [first, last] if (first..=last).contains(&group) => good("ping", format!("open to group {group}")),
        _ => lacking(
            "ping",
            format!(
                "closed to group {group}, so that ping fails on the host's network: sysctl \
                 net.ipv4.ping_group_range=\"{group} {group}\" opens it"
            ),
        ),
    }
}

fn toolchains(walls: &MachineWalls) -> Vec<Finding> {
    let programs = host::toolchains(&direct::host(walls)).into_iter().flatten();
    let mut findings: Vec<Finding> = Vec::new();
    for (program, path) in programs {
        if findings.iter().all(|finding| finding.what != program) {
            findings.push(match path {
                Ok(path) => good(program, path.display().to_string()),
                Err(error) => lacking(program, error.to_string()),
            });
        }
    }
    findings
}

/// Reports what a call of each tool would run on.
async fn tools(runner: &Runner) -> Vec<Finding> {
    let mut findings = Vec::new();
    for tool in catalog().tools {
        let id = tool.sandbox.id;
        // It tries what stands in for namespaces, which `backend` takes for granted until then.
        let executor = runner.executor(&tool.sandbox).await;
        let backend = runner.backend(&tool.sandbox).await;
        findings.push(match executor.and_then(|executor| Ok((executor, backend?))) {
            Err(error) => bad(id, format!("{error}\nuntil then it is not listed to clients")),
            Ok((executor, Backend::Pinned)) => good(id, format!("in its pinned environment (executor `{executor}`)")),
            Ok((executor, Backend::Host { .. })) => {
                lacking(id, format!("on this host's toolchains (executor `{executor}`): versions are the host's"))
            }
        });
    }
    findings
}

/// What a program prints, if it succeeds.
fn answer(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn is_writable(directory: &Path) -> bool {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemon_at_another_socket_is_found() {
        let directory = tempfile::tempdir().expect("make a directory");
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("listen");
        let finding = daemon(&socket);
        assert!(finding.state == State::Good && finding.detail.contains("listens at"), "{finding}");
        let finding = daemon(&directory.path().join("other"));
        assert!(finding.detail.contains("other") && !finding.detail.contains("listens"), "{finding}");
    }

    #[test]
    fn doctor_with_broken_derivations_names_the_remedy() {
        let finding = derivations(b"broken");
        assert!(finding.state == State::Bad && finding.detail.contains("install this server's package"), "{finding}");
    }
}
