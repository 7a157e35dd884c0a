//! The tool table, and the way from a call's arguments to a job.

use std::fmt;
use std::path::Path;

use std::sync::Arc;

use serde_json::{Map, Value};

use sandbox_plan::plan::OUT;

use crate::call::argument_error::{ArgumentError, ArgumentErrors};
use crate::call::argument_table;
use crate::call::arguments::{self, Arguments, NamedFiles, RequestedOptions};
use crate::call::catalog::catalog;
use crate::call::definition::Sandbox;
use crate::call::file::{File, FileError};
use crate::call::job::Job;
use crate::call::lenient;
use crate::call::options::OfferedOptions;

/// The files and the options of a call.
type Parts = (Vec<File>, RequestedOptions);

/// A row of the tool table.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    pub sandbox: Sandbox,
    pub source: ToolSource,
    parser: ArgumentParser,
}

/// Where a tool is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolSource {
    /// In the manifest that the server was built from.
    BuiltIn,
    /// In a JSON config of the user's own, at this path.
    File(&'static Path),
}

impl fmt::Display for ToolSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// What makes files and options of arguments.
#[derive(Debug, Clone, Copy)]
enum ArgumentParser {
    /// The tool's struct, which was generated from its definition.
    Struct {
        /// Deserializes a client's arguments into it, and collects what is wrong with them.
        parse: fn(Map<String, Value>, &mut Vec<ArgumentError>) -> Option<Parts>,
        /// Fills it with what a command line names.
        fill: fn(NamedFiles, RequestedOptions) -> Result<Parts, ArgumentError>,
    },
    /// The table of the sandbox's parameters.
    Table,
}

impl Tool {
    /// Returns the row of the tool that has these arguments.
    pub const fn of<A: Arguments>() -> Self {
        Self {
            sandbox: A::SANDBOX,
            source: ToolSource::BuiltIn,
            parser: ArgumentParser::Struct {
                parse: |arguments, errors| {
                    let parsed = arguments::parse::<A>(arguments, errors)?;
                    arguments::parts_or_error(parsed.into_parts(), errors)
                },
                fill: |files, options| A::from_files(files, options)?.into_parts(),
            },
        }
    }

    /// Returns the tool of a sandbox that a file defines.
    pub(super) fn of_file(sandbox: Sandbox, path: &'static Path) -> Self {
        Self { sandbox, source: ToolSource::File(path), parser: ArgumentParser::Table }
    }

    /// Returns this tool, with the table of its parameters in place of its struct.
    #[cfg(test)]
    pub(super) fn by_table(self) -> Self {
        Self { parser: ArgumentParser::Table, ..self }
    }

    /// Returns the job of a call with a client's arguments.
    ///
    /// # Errors
    ///
    /// Fails with everything that is missing, wrong, or an option that clients are not offered.
    pub fn job(
        &'static self,
        mut arguments: Map<String, Value>,
        offered: OfferedOptions,
    ) -> Result<Job, ArgumentErrors> {
        let ignored = lenient::tidy(&mut arguments, self.sandbox.parameters);
        let mut errors = offered.take_others(&self.sandbox, &mut arguments);
        let parts = match self.parser {
            ArgumentParser::Struct { parse, .. } => parse(arguments, &mut errors),
            ArgumentParser::Table => argument_table::parse(&self.sandbox, arguments, &mut errors),
        };
        match parts.map(|parts| self.job_of(parts)) {
            Some(Ok(job)) if errors.is_empty() => Ok(Job { ignored, ..job }),
            Some(Err(error)) => {
                errors.push(error);
                Err(ArgumentErrors { errors, ignored })
            }
            _ => Err(ArgumentErrors { errors, ignored }),
        }
    }

