//! The JSON envelope: `{"schema", "items", "errors", "summary"}`. Streams write one
//! object per line instead: `{"schema", "item"}`, and `{"schema", "errors", "summary"}` last.
//! The schemas are in `docs/schema/`; they only ever grow.

use pact_schemas::v1;
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;

/// All of a command's output.
#[derive(Debug, Serialize)]
pub(crate) struct Envelope {
    schema: &'static str,
    items: Vec<Value>,
    errors: Vec<ErrorItem>,
    summary: Summary,
}

/// One line of a stream.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    schema: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<ErrorItem>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
}

/// How many of the things asked for came out well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    pub(crate) ok: usize,
    pub(crate) failed: usize,
}

/// What went wrong with one thing while others went well.
#[derive(Debug, Serialize)]
struct ErrorItem {
    code: String,
    message: String,
    cause: String,
    next: String,
    node: String,
}

impl From<&v1::Error> for ErrorItem {
    fn from(error: &v1::Error) -> Self {
        Self {
            code: error.code.clone(),
            message: error.message.clone(),
            cause: error.cause.clone(),
            next: error.next_step.clone(),
            node: error.node.clone(),
        }
    }
}

impl Envelope {
    /// Items that came out well.
    pub(crate) fn new(schema: &'static str, items: Vec<Value>) -> Self {
        Self::with_errors(schema, items, &[])
    }

    /// Items that came out well and what went wrong with the others.
    pub(crate) fn with_errors(
        schema: &'static str,
        items: Vec<Value>,
        errors: &[v1::Error],
    ) -> Self {
        let ok = items.len();
        Self::counted(schema, items, errors, ok)
    }

    /// The same, where not every item came out well.
    pub(crate) fn counted(
        schema: &'static str,
        items: Vec<Value>,
        errors: &[v1::Error],
        ok: usize,
    ) -> Self {
        let summary = Summary { ok, failed: errors.len() };
        Self { schema, items, errors: errors.iter().map(ErrorItem::from).collect(), summary }
    }

    pub(crate) fn write(&self) -> Result<(), Failure> {
        super::write_out(&encode(self)?)
    }
}

impl Line {
    /// One item.
    pub(crate) fn item(schema: &'static str, item: Value) -> Self {
        Self { schema, item: Some(item), errors: None, summary: None }
    }

    /// The end of the stream.
    pub(crate) fn end(schema: &'static str, errors: &[v1::Error], summary: Summary) -> Self {
        let errors = errors.iter().map(ErrorItem::from).collect();
        Self { schema, item: None, errors: Some(errors), summary: Some(summary) }
    }

    /// The line, with its newline.
    pub(crate) fn encode(&self) -> Result<String, Failure> {
        encode(self)
    }
}

/// What text has as a line on stderr, as an object on a line.
pub(super) fn note(level: &'static str, message: &str) -> String {
    let object = serde_json::json!({"schema": "pact/v1/Note", "level": level, "message": message});
    format!("{object}\n")
}

fn encode(value: &impl Serialize) -> Result<String, Failure> {
    let mut line = serde_json::to_string(value).map_err(|error| {
        Failure::new(pact_schemas::ErrorCode::Internal, "the JSON output cannot be written")
            .because(error.to_string())
    })?;
    line.push('\n');
    Ok(line)
}

/// Bytes as `{"text": …}` where they are UTF-8, else as `{"base64": …}`.
pub(crate) fn bytes_as_json(bytes: &[u8]) -> (&'static str, Value) {
    match std::str::from_utf8(bytes) {
        Ok(text) => ("text", Value::from(text)),
        Err(_binary) => ("base64", Value::from(data_encoding::BASE64.encode(bytes))),
    }
}

/// The text of a protobuf enumeration without its prefix, in the case that pact shows:
/// `NODE_STATE_ACTIVE` is `active`.
pub(crate) fn code_of(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase().replace('_', "-")
}
