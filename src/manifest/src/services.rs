//! The services that are started before the command.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, MapAccess, Visitor};

/// A program that is started before the command and runs beside it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestService {
    /// The name of the service in messages.
    pub name: String,
    pub command: Vec<String>,
    #[serde(default)]
    pub ready: Ready,
    /// The time within which it must be ready, in seconds.
    pub deadline: u32,
    /// The paths of its log files.
    #[serde(default)]
    pub logs: Vec<String>,
    /// Strings that mark a line of a log as an error.
    #[serde(default)]
    pub errors: Vec<String>,
}

/// The condition for a service to be ready. If neither is set, its command must exit successfully.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// A TCP port of the loopback interface that must accept connections.
    pub port: Option<u16>,
    /// A file that must exist.
    pub file: Option<String>,
}

/// An item of the list `before`.
enum Before {
    Argument(String),
    Service(ManifestService),
}

impl<'de> Deserialize<'de> for Before {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BeforeVisitor)
    }
}

struct BeforeVisitor;

impl<'de> Visitor<'de> for BeforeVisitor {
    type Value = Before;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a service, or an argument of the one command that is started")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Before, E> {
        Ok(Before::Argument(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Before, A::Error> {
        ManifestService::deserialize(de::value::MapAccessDeserializer::new(map)).map(Before::Service)
    }
}

/// The deadline of a service that is given only by its command.
const DEFAULT_DEADLINE_SECONDS: u32 = 30;

pub fn services<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<ManifestService>, D::Error> {
    let (mut command, mut services) = (Vec::new(), Vec::new());
    for item in Vec::<Before>::deserialize(deserializer)? {
        match item {
            Before::Argument(argument) => command.push(argument),
            Before::Service(service) => services.push(service),
        }
    }
    match command.first().cloned() {
        None => Ok(services),
        Some(_) if !services.is_empty() => {
            Err(de::Error::custom("services and arguments of a command cannot be mixed"))
        }
        Some(name) => {
            let (ready, logs, errors) = (Ready::default(), Vec::new(), Vec::new());
            Ok(vec![ManifestService { name, command, ready, deadline: DEFAULT_DEADLINE_SECONDS, logs, errors }])
        }
    }
}

impl ManifestService {
    /// Checks the rules that the types do not express.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.name.is_empty() || self.command.first().is_none_or(String::is_empty) {
            return Err("a service needs a name and a program in its command");
        }
        let Ready { port, file } = &self.ready;
        let paths: Vec<&String> = self.logs.iter().chain(file).collect();
        if [&self.command, &self.errors]
            .into_iter()
            .flatten()
            .chain(paths.iter().copied())
            .any(|text| text.contains('\0'))
        {
            return Err("a service holds a NUL character");
        }
        if paths.iter().any(|path| !path.starts_with('/')) {
            return Err("`logs` and `ready.file` of a service must be absolute paths");
        }
        if self.errors.iter().any(String::is_empty) {
            return Err("`errors` of a service holds an empty string, which every line contains");
        }
        if *port == Some(0) || self.deadline == 0 {
            return Err("the port and the deadline of a service must be at least 1");
        }
        if port.is_some() && file.is_some() {
            return Err("a service has `ready.port` or `ready.file`, not both");
        }
        Ok(())
    }
}
