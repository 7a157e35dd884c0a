//! The walls that this machine can put around a program. They are probed by running a program behind each of them.

use std::time::Duration;
use std::{fs, io};

use sandbox_plan::landlock::Landlock;
use sandbox_plan::{Call, Ending, Failure, Plan, Program, SandboxEnvironment, Step, Watch};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::call::catalog::catalog;
use crate::call::definition::{Network, Sandbox};
use crate::call::job::Output;
use crate::call::missing::Missing;
use crate::sandbox::confine::{self, Filter};
use crate::sandbox::launch::{self, Controls, LaunchError, Wall};
use crate::sandbox::plan;
use crate::sandbox::view::View;

/// The time limit for a program that does nothing. It normally takes milliseconds.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// The walls that this machine offers, with a reason for each that is missing.
#[derive(Debug, Clone)]
pub struct MachineWalls {
    /// The layers of a sandbox in namespaces.
    pub sandbox: launch::SandboxWalls,
    /// Whether all required layers of a sandbox in namespaces are available.
    pub namespaces: Result<(), Missing>,
    /// The version of Landlock, for programs without namespaces.
    pub landlock: Result<Landlock, Missing>,
    /// Whether seccomp is available to programs without namespaces.
    pub seccomp: Result<(), Missing>,
}

impl MachineWalls {
    /// Probes each wall with a program that does nothing. This takes some milliseconds, so callers keep the result.
    pub async fn probe() -> Self {
        let (read, write) = (vec!["/".into()], vec!["/dev/null".into()]);
        let landlock = Step::Landlock { read, write, scoped: true, required: true };
        let (sandbox, landlock, seccomp) = tokio::join!(
            in_namespaces(),
            landlock_version(without_namespaces(landlock)),
            try_plan(without_namespaces(Step::Seccomp { program: confine::filter(Filter::STRICTEST) })),
        );
        let missing = |remedy| move |ProbeFailure { operation, reason }| Missing { operation, reason, remedy };
        Self {
            namespaces: required(&sandbox),
            sandbox,
            landlock: landlock.map_err(missing(LANDLOCK_REMEDY)),
            seccomp: seccomp.map_err(missing(SECCOMP_REMEDY)),
        }
    }
}

/// Checks that all required layers of a sandbox in namespaces are available, and returns the first missing one as
/// error.
fn required(sandbox: &launch::SandboxWalls) -> Result<(), Missing> {
    let missing = sandbox.missing().find(|layer| layer.wall.is_required());
    match missing.and_then(|layer| Some((layer.wall, layer.missing.clone()?))) {
        None => Ok(()),
        Some((wall, reason)) => {
            let remedy = if wall == Wall::Seccomp { SECCOMP_REMEDY } else { namespaces_remedy(&reason) };
            Err(Missing { operation: "make a sandbox in namespaces".to_owned(), reason, remedy })
        }
    }
}

/// An operation of a probe that failed, and the reason.
struct ProbeFailure {
    operation: String,
    reason: String,
}

impl ProbeFailure {
    fn new(operation: impl Into<String>, reason: impl ToString) -> Self {
        Self { operation: operation.into(), reason: reason.to_string() }
    }
}

impl From<LaunchError> for ProbeFailure {
    fn from(error: LaunchError) -> Self {
        match error {
            LaunchError::Refused(Failure { operation, errno }) => {
                Self::new(operation, io::Error::from_raw_os_error(errno))
            }
            error => Self::new("start the launcher", error),
        }
    }
}

/// Runs a plan whose program does nothing.
async fn try_plan(plan: Plan) -> Result<(), ProbeFailure> {
    match launch::run(&plan, Output::Captured, &CancellationToken::new()).await {
        Ok(run) if run.ending == (Ending::Exited { code: 0 }) => Ok(()),
        Ok(run) => Err(ProbeFailure::new("run a program", format!("it ended with {:?}", run.ending))),
        Err(error) => Err(error.into()),
    }
}

/// Probes the layers of a sandbox in namespaces from inside a sandbox with an empty view.
async fn in_namespaces() -> launch::SandboxWalls {
    // The first look may ask systemd for a scope and wait for it.
    let controls = spawn_blocking(Controls::of_this_machine).await.expect("looking for control groups does not panic");
    let sandbox = probed_sandbox(catalog().tools.iter().map(|tool| &tool.sandbox));
    launch::probe(&plan::environment(controls, &sandbox, &View::empty()), controls).await
}

/// Returns a sandbox that has every namespace that one of these needs, and that runs nothing of its own.
fn probed_sandbox<'a>(mut sandboxes: impl Iterator<Item = &'a Sandbox> + Clone) -> Sandbox {
    let has_own_network = sandboxes.clone().any(|sandbox| sandbox.network != Network::Bridge);
    let network = if has_own_network { Network::None } else { Network::Bridge };
    let first = sandboxes.next().expect("a manifest without sandboxes is refused");
    Sandbox { network, ahead: &[], services: &[], ..*first }
}

