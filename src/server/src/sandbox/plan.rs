//! Turns a job and a view into the plan that the launcher carries out. The resource limits are enforced by control
//! groups where this machine has them, and otherwise by the launcher.

use std::fs;
use std::path::{Path, PathBuf};

use sandbox_plan::plan::{self, CallFile, CallInput, NOBODY, SandboxSpec, USER};
pub use sandbox_plan::plan::{HOME, OUT};
use sandbox_plan::{Ahead, Call, Identity, Plan, SandboxEnvironment, ServiceReadiness, ServiceSpec, Step};

use crate::call::definition::{self, Network, Sandbox};
use crate::call::job::Job;
use crate::network::gateway::Gateway;
use crate::sandbox::host_network;
use crate::sandbox::launch::Controls;
use crate::sandbox::view::{Origin, View, with_env};

/// Returns the plan of a sandbox with all namespaces, limited by the control groups of this machine.
pub fn in_namespaces(job: &Job, view: &View) -> Plan {
    with_controls(Controls::of_this_machine(), job, view)
}

/// Returns the plan of a sandbox with all namespaces, limited by `controls`.
pub(crate) fn with_controls(controls: &Controls, job: &Job, view: &View) -> Plan {
    Plan { environment: environment(controls, job.sandbox, view), call: call(job, view) }
}

/// Returns the part of the plan that is the same for every call of a sandbox, as long as [`host_network::files`] do not change.
pub fn environment(controls: &Controls, sandbox: &Sandbox, view: &View) -> SandboxEnvironment {
    let machine = controls.machine(identity(), &sandbox.resources);
    let definition = definition(sandbox);
    let ahead = ahead(sandbox, view).map(|variables| Ahead {
        program: plan::program(&definition, view.command(sandbox, &[]), all_variables(sandbox, view)),
        variables,
    });
    let mut environment =
        SandboxEnvironment { ahead, ..plan::environment(&definition, &view.binds, &view.links, machine) };
    let file = |(path, content): &(PathBuf, Vec<u8>)| Step::File {
        path: path.clone(),
        content: content.clone(),
        mode: 0o444,
        owned: false,
    };
    // The first step mounts the root.
    environment.view.splice(1..1, view.launch.files.iter().map(file));
    environment
}

/// Returns the variables that tell the sandbox's program to wait for a call. `None` if it cannot be started ahead.
fn ahead(sandbox: &Sandbox, view: &View) -> Option<Vec<(String, String)>> {
    let fill = |(name, value): &(&str, &str)| Some(((*name).to_owned(), view.fill(value)?));
    // Only programs of a pinned environment are known to support waiting.
    let waits = view.origin != Origin::Host && !sandbox.ahead.is_empty() && sandbox.services.is_empty();
    if waits { sandbox.ahead.iter().map(fill).collect() } else { None }
}

/// Returns the part of the plan that differs from call to call.
pub fn call(job: &Job, view: &View) -> Call {
    let sandbox = job.sandbox;
    let file = |file: &crate::call::file::File| CallFile {
        name: file.name.as_path().to_owned(),
        content: file.content.clone(),
        executable: file.executable,
    };
    let work = CallInput {
        command: view.command(sandbox, &job.input.args),
        variables: with_env(all_variables(sandbox, view), &job.input.env),
        input: job.input.stdin.clone(),
        files: job.files.iter().map(file).collect(),
        deadline: job.deadline,
    };
    plan::call(&definition(sandbox), work)
}

/// Returns all variables of a program, those of the host included that one on its network gets.
fn all_variables(sandbox: &Sandbox, view: &View) -> Vec<(String, String)> {
    let mut variables = view.variables(sandbox);
    host_network::add_variables(&mut variables, sandbox, true);
    variables
}

fn definition(sandbox: &Sandbox) -> SandboxSpec<'static> {
    SandboxSpec {
        id: sandbox.id,
        user: sandbox.user,
        workdir: Path::new(sandbox.workdir),
        script_mode: sandbox.script_mode,
        read_only: sandbox.read_only,
        resources: sandbox.resources,
        network: match sandbox.network {
            Network::None => plan::NetworkSpec::None,
            Network::Bridge => plan::NetworkSpec::Host { files: host_network::files() },
            Network::Allow(entries) => {
                let Gateway { routes, listeners, resolver, hosts, resolv_conf } = Gateway::of(entries);
                plan::NetworkSpec::Gateway { routes, listeners, resolver, hosts, resolv_conf }
            }
        },
        services: services(sandbox),
    }
}

/// Converts the services of a sandbox to those of the launcher.
pub fn services(sandbox: &Sandbox) -> Vec<ServiceSpec> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let service = |service: &definition::Service| ServiceSpec {
        name: service.name.to_owned(),
        command: texts(service.command),
        ready: match service.ready {
            definition::Readiness::Returned => ServiceReadiness::Returned,
            definition::Readiness::Port(port) => ServiceReadiness::Port { port },
            definition::Readiness::File(path) => ServiceReadiness::File { path: path.into() },
        },
        deadline: service.deadline,
        logs: service.logs.iter().map(Into::into).collect(),
        errors: texts(service.errors),
    };
    sandbox.services.iter().map(service).collect()
}

/// Returns the user that programs run as, inside and outside of the sandbox: nobody if the server is root.
pub(crate) fn identity() -> Identity {
    let (own_uid, own_gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let can_be_nobody = own_uid.is_root() && has_nobody("/proc/self/uid_map") && has_nobody("/proc/self/gid_map");
    let (host_uid, host_gid) = if can_be_nobody { (NOBODY, NOBODY) } else { (own_uid.as_raw(), own_gid.as_raw()) };
    Identity { uid: USER, gid: USER, host_uid, host_gid }
}

/// Returns whether an id map contains the user or group nobody. In a container, the user namespace may map only root.
fn has_nobody(map: &str) -> bool {
    let Ok(text) = fs::read_to_string(map) else { return false };
    text.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u32>().unwrap_or(0));
        let (first, _, count) = (numbers.next(), numbers.next(), numbers.next());
        first.zip(count).is_some_and(|(first, count)| (first..first.saturating_add(count)).contains(&NOBODY))
    })
}
