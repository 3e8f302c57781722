//! Holds answers to the published description of the API: the part of JSON Schema that `config/openapi.json` uses. A
//! keyword that is not known here fails, so that nothing in the document goes unlooked at.

use std::sync::LazyLock;

use serde_json::{Map, Value};

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../config/openapi.json")).unwrap());

/// What is described, as pairs of a method and a path with its parameters in braces.
pub(crate) fn operations() -> Vec<(String, String)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let methods = |(path, item): (&String, &Value)| {
        let methods: Vec<_> =
            item.as_object().unwrap().keys().filter(|key| *key != "parameters").cloned().collect();
        methods.into_iter().map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(methods).collect()
}

/// The description of what a path names, if there is one.
fn item(path: &str) -> Option<&'static Map<String, Value>> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let template: Vec<&str> = template.split('/').collect();
        template.len() == parts.len()
            && template.iter().zip(&parts).all(|(one, other)| one.starts_with('{') || one == other)
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    paths.iter().find(|(template, _)| fits(template)).and_then(|(_, item)| item.as_object())
}

/// Whether an answer is as described; of a call that the description does not know, that it is a problem.
pub(crate) fn check(method: &str, path: &str, status: u16, content_type: &str, body: &Value) {
    let method = if method == "HEAD" { "GET" } else { method };
    let responses = item(path).and_then(|item| item.get(&method.to_lowercase())).map(|op| &op["responses"]);
    let described = responses.and_then(|responses| responses.get(status.to_string()));
    if content_type == "text/event-stream" {
        let content = described.map(|response| &response["content"][content_type]["schema"]);
        assert!(content.is_some_and(Value::is_object), "{method} {path}: no events are described");
        return;
    }
    let (wanted, schema) = match described {
        Some(response) => ("application/json", &response["content"]["application/json"]["schema"]),
        None => ("application/problem+json", &DOCUMENT["components"]["schemas"]["Problem"]),
    };
    assert!(described.is_some() || status >= 400, "{method} {path}: {status} is not described");
    assert_eq!(content_type, wanted, "{method} {path}: {status}");
    let mut faults = Vec::new();
    validate(schema, body, "", &mut faults);
    assert!(faults.is_empty(), "{method} {path}: {status} is not as described: {faults:?}\n{body:#}");
}

fn validate(schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let Value::Object(schema) = schema else { panic!("no schema at {at}") };
    for (keyword, rule) in schema {
        match keyword.as_str() {
            "description" | "format" => {}
            "$ref" => {
                let name = rule.as_str().unwrap().strip_prefix("#/components/schemas/").unwrap();
                validate(&DOCUMENT["components"]["schemas"][name], value, at, faults);
            }
            "type" => {
                let one = |name: &Value| match name.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_u64() || value.is_i64(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    other => panic!("type {other}"),
                };
                let fits = match rule {
                    Value::Array(names) => names.iter().any(one),
                    name => one(name),
                };
                if !fits {
                    faults.push(format!("{at}: not {rule}"));
                }
            }
            "enum" => {
                if !rule.as_array().unwrap().contains(value) {
                    faults.push(format!("{at}: {value} is none of {rule}"));
                }
            }
            "oneOf" => {
                let fitting = rule.as_array().unwrap().iter().filter(|one| {
                    let mut own = Vec::new();
                    validate(one, value, at, &mut own);
                    own.is_empty()
                });
                let count = fitting.count();
                if count != 1 {
                    faults.push(format!("{at}: fits {count} of {rule}"));
                }
            }
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    validate(rule, item, &format!("{at}/{number}"), faults);
                }
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    if value.as_object().is_some_and(|object| !object.contains_key(name.as_str().unwrap())) {
                        faults.push(format!("{at}: no {name}"));
                    }
                }
            }
            "properties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    if let Some(rule) = rule.get(name) {
                        validate(rule, member, &format!("{at}/{name}"), faults);
                    }
                }
            }
            "additionalProperties" => {
                assert_eq!(rule, &Value::Bool(false));
                for name in value.as_object().into_iter().flat_map(Map::keys) {
                    if schema.get("properties").is_none_or(|known| known.get(name).is_none()) {
                        faults.push(format!("{at}: {name} is not described"));
                    }
                }
            }
            other => panic!("keyword {other}"),
        }
    }
}
