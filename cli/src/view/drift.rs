//! Drift: what differs on nodes, their commit windows, and what is left once an entry has reached them.

use pact_schemas::v1;
use serde_json::{Value, json};

use super::{at, change, time, value};
use crate::output::{Cell, Hue, Screen, Table, clean_line, code_of, fields};

/// `idle`, `open`, `expired`, `deferred` or `suspended`.
pub(crate) fn window_name(window: &v1::WindowStatus) -> String {
    code_of(window.state().as_str_name(), "WINDOW_STATE_")
}

fn window_hue(state: v1::WindowState) -> Option<Hue> {
    match state {
        v1::WindowState::Idle => None,
        v1::WindowState::Open | v1::WindowState::Suspended => Some(Hue::Yellow),
        v1::WindowState::Expired | v1::WindowState::Deferred | v1::WindowState::Unspecified => {
            Some(Hue::Red)
        }
    }
}

/// The window's state, coloured by how urgent it is.
pub(crate) fn window_cell(window: Option<&v1::WindowStatus>) -> Cell {
    match window {
        Some(window) => Cell::from(window_name(window)).hue(window_hue(window.state())),
        None => Cell::from(""),
    }
}

/// `open, 10m left (16:33)`, or `open until 2026-…` where programs read.
pub(crate) fn window_text(window: &v1::WindowStatus, screen: Screen) -> String {
    match at(window.deadline.as_ref()) {
        Some(deadline) if screen.times.is_local() => {
            format!("{}, {}", window_name(window), screen.times.deadline(deadline))
        }
        _ => past_window_text(window, screen),
    }
}

/// `open until 2026-…`: a window as it was once.
pub(crate) fn past_window_text(window: &v1::WindowStatus, screen: Screen) -> String {
    let name = window_name(window);
    let Some(deadline) = at(window.deadline.as_ref()) else { return name };
    let word = if window.state() == v1::WindowState::Open { "until" } else { "since" };
    format!("{name} {word} {}", screen.times.exact(deadline))
}

/// A window as JSON.
pub(crate) fn window_json(window: Option<&v1::WindowStatus>) -> Value {
    window.map_or(Value::Null, |w| {
        json!({
            "state": window_name(w),
            "opened": time(w.opened.as_ref()),
            "deadline": time(w.deadline.as_ref()),
            "magnitude": w.magnitude,
            "holders": holders_json(&w.holders),
        })
    })
}

/// Who holds what, as JSON.
pub(crate) fn holders_json(holders: &[v1::Holder]) -> Vec<Value> {
    let one =
        |h: &v1::Holder| json!({"key": h.key, "pid": h.pid, "command": h.command, "how": h.how});
    holders.iter().map(one).collect()
}

/// Who holds what, as a table.
pub(crate) fn holders_table(holders: &[v1::Holder], screen: Screen) -> String {
    let mut table = Table::new(&["PID", "COMMAND", "KEY", "HOW"]);
    for holder in holders {
        table.row(vec![
            Cell::from(holder.pid.to_string()),
            Cell::from(&holder.command),
            Cell::from(&holder.key),
            Cell::from(&holder.how),
        ]);
    }
    table.render(screen)
}

/// Keys that could not be brought about, as JSON.
pub(crate) fn problems_json(problems: &[v1::KeyProblem]) -> Vec<Value> {
    let one = |p: &v1::KeyProblem| json!({"key": p.key, "code": p.code, "reason": p.reason});
    problems.iter().map(one).collect()
}

/// How a node is once it has an entry, as JSON.
pub(crate) fn settled_json(settled: Option<&v1::NodeSettled>) -> Value {
    settled.map_or(Value::Null, |s| {
        json!({
            "config_seq": s.config_seq,
            "drift_keys": s.drift_keys,
            "window": window_json(s.window.as_ref()),
            "problems": problems_json(&s.problems),
        })
    })
}

