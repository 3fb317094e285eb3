//! Nodes.

use std::time::Duration;

use pact_schemas::convert;
use pact_schemas::v1;
use serde_json::{Value, json};

use super::{at, drift, entry_detail, time};
use crate::failure::Failure;
use crate::output::{Cell, Hue, Screen, Table, code_of, counted, fields, short};

/// `registered`, `active`, `inactive` or `revoked`.
pub(crate) fn state_name(state: v1::NodeState) -> String {
    code_of(state.as_str_name(), "NODE_STATE_")
}

/// The state of a node, coloured by how it is.
pub(crate) fn state_cell(state: v1::NodeState) -> Cell {
    let hue = match state {
        v1::NodeState::Active => Some(Hue::Green),
        v1::NodeState::Registered => None,
        v1::NodeState::Inactive => Some(Hue::Yellow),
        v1::NodeState::Revoked | v1::NodeState::Unspecified => Some(Hue::Red),
    };
    Cell::from(state_name(state)).hue(hue)
}

/// An active node whose agent does not answer, before that makes it inactive: `silent 42s`.
fn silence(status: &v1::NodeStatus) -> Option<String> {
    match status.silent_seconds? {
        0 => Some("silent".to_owned()),
        seconds => Some(format!("silent {}", short(Duration::from_secs(seconds.into())))),
    }
}

/// The record inside a status, which must be there.
pub(crate) fn record(status: &v1::NodeStatus) -> Result<&v1::NodeRecord, Failure> {
    let field = "NodeStatus.record";
    Ok(convert::required(status.record.as_ref(), field).map_err(v1::Error::from)?)
}

/// A node's record as JSON.
pub(crate) fn record_json(record: &v1::NodeRecord) -> Value {
    json!({
        "node": record.node,
        "state": state_name(record.state()),
        "state_since": time(record.state_since.as_ref()),
        "vcluster": record.vcluster,
        "identity": entry_detail::identity(record.identity.as_ref()),
        "agent_version": Some(&record.agent_version).filter(|v| !v.is_empty()),
        "certificate_serial": record.certificate_serial,
        "certificate_not_after": time(record.certificate_not_after.as_ref()),
        "registered": time(record.registered.as_ref()),
        "registered_seq": record.registered_seq,
        "state_seq": record.state_seq,
        "drift": drift::known_json(record.drift.as_ref()),
        "delta_seq": record.delta_seq,
    })
}

/// A node's status as JSON: the record and what is known beyond it.
pub(crate) fn status_json(status: &v1::NodeStatus) -> Result<Value, Failure> {
    let mut object = record_json(record(status)?);
    if let Some(fields) = object.as_object_mut() {
        fields.insert("last_hello".into(), json!(time(status.last_hello.as_ref())));
        fields.insert("whitelist_mode".into(), json!(status.whitelist_mode));
        fields.insert("enforcement_mode".into(), json!(status.enforcement_mode));
        fields.insert("last_seq".into(), json!(status.last_seq));
        fields.insert("silent_seconds".into(), json!(status.silent_seconds));
    }
    Ok(object)
}

/// `pact status`.
pub(crate) fn status_table(nodes: &[v1::NodeStatus], screen: Screen) -> Result<String, Failure> {
    let mut table = Table::new(&[
        "NODE",
        "STATE",
        "VCLUSTER",
        "DRIFT",
        "WINDOW",
        "DEADLINE",
        "MODE",
        "WHITELIST",
        "LAST HELLO",
        "LAST ENTRY",
        "AGENT",
    ])
    .wide_only(&["MODE", "WHITELIST", "LAST HELLO", "LAST ENTRY", "AGENT"]);
    for status in nodes {
        let record = record(status)?;
        let window = record.drift.as_ref().and_then(|d| d.window.as_ref());
        let deadline = at(window.and_then(|w| w.deadline.as_ref()));
        let hello = at(status.last_hello.as_ref());
        table.row(vec![
            Cell::from(&record.node),
            silence(status).map_or_else(
                || state_cell(record.state()),
                |silent| Cell::from(silent).hue(Some(Hue::Yellow)),
            ),
            Cell::from(record.vcluster.as_deref().unwrap_or_default()),
            drift_cell(record.drift.as_ref()),
            drift::window_cell(window),
            Cell::from(deadline.map(|at| screen.times.deadline(at)).unwrap_or_default()),
            Cell::from(status.enforcement_mode.as_deref().unwrap_or_default()),
            Cell::from(status.whitelist_mode.as_deref().unwrap_or_default()),
            Cell::from(hello.map(|at| screen.times.past(at)).unwrap_or_default()),
            Cell::from(status.last_seq.map(|s| s.to_string()).unwrap_or_default()),
            Cell::from(&record.agent_version),
        ]);
    }
    Ok(table.render(screen))
}

