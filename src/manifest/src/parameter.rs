//! The parameters of a tool, from which its struct of arguments and its input schema are generated.

use serde_json::{Map, Value, json};

use crate::{Definition, ParameterFile};

/// The URI of the resource that lists the packages on demand.
pub const PACKAGES_URI: &str = "sandbox-mcp://packages";

/// How bytes are written in a string: as they are, or in base64.
pub const ENCODINGS: [&str; 2] = ["utf-8", "base64"];

/// The parameter that takes additional files.
const FILES: &str = "files";

/// The parameters that every tool has, and that no file is: their names, which are those of the fields of the server's
/// `RequestedOptions`.
pub(crate) const OPTIONS: [(&str, ParameterKind); 8] = [
    ("stdin", ParameterKind::Stdin),
    ("stdin_encoding", ParameterKind::StdinEncoding),
    ("args", ParameterKind::Args),
    ("env", ParameterKind::Env),
    ("timeout_seconds", ParameterKind::Timeout),
    ("executor", ParameterKind::Executor),
    ("cache", ParameterKind::Cache),
    ("packages", ParameterKind::Packages),
];

/// A parameter as a definition gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterSpec<'a> {
    pub name: String,
    pub kind: ParameterKind<'a>,
    /// Whether every call must have it.
    pub required: bool,
    pub description: String,
}

/// Returns the parameters of a tool: the entrypoint, the required files, additional files, and the options of a call. A
/// parameter of a file replaces an option of the same name.
///
/// # Errors
///
/// Fails if the parameter of a file is taken. The error is the key below the definition, and the reason.
pub fn parameters(definition: &Definition) -> Result<Vec<ParameterSpec<'_>>, (&'static str, String)> {
    let entrypoint = &definition.entrypoint;
    let code = match &definition.command[..] {
        // The tool's description says what an agent has to know of it.
        [shell, option, _script] if shell == "sh" && option == "-c" => format!("Code, saved as `{entrypoint}` and run"),
        command => format!("Code, saved as `{entrypoint}` and run by `{}`", command.join(" ")),
    };
    let mut files = vec![("entrypoint", &**entrypoint, definition.instead.is_empty(), code)];
    files.extend(definition.parameters.files.iter().map(|ParameterFile { name, description, optional }| {
        ("parameters.files", &**name, !optional, description.clone())
    }));
    let mut all: Vec<ParameterSpec> = Vec::new();
    for (key, file, required, description) in files {
        let name = file.replace('.', "_");
        if name == FILES || all.iter().any(|other| other.name == name) {
            return Err((key, format!("the file `{file}` gives the parameter `{name}`, which is taken")));
        }
        all.push(ParameterSpec { name, kind: ParameterKind::File(file), required, description });
    }
    let files = definition.parameters.additional_files.then_some((FILES, ParameterKind::Files));
    for (name, kind) in files.into_iter().chain(OPTIONS) {
        if all.iter().all(|other| other.name != name) {
            let (name, description) = (name.to_owned(), description(kind));
            all.push(ParameterSpec { name, kind, required: false, description });
        }
    }
    Ok(all)
}

/// Returns what a client is told of an option. It is empty where the name and the type say it all.
fn description(kind: ParameterKind) -> String {
    match kind {
        ParameterKind::Files => "Further files".to_owned(),
        ParameterKind::Args => "Program arguments".to_owned(),
        ParameterKind::Executor => "At once (namespace), or as a derivation that Nix realises".to_owned(),
        ParameterKind::Cache => {
            "Return the result of an earlier call that was the same, if Nix still has it; implies derivation".to_owned()
        }
        ParameterKind::Packages => format!("Names of packages to add; the resource {PACKAGES_URI} lists them"),
        _ => String::new(),
    }
}

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
