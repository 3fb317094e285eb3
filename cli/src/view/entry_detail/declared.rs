//! What entries about declared state and drift say beyond what all entries say.

use pact_schemas::v1;
use pact_schemas::v1::entry::Payload;
use serde_json::{Value, json};

use crate::output::{Hue, Screen, code_of, counted};
use crate::view::{change, drift};

/// The payload as JSON; `None` for payloads about something else.
pub(super) fn as_json(payload: &Payload) -> Option<Value> {
    Some(match payload {
        Payload::DeltaCommitted(e) => json!({
            "node": e.node,
            "vcluster": e.vcluster,
            "drift_digest": drift::hex(&e.drift_digest),
            "not_restorable": e.not_restorable,
        }),
        Payload::RollbackDone(e) => json!({
            "to_seq": e.to_seq,
            "drift_digest": Some(drift::hex(&e.drift_digest)).filter(|d| !d.is_empty()),
            "targets": e.targets,
            "expired_keys": e.expired_keys,
        }),
        Payload::RollbackDeferred(e) => json!({
            "node": e.node,
            "rollback_seq": e.rollback_seq,
            "holders": drift::holders_json(&e.holders),
            "not_restorable": e.not_restorable,
        }),
        Payload::OverlayApplied(e) => json!({
            "vcluster": e.vcluster,
            "replaced": e.replaced,
            "absorbed": e.absorbed,
            "overwritten": e.overwritten,
            "keys": e.keys,
        }),
        Payload::DriftReport(e) => json!({
            "node": e.node,
            "drift": drift::known_json(e.drift.as_ref()),
            "omitted_changes": e.omitted_changes,
        }),
        Payload::AutoConverged(e) => json!({"node": e.node, "reason": reason(e)}),
        Payload::WindowExtended(e) => json!({"targets": e.targets, "minutes": e.minutes}),
        Payload::BlacklistChanged(e) => json!({"added": e.added, "removed": e.removed}),
        Payload::DeltaExpired(e) => json!({"node": e.node, "vcluster": e.vcluster}),
        Payload::MergeConflict(e) => json!({"node": e.node, "decision": decision(e)}),
        _ => return None,
    })
}

/// `window-expired`, `category` or `conflict`.
fn reason(e: &v1::AutoConverged) -> String {
    code_of(e.reason().as_str_name(), "CONVERGE_REASON_")
}

/// `pending`, `local`, `journal` or `grace-ended`.
fn decision(e: &v1::MergeConflict) -> String {
    code_of(e.decision().as_str_name(), "CONFLICT_DECISION_")
}

/// In a few words, for the table of entries.
pub(super) fn outcome(payload: &Payload) -> Option<(String, Option<Hue>)> {
    match payload {
        Payload::DriftReport(e) => {
            let drift = e.drift.as_ref()?;
            let hue = if drift.keys == 0 { Hue::Green } else { Hue::Yellow };
            let window = drift.window.as_ref().map(drift::window_name);
            let window = window.map(|w| format!(", window {w}")).unwrap_or_default();
            Some((format!("{}{window}", counted(drift.keys, "key")), Some(hue)))
        }
        Payload::RollbackDeferred(e) => {
            Some((format!("deferred, {}", counted(e.holders.len(), "holder")), Some(Hue::Red)))
        }
        Payload::AutoConverged(e) => Some((reason(e), None)),
        Payload::MergeConflict(e) => Some((decision(e), None)),
        _ => None,
    }
}

/// More lines for `pact log show`.
pub(super) fn fields(payload: &Payload, screen: Screen) -> Vec<(&'static str, Option<String>)> {
    let some = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
    let list = |keys: &[String]| some(&change::keys(keys.iter().map(String::as_str)));
    match payload {
        Payload::DeltaCommitted(e) => vec![
            ("vcluster", some(&e.vcluster)),
            ("digest", some(&drift::hex(&e.drift_digest))),
            ("not restorable", list(&e.not_restorable)),
        ],
        Payload::RollbackDone(e) => vec![
            ("to", Some(e.to_seq.map_or("drift discarded".into(), |seq| format!("entry {seq}")))),
            ("digest", some(&drift::hex(&e.drift_digest))),
            ("targets", some(&e.targets)),
            ("expired since", list(&e.expired_keys)),
        ],
        Payload::RollbackDeferred(e) => vec![
            ("rollback", e.rollback_seq.map(|seq| format!("entry {seq}"))),
            ("holders", some(&holders(&e.holders))),
            ("not restorable", list(&e.not_restorable)),
        ],
        Payload::OverlayApplied(e) => vec![
            ("keys", Some(e.keys.to_string())),
            ("replaced", list(&e.replaced)),
            ("absorbed on", some(&e.absorbed)),
            ("overwritten on", some(&e.overwritten)),
        ],
        Payload::DriftReport(e) => drift_fields(e, screen),
        Payload::AutoConverged(e) => vec![("reason", Some(reason(e)))],
        Payload::WindowExtended(e) => {
            vec![("targets", some(&e.targets)), ("minutes", Some(e.minutes.to_string()))]
        }
        Payload::BlacklistChanged(e) => {
            vec![("added", some(&e.added.join(", "))), ("removed", some(&e.removed.join(", ")))]
        }
        Payload::DeltaExpired(e) => vec![("vcluster", some(&e.vcluster))],
        Payload::MergeConflict(e) => vec![("decision", Some(decision(e)))],
        _ => Vec::new(),
    }
}

fn drift_fields(report: &v1::DriftReport, screen: Screen) -> Vec<(&'static str, Option<String>)> {
    let Some(known) = &report.drift else { return Vec::new() };
    let some = |count: u32| (count > 0).then(|| count.to_string());
    vec![
        ("keys", Some(known.keys.to_string())),
        ("only reported", some(known.report_only_keys)),
        ("conflicts", some(known.conflicts)),
        ("window", known.window.as_ref().map(|window| drift::past_window_text(window, screen))),
        ("digest", Some(drift::hex(&known.digest)).filter(|d| !d.is_empty())),
    ]
}

/// `pid 4242 (java): file//x open for writing`, one after the other.
fn holders(holders: &[v1::Holder]) -> String {
    /// Holders of one line.
    const SHOWN: usize = 5;
    let one = |h: &v1::Holder| format!("pid {} ({}): {} {}", h.pid, h.command, h.key, h.how);
    let mut words: Vec<String> = holders.iter().take(SHOWN).map(one).collect();
    if holders.len() > SHOWN {
        words.push(format!("and {} more", holders.len() - SHOWN));
    }
    words.join("; ")
}

/// Changes of which the entry has none, because they are too many.
pub(super) fn omitted(entry: &v1::Entry) -> u32 {
    match &entry.payload {
        Some(Payload::DriftReport(report)) => report.omitted_changes,
        _ => 0,
    }
}
