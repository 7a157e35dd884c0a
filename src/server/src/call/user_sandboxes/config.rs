//! Reads a JSON config: it has the keys of a definition, and what it leaves out is that of the environment's own tool.

use std::path::Path;

use serde_json::{Map, Value, json};

use sandbox_manifest::parameter::parameters;
use sandbox_manifest::{Definition, is_name};
use sandbox_plan::plan::OUT;

use crate::call::file::FileName;
use crate::call::limits::LimitKey;
use crate::call::nearest;
use crate::call::program_input::MAX_STRING_BYTES;
use crate::call::tool::Tool;
use crate::call::user_sandboxes::{keys, unique_keys};

/// The beginning of an image's name. An environment's name follows.
const IMAGE: &str = "sandbox-mcp/";
/// The tag that an image may have.
const TAG: &str = ":latest";
/// The name of the user that programs run as, if a config names none that can be had.
const USER: &str = "sandbox";

/// The program that starts the services of an image, in the Docker-based server's configs. The services of a pinned
/// environment are those of its own tool.
const START: &str = "docker-start";
/// The command of the Docker-based server's config of the environment with services, without the white space: it gives the
/// services their configuration, and waits for them. The services of the pinned environment do both.
const START_COMMAND: [&str; 3] =
    ["sh", "-c", "sleep 2 && mv -f apisix.yaml /usr/local/apisix/conf/apisix.yaml && sleep 2 && sh main.sh"];

/// The most bytes of a tool's name and of its description, which clients show a model with each conversation.
const MAX_NAME_BYTES: usize = 200;
const MAX_DESCRIPTION_BYTES: usize = 10_000;

/// The keys that a config must have, in addition to `image`.
const REQUIRED: [&str; 3] = ["id", "entrypoint", "command"];

/// A config that was read.
#[derive(Debug)]
pub struct UserConfig<'a> {
    pub definition: Definition,
    /// The tool whose environment it names.
    pub environment: &'a Tool,
    /// What may be other than it was meant: the key, and the reason.
    pub doubts: Vec<(&'static str, String)>,
}

/// What is wrong with a config: the path of the key, and the reason.
pub type Problem = (String, String);

/// Reads a config.
///
/// # Errors
///
/// Fails with each problem that was found.
pub fn read<'a>(text: &str, built_in: &'a [Tool]) -> Result<UserConfig<'a>, Vec<Problem>> {
    let one = |key: &str, reason: String| vec![(key.to_owned(), reason)];
    let mut value: Value =
        unique_keys::parse(text).map_err(|error| one("", format!("it is not valid JSON: {error}")))?;
    keys::without_nulls(&mut value);
    let Value::Object(mut config) = value else { return Err(one("", "it must be an object".to_owned())) };
    let unknown = keys::unknown(&config);
    if !unknown.is_empty() {
        return Err(unknown);
    }
    if let Some(key) = REQUIRED.iter().find(|key| !config.contains_key(**key)) {
        return Err(one(key, "it is missing".to_owned()));
    }
    let environment = environment(&config, built_in).map_err(|problem| vec![problem])?;
    let mut doubts = Vec::new();
    settle(&mut config, environment, &mut doubts).map_err(|problem| vec![problem])?;
    let mut whole = defaults(&config, environment);
    merge(&mut whole, config.into());
    let definition: Definition = serde_path_to_error::deserialize(whole).map_err(|error| {
        let key = error.path().to_string();
        one(key.trim_start_matches('.'), error.inner().to_string())
    })?;
    check(&definition).map_err(|problem| vec![problem])?;
    doubts.extend(small_limits(&definition, environment));
    Ok(UserConfig { definition, environment, doubts })
}

/// Returns the id that a broken config gives its tool, if that much can be read.
pub fn id(text: &str) -> Option<String> {
    let value: Value = serde_json::from_str(text).ok()?;
    value.get("id")?.as_str().map(str::to_owned)
}

