//! The arguments of a call: what the generated structs share, and how they are filled.
//!
//! build.rs generates a struct per tool. A client's arguments are deserialized into it ([`parse`]), a command line fills
//! it with [`NamedFiles`] and [`RequestedOptions`].

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use sandbox_manifest::parameter::ParameterKind;

use crate::call::argument_error::{ArgumentError, Mistake};
use crate::call::choice::Executor;
use crate::call::definition::Sandbox;
use crate::call::encoding::Encoding;
use crate::call::file::File;

/// The arguments of one tool.
pub trait Arguments: DeserializeOwned {
    const SANDBOX: Sandbox;

    /// Fills the struct from what a command line names.
    ///
    /// # Errors
    ///
    /// Fails if a required file is missing or empty, if a name leads out of the working directory, and if the tool takes
    /// no additional files but there are some.
    fn from_files(files: NamedFiles, options: RequestedOptions) -> Result<Self, ArgumentError>;

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
    /// What the program reads from its standard input.
    pub stdin: Option<String>,
    pub stdin_encoding: Encoding,
    /// Arguments of the program.
    pub args: Vec<String>,
    /// Environment variables of the program.
    pub env: BTreeMap<String, String>,
    /// How long the program may run.
    pub timeout_seconds: Option<u64>,
}

/// What takes the place of a required file that is missing or wrong, so that the other parameters are read as well.
const PLACEHOLDER: &str = "-";

/// Parses a client's arguments. What is wrong is added to `errors`, and left out of the result, which is `None` if nothing
/// could be read.
pub fn parse<A: Arguments>(arguments: Map<String, Value>, errors: &mut Vec<ArgumentError>) -> Option<A> {
    parse_seeded(&A::SANDBOX, || PhantomData::<A>, arguments, errors)
}

/// Parses a client's arguments for a sandbox as [`parse`] does, with whatever deserializes its parameters.
pub(super) fn parse_seeded<S, T>(
    sandbox: &Sandbox,
    seed: impl Fn() -> S,
    mut arguments: Map<String, Value>,
    errors: &mut Vec<ArgumentError>,
) -> Option<T>
where
    S: for<'de> DeserializeSeed<'de, Value = T>,
{
    for (parameter, file) in missing_files(sandbox, &arguments) {
        errors.push(required_error(parameter, file, "missing"));
        arguments.insert(parameter.to_owned(), PLACEHOLDER.into());
    }
    let mut arguments = Value::Object(arguments);
    loop {
        let mut track = serde_path_to_error::Track::new();
        let argument = serde_path_to_error::Deserializer::new(Argument(&arguments), &mut track);
        let (error, path) = match seed().deserialize(argument) {
            Ok(parsed) => return Some(parsed),
            Err(mistake) => {
                let path = track.path();
                (mistake.at(&path), path)
            }
        };
        let Some(serde_path_to_error::Segment::Map { key }) = path.iter().next() else {
            errors.push(error);
            return None;
        };
        let file = sandbox.named_files().find(|(parameter, _)| parameter == key);
        errors.push(match (error, file) {
            (ArgumentError::WrongValue { parameter, found, .. }, Some((_, file))) => {
                required_error(&parameter, file, found)
            }
            (error, _) => error,
        });
        // Without the wrong one, what else is wrong is found.
        match file {
            Some(_) => arguments[key] = PLACEHOLDER.into(),
            None => drop(arguments.as_object_mut()?.remove(key)?),
        }
    }
}

/// Returns the parts of a call, unless its files don't go together, which is added to `errors`. Files that were left out
/// because they are wrong may lead to further errors, which tell nothing.
pub(super) fn parts_or_error<T>(parts: Result<T, ArgumentError>, errors: &mut Vec<ArgumentError>) -> Option<T> {
    let is_first = errors.is_empty();
    parts.map_err(|error| is_first.then(|| errors.push(error))).ok()
}

