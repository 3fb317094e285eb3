//! The configuration templates of `config/dev`.

use std::path::Path;

/// Fills in a template: each `@NAME@` is replaced.
///
/// # Panics
/// When the template is missing or a placeholder is left.
#[must_use]
pub fn render(name: &str, values: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/dev").join(name);
    let mut text =
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    for (key, value) in values {
        text = text.replace(&format!("@{key}@"), value);
    }
    let left = text.lines().find(|line| !line.starts_with('#') && line.contains('@'));
    assert!(left.is_none(), "{name}: not filled in: {left:?}");
    text
}
