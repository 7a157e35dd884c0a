//! Runs a job on toolchains of this host without namespaces, behind what walls remain.

mod directory;
mod load;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use self::directory::PrivateDirectory;
use super::ExecutorError;
use crate::call::definition::{Network, Sandbox};
use crate::call::job::Job;
use crate::call::missing::Missing;
use crate::call::outcome::Outcome;
use crate::sandbox::confine::{self, HostSetup};
use crate::sandbox::host::Host;
use crate::sandbox::launch::{self, Controls};
use crate::sandbox::plan;
use crate::sandbox::view::View;
use crate::sandbox::walls::MachineWalls;

/// This machine can't wall off what the tool must not reach, and the operator did not allow that.
#[derive(Debug)]
pub struct Unconfined {
    pub tool: &'static str,
    /// What of the host lies open.
    pub exposed: &'static str,
    /// Why there are no namespaces.
    pub namespaces: Missing,
    /// Why the wall that would do instead is missing too.
    pub wall: Missing,
}

impl fmt::Display for Unconfined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tool, exposed, namespaces, wall } = self;
        writeln!(f, "tool `{tool}` is refused, since nothing on this machine walls off the host's {exposed}.")?;
        writeln!(f, "Namespaces would: {namespaces}.")?;
        writeln!(f, "Without them, so would another wall: {wall}.")?;
        f.write_str("To run programs all the same, start the server with --allow-unconfined-execution.")
    }
}

/// This host, as far as programs can reach it that run behind these walls.
pub fn host(walls: &MachineWalls) -> Host {
    // Without namespaces nothing of root's own is shown to programs of a server that is root: they are nobody.
    let for_others = walls.namespaces.is_err() && !confine::runs_as_server();
    Host { for_others, ..Host::from_environment() }
}

/// Runs the job to its end. Nothing of it is left when this returns.
pub async fn run(
    job: &Job,
    view: &View,
    walls: &MachineWalls,
    allow_unconfined: bool,
    cancelled: &CancellationToken,
) -> Result<Outcome, ExecutorError> {
    if !allow_unconfined {
        check(job.sandbox, walls)?;
    }
    let directory = PrivateDirectory::new()?;
    let host_setup = HostSetup {
        directory: directory.path(),
        controls: Controls::of_this_machine(),
        landlock: walls.landlock.as_ref().ok().copied(),
        seccomp: walls.seccomp.is_ok(),
        processes: load::processes(plan::identity().host_uid),
    };
    let plan = confine::confined(job, view, &host_setup);
    let mut run = launch::run(&plan, job.output, cancelled).await?;
    // Nothing is left that could put another directory in its place.
    let place = |path| confine::host_path(directory.path(), path);
    run.out = directory.open(&place(plan::OUT));
    let workdir = place(job.sandbox.workdir);
    let opened = if job.sandbox.read_only { None } else { directory.open(&workdir) };
    let left = super::left_in(opened, workdir, plan.environment.sandbox).await;
    let notes = notes(job, directory.path(), walls);
    let outcome = super::outcome(super::Executor::Direct, run, (job, view), names(walls), notes).await;
    let outcome = Outcome { left, ..outcome };
    spawn_blocking(|| directory.remove()).await.expect("removing does not panic")?;
    Ok(outcome)
}

/// Refuses a sandbox whose programs would reach the host's files, or a network that they must not have.
pub fn check(sandbox: &Sandbox, walls: &MachineWalls) -> Result<(), ExecutorError> {
    let Err(namespaces) = &walls.namespaces else { return Ok(()) };
    let refuse = |exposed, wall: &Missing| {
        let (tool, namespaces, wall) = (sandbox.id, namespaces.clone(), wall.clone());
        Err(ExecutorError::Unconfined(Box::new(Unconfined { tool, exposed, namespaces, wall })))
    };
    match (&walls.landlock, &walls.seccomp) {
        (Err(wall), _) => refuse("files", wall),
        // Without the filter a program could also ask services of the host to act in its place.
        (_, Err(wall)) if sandbox.network != Network::Bridge => refuse("network", wall),
        (_, Err(wall)) => refuse("services", wall),
        _ => Ok(()),
    }
}

fn names(walls: &MachineWalls) -> Vec<&'static str> {
    let mut names = vec![];
    if let Ok(landlock) = &walls.landlock {
        names.push("landlock");
        if landlock.guards_signals() {
            names.push("landlock scopes");
        }
    }
    if walls.seccomp.is_ok() {
        names.push("seccomp");
    }
    names.extend(["no capabilities", "no_new_privs", super::RLIMITS]);
    names
}

/// What is not as the interface promises.
fn notes(job: &Job, directory: &Path, walls: &MachineWalls) -> Vec<String> {
    let at = |path| confine::host_path(directory, path).display().to_string();
    let mut notes = vec![format!(
        "This machine offers no namespaces: the program ran among the host's files, with {} in place of {} and {} in \
         place of {}",
        at(plan::HOME),
        plan::HOME,
        at(confine::TMP),
        confine::TMP,
    )];
    if walls.seccomp.is_ok() && confine::runs_as_server() {
        notes.push("Files could be given no mode but 600 and 700, no other owner and no attributes".to_owned());
    }
    if let Network::Allow(_) = job.sandbox.network {
        notes.push("Network access by allow-list needs namespaces: the program was given none".to_owned());
    }
    let is_isolated = job.sandbox.network != Network::Bridge;
    let open = [
        (walls.landlock.is_err(), "the host's files"),
        (walls.seccomp.is_err() && is_isolated, "the network"),
        (!walls.landlock.as_ref().is_ok_and(|landlock| landlock.guards_signals()), "processes of the same user"),
    ];
    let open = open.into_iter().filter(|(is_open, _)| *is_open);
    notes.extend(open.map(|(_, what)| format!("No wall stood between the program and {what}")));
    notes
}
