//! A validator for the subset of JSON Schema that the server's schemas use. Unknown keywords fail the test.

use serde_json::Value;

/// Returns the mismatches of a value. The list is empty if the value is valid.
pub fn mismatches(schema: &Value, value: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    check(schema, value, "the value", &mut wrong);
    wrong
}

fn check(schema: &Value, value: &Value, location: &str, wrong: &mut Vec<String>) {
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        match keyword.as_str() {
            "$schema" | "description" | "title" => {}
            "type" => {
                let kind = rule.as_str().expect("a type is one name");
                if !is_a(kind, value) {
                    wrong.push(format!("{location} is not of type {kind}: {value}"));
                }
            }
            "properties" => {
                for (name, schema) in rule.as_object().expect("properties are an object") {
                    if let Some(value) = value.get(name) {
                        check(schema, value, name, wrong);
                    }
                }
            }
            "required" => {
                let names = rule.as_array().expect("required names are a list").iter();
                let missing = names.filter(|name| value.get(name.as_str().expect("a name is a string")).is_none());
                wrong.extend(missing.map(|name| format!("{location} lacks {name}")));
            }
            "additionalProperties" => {
                assert_eq!(rule, false, "other rules are not supported");
                let names = value.as_object().into_iter().flat_map(|object| object.keys());
                let unknown = names.filter(|name| schema["properties"].get(name).is_none());
                wrong.extend(unknown.map(|name| format!("{location} has {name}, which is not in its schema")));
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(rule, item, &format!("{location}[{index}]"), wrong);
                }
            }
            other => panic!("the keyword {other} is not supported"),
        }
    }
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "object" => value.is_object(),
        "string" => value.is_string(),
        other => panic!("the type {other} is not supported"),
    }
}
