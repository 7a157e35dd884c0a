//! Arguments as clients send them: put into the form of the tool's schema, where it is clear what is meant.
//!
//! Some clients send arrays, objects, booleans and numbers as strings of JSON, and add members of their own.

use std::fmt;

use sandbox_manifest::parameter::{Parameter, ParameterKind};
use serde_json::{Map, Value, json};

use crate::call::nearest::nearest;

/// The members of a file.
const FILE_MEMBERS: [&str; 4] = ["filename", "content", "encoding", "executable"];

/// A member of the arguments that the tool does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredParameter {
    /// Its name, behind the path of the object that it is in.
    path: String,
    /// The name that may have been meant.
    nearest: Option<&'static str>,
}

impl IgnoredParameter {
    fn new(place: &str, name: &str, known: &[&'static str]) -> Self {
        let shown: String = name.chars().take(MAX_SHOWN_CHARACTERS).collect();
        Self { path: format!("{place}{shown}"), nearest: nearest(name, known).first().copied() }
    }
}

/// Returns what to say of ignored parameters: the first by their names, and how many more there are.
pub fn named(ignored: &[IgnoredParameter]) -> Vec<String> {
    let mut lines: Vec<String> = ignored.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    if let Some(more) = ignored.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
        lines.push(format!("{more} more unknown parameters were ignored"));
    }
    lines
}

/// The most ignored parameters that are named.
const MAX_NAMED: usize = 10;
/// The most characters of a name that are shown.
const MAX_SHOWN_CHARACTERS: usize = 60;

impl fmt::Display for IgnoredParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown parameter `{}` was ignored", self.path)?;
        self.nearest.map_or(Ok(()), |nearest| write!(f, "; did you mean `{nearest}`?"))
    }
}

