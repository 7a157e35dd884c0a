//! The network access of a sandbox.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, SeqAccess, Visitor};

use crate::policy::{self, Entry};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestNetwork {
    None,
    Bridge,
    /// An allow-list.
    Allow(Vec<Allowed>),
}

impl<'de> Deserialize<'de> for ManifestNetwork {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NetworkVisitor)
    }
}

struct NetworkVisitor;

impl<'de> Visitor<'de> for NetworkVisitor {
    type Value = ManifestNetwork;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`none`, `bridge` or a list of hosts and ports such as `api.example.org:443`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ManifestNetwork, E> {
        match text {
            "none" => Ok(ManifestNetwork::None),
            "bridge" => Ok(ManifestNetwork::Bridge),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ManifestNetwork, A::Error> {
        let mut allowed: Vec<Allowed> = Vec::new();
        while let Some(entry) = list.next_element()? {
            allowed.push(entry);
        }
        let entries: Vec<Entry> = allowed.iter().map(Allowed::entry).collect();
        policy::check(&entries).map_err(de::Error::custom)?;
        Ok(ManifestNetwork::Allow(allowed))
    }
}

/// The text of a valid entry of an allow-list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed(String);

impl Allowed {
    pub fn entry(&self) -> Entry<'_> {
        Entry::parse(&self.0).expect("it was parsed before")
    }
}

impl<'de> Deserialize<'de> for Allowed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Entry::parse(&text).map_err(de::Error::custom)?;
        Ok(Self(text))
    }
}