/// How a node is once it has an entry, in words.
pub(crate) fn settled_text(settled: &v1::NodeSettled, screen: Screen) -> String {
    let mut text = match settled.drift_keys {
        0 => "no drift".to_owned(),
        1 => "1 key differs".to_owned(),
        keys => format!("{keys} keys differ"),
    };
    if let Some(window) = settled.window.as_ref().filter(|w| w.state() != v1::WindowState::Idle) {
        text.push_str(&format!(", window {}", window_text(window, screen)));
    }
    if !settled.problems.is_empty() {
        let keys = change::keys(settled.problems.iter().map(|p| p.key.as_str()));
        text.push_str(&format!(", not brought about: {keys}"));
    }
    text
}

/// What the journal knows of a node's drift, as JSON.
pub(crate) fn known_json(drift: Option<&v1::NodeDrift>) -> Value {
    drift.map_or(Value::Null, |d| {
        json!({
            "keys": d.keys,
            "report_only_keys": d.report_only_keys,
            "conflicts": d.conflicts,
            "digest": hex(&d.digest),
            "reported": time(d.reported.as_ref()),
            "window": window_json(d.window.as_ref()),
        })
    })
}

/// The digest that `commit --expect` takes.
pub(crate) fn hex(digest: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(digest)
}

/// `pact diff --output json`, one node.
pub(crate) fn diff_json(diff: &v1::NodeDiff) -> Value {
    json!({
        "node": diff.node,
        "vcluster": diff.vcluster,
        "digest": Some(hex(&diff.digest)).filter(|d| !d.is_empty()),
        "config_seq": diff.config_seq,
        "enforcement_mode": Some(&diff.enforcement_mode).filter(|m| !m.is_empty()),
        "scanning": diff.scanning,
        "silent": diff.silent,
        "taken": time(diff.taken.as_ref()),
        "total": diff.total,
        "report_only_total": diff.report_only_total,
        "omitted_items": diff.omitted_items,
        "window": window_json(diff.window.as_ref()),
        "items": diff.items.iter().map(item_json).collect::<Vec<_>>(),
        "deltas": diff.deltas.iter().map(delta_json).collect::<Vec<_>>(),
    })
}

fn item_json(item: &v1::DriftItem) -> Value {
    let change = item.change.clone().unwrap_or_default();
    json!({
        "key": change.key,
        "old": value::as_json(change.old.as_ref()),
        "new": value::as_json(change.new.as_ref()),
        "since": time(item.since.as_ref()),
        "session_seq": item.session_seq,
        "report_only": item.report_only,
        "conflict": item.conflict,
        "journal_value": value::as_json(item.journal_value.as_ref()),
        "not_restorable": item.not_restorable,
    })
}

/// A declared key as JSON.
pub(crate) fn delta_json(delta: &v1::DeclaredKey) -> Value {
    json!({
        "key": delta.key,
        "value": value::as_json(delta.value.as_ref()),
        "seq": delta.seq,
        "expires": time(delta.expires.as_ref()),
    })
}

/// `pact diff`, one node.
pub(crate) fn diff_text(diff: &v1::NodeDiff, committed: bool, screen: Screen) -> String {
    if committed {
        return deltas_text(diff, screen);
    }
    let scanning = diff.scanning.then(|| "the first scan is not over: keys may be missing".into());
    let silent = Some(clean_line(&diff.silent.join("; "))).filter(|silent| !silent.is_empty());
    let mut text = fields(
        &[
            ("node", Some(diff.node.clone())),
            ("vcluster", diff.vcluster.clone()),
            ("drift", Some(totals(diff))),
            ("window", diff.window.as_ref().map(|window| window_text(window, screen))),
            ("mode", Some(diff.enforcement_mode.clone()).filter(|m| !m.is_empty())),
            ("scanning", scanning),
            ("silent", silent),
            ("digest", Some(hex(&diff.digest))),
        ],
        screen,
    );
    let mut table = Table::new(&["KEY", "DECLARED", "ACTUAL", "SINCE", "SESSION", "NOTE"])
        .wide_only(&["SESSION"]);
    for item in &diff.items {
        let change = item.change.clone().unwrap_or_default();
        let since = at(item.since.as_ref()).map(|since| screen.times.past(since));
        table.row(vec![
            Cell::from(&change.key),
            Cell::from(value::as_text(change.old.as_ref())),
            Cell::from(value::as_text(change.new.as_ref())),
            Cell::from(since.unwrap_or_default()),
            Cell::from(item.session_seq.map(|seq| format!("exec {seq}")).unwrap_or_default()),
            Cell::from(note(item)),
        ]);
    }
    text.push_str(&table.render(screen));
    text.push_str(&change::more(0, diff.omitted_items));
    text
}

