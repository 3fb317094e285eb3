//! Capability reports: JSON documents that agents make, shown as they are.

use pact_schemas::error_code::ErrorCode;
use pact_schemas::v1;
use serde_json::{Value, json};

use super::node::state_name;
use super::{at, time};
use crate::failure::Failure;
use crate::output::{Screen, fields};

/// A node's report; `null` when it has none yet.
fn report(capability: &v1::NodeCapability) -> Result<Value, Failure> {
    if capability.report.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&capability.report).map_err(|error| {
        Failure::new(
            ErrorCode::Malformed,
            format!("the capability report of {} is no JSON", capability.node),
        )
        .because(error.to_string())
    })
}

/// `pact cap --output json`.
pub(crate) fn as_json(capability: &v1::NodeCapability) -> Result<Value, Failure> {
    Ok(json!({
        "node": capability.node,
        "state": state_name(capability.state()),
        "reported": time(capability.reported.as_ref()),
        "report": report(capability)?,
    }))
}

/// `pact cap`: the report's leaves, one a line.
pub(crate) fn text(capability: &v1::NodeCapability, screen: Screen) -> Result<String, Failure> {
    let mut lines = Vec::new();
    leaves("", &report(capability)?, &mut lines);
    let reported = at(capability.reported.as_ref())
        .map_or_else(|| "nothing reported yet".to_owned(), |at| screen.times.exact(at));
    let mut pairs = vec![
        ("node", Some(capability.node.clone())),
        ("state", Some(state_name(capability.state()))),
        ("reported", Some(reported)),
    ];
    pairs.extend(lines.iter().map(|(name, value)| (name.as_str(), Some(value.clone()))));
    Ok(fields(&pairs, screen))
}

fn leaves(path: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    let below = |name: &str| {
        if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
    };
    match value {
        Value::Null => {}
        Value::Object(object) => {
            for (name, value) in object {
                leaves(&below(name), value, lines);
            }
        }
        Value::Array(items) if items.iter().any(|i| i.is_object() || i.is_array()) => {
            for (index, item) in items.iter().enumerate() {
                leaves(&below(&index.to_string()), item, lines);
            }
        }
        Value::Array(items) => {
            let words: Vec<String> = items.iter().map(plain).collect();
            lines.push((path.to_owned(), words.join(", ")));
        }
        other => lines.push((path.to_owned(), plain(other))),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}
