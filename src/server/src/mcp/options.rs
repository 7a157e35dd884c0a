//! What a client may choose for a call besides the tool's own parameters, unless the operator has switched it off.
//!
//! They are named only to clients of a server with pinned environments: without those there is nothing to choose.

use serde_json::{Map, Value, json};

use crate::call::choice::Executor;
use crate::call::definition::Sandbox;
use crate::call::job::CallOptions;
use crate::call::package_list;
use crate::call::packages::{NoPackages, PackageError, Packages};
use crate::call::tool::{ArgumentError, kind};
use crate::executor::derivation;

const EXECUTOR: &str = "executor";
const CACHE: &str = "cache";
const PACKAGES: &str = "packages";

/// Adds the options to the input schema of a tool, as far as it has them. A parameter of the tool's own keeps its name.
pub fn describe(schema: &mut Map<String, Value>, sandbox: &Sandbox) {
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
    let has_packages = sandbox.package_sets.iter().any(|set| !set.packages.is_empty());
    let by_nix = [(EXECUTOR, executor), (CACHE, cache)].into_iter().filter(|_| derivation::check(sandbox).is_ok());
    for (name, property) in by_nix.chain(has_packages.then_some((PACKAGES, packages))) {
        properties.entry(name).or_insert(property);
    }
}

/// Takes the options out of the arguments of a call of a tool. `schema` is the tool's own, whose parameters they are not.
pub fn take(
    schema: &Value,
    sandbox: &Sandbox,
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
    let by_nix = derivation::check(sandbox).is_ok();
    const NETWORK: &str = "left out, because the tool has network access, which Nix's build sandbox can't give";
    if cache && !by_nix {
        return wrong(CACHE, NETWORK, "`true`");
    }
    const EXPECTED: &str = "`namespace` or `derivation`";
    let executor = match option(EXECUTOR) {
        None | Some(Value::Null) if cache => Some(Executor::Derivation),
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => match name.as_str() {
            "namespace" if cache => return wrong(EXECUTOR, "`derivation` with `cache`", "`namespace`"),
            "namespace" => Some(Executor::Namespace),
            "derivation" if !by_nix => return wrong(EXECUTOR, NETWORK, "`derivation`"),
            "derivation" => Some(Executor::Derivation),
            _ => return wrong(EXECUTOR, EXPECTED, "another string"),
        },
        other => return wrong(EXECUTOR, EXPECTED, kind(other.as_ref())),
    };
    let packages = match option(PACKAGES) {
        None | Some(Value::Null) => Packages::default(),
        Some(given) => Packages::choose(&names(given)?, sandbox.package_sets, package_list::tools_with)?,
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

/// Takes out of the arguments of a call what asks for no option, where calls have none, and says why packages can't be
/// had. Any other option is an unknown parameter there.
pub fn refuse(schema: &Value, arguments: &mut Map<String, Value>, why: NoPackages) -> Result<(), ArgumentError> {
    for name in [EXECUTOR, CACHE, PACKAGES].into_iter().filter(|name| schema["properties"].get(name).is_none()) {
        // What clients send for a parameter that they leave out.
        if arguments.get(name).is_some_and(|given| given.is_null() || *given == json!(false) || *given == json!([])) {
            arguments.remove(name);
        } else if name == PACKAGES && arguments.contains_key(name) {
            return Err(PackageError::None(why).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::tool::Tool;

    fn sandbox(tool: &str) -> &'static Sandbox {
        &Tool::by_name(tool).expect("the tool exists").sandbox
    }

    fn taken(arguments: Value) -> Result<(CallOptions, Value), String> {
        let Value::Object(mut arguments) = arguments else { unreachable!("arguments are an object") };
        let schema = json!({"properties": {"main_py": {}}});
        let options = take(&schema, sandbox("python"), &mut arguments).map_err(|error| error.to_string())?;
        Ok((options, arguments.into()))
    }

    #[test]
    fn options_are_taken_and_the_tools_parameters_are_left() {
        let derivation = Some(Executor::Derivation);
        for (given, executor, cache) in [
            (json!({"main_py": "1"}), None, false),
            (json!({"main_py": "1", "executor": "namespace"}), Some(Executor::Namespace), false),
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
        assert_eq!(take(&own, sandbox("python"), &mut arguments), Ok(CallOptions::default()));
        assert_eq!(arguments["cache"], "text");
        let Value::Object(mut schema) = own.clone() else { unreachable!("it is an object") };
        describe(&mut schema, sandbox("python"));
        assert_eq!(schema["properties"]["cache"], own["properties"]["cache"]);
        assert_eq!(schema["properties"]["executor"]["type"], "string");
    }

    #[test]
    fn a_tool_with_network_is_neither_offered_nor_given_what_nix_cannot_run() {
        let mut schema = json!({"properties": {"main_sh": {}}});
        describe(schema.as_object_mut().unwrap(), sandbox("network-tools"));
        assert!(schema["properties"].get(EXECUTOR).is_none() && schema["properties"].get(CACHE).is_none());
        let take = |given: Value| {
            take(&json!({}), sandbox("network-tools"), &mut given.as_object().unwrap().clone())
                .map(|options| options.executor)
                .map_err(|error| error.to_string())
        };
        assert_eq!(take(json!({"executor": "namespace", "cache": false})), Ok(Some(Executor::Namespace)));
        for given in [json!({"executor": "derivation"}), json!({"cache": true})] {
            let refused = take(given).unwrap_err();
            assert!(refused.contains("must be left out") && refused.contains("network"), "{refused}");
        }
    }

    #[test]
    fn where_calls_have_no_options_one_that_asks_for_nothing_is_taken() {
        let schema = json!({"properties": {"main_py": {}}});
        let refused = |given: Value| {
            let mut arguments = given.as_object().unwrap().clone();
            refuse(&schema, &mut arguments, NoPackages::Direct)
                .map(|()| arguments.len())
                .map_err(|error| error.to_string())
        };
        assert_eq!(refused(json!({"packages": null, "executor": null, "cache": null})), Ok(0));
        assert_eq!(refused(json!({"packages": [], "cache": false})), Ok(0));
        assert_eq!(refused(json!({"executor": "namespace"})), Ok(1), "an unknown parameter");
        let error = refused(json!({"packages": ["jq"]})).unwrap_err();
        assert!(error.contains("`--executor direct`") && error.contains("leave the parameter out"), "{error}");
    }
}
