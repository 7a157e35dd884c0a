//! Makes a tool of a checked config. A server reads its configs once, when it starts, and keeps the tools until it ends.

use std::path::Path;
use std::time::Duration;

use sandbox_manifest::parameter::{Parameter, ParameterKind, ParameterSpec, parameters};
use sandbox_manifest::{Definition, ManifestHints, ManifestNetwork, ManifestService, Ready};
use sandbox_plan::plan::{Resources, default_disk_mb};

use crate::call::definition::{Hints, Network, Readiness, Sandbox, Service};
use crate::call::tool::Tool;

/// Returns the tool that a definition of a file makes, in the environment of a built-in one.
pub fn tool(definition: &Definition, environment: &Tool, file: &'static Path) -> Tool {
    let own = &environment.sandbox;
    let services: Vec<Service> = definition.before.iter().map(service).collect();
    let command = texts(&definition.command);
    // Only the environment's own command is known to wait for its call.
    let is_own_command = command == own.command && definition.entrypoint == own.entrypoint && services.is_empty();
    let memory_mb = definition.resources.memory.into();
    let sandbox = Sandbox {
        id: text(&definition.id),
        name: text(&definition.name),
        version: text(&definition.version),
        description: text(&definition.description),
        contents: own.contents,
        programs: own.programs,
        parameters: parameter_table(definition),
        hints: hints(definition),
        user: text(&definition.user),
        entrypoint: text(&definition.entrypoint),
        instead: &[],
        command,
        host_programs: host_programs(definition, own),
        ahead: if is_own_command { own.ahead } else { &[] },
        services: services.leak(),
        timeout: Duration::from_secs(definition.timeout.into()),
        network: network(&definition.security.network),
        resources: Resources {
            cpu: definition.resources.cpu,
            memory_mb,
            disk_mb: default_disk_mb(memory_mb),
            processes: definition.resources.processes.into(),
            files: definition.resources.files.into(),
        },
        workdir: text(&definition.mount.workdir),
        script_mode: definition.script_mode().expect("it was checked"),
        read_only: definition.mount.read_only,
        variables: own.variables,
        executor: None,
        environment: own.environment,
        environment_id: own.environment_id,
        package_sets: own.package_sets,
    };
    Tool::of_file(sandbox, file)
}

fn text(text: &str) -> &'static str {
    text.to_owned().leak()
}

fn texts(all: &[String]) -> &'static [&'static str] {
    all.iter().map(|item| text(item)).collect::<Vec<_>>().leak()
}

fn parameter_table(definition: &Definition) -> &'static [Parameter<'static>] {
    let row = |ParameterSpec { name, kind, required, description }: ParameterSpec| Parameter {
        name: name.leak(),
        required,
        kind: match kind {
            ParameterKind::File(file) => ParameterKind::File(text(file)),
            ParameterKind::Files => ParameterKind::Files,
            ParameterKind::Stdin => ParameterKind::Stdin,
            ParameterKind::StdinEncoding => ParameterKind::StdinEncoding,
            ParameterKind::Args => ParameterKind::Args,
            ParameterKind::Env => ParameterKind::Env,
            ParameterKind::Timeout => ParameterKind::Timeout,
            ParameterKind::Executor => ParameterKind::Executor,
            ParameterKind::Cache => ParameterKind::Cache,
            ParameterKind::Packages => ParameterKind::Packages,
        },
        description: description.leak(),
    };
    let mut all = parameters(definition).expect("it was checked");
    all.retain(|parameter| parameter.kind != ParameterKind::Args || takes_arguments(&definition.command));
    all.into_iter().map(row).collect::<Vec<_>>().leak()
}

/// Returns whether arguments behind a command reach the program: a script of `sh -c` takes the first as its own name, and
/// the others only if it says so.
fn takes_arguments(command: &[String]) -> bool {
    let is_script = command.len() >= 2 && command[command.len() - 2] == "-c";
    !is_script
}

/// Returns the hints by the rule of JSON configs: a tool whose files are read-only is.
fn hints(definition: &Definition) -> Hints {
    let ManifestHints { is_read_only, is_destructive, is_idempotent, is_external_interaction } = definition.hints;
    let read_only = definition.mount.read_only || definition.security.read_only;
    Hints {
        read_only: Some(is_read_only.unwrap_or(read_only)),
        destructive: is_destructive,
        idempotent: is_idempotent,
        external: is_external_interaction,
    }
}

/// Returns what a host without the environment must have: what its own tool needs, and what the config's commands name.
fn host_programs(definition: &Definition, own: &Sandbox) -> &'static [&'static str] {
    let mut programs = own.host_programs.to_vec();
    for program in definition.host_programs() {
        if !programs.contains(&program) {
            programs.push(text(program));
        }
    }
    programs.leak()
}

fn network(network: &ManifestNetwork) -> Network {
    match network {
        ManifestNetwork::None => Network::None,
        ManifestNetwork::Bridge => Network::Bridge,
        ManifestNetwork::Allow(allowed) => {
            let allowed: &'static Vec<_> = Box::leak(Box::new(allowed.clone()));
            Network::Allow(allowed.iter().map(|allowed| allowed.entry()).collect::<Vec<_>>().leak())
        }
    }
}

fn service(service: &ManifestService) -> Service {
    let ManifestService { name, command, ready, deadline, logs, errors } = service;
    Service {
        name: text(name),
        command: texts(command),
        ready: match ready {
            Ready { port: Some(port), .. } => Readiness::Port(*port),
            Ready { file: Some(file), .. } => Readiness::File(text(file)),
            Ready { port: None, file: None } => Readiness::Returned,
        },
        deadline: Duration::from_secs((*deadline).into()),
        logs: texts(logs),
        errors: texts(errors),
    }
}
