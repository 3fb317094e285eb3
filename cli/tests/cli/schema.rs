//! A check against `docs/schema/`, for the part of JSON Schema that is used there.

use std::path::PathBuf;

use serde_json::Value;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/schema")
}

/// Checks one line of output against the schema that it names.
#[track_caller]
pub fn check(line: &str) {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let name = value["schema"].as_str().unwrap_or_else(|| panic!("no schema: {line}"));
    let schema = load(name.strip_prefix("pact/v1/").unwrap());
    if let Err(why) = matches(&value, &schema, "") {
        panic!("{name}: {why}\n{line}");
    }
}

fn load(name: &str) -> Value {
    let path = folder().join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

const KNOWN_KEYWORDS: &[&str] = &[
    "$schema",
    "$id",
    "$ref",
    "title",
    "description",
    "type",
    "const",
    "enum",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "pattern",
    "minimum",
    "anyOf",
];

fn matches(value: &Value, schema: &Value, at: &str) -> Result<(), String> {
    let object = schema.as_object().unwrap();
    for keyword in object.keys() {
        assert!(
            KNOWN_KEYWORDS.contains(&keyword.as_str()),
            "{keyword} is not checked by this test"
        );
    }
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        return matches(value, &load(reference.strip_suffix(".json").unwrap()), at);
    }
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        let reasons: Vec<String> =
            choices.iter().filter_map(|s| matches(value, s, at).err()).collect();
        return if reasons.len() < choices.len() { Ok(()) } else { Err(reasons.join(" | ")) };
    }
    check_scalar(value, schema, at)?;
    check_object(value, schema, at)?;
    if let (Some(items), Some(schema)) = (value.as_array(), schema.get("items")) {
        for (index, item) in items.iter().enumerate() {
            matches(item, schema, &format!("{at}/{index}"))?;
        }
    }
    Ok(())
}

fn check_scalar(value: &Value, schema: &Value, at: &str) -> Result<(), String> {
    if let Some(types) = schema.get("type") {
        let allowed: Vec<&str> = match types {
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            single => single.as_str().into_iter().collect(),
        };
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(n) if n.is_u64() || n.is_i64() => "integer",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let fits = allowed.contains(&found) || (found == "integer" && allowed.contains(&"number"));
        if !fits {
            return Err(format!("{at}: {found}, not {allowed:?}"));
        }
    }
    if schema.get("const").is_some_and(|c| c != value) {
        return Err(format!("{at}: {value} is not {}", schema["const"]));
    }
    if let Some(choices) = schema.get("enum").and_then(Value::as_array)
        && !choices.contains(value)
    {
        return Err(format!("{at}: {value} is none of {choices:?}"));
    }
    if let (Some(minimum), Some(number)) = (schema.get("minimum"), value.as_u64())
        && minimum.as_u64().is_some_and(|m| number < m)
    {
        return Err(format!("{at}: {number} < {minimum}"));
    }
    Ok(())
}

fn check_object(value: &Value, schema: &Value, at: &str) -> Result<(), String> {
    let Some(object) = value.as_object() else { return Ok(()) };
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if !object.contains_key(name.as_str().unwrap()) {
            return Err(format!("{at}: {name} is missing"));
        }
    }
    let Some(known) = schema.get("properties").and_then(Value::as_object) else { return Ok(()) };
    for (name, value) in object {
        match known.get(name) {
            Some(schema) => matches(value, schema, &format!("{at}/{name}"))?,
            None if schema.get("additionalProperties") == Some(&Value::Bool(false)) => {
                return Err(format!("{at}: {name} is not in the schema"));
            }
            None => {}
        }
    }
    Ok(())
}

#[test]
fn every_schema_is_named_as_its_file() {
    for file in std::fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|e| e == "json") {
            let name = path.file_stem().unwrap().to_str().unwrap();
            let schema = load(name);
            assert_eq!(schema["$id"], format!("pact/v1/{name}"), "{}", path.display());
        }
    }
}
