//! What is started before the command.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, MapAccess, Visitor};

/// A program that runs beside the command, from before its start.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestService {
    /// What messages call it.
    pub name: String,
    pub command: Vec<String>,
    #[serde(default)]
    pub ready: Ready,
    /// Seconds within which it must be ready.
    pub deadline: u32,
    /// Files that it logs to.
    #[serde(default)]
    pub logs: Vec<String>,
    /// Words by which a line of them tells of an error.
    #[serde(default)]
    pub errors: Vec<String>,
}

/// How it is known that a service is ready; by neither: when its command has returned, with success.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// A TCP port of the loopback interface accepts connections.
    pub port: Option<u16>,
    /// A file is there.
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

/// Seconds that a service gets of which nothing is known but its command.
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
        Some(_) if !services.is_empty() => Err(de::Error::custom("it mixes services with arguments of a command")),
        Some(name) => {
            let (ready, logs, errors) = (Ready::default(), Vec::new(), Vec::new());
            Ok(vec![ManifestService { name, command, ready, deadline: DEFAULT_DEADLINE_SECONDS, logs, errors }])
        }
    }
}

impl ManifestService {
    /// What the types alone do not say.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.name.is_empty() || self.command.first().is_none_or(String::is_empty) {
            return Err("a service has no name, or its command names no program");
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
            return Err("`logs` and `ready.file` of a service are absolute paths");
        }
        if self.errors.iter().any(String::is_empty) {
            return Err("`errors` of a service holds an empty word, which every line has");
        }
        if *port == Some(0) || self.deadline == 0 {
            return Err("a port or a deadline of a service is 0");
        }
        if port.is_some() && file.is_some() {
            return Err("a service is ready by a port or by a file, not by both");
        }
        Ok(())
    }
}
