//! The arguments of a tool that has no generated struct: the same parameters, values and errors, by the tool's table of
//! parameters.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use sandbox_manifest::parameter::{Parameter, ParameterKind};

use crate::call::argument_error::ArgumentError;
use crate::call::arguments::{NamedFiles, RequestedOptions, parse_seeded, parts_or_error};
use crate::call::choice::Executor;
use crate::call::definition::Sandbox;
use crate::call::encoding::Encoding;
use crate::call::field;
use crate::call::file::File;

/// Deserializes a client's arguments into the files and the options of a call. What is wrong is added to `errors`, as
/// [`arguments::parse`](crate::call::arguments::parse) does.
pub fn parse(
    sandbox: &'static Sandbox,
    arguments: Map<String, Value>,
    errors: &mut Vec<ArgumentError>,
) -> Option<(Vec<File>, RequestedOptions)> {
    let given = parse_seeded(sandbox, || Table(sandbox.parameters), arguments, errors)?;
    parts_or_error(given.into_parts(), errors)
}

/// Fills the parameters from what a command line names.
///
/// # Errors
///
/// As those of [`Arguments::from_files`](crate::call::arguments::Arguments::from_files).
pub fn fill(
    sandbox: &'static Sandbox,
    mut files: NamedFiles,
    options: RequestedOptions,
) -> Result<(Vec<File>, RequestedOptions), ArgumentError> {
    let takes_arguments = sandbox.parameters.iter().any(|parameter| parameter.kind == ParameterKind::Args);
    if !options.args.is_empty() && !takes_arguments {
        let reason = format!("`{}` is run by a shell that passes on no arguments: leave them out", sandbox.id);
        return Err(ArgumentError::Refused { parameter: "args".to_owned(), reason });
    }
    let mut given = GivenArguments { options, ..GivenArguments::default() };
    for parameter in sandbox.parameters {
        let ParameterKind::File(file) = parameter.kind else { continue };
        let content = match parameter.required {
            true => Some(files.require(parameter.name, file)?),
            false => files.take(file)?,
        };
        given.named.push((file, content));
    }
    if sandbox.takes_additional_files() {
        given.additional = files.rest()?;
    } else {
        files.finish()?;
    }
    given.into_parts()
}

/// What a call has given.
#[derive(Default)]
struct GivenArguments {
    /// The files that have parameters by their names, in the order of the parameters.
    named: Vec<(&'static str, Option<String>)>,
    additional: Vec<File>,
    options: RequestedOptions,
}

impl GivenArguments {
    fn into_parts(self) -> Result<(Vec<File>, RequestedOptions), ArgumentError> {
        Ok((File::join(self.named, self.additional)?, self.options))
    }
}

/// Deserializes an object with these parameters.
#[derive(Clone, Copy)]
struct Table(&'static [Parameter<'static>]);

impl<'de> DeserializeSeed<'de> for Table {
    type Value = GivenArguments;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<GivenArguments, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Table {
    type Value = GivenArguments;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of parameters")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<GivenArguments, A::Error> {
        let mut given = GivenArguments::default();
        while let Some(parameter) = map.next_key_seed(ParameterName(self))? {
            match map.next_value_seed(ParameterValue(parameter))? {
                GivenValue::File(file, content) => given.named.push((file, content)),
                GivenValue::Files(files) => given.additional = files,
                GivenValue::Stdin(stdin) => given.options.stdin = stdin,
                GivenValue::StdinEncoding(encoding) => given.options.stdin_encoding = encoding,
                GivenValue::Args(args) => given.options.args = args,
                GivenValue::Env(env) => given.options.env = env,
                GivenValue::Timeout(seconds) => given.options.timeout_seconds = seconds,
                GivenValue::Executor(executor) => given.options.executor = executor,
                GivenValue::Cache(cache) => given.options.cache = cache,
                GivenValue::Packages(packages) => given.options.packages = packages,
            }
        }
        // The order of the parameters is that of the files, whatever order the client has sent them in.
        let mut named = Vec::new();
        for parameter in self.0 {
            let ParameterKind::File(file) = parameter.kind else { continue };
            match given.named.iter().position(|(name, _)| *name == file) {
                Some(index) => named.push(given.named.swap_remove(index)),
                None if parameter.required => return Err(Error::missing_field(parameter.name)),
                None => {}
            }
        }
        Ok(GivenArguments { named, ..given })
    }
}

/// Looks a parameter up.
struct ParameterName(Table);

impl<'de> DeserializeSeed<'de> for ParameterName {
    type Value = &'static Parameter<'static>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for ParameterName {
    type Value = &'static Parameter<'static>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the name of a parameter")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let Self(Table(parameters)) = self;
        parameters.iter().find(|parameter| parameter.name == name).ok_or_else(|| E::unknown_field(name, &[]))
    }
}

/// Deserializes the value of a parameter, as the field of a generated struct is.
struct ParameterValue(&'static Parameter<'static>);

