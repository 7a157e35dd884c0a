//! Runs a job on toolchains of this host without namespaces, behind the walls that remain.

mod directory;
mod load;
#[cfg(test)]
mod tests;

use std::path::Path;

use tokio::task::spawn_blocking;

use self::directory::PrivateDirectory;
use super::{CallContext, ExecutorError};
use crate::call::definition::{Network, Sandbox};
use crate::call::job::Job;
use crate::call::missing::Missing;
use crate::call::outcome::RunResult;
use crate::network::Refusals;
use crate::sandbox::confine::{self, HostSetup};
use crate::sandbox::host::Host;
use crate::sandbox::launch::{self, Controls};
use crate::sandbox::plan;
use crate::sandbox::walls::MachineWalls;

/// This machine cannot wall off what the tool must not reach, and the operator did not allow that.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot run the tool `{tool}`: nothing on this machine isolates the host's {exposed}.\nNamespaces would: \
     {namespaces}.\nWithout them, so would another wall: {wall}.\nTo run programs all the same, start the server with \
     --allow-unconfined-execution."
)]
pub struct Unconfined {
    pub tool: &'static str,
    /// The part of the host that lies open.
    pub exposed: &'static str,
    /// Why there are no namespaces.
    pub namespaces: Missing,
    /// Why the wall that would do instead is missing too.
    pub wall: Missing,
}

/// Returns what programs behind these walls can reach of this host.
pub fn host(walls: &MachineWalls) -> Host {
    // Without namespaces, programs of a server that is root run as nobody: nothing of root's own is shown to them.
    let for_others = walls.namespaces.is_err() && !confine::runs_as_server();
    Host { for_others, ..Host::from_environment() }
}

/// Runs the call to its end. Nothing of it is left when this returns. If the future is dropped, its directory is
/// removed in the background.
///
/// # Errors
///
/// The walls do not do for this sandbox, the launcher failed, or the private directory cannot be made or removed.
pub async fn run(
    context: &CallContext<'_>,
    walls: &MachineWalls,
    allow_unconfined: bool,
) -> Result<RunResult, ExecutorError> {
    if !allow_unconfined {
        check(context.job.sandbox, walls)?;
    }
    let prepare = || (PrivateDirectory::new(), load::processes(plan::identity().host_uid), Controls::of_this_machine());
    let (directory, processes, controls) = spawn_blocking(prepare).await.expect("preparing does not panic");
    let directory = directory?;
    let host_setup = HostSetup {
        directory: directory.path(),
        controls,
        landlock: walls.landlock.as_ref().ok().copied(),
        seccomp: walls.seccomp.is_ok(),
        processes,
    };
    let result = run_in(&directory, context, walls, &host_setup).await;
    let removed = spawn_blocking(|| directory.remove()).await.expect("removing does not panic");
    let result = result?;
    removed.map(|()| result)
}

async fn run_in(
    directory: &PrivateDirectory,
    context: &CallContext<'_>,
    walls: &MachineWalls,
    host_setup: &HostSetup<'_>,
) -> Result<RunResult, ExecutorError> {
    let CallContext { job, view, cancelled, .. } = context;
    let plan = confine::confined(job, view, host_setup);
    let mut run = launch::run(&plan, job.output, cancelled).await?;
    // No process is left that could replace the directory by another one.
    let place = |path| confine::host_path(directory.path(), path);
    run.out = directory.open(&place(plan::OUT));
    let workdir = place(job.sandbox.workdir);
    let opened = if job.sandbox.read_only { None } else { directory.open(&workdir) };
    let left = super::left_in(opened, workdir, plan.environment.sandbox).await;
    let notes = notes(job, directory.path(), walls);
    Ok(super::result(run, left, Refusals::default(), names(walls), notes).await)
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

/// Returns what was not as the interface promises, in sentences.
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
