//! The tool table, and the way from a call's arguments to the files of a job.
//!
//! The structs of parameters are generated from the manifest by build.rs; this file holds what they share.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

use sandbox_plan::plan::OUT;

use crate::call::definition::{Annotations, Network, Programs, Resources, Sandbox};
use crate::call::file::{File, FileError};
use crate::call::packages::PackageError;

pub mod table {
    //! The parameters of every tool, and [`TOOLS`].
    use super::*;
    // A manifest need not name an environment, nor allow a host, nor start a service.
    #[allow(unused_imports)]
    use std::net::Ipv4Addr;

    #[allow(unused_imports)]
    use crate::call::choice::Executor;
    #[allow(unused_imports)]
    use crate::call::definition::{Environment, Package, PackageSet, Readiness, Service};
    #[allow(unused_imports)]
    use sandbox_manifest::policy::{Entry, Pattern};
    include!(concat!(env!("OUT_DIR"), "/sandboxes.rs"));
}

pub use table::{PACKAGE_SETS, SYSTEM, TOOLS};

/// The typed parameters of one tool.
pub trait Parameters: Sized {
    const SANDBOX: Sandbox;

    /// Takes the tool's parameters out of the arguments.
    fn parse(arguments: &mut Arguments) -> Result<Self, ArgumentError>;

    /// The files that go into the working directory, the entrypoint first.
    fn into_files(self) -> Result<Vec<File>, ArgumentError>;
}

/// A row of the tool table.
#[derive(Debug)]
pub struct Tool {
    pub sandbox: Sandbox,
    parse: fn(Arguments) -> Result<Vec<File>, ArgumentError>,
}

impl Tool {
    pub(crate) const fn of<P: Parameters>() -> Self {
        Self {
            sandbox: P::SANDBOX,
            parse: |mut arguments| {
                let parameters = P::parse(&mut arguments)?;
                arguments.finish()?;
                parameters.into_files()
            },
        }
    }

    /// The files that a call with these arguments runs on.
    pub fn files(&self, arguments: Map<String, Value>) -> Result<Vec<File>, ArgumentError> {
        let files = (self.parse)(Arguments(arguments))?;
        let workdir = Path::new(self.sandbox.workdir);
        match files.iter().find(|file| workdir.join(file.name.as_path()) == Path::new(OUT)) {
            Some(file) => Err(FileError::taken(&file.name, "the directory whose files are returned").into()),
            None => Ok(files),
        }
    }

    pub fn by_name(name: &str) -> Option<&'static Tool> {
        let index = TOOLS.binary_search_by_key(&name, |tool| tool.sandbox.id).ok()?;
        Some(&TOOLS[index])
    }

    /// All names, for messages: `go, java, …`.
    pub fn names() -> String {
        TOOLS.iter().map(|tool| tool.sandbox.id).collect::<Vec<_>>().join(", ")
    }
}

/// The arguments of a call that no parameter has taken yet.
pub struct Arguments(Map<String, Value>);

/// What is wrong with a call's arguments; the text says what to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArgumentError {
    /// A required file is missing, empty or no string.
    Required {
        file: String,
        parameter: String,
        found: &'static str,
    },
    WrongType {
        parameter: String,
        expected: &'static str,
        found: &'static str,
    },
    Unknown {
        parameter: String,
    },
    File(FileError),
    Package(PackageError),
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Required { file, parameter, found } => {
                write!(
                    f,
                    "{file} file is required: parameter `{parameter}` must be a string that is not empty, but is {found}"
                )
            }
            Self::WrongType { parameter, expected, found } => {
                write!(f, "parameter `{parameter}` must be {expected}, but is {found}")
            }
            Self::Unknown { parameter } => {
                write!(f, "unknown parameter `{parameter}`: remove it, or see the tool's schema for its name")
            }
            Self::File(error) => error.fmt(f),
            Self::Package(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ArgumentError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::Package(error) => Some(error),
            _ => None,
        }
    }
}