/// Keys that differ, as reported last.
fn drift_cell(drift: Option<&v1::NodeDrift>) -> Cell {
    match drift {
        Some(drift) if drift.conflicts > 0 => {
            let text = format!("{} ({})", drift.keys, counted(drift.conflicts, "conflict"));
            Cell::from(text).hue(Some(Hue::Red))
        }
        Some(drift) => {
            Cell::from(drift.keys.to_string()).hue((drift.keys > 0).then_some(Hue::Yellow))
        }
        None => Cell::from(""),
    }
}

/// `pact node list`.
pub(crate) fn record_table(nodes: &[v1::NodeRecord], screen: Screen) -> String {
    let mut table =
        Table::new(&["NODE", "STATE", "VCLUSTER", "SINCE", "MAC", "AGENT"]).wide_only(&["AGENT"]);
    for record in nodes {
        let since = at(record.state_since.as_ref());
        let macs = record.identity.as_ref().map(|i| i.macs.join(",")).unwrap_or_default();
        table.row(vec![
            Cell::from(&record.node),
            state_cell(record.state()),
            Cell::from(record.vcluster.as_deref().unwrap_or_default()),
            Cell::from(since.map(|at| screen.times.past(at)).unwrap_or_default()),
            Cell::from(macs),
            Cell::from(&record.agent_version),
        ]);
    }
    table.render(screen)
}

/// `pact node inspect`.
pub(crate) fn full(status: &v1::NodeStatus, screen: Screen) -> Result<String, Failure> {
    let record = record(status)?;
    let some = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
    let identity = record.identity.clone().unwrap_or_default();
    let window = record.drift.as_ref().and_then(|d| d.window.as_ref());
    let exact = |time| at(time).map(|at| screen.times.exact(at));
    let valid_until = at(record.certificate_not_after.as_ref());
    let pairs = [
        ("node", some(&record.node)),
        ("state", Some(state_name(record.state()))),
        ("answers", silence(status).map(|silent| format!("no: {silent}"))),
        ("since", exact(record.state_since.as_ref())),
        ("vcluster", Some(record.vcluster.clone().unwrap_or_else(|| "(unassigned)".to_owned()))),
        ("mac", some(&identity.macs.join(", "))),
        ("bmc serial", identity.bmc_serial),
        ("hardware id", some(&identity.hardware_ids.join(", "))),
        ("registered", exact(record.registered.as_ref())),
        ("registered in", Some(format!("entry {}", record.registered_seq))),
        ("certificate", record.certificate_serial.clone()),
        ("valid until", valid_until.map(|at| screen.times.deadline(at))),
        ("agent", some(&record.agent_version)),
        ("mode", status.enforcement_mode.clone()),
        ("whitelist", status.whitelist_mode.clone()),
        ("last hello", exact(status.last_hello.as_ref())),
        ("last entry", status.last_seq.map(|seq| seq.to_string())),
        ("drift", record.drift.as_ref().map(|d| counted(d.keys, "key"))),
        ("window", window.map(|window| drift::window_text(window, screen))),
    ];
    Ok(fields(&pairs, screen))
}
