//! The parameters of a tool, from which its struct of arguments and its input schema are generated.

use serde_json::{Map, Value, json};

/// The URI of the resource that lists the packages on demand.
pub const PACKAGES_URI: &str = "sandbox-mcp://packages";

/// How bytes are written in a string: as they are, or in base64.
pub const ENCODINGS: [&str; 2] = ["utf-8", "base64"];

/// One parameter of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'a> {
    pub name: &'a str,
    pub kind: ParameterKind<'a>,
    /// Whether every call must have it.
    pub required: bool,
    pub description: &'a str,
}

/// The value that a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind<'a> {
    /// The content of the file of this name.
    File(&'a str),
    /// Additional files with their names.
    Files,
    /// What the program reads from its standard input.
    Stdin,
    /// How that is written.
    StdinEncoding,
    /// Arguments of the program.
    Args,
    /// Environment variables of the program.
    Env,
    /// How many seconds the program may run.
    Timeout,
    /// The executor of the call.
    Executor,
    /// Whether the result of an earlier, identical call may be returned.
    Cache,
    /// The names of packages to add to the environment for this call.
    Packages,
}

impl Parameter<'_> {
    /// Returns the JSON schema of the parameter's value. `longest` is the most seconds that a program may run.
    fn schema(&self, longest: u64) -> Value {
        let encoding = || json!({ "type": "string", "enum": ENCODINGS });
        let mut schema = match self.kind {
            ParameterKind::File(_) | ParameterKind::Stdin => json!({ "type": "string" }),
            ParameterKind::Files => json!({
                "type": "array",
                "items": object([
                    ("filename", json!({ "type": "string" }), true),
                    ("content", json!({ "type": "string" }), true),
                    ("encoding", encoding(), false),
                    ("executable", json!({ "type": "boolean" }), false),
                ]),
            }),
            ParameterKind::StdinEncoding => encoding(),
            ParameterKind::Args => json!({ "type": "array", "items": { "type": "string" } }),
            ParameterKind::Env => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
            ParameterKind::Timeout => json!({ "type": "integer", "minimum": 1, "maximum": longest }),
            ParameterKind::Executor => json!({ "type": "string", "enum": ["namespace", "derivation"] }),
            ParameterKind::Cache => json!({ "type": "boolean" }),
            ParameterKind::Packages => json!({ "type": "array", "items": { "type": "string" } }),
        };
        if !self.description.is_empty() {
            schema["description"] = self.description.into();
        }
        schema
    }
}

/// Returns the JSON schema of an object that has these parameters. `longest` is the most seconds that a program may run.
pub fn input_schema<'a>(parameters: impl IntoIterator<Item = &'a Parameter<'a>>, longest: u64) -> Map<String, Value> {
    object(parameters.into_iter().map(|parameter| (parameter.name, parameter.schema(longest), parameter.required)))
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
    // Other properties are ignored, so that no schema forbids them.
    let members = [("type", "object".into()), ("properties", schemas.into()), ("required", required.into())];
    members.into_iter().map(|(name, value): (&str, Value)| (name.to_owned(), value)).collect()
}
