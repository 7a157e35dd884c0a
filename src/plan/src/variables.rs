//! A call as the variables of a derivation, encoded by the server and decoded by the launcher when Nix starts it as the
//! builder.
//!
//! | variable | value |
//! |---|---|
//! | `name` | [`NAME_PREFIX`] and the id of the tool |
//! | `environment` | the environment's output path; its file `closure` lists which other store paths the program sees |
//! | `packages` | likewise the output paths of the packages that the call asks for, separated by spaces; absent without any |
//! | `file:NAMEPath` | a file that holds the content of the file NAME of the working directory (Nix's `passAsFile`) |
//! | `executables` | the names of those of them that are executable, separated by spaces; absent without any |
//! | `stdinPath` | a file that holds what the program reads from its standard input (`passAsFile`); absent if that is empty |
//! | `files` | instead of these, a store path that holds the files and directories of the working directory |
//! | `inputs` | instead of all these, a store path that holds such a directory `files`, and the standard input as `stdin` |
//! | `variable:NAME` | the program's variable NAME; it gets these and no others |
//! | `timeout` | seconds by the wall clock |
//! | `resources.cpu` | cores |
//! | `resources.memory` | megabytes (2^20 bytes) |
//! | `resources.disk` | megabytes of files; absent if it is half of the memory |
//! | `resources.processes`, `resources.files` | numbers of processes, and of open files of one process |
//! | `mount.workdir` | the working directory |
//! | `mount.scriptPerms` | the octal mode of its files |
//! | `mount.readOnly` | `1` if the working directory is read-only, otherwise empty |
//! | `security.network` | `none`, `bridge`, or hosts and ports; Nix's build sandbox can only give `none` |
//! | `user` | the name of the user |
//! | `before.N.name` | the name of the service N, from 0 on, that is started before the command |
//! | `before.N.command.M` | its argument M |
//! | `before.N.ready` | `returned`, `port` and a number, or `file` and a path |
//! | `before.N.deadline` | seconds within which it must be ready |
//! | `before.N.logs.M`, `before.N.errors.M` | a file that it logs to, and a word that marks a line as an error |
//! | `nonce` | ignored by the builder; makes the derivation unique, so that Nix does not reuse an earlier result |
//!
//! The names follow the keys of a sandbox definition. The command is the builder's arguments, and is not part of this.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use crate::plan::{Resources, default_disk_mb};
use crate::{ServiceReadiness, ServiceSpec};

/// Begins the name of each derivation of a call; the id of the tool follows.
pub const NAME_PREFIX: &str = "sandbox-mcp-run-";
/// The variable that makes a derivation unique.
pub const NONCE: &str = "nonce";

const FILE: &str = "file:";
const EXECUTABLES: &str = "executables";
const STDIN: &str = "stdin";
const FILES: &str = "files";
/// The variable whose value is a store path with both files and a standard input.
pub const INPUTS: &str = "inputs";
const VARIABLE: &str = "variable:";
/// What Nix appends to the name of a variable whose value it passes as a file.
const AS_FILE: &str = "Path";

/// A call, as far as the variables of its derivation tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallVariables {
    /// The id of the tool.
    pub id: String,
    /// The output path of the environment.
    pub environment: String,
    /// The output paths of the packages that the call asks for.
    pub packages: Vec<String>,
    /// The variables of the program.
    pub variables: BTreeMap<String, String>,
    pub inputs: CallInputs,
    /// How long the program may run. Encoded in whole seconds, rounded up.
    pub timeout: Duration,
    pub resources: Resources,
    pub workdir: String,
    /// The permissions of the files in the working directory.
    pub script_mode: u32,
    /// Whether the working directory is read-only.
    pub read_only: bool,
    /// `none`, `bridge`, or hosts and ports separated by spaces.
    pub network: String,
    /// The name of the user.
    pub user: String,
    /// What is started before the command. Deadlines are encoded in whole seconds, rounded up.
    pub services: Vec<ServiceSpec>,
    pub nonce: Option<String>,
}