fn totals(diff: &v1::NodeDiff) -> String {
    let counted = diff.total.saturating_sub(diff.report_only_total);
    let keys = match counted {
        0 => "none".to_owned(),
        1 => "1 key differs".to_owned(),
        keys => format!("{keys} keys differ"),
    };
    match diff.report_only_total {
        0 => keys,
        1 => format!("{keys}, 1 more is only reported"),
        reported => format!("{keys}, {reported} more are only reported"),
    }
}

fn note(item: &v1::DriftItem) -> String {
    let mut notes = Vec::new();
    if item.conflict {
        let journal = value::as_text(item.journal_value.as_ref());
        notes.push(format!("conflict: the journal declares {journal}"));
    }
    if let Some(why) = &item.not_restorable {
        notes.push(format!("not restorable: {why}"));
    }
    if item.report_only {
        notes.push("only reported".to_owned());
    }
    notes.join("; ")
}

fn deltas_text(diff: &v1::NodeDiff, screen: Screen) -> String {
    let count = match diff.total {
        0 => "none".to_owned(),
        count => count.to_string(),
    };
    let mut text = fields(
        &[
            ("node", Some(diff.node.clone())),
            ("vcluster", diff.vcluster.clone()),
            ("committed deltas", Some(count)),
        ],
        screen,
    );
    text.push_str(&deltas_table(&diff.deltas, screen));
    text.push_str(&change::more(0, diff.omitted_items));
    text
}

/// Declared keys with the entries that declared them.
pub(crate) fn deltas_table(deltas: &[v1::DeclaredKey], screen: Screen) -> String {
    let mut table = Table::new(&["KEY", "VALUE", "ENTRY", "EXPIRES"]);
    for delta in deltas {
        let expires = at(delta.expires.as_ref()).map(|expires| screen.times.deadline(expires));
        table.row(vec![
            Cell::from(&delta.key),
            Cell::from(value::as_text(delta.value.as_ref())),
            Cell::from(delta.seq.to_string()),
            Cell::from(expires.unwrap_or_default()),
        ]);
    }
    table.render(screen)
}

/// Node values that differ from an overlay's, as JSON.
pub(crate) fn conflicts_json(conflicts: &[v1::DeltaConflict]) -> Vec<Value> {
    let one = |c: &v1::DeltaConflict| {
        json!({
            "node": c.node,
            "key": c.key,
            "node_value": value::as_json(c.node_value.as_ref()),
            "overlay_value": value::as_json(c.overlay_value.as_ref()),
        })
    };
    conflicts.iter().map(one).collect()
}

/// Node values that differ from an overlay's, as a table.
pub(crate) fn conflicts_table(conflicts: &[v1::DeltaConflict], screen: Screen) -> String {
    let mut table = Table::new(&["NODE", "KEY", "ON THE NODE", "IN THE OVERLAY"]);
    for conflict in conflicts.iter().take(change::SHOWN) {
        table.row(vec![
            Cell::from(&conflict.node),
            Cell::from(&conflict.key),
            Cell::from(value::as_text(conflict.node_value.as_ref())),
            Cell::from(value::as_text(conflict.overlay_value.as_ref())),
        ]);
    }
    let mut text = table.render(screen);
    text.push_str(&change::more(conflicts.len().saturating_sub(change::SHOWN), 0));
    text
}

/// A line about one node.
pub(crate) fn node_line(node: &str, what: &str) -> String {
    format!("{}: {}\n", clean_line(node), clean_line(what))
}
