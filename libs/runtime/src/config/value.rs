//! Values against kinds: what is accepted, how text becomes a value, how a value is shown.

use std::net::SocketAddr;

use toml::Value;
use toml::de::DeValue;

use super::key::KeyKind;

/// A refused value is quoted up to here, so that a pasted file does not fill the screen.
const SHOWN_VALUE_CHARS: usize = 80;

/// The value in the form that the config struct gets, or `None` when the kind does not take it.
pub(super) fn accept(kind: KeyKind, value: Value) -> Option<Value> {
    match (kind, value) {
        (KeyKind::String | KeyKind::Path, Value::String(text)) if !text.is_empty() => {
            Some(Value::String(text))
        }
        (KeyKind::Bool, Value::Boolean(flag)) => Some(Value::Boolean(flag)),
        (KeyKind::Integer { min, max } | KeyKind::Seconds { min, max }, Value::Integer(number))
            if (min..=max).contains(&number) =>
        {
            Some(Value::Integer(number))
        }
        (KeyKind::Float { min, max }, Value::Float(number)) if (min..=max).contains(&number) => {
            Some(Value::Float(number))
        }
        (KeyKind::Float { .. }, Value::Integer(number)) => {
            let number = f64::from(i32::try_from(number).ok()?);
            accept(kind, Value::Float(number))
        }
        (KeyKind::StringList, Value::String(text)) => {
            accept(kind, Value::Array(vec![Value::String(text)]))
        }
        (KeyKind::StringList, Value::Array(items)) => items
            .into_iter()
            .map(|item| accept(KeyKind::String, item))
            .collect::<Option<Vec<_>>>()
            .map(Value::Array),
        (KeyKind::Enum(names), Value::String(text)) if names.contains(&text.as_str()) => {
            Some(Value::String(text))
        }
        (KeyKind::Address, Value::String(text)) => {
            let _parsed: SocketAddr = text.parse().ok()?;
            Some(Value::String(text))
        }
        (KeyKind::Table, Value::Table(table)) => Some(Value::Table(table)),
        (KeyKind::Table, Value::Array(items)) if items.iter().all(Value::is_table) => {
            Some(Value::Array(items))
        }
        _ => None,
    }
}

/// The value of a variable or a flag.
pub(super) fn from_text(kind: KeyKind, text: &str) -> Option<Value> {
    let value = match kind {
        KeyKind::String | KeyKind::Path | KeyKind::Enum(_) | KeyKind::Address => {
            Value::String(text.to_owned())
        }
        KeyKind::Bool => Value::Boolean(text.parse().ok()?),
        KeyKind::Integer { .. } | KeyKind::Seconds { .. } => Value::Integer(text.parse().ok()?),
        KeyKind::Float { .. } => Value::Float(text.parse().ok()?),
        KeyKind::StringList if text.starts_with('[') => parse_literal(text)?,
        KeyKind::StringList => Value::Array(
            text.split(',').map(|item| Value::String(item.trim().to_owned())).collect(),
        ),
        KeyKind::Table => return None,
    };
    accept(kind, value)
}

/// The value of a TOML literal in the schema.
pub(super) fn from_literal(kind: KeyKind, literal: &str) -> Option<Value> {
    accept(kind, parse_literal(literal)?)
}

fn parse_literal(literal: &str) -> Option<Value> {
    from_parsed(DeValue::parse(literal).ok()?.into_inner())
}

/// Out of the parser's form; `None` for numbers that do not fit.
pub(super) fn from_parsed(value: DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => {
            Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()?)
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().ok()?),
        DeValue::Boolean(flag) => Value::Boolean(flag),
        DeValue::Datetime(time) => Value::Datetime(time),
        DeValue::Array(items) => Value::Array(
            items
                .into_iter()
                .map(|item| from_parsed(item.into_inner()))
                .collect::<Option<Vec<_>>>()?,
        ),
        DeValue::Table(table) => Value::Table(
            table
                .into_iter()
                .map(|(name, value)| {
                    let value = from_parsed(value.into_inner())?;
                    Some((name.into_inner().into_owned(), value))
                })
                .collect::<Option<toml::Table>>()?,
        ),
    })
}

/// What a kind takes, for people.
pub(super) fn accepted(kind: KeyKind) -> String {
    match kind {
        KeyKind::String => "a string that is not empty".to_owned(),
        KeyKind::Path => "a path".to_owned(),
        KeyKind::Bool => "true or false".to_owned(),
        KeyKind::Integer { min, max: i64::MAX } => format!("an integer from {min}"),
        KeyKind::Integer { min, max } => format!("an integer from {min} to {max}"),
        KeyKind::Float { min, max } => format!("a number from {min} to {max}"),
        KeyKind::Seconds { min, max: i64::MAX } => format!("whole seconds from {min}"),
        KeyKind::Seconds { min, max } => format!("whole seconds from {min} to {max}"),
        KeyKind::StringList => "a list of strings".to_owned(),
        KeyKind::Enum(names) => {
            let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
            quoted.join(", ")
        }
        KeyKind::Address => "an IP address and port such as \"127.0.0.1:9091\"".to_owned(),
        KeyKind::Table => "a table, in the file".to_owned(),
    }
}

/// On one line, as TOML.
pub(super) fn inline(value: &Value) -> String {
    match value {
        Value::String(text) if text.contains(['\n', '\r']) => format!("{text:?}"),
        other => other.to_string(),
    }
}

/// A refused value for an error; of a secret only its type.
pub(super) fn describe(value: Option<&Value>, secret: bool) -> String {
    match value {
        None => "a number that is too large".to_owned(),
        Some(value) if secret => format!("a value of type {}", value.type_str()),
        Some(Value::Table(_)) => "a table".to_owned(),
        Some(value) => shorten(&inline(value)),
    }
}

/// At most [`SHOWN_VALUE_CHARS`] of a text.
pub(super) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_VALUE_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
