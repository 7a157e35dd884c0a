//! The command `doctor`: what this machine offers, what each missing thing costs, and how to get it.

use std::path::Path;
use std::process::ExitCode;

use nix_store::archive::Archive;

use self::report::{DoctorReport, Finding, Section, broken, good, missing};
use crate::call::catalog::catalog;
use crate::call::config_finding::Severity;
use crate::call::definition::Network;
use crate::cli::output::{print, print_json, width};
use crate::cli::server_info::ServerInfo;
use crate::cli::settings::Settings;
use crate::executor::direct;
use crate::nix::realise::Realiser;
use crate::runner::Runner;
use crate::sandbox::backend::Backend;
use crate::sandbox::host;
use crate::sandbox::ping;
use crate::sandbox::plan;
use crate::sandbox::walls::MachineWalls;

mod nix;
mod report;

/// Prints the report. The status is 0 if nothing that this server offers is broken.
pub async fn run(runner: &Runner, settings: &Settings, is_json: bool) -> ExitCode {
    let walls = runner.executors().walls().await;
    let tools = tools(runner).await;
    let on_host = runner.tools_on_host().await;
    let sections = [
        ("Configuration", configuration(settings)),
        ("Nix", nix::findings(runner.realiser(), runner.is_pinned())),
        ("Environments", environments(runner.realiser())),
        ("Walls of a sandbox", layers(walls)),
        ("Without namespaces", remaining(walls)),
        ("Network of this host", ping_sockets().into_iter().collect()),
        ("Toolchains of this host", toolchains(walls, &on_host)),
        ("Tools", tools),
    ];
    let sections = sections.into_iter().map(|(title, findings)| Section { title, findings }).collect();
    let report = DoctorReport::new(ServerInfo::of(catalog()), sections);
    match is_json {
        true => print_json(&report),
        false => print(&report.text(width())),
    }
    if report.works { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Reports which settings of single tools are in force, and what is wrong with the user's own sandboxes.
fn configuration(settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![match &settings.config {
        Some(file) => good("settings", file.display().to_string()),
        None => good("settings", "no configuration file"),
    }];
    findings.extend(settings.limits.iter().map(|limit| good("limit", limit.to_string())));
    findings.extend(settings.allowed.iter().map(|allowed| good("allowed", allowed.to_string())));
    findings.extend(catalog().findings.iter().map(|finding| match finding.severity {
        Severity::Broken => broken("sandbox", format!("{finding}\nuntil then it is left out")),
        Severity::Doubtful => missing("sandbox", finding.to_string()),
        Severity::Replaces => good("sandbox", finding.to_string()),
    }));
    findings
}

fn environments(realiser: &Realiser) -> Vec<Finding> {
    let Some(system) = catalog().system else {
        return vec![missing(
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
                    missing(id, "not realised yet: the first call waits for that; `--build` does it now")
                }
                (false, None) => broken(
                    id,
                    format!(
                        "{} is not in the store, and Nix is not installed to build or download it",
                        environment.out
                    ),
                ),
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
        Err(error) => broken("derivations", format!("{error}; install this server's package again")),
    }
}

fn layers(walls: &MachineWalls) -> Vec<Finding> {
    let finding = |layer: &crate::sandbox::launch::Layer| match &layer.missing {
        None => good(layer.wall.name(), "stands"),
        Some(reason) => missing(layer.wall.name(), format!("{reason}\nwithout it, {}", layer.wall.cost())),
    };
    let mut findings: Vec<Finding> = walls.sandbox.layers.iter().map(finding).collect();
    if let Err(reason) = &walls.namespaces {
        findings.push(missing("sandbox", reason.to_string()));
    }
    findings
}

/// Reports the walls of programs without namespaces, which no call needs where there are namespaces.
fn remaining(walls: &MachineWalls) -> Vec<Finding> {
    let landlock = match &walls.landlock {
        Ok(landlock) => good("landlock", format!("version {}", landlock.0)),
        Err(reason) => missing("landlock", format!("{reason}\nwithout it, the host's files can't be walled off")),
    };
    let seccomp = match &walls.seccomp {
        Ok(()) => good("seccomp", "stands"),
        Err(reason) => missing("seccomp", format!("{reason}\nwithout it, the network can't be walled off")),
    };
    let is_needed = walls.namespaces.is_err();
    [landlock, seccomp].into_iter().map(|finding| finding.where_needed(is_needed)).collect()
}

/// Tests whether programs can ping. There is nothing to report if no tool has the host's network.
fn ping_sockets() -> Option<Finding> {
    if catalog().tools.iter().all(|tool| tool.sandbox.network != Network::Bridge) {
        return None;
    }
    let group = plan::identity().host_gid;
    Some(match ping::is_open() {
        true => good("ping", format!("open to group {group}")),
        false => missing(
            "ping",
            format!(
                "closed to group {group}, so that ping fails on the host's network: sysctl \
                 net.ipv4.ping_group_range=\"{group} {group}\" opens it"
            ),
        ),
    })
}

/// Reports the programs that tools without a pinned environment run on. `on_host` are the tools that found theirs, and those
/// that lack some have no other backend either.
fn toolchains(walls: &MachineWalls, on_host: &[&str]) -> Vec<Finding> {
    let programs = host::toolchains(&direct::host(walls));
    let mut findings: Vec<Finding> = Vec::new();
    for (tool, programs) in catalog().tools.iter().zip(programs) {
        if tool.sandbox.environment.is_some() && !on_host.contains(&tool.sandbox.id) {
            continue;
        }
        for (program, path) in programs {
            if findings.iter().all(|finding| finding.what != program) {
                findings.push(match path {
                    Ok(path) => good(program, path.display().to_string()),
                    // The section of the tools tells where it was looked for, and what to do.
                    Err(_) => missing(program, format!("not found, and `{}` needs it", tool.sandbox.id)),
                });
            }
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
            Err(error) => broken(id, format!("{error}\nuntil then it is not listed to clients")),
            Ok((executor, Backend::Pinned)) => good(id, format!("in its pinned environment (executor `{executor}`)")),
            Ok((executor, Backend::Host { .. })) => {
                missing(id, format!("on this host's toolchains (executor `{executor}`): versions are the host's"))
            }
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::State;

    #[test]
    fn doctor_with_broken_derivations_names_the_remedy() {
        let finding = derivations(b"broken");
        assert!(
            finding.state == State::Broken && finding.detail.contains("install this server's package"),
            "{finding:?}"
        );
    }
}