    /// Returns the job of a call with files and options that a command line names.
    ///
    /// # Errors
    ///
    /// Fails as [`Tool::job`] does, with the first that is wrong.
    pub fn job_of_files(&'static self, files: NamedFiles, options: RequestedOptions) -> Result<Job, ArgumentError> {
        let parts = match self.parser {
            ArgumentParser::Struct { fill, .. } => fill(files, options),
            ArgumentParser::Table => argument_table::fill(&self.sandbox, files, options),
        }?;
        self.job_of(parts)
    }

    fn job_of(&'static self, (files, options): Parts) -> Result<Job, ArgumentError> {
        let workdir = Path::new(self.sandbox.workdir);
        if let Some(file) = files.iter().find(|file| workdir.join(file.name.as_path()) == Path::new(OUT)) {
            return Err(FileError::taken(&file.name, "the directory whose files are returned").into());
        }
        let (options, input) = options.resolve(&self.sandbox)?;
        let deadline = options.timeout.unwrap_or(self.sandbox.timeout);
        Ok(Job { options, deadline, input: Arc::new(input), ..Job::new(&self.sandbox, files) })
    }

    /// Returns the tool of this name.
    pub fn by_name(name: &str) -> Option<&'static Tool> {
        let index = catalog().tools.binary_search_by_key(&name, |tool| tool.sandbox.id).ok()?;
        Some(&catalog().tools[index])
    }

    /// Returns the names of the tools that have a pinned environment.
    pub(crate) fn pinned_names() -> Vec<&'static str> {
        let sandboxes = catalog().tools.iter().map(|tool| &tool.sandbox);
        sandboxes.filter(|sandbox| sandbox.environment.is_some()).map(|sandbox| sandbox.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::packages::NoPackages;
    use serde_json::json;

    fn files(tool: &str, arguments: Value) -> Result<Vec<File>, String> {
        let Value::Object(arguments) = arguments else { unreachable!("arguments are an object") };
        let offered = OfferedOptions { executor: false, packages: Err(NoPackages::SwitchedOff) };
        let job = Tool::by_name(tool).expect("the tool exists").job(arguments, offered);
        job.map(|job| job.files.to_vec()).map_err(|error| error.to_string())
    }

    #[test]
    fn table_is_sorted_and_lookups_find_every_tool() {
        assert!(catalog().tools.is_sorted_by_key(|tool| tool.sandbox.id));
        for tool in catalog().tools {
            assert_eq!(Tool::by_name(tool.sandbox.id).expect("it is listed").sandbox.id, tool.sandbox.id);
        }
        assert!(Tool::by_name("perl").is_none());
    }

    #[test]
    fn table_names_the_entrypoint_first_and_every_option() {
        for Tool { sandbox, .. } in catalog().tools {
            assert_eq!(sandbox.named_files().next().expect("an entrypoint").1, sandbox.entrypoint);
            let names: Vec<_> = sandbox.parameters.iter().map(|parameter| parameter.name).collect();
            let options =
                ["stdin", "stdin_encoding", "args", "env", "timeout_seconds", "executor", "cache", "packages"];
            assert!(names.ends_with(&[&["files"], &options[..]].concat()), "{names:?}");
        }
    }

    #[test]
    fn files_are_ordered_entrypoint_required_additional() {
        let given = json!({
            "go_mod": "module m", "main_go": "package main",
            "files": [{"filename": "a/b.go", "content": "package a"}],
        });
        let names: Vec<_> =
            files("go", given).unwrap().iter().map(|file| file.name.as_path().display().to_string()).collect();
        assert_eq!(names, ["main.go", "go.mod", "a/b.go"]);
    }

    #[test]
    fn required_file_missing_or_wrong_is_refused_by_name() {
        for (given, found) in
            [(json!({}), "missing"), (json!({"main_py": ""}), "empty"), (json!({"main_py": 7}), "a number")]
        {
            let error = files("python", given).unwrap_err();
            assert!(error.starts_with("main.py file is required") && error.ends_with(found), "{error}");
        }
        assert!(files("go", json!({"go_mod": "module m"})).unwrap_err().starts_with("main.go file is required"));
    }

    #[test]
    fn optional_file_is_left_out_or_given_in_either_way() {
        for (given, count) in [
            (json!({"main_go": "package main"}), 1),
            (json!({"main_go": "package main", "go_mod": null}), 1),
            (json!({"main_go": "package main", "go_mod": "module m"}), 2),
            (json!({"main_go": "package main", "files": {"go.mod": "module m"}}), 2),
        ] {
            assert_eq!(files("go", given).unwrap().len(), count);
        }
    }

    #[test]
    fn file_that_is_the_program_replaces_the_entrypoint() {
        let cargo = json!({"Cargo.toml": "", "src/main.rs": "fn main() {}"});
        let given = files("rust", json!({"files": cargo})).unwrap();
        assert_eq!(given.len(), 2, "main.rs is not written");
        let error = files("rust", json!({"main_rs": "fn main() {}", "files": cargo})).unwrap_err();
        assert!(
            error.contains("`main_rs`") && error.contains("\"src/main.rs\"") && error.contains("only one"),
            "{error}"
        );
        assert!(files("rust", json!({"files": {"a.rs": ""}})).unwrap_err().starts_with("main.rs file is required"));
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let error = files(
            "python",
            json!({"args": 7, "env": {"A": null}, "timeout_seconds": 0, "main.py": "1", "packages": ["x"]}),
        );
        let error = error.unwrap_err();
        for part in
            ["main_py", "`args`", "`env.A`", "`timeout_seconds`", "`main.py`", "did you mean `main_py`", "packages"]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn entrypoint_left_out_is_replaced_by_another_file() {
        let typescript = json!([{"filename": "index.ts", "content": "let x: number"}]);
        for mut given in [json!({}), json!({"index_js": ""}), json!({"index_js": null})] {
            given["files"] = typescript.clone();
            let files = files("javascript", given).unwrap();
            assert_eq!(
                (files[0].name.as_path(), &*files[0].content),
                (Path::new("index.js"), &b"import(\"./index.ts\");\n"[..])
            );
        }
        let both = files("javascript", json!({"index_js": "1", "files": typescript})).unwrap();
        assert_eq!(both[0].content, b"1");
        let other = json!({"files": [{"filename": "other.ts", "content": ""}]});
        assert!(files("javascript", other).unwrap_err().starts_with("index.js file is required"));
    }

    #[test]
    fn additional_files_of_wrong_type_are_refused_with_path() {
        for (given, error) in [
            (json!("a"), "parameter `files` must be an array of {filename, content}, but is a string"),
            (json!(["a"]), "parameter `files[0]` must be an object of filename and content, but is a string"),
            (json!([{"filename": "a"}]), "parameter `files[0].content` must be a string, but is missing"),
            (
                json!([{"filename": "a", "content": "", "encoding": "hex"}]),
                "parameter `files[0].encoding` must be `utf-8` or `base64`",
            ),
            (
                json!([{"filename": "a", "content": "%", "encoding": "base64"}]),
                "the content of file \"a\" is not base64",
            ),
        ] {
            let refused = files("python", json!({"main_py": "1", "files": given})).unwrap_err();
            assert!(refused.starts_with(error), "{refused}");
        }
    }

    #[test]
    fn file_named_like_the_artifact_directory_is_refused() {
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
    fn unknown_parameter_is_ignored_and_told() {
        let Value::Object(arguments) = json!({"main_py": "1", "main.py": "2"}) else { unreachable!() };
        let offered = OfferedOptions { executor: false, packages: Ok(()) };
        let job = Tool::by_name("python").unwrap().job(arguments, offered).unwrap();
        let words: Vec<String> = job.ignored.iter().map(ToString::to_string).collect();
        assert_eq!(words, ["unknown parameter `main.py` was ignored; did you mean `main_py`?"]);
    }
}