/// Returns the tool whose environment the config names.
fn environment<'a>(config: &Map<String, Value>, built_in: &'a [Tool]) -> Result<&'a Tool, Problem> {
    let refuse = |reason: String| Err(("image".to_owned(), reason));
    let form = format!("write `{IMAGE}ENVIRONMENT{TAG}`, such as `{IMAGE}python{TAG}`");
    let Some(image) = config.get("image") else { return refuse(format!("it is missing; {form}")) };
    let name = image.as_str().and_then(|image| image.strip_prefix(IMAGE));
    let Some(name) = name.map(|name| name.strip_suffix(TAG).unwrap_or(name)).filter(|name| !name.contains(':')) else {
        return refuse(format!("{image} names no pinned environment; {form}"));
    };
    let names: Vec<&str> = built_in.iter().map(|tool| tool.sandbox.id).collect();
    match built_in.iter().find(|tool| tool.sandbox.id == name) {
        Some(tool) => Ok(tool),
        None => refuse(format!("there is no pinned environment `{name}`; {}", nearest::remedy(name, &names))),
    }
}

/// Replaces what a container's configuration says in other words than a definition, and removes what is always so.
fn settle(
    config: &mut Map<String, Value>,
    environment: &Tool,
    doubts: &mut Vec<(&'static str, String)>,
) -> Result<(), Problem> {
    config.retain(|key, _| !keys::is_passed_over(key) && key != "image");
    if let Some(Value::Object(security)) = config.get_mut("security") {
        for (key, path, only) in
            [("capDrop", "security.capDrop", "all"), ("securityOpt", "security.securityOpt", "no-new-privileges:true")]
        {
            let Some(value) = security.remove(key) else { continue };
            let texts: Option<Vec<&str>> = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect());
            let Some(texts) = texts else { return Err((path.to_owned(), "it must be a list of strings".to_owned())) };
            if !texts.iter().any(|text| text.eq_ignore_ascii_case(only)) || texts.len() > 1 {
                let reason = "it has no effect: programs never have capabilities or gain privileges, and the same system \
                              calls are refused to all";
                doubts.push((path, reason.to_owned()));
            }
        }
    }
    if let Some(Value::Object(mount)) = config.get_mut("mount")
        && mount.remove("tmpdirPrefix").is_some_and(|prefix| !prefix.is_string())
    {
        return Err(("mount.tmpdirPrefix".to_owned(), "it must be a string".to_owned()));
    }
    if let Some(Value::String(user)) = config.get("user")
        && (!is_name(user) || user == "root")
    {
        doubts.push(("user", format!("programs run as `{USER}`: they are never root or another user of this machine")));
        config.remove("user");
    }
    if let Some(Value::Array(files)) = config.get_mut("parameters").and_then(|parameters| parameters.get_mut("files")) {
        for file in files.iter_mut().filter_map(Value::as_object_mut) {
            file.entry("description").or_insert_with(|| "".into());
        }
    }
    if config.get("before") == Some(&json!([START])) && !environment.sandbox.services.is_empty() {
        config.remove("before");
        if config.get("command") == Some(&json!(START_COMMAND)) {
            config.insert("command".to_owned(), json!(environment.sandbox.command));
        }
        config.insert("before".to_owned(), services(environment));
    }
    Ok(())
}

/// Returns the services of an environment's own tool as a definition has them.
fn services(environment: &Tool) -> Value {
    use crate::call::definition::Readiness;
    let service = |service: &crate::call::definition::Service| {
        let ready = match service.ready {
            Readiness::Returned => json!({}),
            Readiness::Port(port) => json!({ "port": port }),
            Readiness::File(file) => json!({ "file": file }),
        };
        json!({
            "name": service.name,
            "command": service.command,
            "ready": ready,
            "deadline": service.deadline.as_secs(),
            "logs": service.logs,
            "errors": service.errors,
        })
    };
    environment.sandbox.services.iter().map(service).collect()
}

/// Returns the values of the keys that a config may leave out.
fn defaults(config: &Map<String, Value>, environment: &Tool) -> Value {
    let sandbox = &environment.sandbox;
    let resources = sandbox.resources;
    json!({
        "name": config["id"],
        "description": sandbox.description,
        "version": "0.1.0",
        "user": USER,
        "timeout": sandbox.timeout.as_secs(),
        "before": [],
        "hints": {},
        "parameters": { "additionalFiles": false, "files": [] },
        "security": { "readOnly": false, "network": "none" },
        "resources": {
            "cpu": resources.cpu,
            "memory": resources.memory_mb,
            "processes": resources.processes,
            "files": resources.files,
        },
        "mount": { "workdir": sandbox.workdir, "scriptPerms": "0755", "readOnly": false },
        "variables": {},
    })
}

/// Puts the values of a config in place of the defaults.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Parameters that a call has in addition to files. No file can have one of their names.
const OPTIONS: [&str; 9] =
    ["files", "stdin", "stdin_encoding", "args", "env", "timeout_seconds", "executor", "cache", "packages"];