impl From<FileError> for ArgumentError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl From<PackageError> for ArgumentError {
    fn from(error: PackageError) -> Self {
        Self::Package(error)
    }
}

impl Arguments {
    /// The content of a file that must be given and not be empty.
    pub fn required_file(&mut self, parameter: &str, file: &str) -> Result<String, ArgumentError> {
        let found = match self.0.remove(parameter) {
            Some(Value::String(content)) if content.is_empty() => "empty",
            Some(Value::String(content)) => return Ok(content),
            other => kind(other.as_ref()),
        };
        Err(ArgumentError::Required { file: file.into(), parameter: parameter.into(), found })
    }

    /// The content of the entrypoint; or, where it was left out and one of the files `instead` of it was given, what
    /// belongs to that.
    pub fn entrypoint(
        &mut self,
        parameter: &str,
        file: &str,
        instead: &[(&str, &str)],
    ) -> Result<String, ArgumentError> {
        let is_left_out = match self.0.get(parameter) {
            None | Some(Value::Null) => true,
            Some(value) => value == "",
        };
        let Some((_, content)) = instead.iter().find(|(name, _)| is_left_out && self.has_file(name)) else {
            return self.required_file(parameter, file);
        };
        self.0.remove(parameter);
        Ok((*content).to_owned())
    }

    fn has_file(&self, name: &str) -> bool {
        let files = self.0.get("files").and_then(Value::as_array).into_iter().flatten();
        files.filter_map(|file| file["filename"].as_str()).any(|given| given.trim_start_matches("./") == name)
    }

    /// The files of an array of `{filename, content}`; no array is no files.
    pub fn additional_files(&mut self, parameter: &str) -> Result<Vec<File>, ArgumentError> {
        let wrong = |parameter: String, expected, found: Option<&Value>| ArgumentError::WrongType {
            parameter,
            expected,
            found: kind(found),
        };
        let items = match self.0.remove(parameter) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            other => return Err(wrong(parameter.into(), "an array of {filename, content}", other.as_ref())),
        };
        let file = |(index, item)| {
            let mut item = match item {
                Value::Object(item) => item,
                other => {
                    return Err(wrong(
                        format!("{parameter}[{index}]"),
                        "an object of filename and content",
                        Some(&other),
                    ));
                }
            };
            let mut text = |key: &str| match item.remove(key) {
                Some(Value::String(text)) => Ok(text),
                other => Err(wrong(format!("{parameter}[{index}].{key}"), "a string", other.as_ref())),
            };
            let (name, content) = (text("filename")?, text("content")?);
            if let Some(key) = item.keys().next() {
                return Err(ArgumentError::Unknown { parameter: format!("{parameter}[{index}].{key}") });
            }
            Ok(File::parse(&name, content)?)
        };
        items.into_iter().enumerate().map(file).collect()
    }

    /// Refuses what no parameter has taken: it would be lost in silence otherwise.
    fn finish(self) -> Result<(), ArgumentError> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((parameter, _)) => Err(ArgumentError::Unknown { parameter }),
        }
    }
}