/// Returns a plan without namespaces that applies one wall and runs a program that does nothing.
fn without_namespaces(wall: Step) -> Plan {
    Plan {
        environment: SandboxEnvironment {
            namespaces: vec![],
            identity: plan::identity(),
            view: vec![],
            sandbox: vec![],
            walls: vec![Step::NoNewPrivileges, Step::DropPrivileges, wall],
            cgroups: vec![],
            watch: Watch::default(),
            ahead: None,
            handed_over: vec![],
        },
        call: Call {
            steps: vec![],
            services: vec![],
            program: Some(Program {
                // The launcher itself is the only program that certainly exists. Without a plan it exits at once.
                arguments: vec!["/proc/self/exe".to_owned()],
                variables: vec![],
                directory: "/".into(),
                input: vec![],
            }),
            deadline: PROBE_TIMEOUT,
        },
    }
}

/// Returns the kernel's version of Landlock, if the plan's wall is available.
async fn landlock_version(plan: Plan) -> Result<Landlock, ProbeFailure> {
    let plan = Plan { call: Call { program: None, ..plan.call }, ..plan };
    let version = launch::look(&plan).await.map_err(ProbeFailure::from)?.landlock;
    version.map(Landlock).ok_or_else(|| ProbeFailure::new("ask for Landlock's version", "there is none"))
}

const LANDLOCK_REMEDY: &str = "Landlock needs Linux 5.13 with `landlock` in the kernel's list of security modules, \
                               `lsm=`, and a container that does not filter its system calls";
const SECCOMP_REMEDY: &str = "seccomp needs a kernel with CONFIG_SECCOMP_FILTER, on x86_64 or aarch64";

/// Returns a remedy for missing user namespaces, judging by the kernel's settings.
fn namespaces_remedy(reason: &str) -> &'static str {
    let is = |path: &str, value: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    let exhausted = io::Error::from_raw_os_error(libc::ENOSPC).to_string();
    if reason.contains(&exhausted) || is("/proc/sys/user/max_user_namespaces", "0") {
        "raise the limit on user namespaces, here or in the container around: sysctl user.max_user_namespaces=15000, or \
         bubblewrap without --disable-userns"
    } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1"
    } else if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        "allow user namespaces: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for this \
         server with the rule `userns`"
    } else {
        "a container must be started so that it may make user namespaces and mount /proc in them, as Docker does with \
         `--security-opt` for each of seccomp=unconfined, apparmor=unconfined and systempaths=unconfined"
    }
}

#[cfg(test)]
mod tests {
    use sandbox_plan::Namespace;

    use super::*;
    use crate::testing::{Lacking, everybody, run};

    #[test]
    fn probed_sandbox_has_each_namespace_that_some_tool_needs() {
        let with = |network| Sandbox { network, ..catalog().tools[0].sandbox };
        for (networks, has_own) in [
            (&[Network::None][..], true),
            (&[Network::Bridge, Network::None], true),
            (&[Network::Bridge, Network::Allow(&[])], true),
            (&[Network::Bridge, Network::Bridge], false),
        ] {
            let sandboxes: Vec<Sandbox> = networks.iter().map(|network| with(*network)).collect();
            let sandbox = probed_sandbox(sandboxes.iter());
            let environment = plan::environment(Controls::of_this_machine(), &sandbox, &View::empty());
            assert_eq!(environment.namespaces.contains(&Namespace::Network), has_own, "{networks:?}");
        }
    }

    fn probed(lacking: &[Lacking]) -> Vec<MachineWalls> {
        everybody().into_iter().map(|caller| run(caller, lacking, MachineWalls::probe)).collect()
    }

    #[test]
    fn probe_reports_what_the_kernel_lacks_with_a_remedy() {
        for walls in probed(&[]) {
            assert!(walls.namespaces.is_ok() && walls.landlock.is_ok() && walls.seccomp.is_ok(), "{walls:?}");
        }
        for walls in probed(&[Lacking::UserNamespaces]) {
            let text = walls.namespaces.unwrap_err().to_string();
            assert!(text.contains("namespaces: Operation not permitted"), "{text}");
            assert!(text.contains("; ") && walls.landlock.is_ok() && walls.seccomp.is_ok(), "{text}");
        }
        for walls in probed(&[Lacking::Landlock]) {
            let text = walls.landlock.unwrap_err().to_string();
            assert!(text.contains("Landlock") && text.contains("not implemented") && text.contains("5.13"), "{text}");
            assert!(walls.namespaces.is_ok() && walls.seccomp.is_ok());
        }
        for walls in probed(&[Lacking::Seccomp]) {
            let text = walls.seccomp.unwrap_err().to_string();
            assert!(text.starts_with("cannot install the seccomp filter: Function not implemented"), "{text}");
            assert!(walls.namespaces.is_err(), "every sandbox requires seccomp");
            assert!(walls.landlock.is_ok());
        }
    }
}
