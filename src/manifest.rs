//! The manifest: the contract between Nix, which evaluates the sandboxes, and Rust, which is compiled from them.
//!
//! build.rs parses it at the edge; what passes [`Manifest::parse`] needs no further check. It is known to the build
//! alone: the server holds the sandboxes as static data that [`codegen`](crate) made of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::store_path::{StorePath, StorePathError};

/// The format that this version reads. It changes when a manifest of an older evaluation would be misread.
pub const FORMAT: u64 = 1;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: u64,
    /// The system of the derivations; none in the portable manifest, which holds no store paths.
    pub system: Option<String>,
    pub sandboxes: BTreeMap<String, Sandbox>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sandbox {
    pub definition: Definition,
    pub tool: Tool,
    pub environment: Option<Environment>,
}

/// The sandbox as its Nix file states it, in the keys of the JSON config.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Definition {
    pub id: String,
    pub name: String,
    pub description: String,
    pub version: String,
    pub image: String,
    pub user: String,
    pub entrypoint: String,
    /// Seconds of wall clock.
    pub timeout: u64,
    pub before: Vec<String>,
    pub command: Vec<String>,
    pub hints: Hints,
    pub parameters: Parameters,
    pub security: Security,
    pub resources: Resources,
    pub mount: Mount,
    pub variables: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Hints {
    pub is_read_only: Option<bool>,
    pub is_destructive: Option<bool>,
    pub is_idempotent: Option<bool>,
    pub is_external_interaction: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Parameters {
    pub additional_files: bool,
    pub files: Vec<RequiredFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequiredFile {
    pub name: String,
    pub description: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Security {
    pub read_only: bool,
    pub cap_drop: Vec<String>,
    pub security_opt: Vec<String>,
    pub network: Network,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    None,
    Bridge,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Cores.
    pub cpu: u32,
    /// Megabytes (2^20 bytes).
    pub memory: u64,
    pub processes: u64,
    /// Open files of one process.
    pub files: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Mount {
    pub workdir: String,
    pub tmpdir_prefix: String,
    /// An octal number as text, such as `0755`.
    pub script_perms: String,
    pub read_only: bool,
}

/// The tool as a client sees it, in MCP's words.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Tool {
    pub name: String,
    pub title: String,
    pub description: String,
    pub input_schema: serde_json::Map<String, serde_json::Value>,
    pub annotations: Annotations,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Annotations {
    pub title: String,
    pub read_only_hint: bool,
    pub destructive_hint: bool,
    pub idempotent_hint: bool,
    pub open_world_hint: bool,
}

/// Which derivation makes the environment, and the output path that it will have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    #[serde(deserialize_with = "store_path")]
    pub drv: StorePath,
    #[serde(deserialize_with = "store_path")]
    pub out: StorePath,
}

fn store_path<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<StorePath, D::Error> {
    let text = String::deserialize(deserializer)?;
    StorePath::parse(&text).map_err(|error: StorePathError| serde::de::Error::custom(error))
}

/// Why a manifest is refused: the key, as a path from the top, and the reason.
#[derive(Debug)]
pub struct ManifestError {
    pub key: String,
    pub reason: String,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" | "." => write!(f, "{}", self.reason),
            key => write!(f, "{key}: {}", self.reason),
        }
    }
}

impl std::error::Error for ManifestError {}

impl Manifest {
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let deserializer = &mut serde_json::Deserializer::from_str(text);
        let manifest: Self = serde_path_to_error::deserialize(deserializer)
            .map_err(|error| ManifestError { key: error.path().to_string(), reason: error.inner().to_string() })?;
        manifest.check()?;
        Ok(manifest)
    }

    /// What the types alone do not say.
    fn check(&self) -> Result<(), ManifestError> {
        if self.format != FORMAT {
            return refuse("format", format!("it is {}, and this version reads format {FORMAT}", self.format));
        }
        if self.sandboxes.is_empty() {
            return refuse("sandboxes", "there is none");
        }
        for (id, sandbox) in &self.sandboxes {
            sandbox.check(id, self.system.is_some())?;
        }
        Ok(())
    }
}

impl Sandbox {
    fn check(&self, id: &str, pinned: bool) -> Result<(), ManifestError> {
        let key = |rest: &str| format!("sandboxes.{id}.{rest}");
        let definition = &self.definition;
        let well_named = id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !well_named || !id.starts_with(|first: char| first.is_ascii_lowercase()) {
            return refuse(&format!("sandboxes.{id}"), "an id has lower-case letters, digits and `-` only");
        }
        if definition.id != id {
            return refuse(&key("definition.id"), format!("it is `{}`, but the sandbox is `{id}`", definition.id));
        }
        if self.tool.name != id {
            return refuse(&key("tool.name"), format!("it is `{}`, but the sandbox is `{id}`", self.tool.name));
        }
        if definition.command.is_empty() {
            return refuse(&key("definition.command"), "it is empty");
        }
        if definition.timeout == 0 {
            return refuse(&key("definition.timeout"), "it is 0 seconds: nothing could run");
        }
        if definition.resources.cpu == 0 {
            return refuse(&key("definition.resources.cpu"), "it is 0 cores: nothing could run");
        }
        // Every program runs without capabilities and without new privileges; a definition that asks for less would
        // be told a lie if it were accepted.
        if definition.security.cap_drop != ["all"] {
            return refuse(&key("definition.security.capDrop"), "only [\"all\"] is offered");
        }
        if definition.security.security_opt != ["no-new-privileges:true"] {
            return refuse(&key("definition.security.securityOpt"), "only [\"no-new-privileges:true\"] is offered");
        }
        if !definition.before.is_empty() {
            return refuse(&key("definition.before"), "starting services before the command is not offered yet");
        }
        if !matches!(definition.mount.workdir.strip_prefix("/sandbox"), Some(rest) if rest.is_empty() || rest.starts_with('/')) {
            return refuse(&key("definition.mount.workdir"), "it must be /sandbox or a directory below it");
        }
        if self.definition.script_mode().is_none() {
            return refuse(&key("definition.mount.scriptPerms"), "it must be an octal mode such as 0755");
        }
        if pinned != self.environment.is_some() {
            return refuse(&key("environment"), "a manifest with a system has an environment for every sandbox, one without has none");
        }
        Ok(())
    }
}

impl Definition {
    pub fn script_mode(&self) -> Option<u32> {
        u32::from_str_radix(&self.mount.script_perms, 8).ok().filter(|mode| *mode <= 0o777)
    }
}

fn refuse<T>(key: &str, reason: impl Into<String>) -> Result<T, ManifestError> {
    Err(ManifestError { key: key.to_owned(), reason: reason.into() })
}