/// Where the files of the working directory and the standard input are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallInputs {
    /// In the derivation itself. Contents are texts when encoded; when decoded, the paths of files that Nix has written
    /// them to.
    Inline {
        /// The contents of the files by their names.
        files: BTreeMap<String, String>,
        /// The names of the executable files.
        executables: BTreeSet<String>,
        /// `None` if it is empty.
        stdin: Option<String>,
    },
    /// In a store path that holds the files. The standard input is empty.
    StoredFiles(String),
    /// In a store path that holds [`STORED_FILES`] and [`STORED_STDIN`].
    Stored(String),
}

/// The directory of the working directory's files in [`CallInputs::Stored`].
pub const STORED_FILES: &str = "files";
/// The file of the standard input in [`CallInputs::Stored`].
pub const STORED_STDIN: &str = "stdin";

/// The variables of a derivation whose value is the store path of a call's inputs.
pub const INPUT_PATHS: [&str; 2] = [FILES, INPUTS];

/// A variable that was not written by [`CallVariables::encode`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the derivation's variable `{name}` {reason}")]
pub struct VariableError {
    pub name: String,
    pub reason: String,
}

impl CallVariables {
    /// Returns the name of the derivation.
    pub fn derivation_name(&self) -> String {
        format!("{NAME_PREFIX}{}", self.id)
    }

    /// Encodes the call as variables of a derivation, by their names.
    pub fn encode(&self) -> BTreeMap<String, String> {
        let resources = self.resources;
        let single = [
            ("name", self.derivation_name()),
            ("environment", self.environment.clone()),
            ("timeout", whole_seconds(self.timeout).to_string()),
            ("resources.cpu", resources.cpu.to_string()),
            ("resources.memory", resources.memory_mb.to_string()),
            ("resources.processes", resources.processes.to_string()),
            ("resources.files", resources.files.to_string()),
            ("mount.workdir", self.workdir.clone()),
            ("mount.scriptPerms", format!("{:04o}", self.script_mode)),
            ("mount.readOnly", encode_bool(self.read_only)),
            ("security.network", self.network.clone()),
            ("user", self.user.clone()),
        ];
        let mut all: BTreeMap<String, String> = single.map(|(name, value)| (name.to_owned(), value)).into();
        if resources.disk_mb != default_disk_mb(resources.memory_mb) {
            all.insert("resources.disk".to_owned(), resources.disk_mb.to_string());
        }
        if !self.packages.is_empty() {
            all.insert("packages".to_owned(), self.packages.join(" "));
        }
        all.extend(self.variables.iter().map(|(name, value)| (format!("{VARIABLE}{name}"), value.clone())));
        match &self.inputs {
            CallInputs::Inline { files, executables, stdin } => {
                let files = files.iter().map(|(name, content)| (format!("{FILE}{name}"), content.clone()));
                let passed: BTreeMap<_, _> =
                    files.chain(stdin.clone().map(|stdin| (STDIN.to_owned(), stdin))).collect();
                let names: Vec<&str> = passed.keys().map(String::as_str).collect();
                all.insert("passAsFile".to_owned(), names.join(" "));
                all.extend(passed);
                if !executables.is_empty() {
                    let names: Vec<&str> = executables.iter().map(String::as_str).collect();
                    all.insert(EXECUTABLES.to_owned(), names.join(" "));
                }
            }
            CallInputs::StoredFiles(path) => {
                all.insert(FILES.to_owned(), path.clone());
            }
            CallInputs::Stored(path) => {
                all.insert(INPUTS.to_owned(), path.clone());
            }
        }
        for (index, service) in self.services.iter().enumerate() {
            all.extend(encode_service(service).map(|(key, value)| (format!("before.{index}.{key}"), value)));
        }
        all.extend(self.nonce.clone().map(|nonce| (NONCE.to_owned(), nonce)));
        all
    }

