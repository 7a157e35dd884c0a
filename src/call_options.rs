//! What a client may choose for a call besides the tool's own parameters, unless the operator has switched it off.
//!
//! They are named only to clients of a server with pinned environments: without those there is nothing to choose.

use serde_json::{Map, Value, json};

use crate::executor::Choice;
use crate::executor::derivation::Way;
use crate::tool::{ArgumentError, kind};

const EXECUTOR: &str = "executor";
const CACHE: &str = "cache";

/// The choices of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallOptions {
    /// Instead of the server's own choice.
    pub executor: Option<Choice>,
    /// Whether the result of an earlier call that was the same will do. It is a derivation's.
    pub cache: bool,
}

/// Adds the options to a tool's input schema. A parameter of the tool's own keeps its name.
pub fn describe(schema: &mut Map<String, Value>) {
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
    for (name, property) in [(EXECUTOR, executor), (CACHE, cache)] {
        properties.entry(name).or_insert(property);
    }
}

/// Takes the options out of a call's arguments. `schema` is the tool's own, whose parameters they are not.
pub fn take(schema: &Value, arguments: &mut Map<String, Value>) -> Result<CallOptions, ArgumentError> {
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
    Ok(CallOptions { executor, cache })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(arguments: Value) -> Result<(CallOptions, Value), String> {
        let Value::Object(mut arguments) = arguments else { unreachable!("arguments are an object") };
        let schema = json!({"properties": {"main_py": {}}});
        let options = take(&schema, &mut arguments).map_err(|error| error.to_string())?;
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
            (json!({"main_py": "1", "cache": false, "executor": null}), None, false),
        ] {
            assert_eq!(taken(given), Ok((CallOptions { executor, cache }, json!({"main_py": "1"}))));
        }
    }

    #[test]
    fn options_of_a_wrong_shape_are_refused_with_what_they_must_be() {
        for (given, error) in [
            (json!({"executor": "direct"}), "`executor` must be `namespace` or `derivation`, but is another string"),
            (json!({"executor": 1}), "`executor` must be `namespace` or `derivation`, but is a number"),
            (json!({"cache": "yes"}), "`cache` must be a boolean, but is a string"),
            (json!({"cache": true, "executor": "namespace"}), "must be `derivation` with `cache`"),
        ] {
            let refused = taken(given).unwrap_err();
            assert!(refused.contains(error), "{refused}");
        }
    }

    #[test]
    fn a_parameter_of_the_tools_own_keeps_its_name() {
        let own = json!({"properties": {"cache": {"type": "string"}}});
        let mut arguments = Map::from_iter([("cache".to_owned(), json!("text"))]);
        assert_eq!(take(&own, &mut arguments), Ok(CallOptions::default()));
        assert_eq!(arguments["cache"], "text");
        let Value::Object(mut schema) = own.clone() else { unreachable!("it is an object") };
        describe(&mut schema);
        assert_eq!(schema["properties"]["cache"], own["properties"]["cache"]);
        assert_eq!(schema["properties"]["executor"]["type"], "string");
    }
}