/// Returns the parameters of files that a call must have, and has not.
fn missing_files(sandbox: &Sandbox, arguments: &Map<String, Value>) -> Vec<(&'static str, &'static str)> {
    let has_file = |name: &&str| {
        let files = arguments.get("files").and_then(Value::as_array);
        files.is_some_and(|files| files.iter().any(|file| file["filename"] == **name))
    };
    let has_other_entrypoint = sandbox.instead.iter().any(has_file);
    let is_missing = |parameter: &&sandbox_manifest::parameter::Parameter| match parameter.kind {
        ParameterKind::File(_) if parameter.required => !arguments.contains_key(parameter.name),
        ParameterKind::File(file) if file == sandbox.entrypoint => {
            !has_other_entrypoint && matches!(arguments.get(parameter.name), None | Some(Value::Null))
        }
        _ => false,
    };
    let missing = sandbox.parameters.iter().filter(is_missing);
    missing
        .filter_map(|parameter| match parameter.kind {
            ParameterKind::File(file) => Some((parameter.name, file)),
            _ => None,
        })
        .collect()
}

fn required_error(parameter: &str, file: &str, found: &'static str) -> ArgumentError {
    ArgumentError::Required { file: file.to_owned(), parameter: parameter.to_owned(), found }
}

/// Returns the content of the entrypoint; if it was left out, the content that runs the first of the files `instead` that
/// was given. There is none where that file is itself the program.
///
/// # Errors
///
/// Fails if neither is given, or both and each is the program.
pub fn entrypoint(
    content: Option<String>,
    parameter: &str,
    file: &str,
    instead: &[(&str, &str)],
    files: &[File],
) -> Result<Option<String>, ArgumentError> {
    let is_given = |name: &str| files.iter().any(|file| file.name.as_path() == Path::new(name));
    match (content, instead.iter().find(|(name, _)| is_given(name))) {
        (Some(_), Some((name, ""))) => {
            Err(ArgumentError::TwoPrograms { parameter: parameter.to_owned(), file: (*name).to_owned() })
        }
        (Some(content), _) => Ok(Some(content)),
        (None, Some((_, ""))) => Ok(None),
        (None, Some((_, content))) => Ok(Some((*content).to_owned())),
        (None, None) => Err(required_error(parameter, file, "missing or empty")),
    }
}

/// Files that a command line names, by the names that they get in the working directory. Two that have the same name are refused
/// when they are joined.
#[derive(Debug, Default)]
pub struct NamedFiles(Vec<NamedFile>);

#[derive(Debug)]
struct NamedFile {
    name: String,
    content: Vec<u8>,
    executable: bool,
}

impl NamedFiles {
    /// Adds a file.
    pub fn add(&mut self, name: String, content: Vec<u8>, executable: bool) {
        self.0.push(NamedFile { name, content, executable });
    }

    /// Takes the content of a file out, unless there is none, or it is empty.
    ///
    /// # Errors
    ///
    /// The content is not UTF-8.
    pub fn take(&mut self, name: &str) -> Result<Option<String>, ArgumentError> {
        let Some(index) = self.0.iter().position(|file| file.name == name) else { return Ok(None) };
        let content = String::from_utf8(self.0.remove(index).content);
        let content = content.map_err(|_| ArgumentError::NoText { file: name.to_owned() })?;
        Ok(Some(content).filter(|content| !content.is_empty()))
    }

    /// Takes the content of a required file out.
    pub fn require(&mut self, parameter: &str, file: &str) -> Result<String, ArgumentError> {
        let is_there = self.0.iter().any(|named| named.name == file);
        let found = if is_there { "empty" } else { "missing" };
        self.take(file)?.ok_or_else(|| required_error(parameter, file, found))
    }

    /// Takes all files out that are left.
    pub fn rest(&mut self) -> Result<Vec<File>, ArgumentError> {
        let file = |NamedFile { name, content, executable }| Ok(File { executable, ..File::parse(&name, content)? });
        self.0.drain(..).map(file).collect()
    }

    /// Refuses files that are left: the tool takes none.
    pub fn finish(self) -> Result<(), ArgumentError> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some(NamedFile { name, .. }) => Err(ArgumentError::NoFiles { file: name }),
        }
    }
}

/// A JSON value as a deserializer whose errors are [`Mistake`]s.
#[derive(Clone, Copy)]
struct Argument<'a>(&'a Value);

impl<'de> Deserializer<'de> for Argument<'de> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(value) => match value.as_u64() {
                Some(value) => visitor.visit_u64(value),
                // Such numbers are refused, so that precision does not matter.
                None => visitor.visit_f64(value.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(value) => visitor.visit_borrowed_str(value),
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(Argument))),
            Value::Object(members) => {
                let members = members.iter().map(|(name, value)| (name.as_str(), Argument(value)));
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

impl<'de> IntoDeserializer<'de, Mistake> for Argument<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
