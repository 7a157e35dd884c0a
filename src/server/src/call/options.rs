//! The options of a call: which ones the operator offers to clients, and what a call's arguments make of them.

use std::time::Duration;

use serde_json::{Map, Value};

use sandbox_manifest::parameter::{Parameter, ParameterKind};

use crate::call::argument_error::ArgumentError;
use crate::call::arguments::RequestedOptions;
use crate::call::choice::Executor;
use crate::call::definition::Sandbox;
use crate::call::job::CallOptions;
use crate::call::package_list;
use crate::call::packages::{NoPackages, PackageError, Packages};
use crate::call::program_input::ProgramInput;

/// The options that clients are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferedOptions {
    /// `executor` and `cache`.
    pub executor: bool,
    /// `packages`, or why they are not offered.
    pub packages: Result<(), NoPackages>,
}

impl OfferedOptions {
    /// Returns the parameters of a sandbox that clients are told of.
    pub fn parameters(self, sandbox: &Sandbox) -> impl Iterator<Item = &'static Parameter<'static>> {
        let (by_nix, packages) = (sandbox.can_run_by_nix(), sandbox.has_packages());
        sandbox.parameters.iter().filter(move |parameter| match parameter.kind {
            ParameterKind::Executor | ParameterKind::Cache => self.executor && by_nix,
            ParameterKind::Packages => self.packages.is_ok() && packages,
            _ => true,
        })
    }

    /// Takes out options that clients are not offered, and returns an error for each, unless its value is what some clients
    /// send for a parameter that they leave out: `null`, `false` or an empty list.
    pub(super) fn take_others(self, sandbox: &Sandbox, arguments: &mut Map<String, Value>) -> Vec<ArgumentError> {
        let mut errors = Vec::new();
        for parameter in sandbox.parameters {
            let error = match (parameter.kind, self.packages) {
                (ParameterKind::Packages, Err(reason)) => ArgumentError::Package(PackageError::None(reason)),
                (ParameterKind::Executor | ParameterKind::Cache, _) if !self.executor => {
                    ArgumentError::NotOffered { parameter: parameter.name }
                }
                _ => continue,
            };
            match arguments.remove(parameter.name) {
                None | Some(Value::Null | Value::Bool(false)) => {}
                Some(Value::Array(items)) if items.is_empty() => {}
                Some(_) => errors.push(error),
            }
        }
        errors
    }
}

