//! The arguments of a call: what the generated structs share, and how they are filled.
//!
//! build.rs generates a struct per tool. A client's arguments are deserialized into it ([`parse`]), a command line fills
//! it with [`NamedFiles`].

use std::path::Path;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use crate::call::argument_error::{ArgumentError, Mistake};
use crate::call::choice::Executor;
use crate::call::definition::Sandbox;
use crate::call::file::File;

/// The arguments of one tool.
pub trait Arguments: DeserializeOwned {
    const SANDBOX: Sandbox;

    /// Fills the struct from files that a command line names.
    ///
    /// # Errors
    ///
    /// Fails if a required file is missing or empty, if a name leads out of the working directory, and if the tool takes
    /// no additional files but there are some.
    fn from_files(files: NamedFiles, packages: Vec<String>) -> Result<Self, ArgumentError>;

    /// Returns the files of the working directory, the entrypoint first, and the options.
    ///
    /// # Errors
    ///
    /// Fails if the names of two files collide, or if the entrypoint was left out and no file takes its place.
    fn into_parts(self) -> Result<(Vec<File>, RequestedOptions), ArgumentError>;
}

/// The options of a call, as they were given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestedOptions {
    pub executor: Option<Executor>,
    pub cache: bool,
    /// Names of packages.
    pub packages: Vec<String>,
}

/// Parses a client's arguments.
///
/// # Errors
///
/// Fails with the first parameter that is wrong. A required file that is missing goes before an unknown parameter: the
/// parameter may be that file under another name.
pub fn parse<A: Arguments>(arguments: Map<String, Value>) -> Result<A, ArgumentError> {
    let mut required = A::SANDBOX.required_files();
    let has_file = |name: &&str| {
        let files = arguments.get("files").and_then(Value::as_array);
        files.is_some_and(|files| files.iter().any(|file| file["filename"] == **name))
    };
    let has_other_entrypoint = A::SANDBOX.instead.iter().any(has_file);
    let missing = required.find(|(parameter, _)| !arguments.contains_key(*parameter) && !has_other_entrypoint);
    let error = match serde_path_to_error::deserialize(Argument(arguments.into())) {
        Ok(parsed) => return Ok(parsed),
        Err(error) => {
            let path = error.path().clone();
            error.into_inner().at(&path)
        }
    };
    let file_of = |parameter: &str| A::SANDBOX.required_files().find(|(name, _)| *name == parameter);
    Err(match (error, missing) {
        (ArgumentError::Unknown { .. }, Some((parameter, file))) => required_error(parameter, file, "missing"),
        (ArgumentError::WrongValue { parameter, expected, found }, _) => match file_of(&parameter) {
            Some((parameter, file)) => required_error(parameter, file, found),
            None => ArgumentError::WrongValue { parameter, expected, found },
        },
        (error, _) => error,
    })
}

fn required_error(parameter: &str, file: &str, found: &'static str) -> ArgumentError {
    ArgumentError::Required { file: file.to_owned(), parameter: parameter.to_owned(), found }
}

/// Returns the content of the entrypoint; if it was left out, the content that runs the first of the files `instead` that
/// was given.
pub fn entrypoint(
    content: Option<String>,
    parameter: &str,
    file: &str,
    instead: &[(&str, &str)],
    files: &[File],
) -> Result<String, ArgumentError> {
    let is_given = |name: &str| files.iter().any(|file| file.name.as_path() == Path::new(name));
    match (content, instead.iter().find(|(name, _)| is_given(name))) {
        (Some(content), _) => Ok(content),
        (None, Some((_, content))) => Ok((*content).to_owned()),
        (None, None) => Err(required_error(parameter, file, "missing or empty")),
    }
}

/// Files that a command line names, by the names that they get in the working directory. Two that have the same name are refused
/// when they are joined.
#[derive(Debug, Default)]
pub struct NamedFiles(Vec<(String, String)>);

impl NamedFiles {
    /// Adds a file.
    pub fn add(&mut self, name: String, content: String) {
        self.0.push((name, content));
    }

    /// Takes the content of a file out, unless there is none, or it is empty.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.remove(index).1).filter(|content| !content.is_empty())
    }

    /// Takes the content of a required file out.
    pub fn require(&mut self, parameter: &str, file: &str) -> Result<String, ArgumentError> {
        let is_there = self.0.iter().any(|(name, _)| name == file);
        let found = if is_there { "empty" } else { "missing" };
        self.take(file).ok_or_else(|| required_error(parameter, file, found))
    }

    /// Takes all files out that are left.
    pub fn rest(&mut self) -> Result<Vec<File>, ArgumentError> {
        let rest = self.0.drain(..).map(|(name, content)| File::parse(&name, content));
        Ok(rest.collect::<Result<_, _>>()?)
    }

    /// Refuses files that are left: the tool takes none.
    pub fn finish(self) -> Result<(), ArgumentError> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((parameter, _)) => Err(ArgumentError::Unknown { parameter }),
        }
    }
}

/// A JSON value as a deserializer whose errors are [`Mistake`]s.
struct Argument(Value);

impl<'de> Deserializer<'de> for Argument {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            // No parameter takes a number, so that precision does not matter.
            Value::Number(value) => visitor.visit_f64(value.as_f64().unwrap_or(f64::NAN)),
            Value::String(value) => visitor.visit_string(value),
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Argument))),
            Value::Object(members) => {
                let members = members.into_iter().map(|(name, value)| (name, Argument(value)));
                visitor.visit_map(MapDeserializer::new(members))
            }
        }
    }

    /// Derived implementations would take an array of a struct's values, too.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match self.0 {
            Value::Array(_) => Err(Mistake::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl IntoDeserializer<'_, Mistake> for Argument {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Deserializes the fields of the generated structs. `null` means the same as leaving a parameter out.
pub mod field {
    use std::fmt;
    use std::marker::PhantomData;

    use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};

    use crate::call::choice::Executor;
    use crate::call::file::File;

    /// The content of a required file.
    pub fn content<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_string(Content { may_be_empty: false })
    }

    /// The content of a file that may be left out.
    pub fn optional_content<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
        let content = deserializer.deserialize_any(Content { may_be_empty: true })?;
        Ok(Some(content).filter(|content| !content.is_empty()))
    }

    /// Additional files.
    pub fn files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<File>, D::Error> {
        deserializer.deserialize_any(List("an array of {filename, content}", PhantomData))
    }

    /// Names of packages.
    pub fn packages<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_any(List("an array of names", PhantomData))
    }

    /// An executor that a client may choose.
    pub fn executor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Executor>, D::Error> {
        deserializer.deserialize_any(ExecutorName)
    }

    /// Whether an earlier result will do.
    pub fn cache<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
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
}
