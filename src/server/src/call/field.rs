//! Deserializes the fields of the generated structs. `null` means the same as leaving a parameter out.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use crate::call::choice::Executor;
use crate::call::encoding::Encoding;
use crate::call::file::File;

/// Deserializes the content of a required file.
pub fn content<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_string(Content { may_be_empty: false })
}

/// Deserializes the content of a file that may be left out.
pub fn optional_content<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let content = deserializer.deserialize_any(Content { may_be_empty: true })?;
    Ok(Some(content).filter(|content| !content.is_empty()))
}

/// Deserializes a text that may be left out.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    deserializer.deserialize_any(OptionalString)
}

/// Deserializes the name of an encoding.
pub fn encoding<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Encoding, D::Error> {
    deserializer.deserialize_any(EncodingName)
}

/// Deserializes the arguments of the program.
pub fn args<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_any(List("an array of strings", PhantomData))
}

/// Deserializes environment variables.
pub fn env<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    deserializer.deserialize_any(StringMap)
}

/// Deserializes a number of seconds.
pub fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    deserializer.deserialize_any(Seconds)
}

/// Deserializes additional files.
pub fn files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<File>, D::Error> {
    deserializer.deserialize_any(List("an array of {filename, content}", PhantomData))
}

/// Deserializes names of packages.
pub fn packages<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_any(List("an array of names", PhantomData))
}

/// Deserializes the name of an executor that a client may choose.
pub fn executor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Executor>, D::Error> {
    deserializer.deserialize_any(ExecutorName)
}

/// Deserializes a boolean.
pub fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    deserializer.deserialize_any(Flag)
}

struct Content {
    /// Whether an empty string and `null` are accepted, as an empty string.
    may_be_empty: bool,
}

impl Visitor<'_> for Content {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a string that is not empty")
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        if self.may_be_empty { Ok(String::new()) } else { Err(E::invalid_type(Unexpected::Unit, &self)) }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<String, E> {
        if text.is_empty() && !self.may_be_empty {
            return Err(E::invalid_value(Unexpected::Str(""), &self));
        }
        Ok(text)
    }
}

/// A list, with the words for what it must be.
struct List<T>(&'static str, PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(list)
    }
}

struct OptionalString;

impl Visitor<'_> for OptionalString {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_unit<E: Error>(self) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<String>, E> {
        Ok(Some(text.to_owned()))
    }
}

struct EncodingName;

impl Visitor<'_> for EncodingName {
    type Value = Encoding;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("`utf-8` or `base64`")
    }

    fn visit_unit<E: Error>(self) -> Result<Encoding, E> {
        Ok(Encoding::default())
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Encoding, E> {
        Encoding::by_name(name).ok_or_else(|| E::invalid_value(Unexpected::Str(name), &self))
    }
}

struct ExecutorName;

impl Visitor<'_> for ExecutorName {
    type Value = Option<Executor>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("`namespace` or `derivation`")
    }

    fn visit_unit<E: Error>(self) -> Result<Option<Executor>, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<Executor>, E> {
        match name {
            "namespace" => Ok(Some(Executor::Namespace)),
            "derivation" => Ok(Some(Executor::Derivation)),
            _ => Err(E::invalid_value(Unexpected::Str(name), &self)),
        }
    }
}

struct StringMap;

impl<'de> Visitor<'de> for StringMap {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut variables = BTreeMap::new();
        while let Some((name, value)) = entries.next_entry()? {
            variables.insert(name, value);
        }
        Ok(variables)
    }
}

struct Seconds;

impl Visitor<'_> for Seconds {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a whole number of seconds, at least 1")
    }

    fn visit_unit<E: Error>(self) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Option<u64>, E> {
        if seconds == 0 { Err(E::invalid_value(Unexpected::Unsigned(0), &self)) } else { Ok(Some(seconds)) }
    }
}

struct Flag;

impl Visitor<'_> for Flag {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a boolean")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }
}
