//! What a client may choose for a call besides the tool's own parameters, unless the operator has switched it off.
//!
//! They are named only to clients of a server with pinned environments: without those there is nothing to choose.

use serde_json::{Map, Value, json};

use crate::executor::Choice;
use crate::executor::derivation::Way;
use crate::package_list;
use crate::packages::{PackageError, Packages};
use crate::sandbox::PackageSet;
use crate::tool::{ArgumentError, kind};

const EXECUTOR: &str = "executor";
const CACHE: &str = "cache";
const PACKAGES: &str = "packages";

/// The choices of one call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallOptions {
    /// Instead of the server's own choice.
    pub executor: Option<Choice>,
    /// Whether the result of an earlier call that was the same will do. It is a derivation's.
    pub cache: bool,
    /// What the program has besides its tool's environment.
    pub packages: Packages,
}

/// Adds the options to the input schema of a tool that takes packages from these sets. A parameter of the tool's own keeps
/// its name.
pub fn describe(schema: &mut Map<String, Value>, sets: &[&PackageSet]) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    let executor = json!({
        "type": "string",
        "enum": ["namespace", "derivation"],
        "description": "How the command is carried out: at once (namespace), or as a derivation that Nix realises",
    });
    let cache = json!({
        "type": "boolean",
        "description": "Return the result of an earlier call that was the same, if Nix still has it; implies derivation",
    });
    // Their names would make a schema of some thousand words.
    let packages = json!({
        "type": "array",
        "items": { "type": "string" },
        "description": format!("Names of further packages for this call; the resource {} lists them", package_list::URI),
    });
    let has_packages = sets.iter().any(|set| !set.packages.is_empty());
    let options =
        [(EXECUTOR, executor), (CACHE, cache)].into_iter().chain(has_packages.then_some((PACKAGES, packages)));
    for (name, property) in options {
        properties.entry(name).or_insert(property);
    }
}

/// Takes the options out of the arguments of a call, whose tool takes packages from these sets. `schema` is the tool's own,
/// whose parameters they are not.
pub fn take(
    schema: &Value,
    sets: &[&'static PackageSet],
    arguments: &mut Map<String, Value>,
) -> Result<CallOptions, ArgumentError> {
    let mut option = |name: &str| match schema["properties"].get(name) {
        Some(_) => None,
        None => arguments.remove(name),
    };
    let wrong = |parameter: &str, expected, found: &'static str| {
        Err(ArgumentError::WrongType { parameter: parameter.to_owned(), expected, found })
    };
    let cache = match option(CACHE) {
        None | Some(Value::Null) => false,
        Some(Value::Bool(cache)) => cache,
        other => return wrong(CACHE, "a boolean", kind(other.as_ref())),
    };
    const EXPECTED: &str = "`namespace` or `derivation`";
    let executor = match option(EXECUTOR) {
        None | Some(Value::Null) if cache => Some(Choice::Derivation(Way::Daemon)),
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => match name.as_str() {
            "namespace" if cache => return wrong(EXECUTOR, "`derivation` with `cache`", "`namespace`"),
            "namespace" => Some(Choice::Namespace),
            "derivation" => Some(Choice::Derivation(Way::Daemon)),
            _ => return wrong(EXECUTOR, EXPECTED, "another string"),
        },
        other => return wrong(EXECUTOR, EXPECTED, kind(other.as_ref())),
    };
    let packages = match option(PACKAGES) {
        None | Some(Value::Null) => Packages::default(),
        Some(given) => Packages::choose(&names(given)?, sets, package_list::tools_with)?,
    };
    Ok(CallOptions { executor, cache, packages })
}

fn names(given: Value) -> Result<Vec<String>, ArgumentError> {
    const EXPECTED: &str = "an array of names";
    let wrong = |parameter: String, expected, found: &Value| ArgumentError::WrongType {
        parameter,
        expected,
        found: kind(Some(found)),
    };
    let Value::Array(items) = given else { return Err(wrong(PACKAGES.to_owned(), EXPECTED, &given)) };
    let name = |(index, item)| match item {
        Value::String(name) => Ok(name),
        other => Err(wrong(format!("{PACKAGES}[{index}]"), "a string", &other)),
    };
    items.into_iter().enumerate().map(name).collect()
}

/// Says why packages can't be had where calls have no options, for which each would be an unknown parameter.
pub fn refuse(schema: &Value, arguments: &Map<String, Value>) -> Result<(), ArgumentError> {
    match arguments.get(PACKAGES).filter(|_| schema["properties"].get(PACKAGES).is_none()) {
        None => Ok(()),
        Some(_) => Err(PackageError::None.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(arguments: Value) -> Result<(CallOptions, Value), String> {
        let Value::Object(mut arguments) = arguments else { unreachable!("arguments are an object") };
        let schema = json!({"properties": {"main_py": {}}});
        let options = take(&schema, &[], &mut arguments).map_err(|error| error.to_string())?;
        Ok((options, arguments.into()))
    }

    #[test]
    fn options_are_taken_and_the_tools_parameters_are_left() {
        let derivation = Some(Choice::Derivation(Way::Daemon));
        for (given, executor, cache) in [
            (json!({"main_py": "1"}), None, false),
            (json!({"main_py": "1", "executor": "namespace"}), Some(Choice::Namespace), false),
            (json!({"main_py": "1", "executor": "derivation"}), derivation, false),
            (json!({"main_py": "1", "cache": true}), derivation, true),
            (json!({"main_py": "1", "cache": false, "executor": null, "packages": null}), None, false),
            (json!({"main_py": "1", "packages": []}), None, false),
        ] {
            let options = CallOptions { executor, cache, packages: Packages::default() };
            assert_eq!(taken(given), Ok((options, json!({"main_py": "1"}))));
        }
    }

    #[test]
    fn options_of_a_wrong_shape_are_refused_with_what_they_must_be() {
        for (given, error) in [
            (json!({"executor": "direct"}), "`executor` must be `namespace` or `derivation`, but is another string"),
            (json!({"executor": 1}), "`executor` must be `namespace` or `derivation`, but is a number"),
            (json!({"cache": "yes"}), "`cache` must be a boolean, but is a string"),
            (json!({"cache": true, "executor": "namespace"}), "must be `derivation` with `cache`"),
            (json!({"packages": "lua"}), "`packages` must be an array of names, but is a string"),
            (json!({"packages": ["lua", 7]}), "`packages[1]` must be a string, but is a number"),
            (json!({"packages": ["lua"]}), "no package \"lua\""),
        ] {
            let refused = taken(given).unwrap_err();
            assert!(refused.contains(error), "{refused}");
        }
    }

    #[test]
    fn a_parameter_of_the_tools_own_keeps_its_name() {
        let own = json!({"properties": {"cache": {"type": "string"}}});
        let mut arguments = Map::from_iter([("cache".to_owned(), json!("text"))]);
        assert_eq!(take(&own, &[], &mut arguments), Ok(CallOptions::default()));
        assert_eq!(arguments["cache"], "text");
        let Value::Object(mut schema) = own.clone() else { unreachable!("it is an object") };
        describe(&mut schema, &[]);
        assert_eq!(schema["properties"]["cache"], own["properties"]["cache"]);
        assert_eq!(schema["properties"]["executor"]["type"], "string");
    }
}
