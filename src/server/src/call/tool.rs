//! The tool table, and the way from a call's arguments to a job.

use std::path::Path;

use serde_json::{Map, Value};

use sandbox_plan::plan::OUT;

use crate::call::argument_error::ArgumentError;
use crate::call::arguments::{self, Arguments, NamedFiles, RequestedOptions};
use crate::call::catalog::catalog;
use crate::call::definition::Sandbox;
use crate::call::file::{File, FileError};
use crate::call::job::Job;
use crate::call::options::OfferedOptions;

/// The files and the options of a call.
type Parts = (Vec<File>, RequestedOptions);

/// A row of the tool table.
#[derive(Debug)]
pub struct Tool {
    pub sandbox: Sandbox,
    /// Deserializes a client's arguments into the tool's struct.
    parse: fn(Map<String, Value>) -> Result<Parts, ArgumentError>,
    /// Fills the tool's struct with files that a command line names.
    fill: fn(NamedFiles, Vec<String>) -> Result<Parts, ArgumentError>,
}

impl Tool {
    /// Returns the row of the tool that has these arguments.
    pub const fn of<A: Arguments>() -> Self {
        Self {
            sandbox: A::SANDBOX,
            parse: |arguments| arguments::parse::<A>(arguments)?.into_parts(),
            fill: |files, packages| A::from_files(files, packages)?.into_parts(),
        }
    }

    /// Returns the job of a call with a client's arguments.
    ///
    /// # Errors
    ///
    /// Fails if an argument is missing, wrong, unknown, or an option that clients are not offered.
    pub fn job(&'static self, arguments: Map<String, Value>, offered: OfferedOptions) -> Result<Job, ArgumentError> {
        offered.check(&self.sandbox, &arguments)?;
        self.job_of((self.parse)(arguments)?)
    }

    /// Returns the job of a call with files and packages that a command line names.
    ///
    /// # Errors
    ///
    /// Fails as [`Tool::job`] does.
    pub fn job_of_files(&'static self, files: NamedFiles, packages: Vec<String>) -> Result<Job, ArgumentError> {
        self.job_of((self.fill)(files, packages)?)
    }

    fn job_of(&'static self, (files, options): Parts) -> Result<Job, ArgumentError> {
        let workdir = Path::new(self.sandbox.workdir);
        if let Some(file) = files.iter().find(|file| workdir.join(file.name.as_path()) == Path::new(OUT)) {
            return Err(FileError::taken(&file.name, "the directory whose files are returned").into());
        }
        Ok(Job { options: options.resolve(&self.sandbox)?, ..Job::new(&self.sandbox, files) })
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
            assert_eq!(sandbox.required_files().next().expect("an entrypoint").1, sandbox.entrypoint);
            let names: Vec<_> = sandbox.parameters.iter().map(|parameter| parameter.name).collect();
            assert!(names.ends_with(&["files", "executor", "cache", "packages"]), "{names:?}");
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
        assert!(files("go", json!({"main_go": "package main"})).unwrap_err().starts_with("go.mod file is required"));
    }

    #[test]
    fn entrypoint_left_out_is_replaced_by_another_file() {
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
    fn additional_files_of_wrong_type_are_refused_with_path() {
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
    fn unknown_parameter_is_refused_by_its_name() {
        let error = files("python", json!({"main_py": "1", "main.py": "2"})).unwrap_err();
        assert!(error.contains("`main.py`"), "{error}");
    }
}
