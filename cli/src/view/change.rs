//! Changes of resource keys, as a table and as JSON.

use pact_schemas::v1;
use serde_json::{Value, json};

use super::value;
use crate::output::{Cell, Hue, Screen, Table, clean_line};

/// Changes that one table shows; `--output json` has all that the answer has.
pub(crate) const SHOWN: usize = 50;

/// Changes as JSON: `{key, old, new}`, `null` where the key was not or is not set.
pub(crate) fn as_json(changes: &[v1::Change]) -> Vec<Value> {
    let one = |change: &v1::Change| {
        json!({
            "key": change.key,
            "old": value::as_json(change.old.as_ref()),
            "new": value::as_json(change.new.as_ref()),
        })
    };
    changes.iter().map(one).collect()
}

/// The first changes as a table, and how many there are besides.
pub(crate) fn table(changes: &[v1::Change], omitted: u32, screen: Screen) -> String {
    let mut table = Table::new(&["KEY", "OLD", "NEW"]);
    for change in changes.iter().take(SHOWN) {
        let is_removed = change.new.is_none();
        let new = if is_removed { "(removed)".to_owned() } else { text(change.new.as_ref()) };
        table.row(vec![
            Cell::from(&change.key),
            Cell::from(text(change.old.as_ref())),
            Cell::from(new).hue(is_removed.then_some(Hue::Red)),
        ]);
    }
    let mut shown = table.render(screen);
    shown.push_str(&more(changes.len().saturating_sub(SHOWN), omitted));
    shown
}

/// `and N more`, where there are more.
pub(crate) fn more(cut: usize, omitted: u32) -> String {
    match cut.saturating_add(omitted as usize) {
        0 => String::new(),
        more => format!("and {more} more\n"),
    }
}

/// A value of a change for people.
pub(crate) fn text(value: Option<&v1::Value>) -> String {
    value::as_text(value)
}

/// Keys in one line, as many as fit.
pub(crate) fn keys<'a>(keys: impl Iterator<Item = &'a str>) -> String {
    /// Keys of one line.
    const SHOWN_KEYS: usize = 10;
    let all: Vec<&str> = keys.collect();
    let mut words: Vec<String> = all.iter().take(SHOWN_KEYS).map(|key| clean_line(key)).collect();
    if all.len() > SHOWN_KEYS {
        words.push(format!("and {} more", all.len() - SHOWN_KEYS));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_table_says_how_much_is_left() {
        let change = v1::Change {
            key: "sysctl/vm.swappiness".into(),
            old: Some(v1::Value { value: Some(v1::value::Value::Text("60\u{1b}[2J".into())) }),
            new: None,
        };
        let text = table(&vec![change; SHOWN + 2], 3, Screen::NOT_A_TERMINAL);
        assert_eq!(text.lines().count(), 1 + SHOWN + 1);
        assert!(text.ends_with("and 5 more\n"), "{text}");
        assert!(text.contains("60␛[2J") && text.contains("(removed)"), "{text}");
    }
}