/// The type of a value, in words.
pub fn kind(value: Option<&Value>) -> &'static str {
    match value {
        None => "missing",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "a boolean",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(_)) => "a string",
        Some(Value::Array(_)) => "an array",
        Some(Value::Object(_)) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn files(tool: &str, arguments: Value) -> Result<Vec<File>, String> {
        let Value::Object(arguments) = arguments else { unreachable!("arguments are an object") };
        Tool::by_name(tool).expect("the tool exists").files(arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn the_table_is_sorted_so_that_lists_are_stable_and_look_ups_find() {
        assert!(TOOLS.is_sorted_by_key(|tool| tool.sandbox.id));
        for tool in TOOLS {
            assert_eq!(Tool::by_name(tool.sandbox.id).expect("it is listed").sandbox.id, tool.sandbox.id);
        }
        assert!(Tool::by_name("perl").is_none());
    }

    #[test]
    fn every_schema_is_an_object_that_names_the_entrypoint_as_required() {
        for Tool { sandbox, .. } in TOOLS {
            let schema: Value = serde_json::from_str(sandbox.input_schema).unwrap();
            assert_eq!(schema["type"], "object");
            assert_eq!(schema["required"][0], sandbox.entrypoint.replace('.', "_"));
        }
    }

    #[test]
    fn the_entrypoint_comes_first_then_required_then_additional_files() {
        let given = json!({
            "go_mod": "module m", "main_go": "package main",
            "files": [{"filename": "a/b.go", "content": "package a"}],
        });
        let names: Vec<_> =
            files("go", given).unwrap().iter().map(|file| file.name.as_path().display().to_string()).collect();
        assert_eq!(names, ["main.go", "go.mod", "a/b.go"]);
    }

    #[test]
    fn a_required_file_that_is_missing_empty_or_no_string_is_refused_by_its_name() {
        for (given, found) in
            [(json!({}), "missing"), (json!({"main_py": ""}), "empty"), (json!({"main_py": 7}), "a number")]
        {
            let error = files("python", given).unwrap_err();
            assert!(error.starts_with("main.py file is required") && error.ends_with(found), "{error}");
        }
        assert!(files("go", json!({"main_go": "package main"})).unwrap_err().starts_with("go.mod file is required"));
    }

    #[test]
    fn another_file_may_be_there_instead_of_the_entrypoint() {
        let typescript = json!([{"filename": "index.ts", "content": "let x: number"}]);
        for mut given in [json!({}), json!({"index_js": ""}), json!({"index_js": null})] {
            given["files"] = typescript.clone();
            let files = files("javascript", given).unwrap();
            assert_eq!(
                (files[0].name.as_path(), &*files[0].content),
                (Path::new("index.js"), "import(\"./index.ts\");\n")
            );
        }
        let both = files("javascript", json!({"index_js": "1", "files": typescript})).unwrap();
        assert_eq!(both[0].content, "1");
        let other = json!({"files": [{"filename": "other.ts", "content": ""}]});
        assert!(files("javascript", other).unwrap_err().starts_with("index.js file is required"));
    }

    #[test]
    fn additional_files_of_a_wrong_shape_are_refused_with_their_place() {
        for (given, error) in [
            (json!("a"), "parameter `files` must be an array of {filename, content}, but is a string"),
            (json!(["a"]), "parameter `files[0]` must be an object of filename and content, but is a string"),
            (json!([{"filename": "a"}]), "parameter `files[0].content` must be a string, but is missing"),
            (json!([{"filename": "a", "content": "", "mode": 7}]), "unknown parameter `files[0].mode`"),
        ] {
            let refused = files("python", json!({"main_py": "1", "files": given})).unwrap_err();
            assert!(refused.starts_with(error), "{refused}");
        }
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_for_artifacts_is_refused_and_one_in_it_is_not() {
        let given = |name: &str| json!({"main_py": "1", "files": [{"filename": name, "content": ""}]});
        for name in ["out", "./out"] {
            let error = files("python", given(name)).unwrap_err();
            assert!(error.contains("\"out\" is that of the directory whose files are returned"), "{error}");
        }
        assert!(files("python", given("out/x")).is_ok() && files("python", given("outer")).is_ok());
        // There it is another place.
        let given = json!({"index_js": "1", "files": [{"filename": "out", "content": ""}]});
        assert!(files("javascript", given).is_ok());
    }

    #[test]
    fn an_unknown_parameter_is_refused_by_its_name() {
        let error = files("python", json!({"main_py": "1", "main.py": "2"})).unwrap_err();
        assert!(error.contains("`main.py`"), "{error}");
    }
}