/// Puts arguments into the form of these parameters, and takes out what is none of them.
pub fn tidy(arguments: &mut Map<String, Value>, parameters: &[Parameter<'static>]) -> Vec<IgnoredParameter> {
    let known: Vec<&'static str> = parameters.iter().map(|parameter| parameter.name).collect();
    let mut ignored = remove_unknown(arguments, "", &known);
    for parameter in parameters {
        let Some(value) = arguments.get_mut(parameter.name) else { continue };
        match parameter.kind {
            ParameterKind::Files => {
                parse(value, |value| value.is_array() || value.is_object());
                as_list(value);
                for (index, file) in value.as_array_mut().into_iter().flatten().enumerate() {
                    parse(file, Value::is_object);
                    let Some(file) = file.as_object_mut() else { continue };
                    ignored.extend(remove_unknown(file, &format!("{}[{index}].", parameter.name), &FILE_MEMBERS));
                    file.get_mut("executable").into_iter().for_each(|flag| parse(flag, Value::is_boolean));
                }
            }
            ParameterKind::Packages => parse(value, Value::is_array),
            ParameterKind::Args => {
                parse(value, Value::is_array);
                value.as_array_mut().into_iter().flatten().for_each(as_string);
            }
            ParameterKind::Env => {
                parse(value, Value::is_object);
                value.as_object_mut().into_iter().flat_map(Map::values_mut).for_each(as_string);
            }
            ParameterKind::Cache => parse(value, Value::is_boolean),
            ParameterKind::Timeout => {
                parse(value, Value::is_number);
                // Some clients have no other numbers.
                if let Some(seconds) = value.as_f64().filter(|seconds| seconds.fract() == 0.0 && *seconds >= 0.0) {
                    *value = json!(seconds as u64);
                }
            }
            ParameterKind::File(_) | ParameterKind::Stdin | ParameterKind::StdinEncoding | ParameterKind::Executor => {}
        }
    }
    ignored
}

fn remove_unknown(members: &mut Map<String, Value>, place: &str, known: &[&'static str]) -> Vec<IgnoredParameter> {
    let unknown: Vec<String> = members.keys().filter(|name| !known.contains(&name.as_str())).cloned().collect();
    for name in &unknown {
        members.remove(name);
    }
    unknown.iter().map(|name| IgnoredParameter::new(place, name, known)).collect()
}

/// Replaces a string of JSON by what it holds, if that is what is wanted.
fn parse(value: &mut Value, is_wanted: impl Fn(&Value) -> bool) {
    let parsed = value.as_str().and_then(|text| serde_json::from_str(text).ok());
    if let Some(parsed) = parsed.filter(is_wanted) {
        *value = parsed;
    }
}

/// Replaces a number or boolean by its text: as an argument or a variable it is one.
fn as_string(value: &mut Value) {
    if value.is_number() || value.is_boolean() {
        *value = value.to_string().into();
    }
}

/// Makes a list of files out of a single one, and of an object of contents by file names.
fn as_list(files: &mut Value) {
    let Some(members) = files.as_object_mut() else { return };
    let is_file = members.get("filename").is_some_and(Value::is_string) && members.contains_key("content");
    let list = match is_file {
        true => vec![files.take()],
        false => std::mem::take(members).into_iter().map(of_entry).collect(),
    };
    *files = list.into();
}

/// Makes a file out of its name and its content, or the members that go with it.
fn of_entry((name, content): (String, Value)) -> Value {
    match content {
        Value::Object(mut file) => {
            file.insert("filename".to_owned(), name.into());
            file.into()
        }
        content => json!({ "filename": name, "content": content }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_unknown_parameters_are_counted() {
        let ignored =
            |count| (0..count).map(|index| IgnoredParameter::new("", &format!("x{index}"), &[])).collect::<Vec<_>>();
        assert_eq!(named(&ignored(10)).len(), 10);
        let lines = named(&ignored(5000));
        assert_eq!((lines.len(), lines[10].as_str()), (11, "4990 more unknown parameters were ignored"));
    }
    use crate::call::tool::Tool;

    fn tidied(arguments: Value) -> (Value, Vec<String>) {
        let Value::Object(mut arguments) = arguments else { unreachable!("arguments are an object") };
        let parameters = Tool::by_name("python").expect("the tool exists").sandbox.parameters;
        let ignored = tidy(&mut arguments, parameters).iter().map(ToString::to_string).collect();
        (arguments.into(), ignored)
    }

    #[test]
    fn strings_of_json_become_what_they_hold() {
        let list = json!([{"filename": "a.txt", "content": "A"}]);
        for files in [
            list.clone(),
            json!(list.to_string()),
            json!([list[0].to_string()]),
            list[0].clone(),
            json!(list[0].to_string()),
            json!({"a.txt": "A"}),
            json!(r#"{"a.txt": "A"}"#),
            json!({"a.txt": {"content": "A"}}),
        ] {
            assert_eq!(tidied(json!({"files": files})), (json!({"files": list}), vec![]));
        }
        for (given, tidy) in [
            (json!({"packages": "[\"lua\"]"}), json!({"packages": ["lua"]})),
            (json!({"args": "[\"-n\", 3, true]"}), json!({"args": ["-n", "3", "true"]})),
            (json!({"env": "{\"N\": 3, \"D\": \"x\"}"}), json!({"env": {"N": "3", "D": "x"}})),
            (json!({"cache": "false"}), json!({"cache": false})),
            (json!({"timeout_seconds": "5"}), json!({"timeout_seconds": 5})),
            (json!({"timeout_seconds": 5.0}), json!({"timeout_seconds": 5})),
            (
                json!({"files": [{"filename": "a", "content": "", "executable": "true"}]}),
                json!({"files": [{"filename": "a", "content": "", "executable": true}]}),
            ),
        ] {
            assert_eq!(tidied(given), (tidy, vec![]));
        }
    }

    #[test]
    fn texts_and_unclear_values_stay_as_they_are() {
        for given in [
            json!({"main_py": "[1, 2]", "stdin": "{}"}),
            json!({"files": "a.txt", "packages": "lua", "args": "-n 3", "env": "N=3", "cache": "maybe"}),
            json!({"timeout_seconds": 1.5, "files": null, "packages": null, "args": null, "env": null}),
            json!({"files": [7, ["a", "b"]], "args": [null, ["a"]], "env": {"A": null}}),
        ] {
            assert_eq!(tidied(given.clone()), (given, vec![]));
        }
    }

    #[test]
    fn unknown_members_are_taken_out_and_named() {
        let given = json!({
            "main_py": "1", "toolCallId": "x", "packges": [],
            "files": [{"filename": "a", "content": "", "mode": 7}],
        });
        let left = json!({"main_py": "1", "files": [{"filename": "a", "content": ""}]});
        let words = [
            "unknown parameter `toolCallId` was ignored",
            "unknown parameter `packges` was ignored; did you mean `packages`?",
            "unknown parameter `files[0].mode` was ignored",
        ];
        assert_eq!(tidied(given), (left, words.map(str::to_owned).to_vec()));
    }
}