    /// Decodes a builder's variables. Those that are Nix's own are passed over.
    ///
    /// # Errors
    ///
    /// If a variable is missing, is not UTF-8 or has a value that [`Self::encode`] does not write.
    pub fn decode(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Self, VariableError> {
        let variables = Variables::new(variables)?;
        let memory_mb = variables.number("resources.memory")?;
        let disk_mb = match variables.0.contains_key("resources.disk") {
            true => variables.number("resources.disk")?,
            false => default_disk_mb(memory_mb),
        };
        Ok(Self {
            id: variables.parsed("name", |name| name.strip_prefix(NAME_PREFIX).map(str::to_owned))?,
            environment: variables.text("environment")?,
            packages: variables
                .0
                .get("packages")
                .map_or_else(Vec::new, |all| all.split(' ').map(str::to_owned).collect()),
            variables: variables.below(VARIABLE).collect(),
            inputs: decode_inputs(&variables),
            timeout: Duration::from_secs(variables.number("timeout")?),
            resources: Resources {
                cpu: variables.number("resources.cpu")?,
                memory_mb,
                disk_mb,
                processes: variables.number("resources.processes")?,
                files: variables.number("resources.files")?,
            },
            workdir: variables.text("mount.workdir")?,
            script_mode: variables.parsed("mount.scriptPerms", |mode| u32::from_str_radix(mode, 8).ok())?,
            read_only: variables.parsed("mount.readOnly", decode_bool)?,
            network: variables.text("security.network")?,
            user: variables.text("user")?,
            services: decode_services(&variables)?,
            nonce: variables.0.get(NONCE).cloned(),
        })
    }
}

fn decode_inputs(variables: &Variables) -> CallInputs {
    let get = |name: &str| variables.0.get(name);
    match (get(FILES), get(INPUTS)) {
        (Some(path), _) => CallInputs::StoredFiles(path.clone()),
        (None, Some(path)) => CallInputs::Stored(path.clone()),
        (None, None) => {
            let passed = variables.below(FILE);
            CallInputs::Inline {
                files: passed.filter_map(|(name, path)| Some((name.strip_suffix(AS_FILE)?.to_owned(), path))).collect(),
                executables: get(EXECUTABLES).into_iter().flat_map(|all| all.split(' ')).map(str::to_owned).collect(),
                stdin: get(&format!("{STDIN}{AS_FILE}")).cloned(),
            }
        }
    }
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Encodes a boolean as Nix does.
pub fn encode_bool(value: bool) -> String {
    if value { "1" } else { "" }.to_owned()
}

fn decode_bool(text: &str) -> Option<bool> {
    match text {
        "1" => Some(true),
        "" => Some(false),
        _ => None,
    }
}

/// Encodes a service, with names that lack their common beginning.
fn encode_service(service: &ServiceSpec) -> impl Iterator<Item = (String, String)> + use<> {
    let single = [
        ("name", service.name.clone()),
        ("ready", encode_readiness(&service.ready)),
        ("deadline", whole_seconds(service.deadline).to_string()),
    ];
    let logs = service.logs.iter().map(|path| path.display().to_string()).collect();
    let lists = [("command", service.command.clone()), ("logs", logs), ("errors", service.errors.clone())];
    let numbered = |(key, items): (&'static str, Vec<String>)| {
        items.into_iter().enumerate().map(move |(index, item)| (format!("{key}.{index}"), item))
    };
    single.map(|(key, value)| (key.to_owned(), value)).into_iter().chain(lists.into_iter().flat_map(numbered))
}

fn decode_services(variables: &Variables) -> Result<Vec<ServiceSpec>, VariableError> {
    let prefixes = (0..)
        .map(|index| format!("before.{index}."))
        .take_while(|prefix| variables.0.contains_key(&format!("{prefix}name")));
    let service = |prefix: String| {
        let key = |key: &str| format!("{prefix}{key}");
        Ok(ServiceSpec {
            name: variables.text(&key("name"))?,
            command: variables.list(&key("command")),
            ready: variables.parsed(&key("ready"), decode_readiness)?,
            deadline: Duration::from_secs(variables.number(&key("deadline"))?),
            logs: variables.list(&key("logs")),
            errors: variables.list(&key("errors")),
        })
    };
    prefixes.map(service).collect()
}

fn encode_readiness(ready: &ServiceReadiness) -> String {
    match ready {
        ServiceReadiness::Returned => "returned".to_owned(),
        ServiceReadiness::Port { port } => format!("port {port}"),
        ServiceReadiness::File { path } => format!("file {}", path.display()),
    }
}

fn decode_readiness(text: &str) -> Option<ServiceReadiness> {
    match text.split_once(' ') {
        None => (text == "returned").then_some(ServiceReadiness::Returned),
        Some(("port", port)) => Some(ServiceReadiness::Port { port: port.parse().ok()? }),
        Some(("file", path)) => Some(ServiceReadiness::File { path: path.into() }),
        Some(_) => None,
    }
}

/// Variables by their names.
struct Variables(BTreeMap<String, String>);

impl Variables {
    fn new(all: impl Iterator<Item = (OsString, OsString)>) -> Result<Self, VariableError> {
        let text = |name: &str, value: OsString| {
            value.into_string().map_err(|_| VariableError { name: name.to_owned(), reason: "is not UTF-8".to_owned() })
        };
        let parse = |(name, value): (OsString, OsString)| {
            let name = text(&name.to_string_lossy(), name.clone())?;
            let value = text(&name, value)?;
            Ok((name, value))
        };
        all.map(parse).collect::<Result<_, _>>().map(Self)
    }

    fn text(&self, name: &str) -> Result<String, VariableError> {
        self.parsed(name, |value| Some(value.to_owned()))
    }

    fn number<T: FromStr>(&self, name: &str) -> Result<T, VariableError> {
        self.parsed(name, |value| value.parse().ok())
    }

    fn parsed<T>(&self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, VariableError> {
        let refuse = |reason: String| VariableError { name: name.to_owned(), reason };
        let value = self.0.get(name).ok_or_else(|| refuse("is missing".to_owned()))?;
        parse(value).ok_or_else(|| refuse(format!("is not as the server writes it: `{value}`")))
    }

    /// Returns the values of the variables that are numbered behind a name, from 0 on.
    fn list<T: From<String>>(&self, name: &str) -> Vec<T> {
        (0..).map_while(|index| self.0.get(&format!("{name}.{index}")).cloned().map(T::from)).collect()
    }

    /// Returns the variables whose names begin with a word, without that word.
    fn below<'a>(&'a self, word: &'a str) -> impl Iterator<Item = (String, String)> + 'a {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(word)?.to_owned(), value.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_map, btree_set, vec};
    use proptest::option;
    use proptest::prelude::*;

    /// Does what Nix does between the derivation and the builder, with contents for the paths of the files that hold
    /// them.
    fn as_passed(mut encoded: BTreeMap<String, String>) -> impl Iterator<Item = (OsString, OsString)> {
        let names = encoded.remove("passAsFile").unwrap_or_default();
        let names = names.split(' ').filter(|name| !name.is_empty());
        let passed: Vec<_> = names
            .map(|name| (format!("{name}{AS_FILE}"), encoded.remove(name).expect("it names a variable")))
            .collect();
        encoded.extend(passed);
        encoded.extend(
            [("out", "/nix/store/x"), ("NIX_BUILD_CORES", "2")].map(|(name, value)| (name.into(), value.into())),
        );
        encoded.into_iter().map(|(name, value)| (name.into(), value.into()))
    }

    /// A text of any characters that an environment can hold.
    const ANY: &str = "[^\0]{0,20}";
    /// A name that Nix keeps as it is.
    const NAME: &str = "[^\0= \t\r\n]{1,12}";

    fn resources() -> impl Strategy<Value = Resources> {
        any::<(u32, u64, u64, u64, u64)>().prop_map(|(cpu, memory_mb, disk_mb, processes, files)| Resources {
            cpu,
            memory_mb,
            disk_mb,
            processes,
            files,
        })
    }

    fn readiness() -> impl Strategy<Value = ServiceReadiness> {
        prop_oneof![
            Just(ServiceReadiness::Returned),
            any::<u16>().prop_map(|port| ServiceReadiness::Port { port }),
            ANY.prop_map(|path| ServiceReadiness::File { path: path.into() }),
        ]
    }

    fn service() -> impl Strategy<Value = ServiceSpec> {
        (ANY, vec(ANY, 0..12), readiness(), any::<u32>(), vec(ANY, 0..3), vec(ANY, 0..3)).prop_map(
            |(name, command, ready, deadline, logs, errors)| ServiceSpec {
                name,
                command,
                ready,
                deadline: Duration::from_secs(deadline.into()),
                logs: logs.into_iter().map(Into::into).collect(),
                errors,
            },
        )
    }

    fn inputs() -> impl Strategy<Value = CallInputs> {
        prop_oneof![
            (btree_map(NAME, ANY, 0..5), btree_set(NAME, 0..3), option::of(ANY))
                .prop_map(|(files, executables, stdin)| CallInputs::Inline { files, executables, stdin }),
            "/nix/store/[a-z]{5}".prop_map(CallInputs::StoredFiles),
            "/nix/store/[a-z]{5}".prop_map(CallInputs::Stored),
        ]
    }

    prop_compose! {
        fn call()(
            (id, environment, workdir, network, user) in (ANY, ANY, ANY, ANY, ANY),
            packages in vec("[^\0 ]{1,20}", 0..4),
            variables in btree_map(NAME, ANY, 0..5),
            inputs in inputs(),
            resources in resources(),
            (timeout, script_mode, read_only) in (any::<u32>(), 0_u32..0o10000, any::<bool>()),
            services in vec(service(), 0..12),
            nonce in option::of(ANY),
        ) -> CallVariables {
            let timeout = Duration::from_secs(timeout.into());
            CallVariables {
                id, environment, packages, variables, inputs, timeout, resources, workdir, script_mode, read_only,
                network, user, services, nonce,
            }
        }
    }

    proptest! {
        #[test]
        fn variables_encoded_and_passed_by_nix_decode_to_the_same(call in call()) {
            prop_assert_eq!(CallVariables::decode(as_passed(call.encode())), Ok(call));
        }

        #[test]
        fn variables_of_any_kind_decode_without_a_panic(all in btree_map(ANY, ANY, 0..30)) {
            let _ = CallVariables::decode(all.into_iter().map(|(name, value)| (name.into(), value.into())));
        }
    }

    fn simple() -> CallVariables {
        CallVariables {
            id: "shell".to_owned(),
            environment: "/nix/store/e".to_owned(),
            packages: vec![],
            variables: BTreeMap::new(),
            inputs: CallInputs::StoredFiles("/nix/store/f".to_owned()),
            timeout: Duration::from_millis(1500),
            resources: Resources { cpu: 1, memory_mb: 2, disk_mb: 1, processes: 3, files: 4 },
            workdir: "/sandbox".to_owned(),
            script_mode: 0o644,
            read_only: false,
            network: "none".to_owned(),
            user: "sandbox".to_owned(),
            services: vec![],
            nonce: None,
        }
    }

    #[test]
    fn timeout_of_a_part_of_a_second_is_rounded_up() {
        assert_eq!(simple().encode()["timeout"], "2");
    }

    #[test]
    fn variable_missing_or_malformed_is_named() {
        for (name, value, reason) in [
            ("user", None, "is missing"),
            ("name", Some("hello"), "is not as the server writes it: `hello`"),
            ("mount.scriptPerms", Some("9"), "is not as the server writes it: `9`"),
            ("mount.readOnly", Some("yes"), "is not as the server writes it: `yes`"),
            ("timeout", Some("-1"), "is not as the server writes it: `-1`"),
        ] {
            let mut encoded = simple().encode();
            match value {
                Some(value) => encoded.insert(name.to_owned(), value.to_owned()),
                None => encoded.remove(name),
            };
            let error = CallVariables::decode(as_passed(encoded)).unwrap_err();
            assert_eq!(error, VariableError { name: name.to_owned(), reason: reason.to_owned() });
        }
    }
}