impl RequestedOptions {
    /// Returns the options of a call of this sandbox, and what the program is given.
    ///
    /// # Errors
    ///
    /// Fails if two options contradict each other, if Nix cannot carry out the sandbox's calls, if a package is unknown, if
    /// the time is too long, and as [`ProgramInput::of`] does.
    pub(super) fn resolve(mut self, sandbox: &Sandbox) -> Result<(CallOptions, ProgramInput), ArgumentError> {
        const BY_NIX: Executor = Executor::Derivation;
        const NETWORK: &str = "left out, because the tool has network access, which Nix's build sandbox can't give";
        let wrong = |parameter: &str, expected: &str, found| {
            Err(ArgumentError::WrongValue { parameter: parameter.to_owned(), expected: expected.to_owned(), found })
        };
        let by_nix = sandbox.can_run_by_nix();
        let executor = match self.executor {
            _ if self.cache && !by_nix => return wrong("cache", NETWORK, "`true`"),
            Some(BY_NIX) if !by_nix => return wrong("executor", NETWORK, "`derivation`"),
            Some(Executor::Namespace) if self.cache => {
                return wrong("executor", "`derivation` with `cache`", "`namespace`");
            }
            None if self.cache => Some(BY_NIX),
            executor => executor,
        };
        let packages = Packages::choose(&self.packages, sandbox.package_sets, package_list::tools_with)?;
        if let Some(seconds) = self.timeout_seconds.filter(|seconds| Duration::from_secs(*seconds) > sandbox.timeout) {
            return Err(ArgumentError::Timeout { seconds, longest: sandbox.timeout.as_secs() });
        }
        let timeout = self.timeout_seconds.map(Duration::from_secs);
        let input = ProgramInput::of(&mut self, sandbox, &packages)?;
        Ok((CallOptions { executor, cache: self.cache, packages, timeout }, input))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::call::tool::Tool;

    const ALL: OfferedOptions = OfferedOptions { executor: true, packages: Ok(()) };
    const NONE: OfferedOptions = OfferedOptions { executor: false, packages: Err(NoPackages::Direct) };

    fn options(tool: &str, offered: OfferedOptions, mut arguments: Value) -> Result<CallOptions, String> {
        let tool = Tool::by_name(tool).expect("the tool exists");
        for (parameter, _) in tool.sandbox.named_files() {
            arguments[parameter] = "1".into();
        }
        let Value::Object(arguments) = arguments else { unreachable!("arguments are an object") };
        tool.job(arguments, offered).map(|job| job.options).map_err(|error| error.to_string())
    }

    #[test]
    fn options_of_a_call_are_parsed_and_have_defaults() {
        let derivation = Some(Executor::Derivation);
        for (given, executor, cache) in [
            (json!({}), None, false),
            (json!({"executor": "namespace"}), Some(Executor::Namespace), false),
            (json!({"executor": "derivation"}), derivation, false),
            (json!({"cache": true}), derivation, true),
            (json!({"cache": true, "executor": "derivation"}), derivation, true),
            (json!({"cache": false, "executor": null, "packages": null}), None, false),
            (json!({"packages": []}), None, false),
        ] {
            let expected = CallOptions { executor, cache, packages: Packages::default(), timeout: None };
            assert_eq!(options("python", ALL, given), Ok(expected));
        }
    }

    #[test]
    fn option_of_a_wrong_type_or_value_is_refused() {
        for (given, error) in [
            (json!({"executor": "direct"}), "`executor` must be `namespace` or `derivation`, but is another string"),
            (json!({"executor": 1}), "`executor` must be `namespace` or `derivation`, but is a number"),
            (json!({"cache": "yes"}), "`cache` must be a boolean, but is a string"),
            (json!({"timeout_seconds": 61}), "`timeout_seconds` must be at most 60 here, but is 61"),
            (json!({"timeout_seconds": 1.5}), "`timeout_seconds` must be a whole number of seconds, at least 1"),
            (json!({"timeout_seconds": -1}), "`timeout_seconds` must be a whole number of seconds, at least 1"),
            (json!({"stdin": 7}), "`stdin` must be a string, but is a number"),
            (json!({"args": "-n 3"}), "`args` must be an array of strings, but is a string"),
            (json!({"env": ["A"]}), "`env` must be an object of strings, but is an array"),
            (json!({"cache": true, "executor": "namespace"}), "must be `derivation` with `cache`"),
            (json!({"packages": "lua"}), "`packages` must be an array of names, but is a string"),
            (json!({"packages": ["lua", 7]}), "`packages[1]` must be a string, but is a number"),
            (json!({"packages": ["no-such-package"]}), "no package \"no-such-package\""),
        ] {
            let refused = options("python", ALL, given).unwrap_err();
            assert!(refused.contains(error), "{refused}");
        }
    }

    #[test]
    fn tool_with_network_is_not_offered_what_nix_runs() {
        let tool = Tool::by_name("network-tools").expect("the tool exists");
        let is_by_nix =
            |parameter: &Parameter| matches!(parameter.kind, ParameterKind::Executor | ParameterKind::Cache);
        assert!(!ALL.parameters(&tool.sandbox).any(is_by_nix));
        let executor = |given| options("network-tools", ALL, given).map(|options| options.executor);
        assert_eq!(executor(json!({"executor": "namespace", "cache": false})), Ok(Some(Executor::Namespace)));
        for given in [json!({"executor": "derivation"}), json!({"cache": true})] {
            let refused = executor(given).unwrap_err();
            assert!(refused.contains("must be left out") && refused.contains("network"), "{refused}");
        }
    }

    #[test]
    fn option_that_is_not_offered_is_refused_unless_empty() {
        for given in
            [json!({"packages": null, "executor": null, "cache": null}), json!({"packages": [], "cache": false})]
        {
            assert_eq!(options("python", NONE, given), Ok(CallOptions::default()));
        }
        for (given, part) in [
            (json!({"executor": "namespace"}), "`executor`"),
            (json!({"executor": 7}), "`executor`"),
            (json!({"cache": true}), "`--call-options`"),
            (json!({"packages": ["jq"]}), "`--executor direct`"),
            (json!({"packages": ["jq"]}), "leave the parameter out"),
        ] {
            let refused = options("python", NONE, given).unwrap_err();
            assert!(refused.contains(part), "{refused}");
        }
    }
}
