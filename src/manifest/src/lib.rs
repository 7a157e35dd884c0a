//! The manifest: the contract between Nix, which evaluates the sandboxes, and Rust, which is compiled from them.
//!
//! build.rs parses it with [`Manifest::parse`], which checks everything. The manifest exists only at build time: the server holds
//! the sandboxes as static data that `codegen` generates from it.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::executor::Executor;
use nix_store::store_path::{StorePath, StorePathError};

pub mod address;
#[cfg(feature = "codegen")]
pub mod codegen;
pub mod executor;
mod network;
pub mod parameter;
pub mod policy;
mod services;

pub use network::ManifestNetwork;
pub use services::{ManifestService, Ready};

/// The format that this version reads. It changes whenever older manifests would be misread.
pub(crate) const FORMAT: u64 = 1;

/// The most bytes of an id. Ids become part of names in the store, which are limited to 211 characters.
const MAX_ID_BYTES: usize = 64;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: u64,
    /// The system of the derivations. `None` in the portable manifest, which holds no store paths.
    pub system: Option<String>,
    /// The revision of nixpkgs that the environments are of, if Nix knew it.
    #[serde(default)]
    pub nixpkgs: Option<String>,
    /// The file that holds the derivations and their references, in the format of `nix_store::archive`. `None` in the portable
    /// manifest.
    #[serde(default)]
    pub archive: Option<PathBuf>,
    pub sandboxes: BTreeMap<String, ManifestSandbox>,
    /// The sets of packages that calls may ask for. Empty in the portable manifest.
    #[serde(default, rename = "packageSets")]
    pub package_sets: BTreeMap<String, ManifestPackageSet>,
}