enum GivenValue {
    File(&'static str, Option<String>),
    Files(Vec<File>),
    Stdin(Option<String>),
    StdinEncoding(Encoding),
    Args(Vec<String>),
    Env(BTreeMap<String, String>),
    Timeout(Option<u64>),
    Executor(Option<Executor>),
    Cache(bool),
    Packages(Vec<String>),
}

impl<'de> DeserializeSeed<'de> for ParameterValue {
    type Value = GivenValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<GivenValue, D::Error> {
        match self.0.kind {
            ParameterKind::File(file) if self.0.required => {
                field::content(deserializer).map(|content| GivenValue::File(file, Some(content)))
            }
            ParameterKind::File(file) => {
                field::optional_content(deserializer).map(|content| GivenValue::File(file, content))
            }
            ParameterKind::Files => field::files(deserializer).map(GivenValue::Files),
            ParameterKind::Stdin => field::text(deserializer).map(GivenValue::Stdin),
            ParameterKind::StdinEncoding => field::encoding(deserializer).map(GivenValue::StdinEncoding),
            ParameterKind::Args => field::args(deserializer).map(GivenValue::Args),
            ParameterKind::Env => field::env(deserializer).map(GivenValue::Env),
            ParameterKind::Timeout => field::seconds(deserializer).map(GivenValue::Timeout),
            ParameterKind::Executor => field::executor(deserializer).map(GivenValue::Executor),
            ParameterKind::Cache => field::flag(deserializer).map(GivenValue::Cache),
            ParameterKind::Packages => field::packages(deserializer).map(GivenValue::Packages),
        }
    }
}

#[cfg(test)]
mod tests {

    use serde_json::json;

    use super::*;
    use crate::call::options::OfferedOptions;
    use crate::call::tool::Tool;

    #[test]
    fn table_answers_as_the_generated_struct_does() {
        let file = json!({"filename": "a/b.txt", "content": "c"});
        for given in [
            json!({}),
            json!({"main_go": "package main"}),
            json!({"main_go": "package main", "go_mod": "module m"}),
            json!({"go_mod": "module m", "files": [file], "main_go": "package main"}),
            json!({"main_go": "", "go_mod": "module m"}),
            json!({"main_go": 7, "go_mod": "module m"}),
            json!({"main_go": null, "go_mod": "module m"}),
            json!({"main.go": "package main", "go_mod": "module m"}),
            json!({"main_go": "1", "go_mod": "2", "colour": "red"}),
            json!({"main_go": "1", "go_mod": "2", "files": "a"}),
            json!({"main_go": "1", "go_mod": "2", "files": null}),
            json!({"main_go": "1", "go_mod": "2", "files": [{"filename": "a"}]}),
            json!({"main_go": "1", "go_mod": "2", "files": [{"filename": "../a", "content": ""}]}),
            json!({"main_go": "1", "go_mod": "2", "files": [{"filename": "main.go", "content": ""}]}),
            json!({"main_go": "1", "go_mod": "2", "executor": "derivation", "cache": true}),
            json!({"main_go": "1", "go_mod": "2", "executor": "docker"}),
            json!({"main_go": "1", "go_mod": "2", "packages": ["x", 7]}),
            json!({"main_go": "1", "stdin": "a", "args": ["b"], "env": {"C": "d"}, "timeout_seconds": 5}),
            json!({"main_go": "1", "stdin": "YQ==", "stdin_encoding": "base64", "go_mod": null}),
            json!({"stdin": 7, "args": "a", "env": {"C": 7}, "timeout_seconds": 61, "stdin_encoding": "x"}),
        ] {
            let tool = Tool::by_name("go").expect("the tool exists");
            let table: &'static Tool = Box::leak(Box::new(tool.by_table()));
            let Value::Object(arguments) = given else { unreachable!("arguments are an object") };
            let offered = OfferedOptions { executor: true, packages: Ok(()) };
            let of = |tool: &'static Tool| {
                let job = tool.job(arguments.clone(), offered);
                job.map(|job| (job.files.to_vec(), job.options)).map_err(|error| error.to_string())
            };
            assert_eq!(of(table), of(tool), "{arguments:?}");
        }
    }

    #[test]
    fn table_is_filled_from_a_command_line_as_the_struct_is() {
        for names in [&["main.go", "go.mod"][..], &["go.mod"], &["main.go", "go.mod", "other.go"], &[]] {
            let of = |by_table: bool| {
                let tool = Tool::by_name("go").expect("the tool exists");
                let tool = if by_table { Box::leak(Box::new(tool.by_table())) } else { tool };
                let mut files = NamedFiles::default();
                names.iter().for_each(|name| files.add((*name).to_owned(), format!("content of {name}").into(), false));
                let job = tool.job_of_files(files, RequestedOptions::default());
                job.map(|job| job.files.to_vec()).map_err(|error| error.to_string())
            };
            assert_eq!(of(true), of(false), "{names:?}");
        }
    }
}
