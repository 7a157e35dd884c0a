//! Job and view → the plan that the launcher carries out, held to its limits by what this machine has.

use std::fs;
use std::path::{Path, PathBuf};

use sandbox_plan::plan::{self, CallInput, NOBODY, SandboxSpec, USER};
pub use sandbox_plan::plan::{HOME, OUT};
use sandbox_plan::{Ahead, Call, Identity, Plan, SandboxEnvironment, ServiceReadiness, ServiceSpec, Step};

use crate::call::definition::{self, Network, Sandbox};
use crate::call::job::Job;
use crate::network::gateway::Gateway;
use crate::sandbox::launch::Controls;
use crate::sandbox::view::{Origin, View};

/// Files that a program on the host's network needs to resolve names, and that hold no secret.
const RESOLVER_FILES: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/services"];

/// The plan of a sandbox with all namespaces, held to its limits by what this machine has.
pub fn in_namespaces(job: &Job, view: &View) -> Plan {
    bounded_by(Controls::of_this_machine(), job, view)
}

/// The same, held to its limits by `controls`.
pub fn bounded_by(controls: &Controls, job: &Job, view: &View) -> Plan {
    Plan { environment: environment(controls, job.sandbox, view), call: call(job, view) }
}

/// What is the same for every call of a sandbox, as long as [`resolver_files`] are.
pub fn environment(controls: &Controls, sandbox: &Sandbox, view: &View) -> SandboxEnvironment {
    let machine = controls.machine(identity(), &sandbox.resources);
    let definition = definition(sandbox);
    let ahead = ahead(sandbox, view).map(|variables| Ahead {
        program: plan::program(&definition, view.command(sandbox), view.variables(sandbox)),
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
    // As soon as there is a root.
    environment.view.splice(1..1, view.launch.files.iter().map(file));
    environment
}

/// The variables that tell the sandbox's program to wait, if it can.
fn ahead(sandbox: &Sandbox, view: &View) -> Option<Vec<(String, String)>> {
    let fill = |(name, value): &(&str, &str)| Some(((*name).to_owned(), view.fill(value)?));
    // The host's own programs can't be known to wait.
    let waits = view.origin != Origin::Host && !sandbox.ahead.is_empty() && sandbox.services.is_empty();
    if waits { sandbox.ahead.iter().map(fill).collect() } else { None }
}

/// What is this call's alone.
pub fn call(job: &Job, view: &View) -> Call {
    let sandbox = job.sandbox;
    let file = |file: &crate::call::file::File| (file.name.as_path().to_owned(), file.content.as_bytes().to_vec());
    let work = CallInput {
        command: view.command(sandbox),
        variables: view.variables(sandbox),
        files: job.files.iter().map(file).collect(),
        deadline: job.deadline,
    };
    plan::call(&definition(sandbox), work)
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
            Network::Bridge => plan::NetworkSpec::Host { files: resolver_files() },
            Network::Allow(entries) => {
                let Gateway { routes, listeners, resolver, hosts, resolv_conf } = Gateway::of(entries);
                plan::NetworkSpec::Gateway { routes, listeners, resolver, hosts, resolv_conf }
            }
        },
        services: services(sandbox),
    }
}

/// The services of a sandbox, as a launcher takes them.
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

/// The files of the host by which a program on its network resolves names, as they are now.
pub fn resolver_files() -> Vec<(PathBuf, String)> {
    RESOLVER_FILES.iter().filter_map(|path| Some((path.into(), fs::read_to_string(path).ok()?))).collect()
}

pub(crate) fn identity() -> Identity {
    let (own_uid, own_gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let has_others = own_uid.is_root() && has_nobody("/proc/self/uid_map") && has_nobody("/proc/self/gid_map");
    let (host_uid, host_gid) = if has_others { (NOBODY, NOBODY) } else { (own_uid.as_raw(), own_gid.as_raw()) };
    Identity { uid: USER, gid: USER, host_uid, host_gid }
}

/// Whether the user nobody exists here: a user namespace may hold no user but one, who is called root.
fn has_nobody(map: &str) -> bool {
    let Ok(text) = fs::read_to_string(map) else { return false };
    text.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u32>().unwrap_or(0));
        let (first, _, count) = (numbers.next(), numbers.next(), numbers.next());
        first.zip(count).is_some_and(|(first, count)| (first..first.saturating_add(count)).contains(&NOBODY))
    })
}