/// A set of packages of one kind, by name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ManifestPackageSet {
    pub description: String,
    /// The environment variables in which programs search for packages, each with the directory within a package to add.
    pub search_paths: BTreeMap<String, String>,
    pub packages: BTreeMap<String, ManifestPackage>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestPackage {
    pub version: String,
    pub description: String,
    /// The commands or modules by which programs call the package, as far as they are known.
    #[serde(default)]
    pub provides: Vec<String>,
    pub environment: ManifestEnvironment,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestSandbox {
    pub definition: Definition,
    pub environment: Option<ManifestEnvironment>,
}

/// The definition of a sandbox, as in its Nix file, with the keys of the JSON config.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Definition {
    pub id: String,
    pub name: String,
    /// What the tool does. The server adds sentences on its limits and files.
    pub description: String,
    /// What else the pinned environment has, in sentences.
    #[serde(default)]
    pub contents: String,
    #[serde(default)]
    pub programs: ManifestPrograms,
    pub version: String,
    /// Older JSON configs name a container image; it is ignored.
    #[serde(default)]
    pub image: Option<String>,
    pub user: String,
    pub entrypoint: String,
    /// Files that a call may have instead of the entrypoint, each with the content of the entrypoint that runs it.
    #[serde(default)]
    pub instead: BTreeMap<String, String>,
    /// The time limit in seconds.
    pub timeout: u32,
    /// The variables that make the command wait for a call, if it can be started ahead of one.
    #[serde(default)]
    pub ahead: BTreeMap<String, String>,
    /// The services that are started before the command. The JSON config may have a list of strings here, the command of one
    /// service.
    #[serde(deserialize_with = "services::services")]
    pub before: Vec<ManifestService>,
    pub command: Vec<String>,
    /// The programs that a host without Nix needs; see [`Definition::host_programs`].
    #[serde(default)]
    pub host_programs: Option<Vec<String>>,
    pub hints: ManifestHints,
    pub parameters: Parameters,
    pub security: Security,
    pub resources: ManifestResources,
    pub mount: Mount,
    pub variables: BTreeMap<String, String>,
    /// The ids of the package sets that calls may use.
    #[serde(default)]
    pub package_sets: Vec<String>,
    #[serde(default)]
    pub executor: Option<Executor>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ManifestHints {
    pub is_read_only: Option<bool>,
    pub is_destructive: Option<bool>,
    pub is_idempotent: Option<bool>,
    pub is_external_interaction: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Parameters {
    pub additional_files: bool,
    pub files: Vec<ParameterFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterFile {
    pub name: String,
    pub description: String,
    /// Whether a call may leave it out.
    #[serde(default)]
    pub optional: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Security {
    pub read_only: bool,
    /// Set in older JSON configs; only `["all"]` is accepted.
    #[serde(default)]
    pub cap_drop: Option<Vec<String>>,
    /// Set in older JSON configs; only `["no-new-privileges:true"]` is accepted.
    #[serde(default)]
    pub security_opt: Option<Vec<String>>,
    pub network: ManifestNetwork,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestResources {
    /// The number of CPU cores.
    pub cpu: u32,
    /// In megabytes (2^20 bytes).
    pub memory: u32,
    pub processes: u32,
    /// The limit on open files of one process.
    pub files: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Mount {
    pub workdir: String,
    /// Older JSON configs name the prefix of a temporary directory; it is ignored.
    #[serde(default)]
    pub tmpdir_prefix: Option<String>,
    /// An octal number as text, such as `0755`.
    pub script_perms: String,
    pub read_only: bool,
}

/// Programs that the code of a call can use. A host may have only some of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestPrograms {
    /// The sentence that names them, with `{programs}` in place of the list.
    pub sentence: String,
    pub names: Vec<String>,
}

/// The derivation that builds an environment, and its output path.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestEnvironment {
    #[serde(deserialize_with = "store_path")]
    pub drv: StorePath,
    #[serde(deserialize_with = "store_path")]
    pub out: StorePath,
}

fn store_path<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<StorePath, D::Error> {
    let text = String::deserialize(deserializer)?;
    StorePath::parse(&text).map_err(|error: StorePathError| serde::de::Error::custom(error))
}

/// The reason why a manifest is refused.
#[derive(Debug, thiserror::Error)]
#[error("{key}{}{reason}", if key.is_empty() { "" } else { ": " })]
pub struct ManifestError {
    /// The key, as a path from the top; empty if the text is no JSON object.
    pub key: String,
    /// What is wrong with its value.
    pub reason: String,
}

impl Manifest {
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let deserializer = &mut serde_json::Deserializer::from_str(text);
        let manifest: Self = serde_path_to_error::deserialize(deserializer).map_err(|error| {
            // serde_path_to_error writes `?` for an unknown key where the text stops being JSON.
            let key = error.path().to_string();
            let key = key.trim_end_matches('?').trim_end_matches('.');
            ManifestError { key: key.to_owned(), reason: error.inner().to_string() }
        })?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks the rules that the types do not express.
    fn check(&self) -> Result<(), ManifestError> {
        if self.format != FORMAT {
            return refuse("format", format!("it is {}, but this version reads format {FORMAT}", self.format));
        }
        if self.sandboxes.is_empty() {
            return refuse("sandboxes", "there must be at least one");
        }
        for (id, sandbox) in &self.sandboxes {
            sandbox.check(id, self.system.is_some())?;
            self.check_sets_of(id, &sandbox.definition.package_sets)?;
        }
        for (id, set) in &self.package_sets {
            let refuse = |(rest, reason): (String, _)| ManifestError { key: format!("packageSets.{id}{rest}"), reason };
            match self.system {
                None => Err((String::new(), "a manifest without a system has no packages".to_owned())),
                Some(_) if !is_name(id) => {
                    Err((String::new(), "an id has lower-case letters, digits and `-` only".into()))
                }
                Some(_) => set.check(),
            }
            .map_err(refuse)?;
        }
        if self.system.is_some() != self.archive.is_some() {
            return self::refuse(
                "archive",
                "a manifest must have both a system and an archive of its derivations, or neither",
            );
        }
        Ok(())
    }

    /// Checks the package sets that a definition names. The portable manifest has no sets, but its definitions name them.
    fn check_sets_of(&self, id: &str, names: &[String]) -> Result<(), ManifestError> {
        let key = || format!("sandboxes.{id}.definition.packageSets");
        for (index, name) in names.iter().enumerate() {
            if self.system.is_some() && !self.package_sets.contains_key(name) {
                return refuse(&key(), format!("unknown package set `{name}`"));
            }
            if names[..index].contains(name) {
                return refuse(&key(), format!("`{name}` is listed twice"));
            }
        }
        Ok(())
    }
}

impl ManifestPackageSet {
    /// Checks the rules that the types do not express. The error is the key below the set, and the reason.
    fn check(&self) -> Result<(), (String, String)> {
        for (variable, directory) in &self.search_paths {
            let plain = |part: &str| !["", ".", ".."].contains(&part);
            if variable.is_empty() || variable.contains(['=', '\0']) || directory.contains('\0') {
                return Err((
                    ".searchPaths".into(),
                    "a name is empty or holds `=`, or a name or value holds a NUL character".into(),
                ));
            }
            if !directory.split('/').all(plain) {
                let reason = format!("`{directory}` must be a directory within a package, such as `bin`");
                return Err((format!(".searchPaths.{variable}"), reason));
            }
        }
        let is_package = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte));
        match self.packages.keys().find(|name| name.is_empty() || !is_package(name)) {
            Some(name) => Err((format!(".packages.{name}"), "a name has letters, digits and `+-._` only".into())),
            None => Ok(()),
        }
    }
}

impl ManifestSandbox {
    fn check(&self, id: &str, pinned: bool) -> Result<(), ManifestError> {
        let key = |rest: &str| format!("sandboxes.{id}.{rest}");
        if !is_id(id) {
            let reason =
                format!("an id has lower-case letters, digits and `-` only, and {MAX_ID_BYTES} of them at most");
            return refuse(&format!("sandboxes.{id}"), reason);
        }
        if self.definition.id != id {
            return refuse(&key("definition.id"), format!("it is `{}`, but the sandbox is `{id}`", self.definition.id));
        }
        if let Err((rest, reason)) = self.definition.check() {
            return refuse(&key(&format!("definition.{rest}")), reason);
        }
        if pinned != self.environment.is_some() {
            return refuse(
                &key("environment"),
                "every sandbox must have an environment if the manifest has a system, and none if not",
            );
        }
        Ok(())
    }
}

impl Definition {
    /// Checks the rules that the types do not express. The error is the key below the definition, and the reason.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        // Every program runs without capabilities and without new privileges. A definition that wants less isolation must be
        // refused, since it would not get what it asks for.
        let differs = |given: &Option<Vec<String>>, only: &str| given.as_ref().is_some_and(|given| *given != [only]);
        if differs(&self.security.cap_drop, "all") {
            return Err(("security.capDrop", "only [\"all\"] is offered"));
        }
        if differs(&self.security.security_opt, "no-new-privileges:true") {
            return Err(("security.securityOpt", "only [\"no-new-privileges:true\"] is offered"));
        }
        for service in &self.before {
            service.check().map_err(|reason| ("before", reason))?;
        }
        let ManifestResources { cpu, memory, processes, files } = self.resources;
        for (key, limit) in [
            ("timeout", self.timeout),
            ("resources.cpu", cpu),
            ("resources.memory", memory),
            ("resources.processes", processes),
            ("resources.files", files),
        ] {
            if limit == 0 {
                return Err((key, "it must be at least 1"));
            }
        }
        // The name is written to /etc/passwd.
        if !is_name(&self.user) {
            return Err(("user", "a user name has lower-case letters, digits and `-` only"));
        }
        if self.command.is_empty() || self.command[0].is_empty() {
            return Err(("command", "the first argument must name a program"));
        }
        if self.command.iter().any(|argument| argument.contains('\0')) {
            return Err(("command", "an argument holds a NUL character: remove it"));
        }
        let is_program = |name: &&str| !name.is_empty() && !name.contains(['/', '\0']);
        if !self.host_programs().iter().all(is_program) {
            return Err(("hostPrograms", "a program is given by its name, without a directory"));
        }
        if !is_workdir(&self.mount.workdir) {
            return Err(("mount.workdir", "it must be /sandbox or a directory below it"));
        }
        if self.script_mode().is_none() {
            return Err(("mount.scriptPerms", "it must be an octal mode such as 0755"));
        }
        if !matches!(self.executor, None | Some(Executor::Namespace | Executor::Derivation)) {
            return Err(("executor", "it must be namespace or derivation"));
        }
        if self.executor == Some(Executor::Derivation) && self.security.network != ManifestNetwork::None {
            return Err((
                "executor",
                "derivations run in Nix's build sandbox, which has no network: set `security.network` to \"none\"",
            ));
        }
        for (key, variables) in [("ahead", &self.ahead), ("variables", &self.variables)] {
            let is_wrong = |(name, value): (&String, &String)| {
                name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
            };
            if variables.iter().any(is_wrong) {
                return Err((key, "a name is empty or holds `=`, or a name or value holds a NUL character"));
            }
        }
        if !self.ahead.is_empty() && !self.before.is_empty() {
            return Err(("ahead", "a command with services in `before` cannot be started ahead of its call"));
        }
        Ok(())
    }

    /// Returns the programs that a host without Nix needs, each once. If the definition does not list them, these are the programs
    /// of its services and of its command, except for those given by a path, which are files of the sandbox.
    pub fn host_programs(&self) -> Vec<&str> {
        let listed: Vec<&str> = match &self.host_programs {
            Some(programs) => programs.iter().map(String::as_str).collect(),
            None => {
                let commands = self.before.iter().map(|service| &service.command).chain([&self.command]);
                let first = commands.filter_map(|command| command.first()).map(String::as_str);
                first.filter(|program| !program.contains('/')).collect()
            }
        };
        let mut programs = Vec::new();
        for program in listed {
            if !programs.contains(&program) {
                programs.push(program);
            }
        }
        programs
    }

    /// Returns whether its id is valid.
    pub fn is_id(&self) -> bool {
        is_id(&self.id)
    }

    pub fn script_mode(&self) -> Option<u32> {
        let text = &self.mount.script_perms;
        let octal = (3..=4).contains(&text.len()) && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o777)
    }
}

/// Returns whether a name is valid for clients, for Rust (`network-tools` → `NetworkTools`) and in /etc/passwd.
pub fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Returns whether a name is valid as the id of a sandbox.
fn is_id(name: &str) -> bool {
    is_name(name) && name.len() <= MAX_ID_BYTES
}

fn is_workdir(path: &str) -> bool {
    let Some(below) = path.strip_prefix("/sandbox") else { return false };
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    below.is_empty() || below.strip_prefix('/').is_some_and(|below| below.split('/').all(plain))
}

fn refuse<T>(key: &str, reason: impl Into<String>) -> Result<T, ManifestError> {
    Err(ManifestError { key: key.to_owned(), reason: reason.into() })
}
