//! The commented example file of a schema, which `config/*.toml` are compared with.

use std::fmt::Write as _;

use super::CONFIG_FOLDER;
use super::key::{Default, Key, Schema};
use super::value::accepted;

/// Comments are wrapped here.
const LINE_CHARS: usize = 100;

/// Renders every key with its documentation. Required keys stand as their example, ready to be changed; the others
/// are commented out with their default or example. The file loads as it is.
pub fn example_file(schema: &Schema) -> String {
    let mut out = String::new();
    head(&mut out, schema);
    let mut tables: Vec<&str> = Vec::new();
    for key in schema.keys {
        let table = split(key.path).0;
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    // Keys outside any table must come before the first table.
    tables.sort_by_key(|table| !table.is_empty());
    for table in tables {
        if !table.is_empty() {
            line(&mut out, &format!("\n[{table}]"));
        }
        for key in schema.keys.iter().filter(|key| split(key.path).0 == table) {
            render(&mut out, schema, key);
        }
    }
    out
}

fn head(out: &mut String, schema: &Schema) {
    comment(
        out,
        &format!(
            "{CONFIG_FOLDER}/{}. Later layers win: defaults, this file, environment, `--set key=value`.",
            schema.file_name
        ),
    );
    comment(
        out,
        "Keys that are commented out show their default or an example. Unknown keys are errors; \
         `--print-config` shows each value and where it came from.",
    );
}

fn render(out: &mut String, schema: &Schema, key: &Key) {
    let name = split(key.path).1;
    out.push('\n');
    comment(out, key.doc);
    let state = match key.default {
        Default::Required => "Required",
        Default::Optional => "Not set by default",
        Default::Value(_) => "Default",
    };
    let place = if key.secret {
        "secret: in this file only".to_owned()
    } else {
        format!("environment {}", schema.variable(key))
    };
    comment(out, &format!("{state}; {}; {place}.", accepted(key.kind)));
    match (key.default, key.example) {
        (Default::Required, example) => {
            // The schema's check refuses a required key without an example.
            line(out, &format!("{name} = {}", example.unwrap_or_default()));
        }
        (Default::Value(literal), _) => line(out, &format!("# {name} = {literal}")),
        (Default::Optional, Some(literal)) => line(out, &format!("# {name} = {literal}")),
        (Default::Optional, None) => line(out, &format!("# {name} =")),
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

fn line(out: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _infallible = writeln!(out, "{text}");
}

fn comment(out: &mut String, text: &str) {
    let mut current = String::from("#");
    for word in text.split_whitespace() {
        if current.len() > 1 && current.chars().count() + 1 + word.chars().count() > LINE_CHARS {
            line(out, &current);
            current = String::from("#");
        }
        current.push(' ');
        current.push_str(word);
    }
    line(out, &current);
}
