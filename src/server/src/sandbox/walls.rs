//! Which walls this machine can put around a program, found out by putting each of them around one.

use std::time::Duration;
use std::{fs, io};

use sandbox_plan::landlock::Landlock;
use sandbox_plan::{Call, Ending, Environment, Failure, Plan, Program, Step, Watch};
use tokio_util::sync::CancellationToken;

use crate::call::definition::{Network, Sandbox};
use crate::call::job::Output;
use crate::call::missing::Missing;
use crate::call::tool::TOOLS;
use crate::sandbox::confine::{self, Filter};
use crate::sandbox::launch::{self, Controls, LaunchError, Wall};
use crate::sandbox::plan;
use crate::sandbox::view::View;

/// Setting up and running nothing takes milliseconds; a machine that needs longer than this is of no use.
const LONGEST: Duration = Duration::from_secs(10);

/// The walls of this machine, each with the reason if it can't be put up.
#[derive(Debug, Clone)]
pub struct Walls {
    /// Each layer of a sandbox in namespaces, with what is lost where it does not stand.
    pub sandbox: launch::Walls,
    /// Whether all of these stand that no sandbox in namespaces does without.
    pub namespaces: Result<(), Missing>,
    pub landlock: Result<Landlock, Missing>,
    pub seccomp: Result<(), Missing>,
}

impl Walls {
    /// Tries each wall around a program that does nothing. This takes some milliseconds, so callers keep the result.
    pub async fn probe() -> Self {
        let (read, write) = (vec!["/".into()], vec!["/dev/null".into()]);
        let landlock = Step::Landlock { read, write, scoped: true, required: true };
        let (sandbox, landlock, seccomp) = tokio::join!(
            in_namespaces(),
            stands(without_namespaces(landlock)),
            stands(without_namespaces(Step::Seccomp { program: confine::filter(Filter::STRICTEST) })),
        );
        let missing = |remedy| move |(operation, reason)| Missing { operation, reason, remedy };
        Self {
            namespaces: required(&sandbox),
            sandbox,
            landlock: landlock.and_then(|()| landlock_version()).map_err(missing(LANDLOCK_REMEDY)),
            seccomp: seccomp.map_err(missing(SECCOMP_REMEDY)),
        }
    }
}

/// The first layer that a sandbox can't do without, and that does not stand.
fn required(sandbox: &launch::Walls) -> Result<(), Missing> {
    let missing = sandbox.missing().find(|layer| layer.wall.is_required());
    match missing.and_then(|layer| Some((layer.wall, layer.missing.clone()?))) {
        None => Ok(()),
        Some((wall, reason)) => {
            let remedy = if wall == Wall::Seccomp { SECCOMP_REMEDY } else { namespaces_remedy(&reason) };
            Err(Missing { operation: "make a sandbox in namespaces".to_owned(), reason, remedy })
        }
    }
}

/// What was tried, and what was said to that.
type ProbeFailure = (String, String);

async fn stands(plan: Plan) -> Result<(), ProbeFailure> {
    match launch::run(&plan, Output::Captured, &CancellationToken::new()).await {
        Ok(run) if run.ending == (Ending::Exited { code: 0 }) => Ok(()),
        Ok(run) => Err(("run a program".to_owned(), format!("it ended with {:?}", run.ending))),
        Err(LaunchError::Refused(Failure { operation, errno })) => {
            Err((operation, io::Error::from_raw_os_error(errno).to_string()))
        }
        Err(error) => Err(("start the launcher".to_owned(), error.to_string())),
    }
}

/// Returns every layer of a sandbox in namespaces, seen from inside one that shows nothing.
async fn in_namespaces() -> launch::Walls {
    let controls = Controls::of_this_machine();
    let sandbox = probed_sandbox(TOOLS.iter().map(|tool| &tool.sandbox));
    launch::probe(&plan::environment(controls, &sandbox, &View::empty()), controls).await
}

/// Returns a sandbox that has every namespace that one of these needs, and that runs nothing of its own.
fn probed_sandbox<'a>(mut sandboxes: impl Iterator<Item = &'a Sandbox> + Clone) -> Sandbox {
    let has_own_network = sandboxes.clone().any(|sandbox| sandbox.network != Network::Bridge);
    let network = if has_own_network { Network::None } else { Network::Bridge };
    let first = sandboxes.next().expect("a manifest without sandboxes is refused");
    Sandbox { network, ahead: &[], services: &[], ..*first }
}

fn without_namespaces(wall: Step) -> Plan {
    Plan {
        environment: Environment {
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
                // The launcher itself, the one program that is sure to be there: without a plan it ends at once.
                arguments: vec!["/proc/self/exe".to_owned()],
                variables: vec![],
                directory: "/".into(),
            }),
            deadline: LONGEST,
        },
    }
}

/// The newest version that the kernel speaks.
fn landlock_version() -> Result<Landlock, ProbeFailure> {
    Landlock::of_this_kernel().map_err(|error| ("ask for Landlock's version".to_owned(), error.to_string()))
}

const LANDLOCK_REMEDY: &str = "Landlock needs Linux 5.13 with `landlock` in the kernel's list of security modules, \
                               `lsm=`, and a container that does not filter its system calls";
const SECCOMP_REMEDY: &str = "seccomp needs a kernel with CONFIG_SECCOMP_FILTER, on x86_64 or aarch64";

/// What would bring user namespaces back, as far as the kernel tells what keeps them away.
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
        let with = |network| Sandbox { network, ..TOOLS[0].sandbox };
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

    fn probed(lacking: &[Lacking]) -> Vec<Walls> {
        everybody().into_iter().map(|caller| run(caller, lacking, Walls::probe)).collect()
    }

    #[test]
    fn what_the_kernel_lacks_is_missing_with_what_was_tried_and_how_to_get_it_and_nothing_else_is() {
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
            assert!(walls.namespaces.is_err(), "no sandbox goes without");
            assert!(walls.landlock.is_ok());
        }
    }
}
