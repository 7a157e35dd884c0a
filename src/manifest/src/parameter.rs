//! The parameters of a tool, from which its struct of arguments and its input schema are generated.

use serde_json::{Map, Value, json};

/// The URI of the resource that lists the packages on demand.
pub const PACKAGES_URI: &str = "sandbox-mcp://packages";

/// One parameter of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'a> {
    pub name: &'a str,
    pub kind: ParameterKind<'a>,
    pub description: &'a str,
}

/// The value that a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind<'a> {
    /// The content of the file of this name, which the tool requires.
    File(&'a str),
    /// Additional files with their names.
    Files,
    /// The executor of the call.
    Executor,
    /// Whether the result of an earlier, identical call may be returned.
    Cache,
    /// The names of packages to add to the environment for this call.
    Packages,
}

impl Parameter<'_> {
    /// Returns whether every call must have this parameter.
    pub fn is_required(&self) -> bool {
        matches!(self.kind, ParameterKind::File(_))
    }

    /// Returns the JSON schema of the parameter's value.
    fn schema(&self) -> Value {
        let mut schema = match self.kind {
            ParameterKind::File(_) => json!({ "type": "string" }),
            ParameterKind::Files => json!({
                "type": "array",
                "items": object([
                    ("filename", json!({ "type": "string" }), true),
                    ("content", json!({ "type": "string" }), true),
                ]),
            }),
            ParameterKind::Executor => json!({ "type": "string", "enum": ["namespace", "derivation"] }),
            ParameterKind::Cache => json!({ "type": "boolean" }),
            ParameterKind::Packages => json!({ "type": "array", "items": { "type": "string" } }),
        };
        schema["description"] = self.description.into();
        schema
    }
}

/// Returns the JSON schema of an object that has these parameters and no others.
pub fn input_schema<'a>(parameters: impl IntoIterator<Item = &'a Parameter<'a>>) -> Map<String, Value> {
    object(parameters.into_iter().map(|parameter| (parameter.name, parameter.schema(), parameter.is_required())))
}

/// Returns the schema of an object with these properties: the name, the schema, and whether it is required.
fn object<'a>(properties: impl IntoIterator<Item = (&'a str, Value, bool)>) -> Map<String, Value> {
    let (mut schemas, mut required) = (Map::new(), Vec::new());
    for (name, schema, is_required) in properties {
        schemas.insert(name.to_owned(), schema);
        if is_required {
            required.push(name);
        }
    }
    let members = [
        ("type", "object".into()),
        ("properties", schemas.into()),
        ("required", required.into()),
        ("additionalProperties", false.into()),
    ];
    members.into_iter().map(|(name, value): (&str, Value)| (name.to_owned(), value)).collect()
}