/// Checks the rules that the types do not express.
fn check(definition: &Definition) -> Result<(), Problem> {
    if !definition.is_id() {
        let reason =
            "it must have lower-case letters, digits and `-` only, and 64 of them at most: it is the tool's name";
        return Err(("id".to_owned(), reason.to_owned()));
    }
    definition.check().map_err(|(key, reason)| (key.to_owned(), reason.to_owned()))?;
    check_texts(definition)?;
    check_limits(definition)?;
    let named = definition.parameters.files.iter().map(|file| ("parameters.files", &file.name));
    for (key, file) in [("entrypoint", &definition.entrypoint)].into_iter().chain(named) {
        let is_parameter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' || byte == b'.';
        if FileName::parse(file).is_err() || !file.bytes().all(is_parameter) {
            let reason =
                format!("`{file}` is no file name of letters, digits, `_`, `-` and `.`, of which a parameter is made");
            return Err((key.to_owned(), reason));
        }
        let parameter = file.replace('.', "_");
        if OPTIONS.contains(&parameter.as_str()) || parameter == "out" {
            let reason =
                format!("`{file}` is taken: a call has a parameter or directory of this name; rename the file");
            return Err((key.to_owned(), reason));
        }
    }
    if definition.before.iter().any(|service| service.command == [START]) {
        let reason = format!("`{START}` starts the services of an image, and this environment has none; leave it out");
        return Err(("before".to_owned(), reason));
    }
    if Path::new(&definition.mount.workdir).starts_with(OUT) {
        return Err(("mount.workdir".to_owned(), format!("files in {OUT} are returned; take another directory")));
    }
    parameters(definition).map(drop).map_err(|(key, reason)| (key.to_owned(), reason))
}

/// Checks texts that clients are told, and commands that the kernel must take.
fn check_texts(definition: &Definition) -> Result<(), Problem> {
    for (key, text, most) in
        [("name", &definition.name, MAX_NAME_BYTES), ("description", &definition.description, MAX_DESCRIPTION_BYTES)]
    {
        if text.len() > most {
            return Err((key.to_owned(), format!("it has {} bytes, and {most} at most are allowed", text.len())));
        }
        if text.chars().any(|letter| letter.is_control() && !(key == "description" && matches!(letter, '\n' | '\t'))) {
            return Err((key.to_owned(), "it has a control character; remove it".to_owned()));
        }
    }
    let services = definition.before.iter().flat_map(|service| &service.command).map(|text| ("before", text));
    for (key, text) in definition.command.iter().map(|text| ("command", text)).chain(services) {
        if text.len() > MAX_STRING_BYTES {
            return Err((key.to_owned(), format!("a part of it has more than {MAX_STRING_BYTES} bytes; use a file")));
        }
    }
    Ok(())
}

/// Checks that limits are such that a sandbox can be made.
fn check_limits(definition: &Definition) -> Result<(), Problem> {
    let resources = definition.resources;
    for (key, path, value) in [
        (LimitKey::Cpu, "resources.cpu", resources.cpu),
        (LimitKey::Memory, "resources.memory", resources.memory),
        (LimitKey::Processes, "resources.processes", resources.processes),
        (LimitKey::Files, "resources.files", resources.files),
        (LimitKey::Timeout, "timeout", definition.timeout),
    ] {
        key.check(value).map_err(|error| (path.to_owned(), error.to_string()))?;
    }
    Ok(())
}

/// Names the limits with which programs of the environment may not even start.
fn small_limits(definition: &Definition, environment: &Tool) -> Option<(&'static str, String)> {
    let (given, usual) = (definition.resources, environment.sandbox.resources);
    let limits = [
        ("memory", "MB of memory", u64::from(given.memory), usual.memory_mb),
        ("processes", "processes", given.processes.into(), usual.processes),
        ("files", "open files", given.files.into(), usual.files),
    ];
    let small: Vec<String> = limits
        .iter()
        .filter(|(_, _, given, usual)| given < usual)
        .map(|(_, unit, given, usual)| format!("{given} {unit} instead of {usual}"))
        .collect();
    let id = environment.sandbox.id;
    (!small.is_empty()).then(|| {
        let reason = format!("it gives less than the built-in `{id}`, so that programs may fail: {}", small.join(", "));
        ("resources", reason)
    })
}
