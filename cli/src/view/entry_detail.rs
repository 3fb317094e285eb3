//! What an entry says beyond what all entries say.

mod declared;

use pact_schemas::v1;
use pact_schemas::v1::entry::Payload;
use serde_json::{Value, json};

use super::{at, time};
use crate::output::{Hue, Screen, code_of, counted};

/// The `detail` of an entry's JSON: its payload, and `parent` where it is an outcome.
pub(crate) fn as_json(entry: &v1::Entry) -> Option<Value> {
    let mut detail = payload(entry);
    if let Some(parent) = entry.parent {
        let object = detail.get_or_insert_with(|| json!({})).as_object_mut();
        object.map(|o| o.insert("parent".to_owned(), json!(parent)));
    }
    detail
}

fn payload(entry: &v1::Entry) -> Option<Value> {
    Some(match entry.payload.as_ref()? {
        Payload::ExecRequested(e) => json!({
            "targets": e.targets,
            "argv": e.argv,
            "stdin": e.stdin,
            "timeout_seconds": e.timeout_seconds,
            "output_limit_bytes": e.output_limit_bytes,
        }),
        Payload::ExecFinished(e) => exec_finished(e),
        Payload::NodeRegistered(e) => {
            json!({"node": e.node, "identity": identity(e.identity.as_ref())})
        }
        Payload::NodeEnrolled(e) => json!({
            "node": e.node,
            "certificate_serial": e.certificate_serial,
            "certificate_not_after": time(e.certificate_not_after.as_ref()),
            "bus_user": e.bus_user,
            "agent_version": e.agent_version,
        }),
        Payload::NodeLiveness(e) => json!({
            "node": e.node,
            "state": code_of(e.state().as_str_name(), "NODE_STATE_"),
        }),
        Payload::NodeAssigned(e) => json!({
            "node": e.node,
            "from_vcluster": e.from_vcluster,
            "to_vcluster": e.to_vcluster,
        }),
        Payload::NodeRevoked(e) => json!({"node": e.node}),
        Payload::CapabilityChange(e) => {
            let size: u64 = e.report.iter().map(|b| u64::from(b.size_bytes)).sum();
            json!({"node": e.node, "report_bytes": size})
        }
        Payload::Denied(e) => json!({
            "operation": e.operation,
            "target": e.target,
            "code": e.code,
            "reason": e.reason,
        }),
        Payload::Accessed(e) => json!({
            "operation": e.operation,
            "target": e.target,
            "count": e.count,
            "minute": time(e.minute.as_ref()),
        }),
        Payload::PolicyUpdate(e) => json!({
            "vcluster": e.vcluster,
            "policy": e.policy.as_ref().map(super::group::policy_json),
        }),
        Payload::MembershipChanged(e) => {
            let members: Vec<Value> =
                e.members.iter().map(|m| json!({"id": m.id, "address": m.address})).collect();
            let removed: Vec<Value> = e
                .removed
                .iter()
                .map(|m| json!({"id": m.id, "address": m.address, "seq": m.seq}))
                .collect();
            json!({"members": members, "removed": removed})
        }
        Payload::SpoolGap(e) => json!({
            "node": e.node,
            "spool_id": e.spool_id,
            "expected_number": e.expected_number,
            "received_number": e.received_number,
        }),
        Payload::EnrolmentRejected(e) => json!({
            "node": e.node,
            "code": e.code,
            "reason": e.reason,
            "source": e.source,
        }),
        other => return declared::as_json(other),
    })
}

/// How a command ended, as JSON.
pub(crate) fn exec_finished(e: &v1::ExecFinished) -> Value {
    json!({
        "outcome": outcome_name(e),
        "exit_status": e.exit_status,
        "signal": e.signal,
        "output_bytes": e.output_bytes,
        "discarded_bytes": e.discarded_bytes,
        "started": time(e.started.as_ref()),
        "finished": time(e.finished.as_ref()),
        "code": Some(&e.code).filter(|c| !c.is_empty()),
        "reason": Some(&e.reason).filter(|r| !r.is_empty()),
        "off_list": e.off_list,
    })
}

/// `exited`, `signalled`, `timed-out`, `cancelled`, `refused`, `not-started` or `unknown`.
pub(crate) fn outcome_name(e: &v1::ExecFinished) -> String {
    code_of(e.outcome().as_str_name(), "EXEC_OUTCOME_")
}

/// Hardware identity as JSON.
pub(crate) fn identity(identity: Option<&v1::HardwareIdentity>) -> Value {
    identity.map_or(
        Value::Null,
        |i| json!({"macs": i.macs, "bmc_serial": i.bmc_serial, "hardware_ids": i.hardware_ids}),
    )
}

/// How the thing that an entry is about came out, in a few words.
pub(crate) fn outcome(entry: &v1::Entry) -> Option<(String, Option<Hue>)> {
    match entry.payload.as_ref()? {
        Payload::ExecFinished(e) => Some(exec_outcome(e)),
        Payload::Denied(e) => Some((format!("denied {}", e.code), Some(Hue::Red))),
        Payload::EnrolmentRejected(e) => Some((format!("rejected {}", e.code), Some(Hue::Red))),
        Payload::NodeLiveness(e) => Some((code_of(e.state().as_str_name(), "NODE_STATE_"), None)),
        other => declared::outcome(other),
    }
}

/// How a command ended, in a few words.
pub(crate) fn exec_outcome(e: &v1::ExecFinished) -> (String, Option<Hue>) {
    let name = outcome_name(e);
    match e.outcome() {
        v1::ExecOutcome::Exited => match e.exit_status {
            Some(0) => ("exit 0".to_owned(), Some(Hue::Green)),
            Some(status) => (format!("exit {status}"), Some(Hue::Yellow)),
            None => (name, Some(Hue::Red)),
        },
        v1::ExecOutcome::Signalled => {
            (e.signal.map_or(name, |s| format!("signal {s}")), Some(Hue::Yellow))
        }
        _ if e.code.is_empty() => (name, Some(Hue::Red)),
        _ => (format!("{name} {}", e.code), Some(Hue::Red)),
    }
}

/// More lines for `pact log show`.
pub(crate) fn fields(entry: &v1::Entry, screen: Screen) -> Vec<(&'static str, Option<String>)> {
    let exact = |time| at(time).map(|at| screen.times.exact(at));
    let some = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
    match entry.payload.as_ref() {
        Some(Payload::ExecRequested(e)) => vec![
            ("targets", some(&e.targets)),
            ("command", some(&shown_argv(&e.argv))),
            ("time limit", Some(format!("{} s", e.timeout_seconds))),
            ("output limit", Some(format!("{} bytes", e.output_limit_bytes))),
        ],
        Some(Payload::ExecFinished(e)) => vec![
            ("reason", some(&e.reason)),
            ("off list", e.off_list.then(|| "yes: it ran although it is not on the list".into())),
            ("started", exact(e.started.as_ref())),
            ("finished", exact(e.finished.as_ref())),
            ("output", Some(output_size(e))),
        ],
        Some(Payload::Denied(e)) => vec![
            ("operation", some(&e.operation)),
            ("target", some(&e.target)),
            ("reason", some(&e.reason)),
        ],
        Some(Payload::Accessed(e)) => vec![
            ("operation", some(&e.operation)),
            ("target", some(&e.target)),
            ("count", Some(e.count.to_string())),
        ],
        Some(Payload::NodeAssigned(e)) => {
            vec![("from", e.from_vcluster.clone()), ("to", e.to_vcluster.clone())]
        }
        Some(Payload::EnrolmentRejected(e)) => {
            vec![("reason", some(&e.reason)), ("source", some(&e.source))]
        }
        Some(other) => declared::fields(other, screen),
        None => Vec::new(),
    }
}

/// Changes that the entry leaves out because there are too many.
pub(crate) fn omitted_changes(entry: &v1::Entry) -> u32 {
    declared::omitted(entry)
}

fn output_size(e: &v1::ExecFinished) -> String {
    match e.discarded_bytes {
        0 => counted(e.output_bytes, "byte"),
        discarded => format!("{}, {discarded} of them discarded", counted(e.output_bytes, "byte")),
    }
}

/// A command as one would type it; arguments with blanks or quotes are quoted.
pub(crate) fn shown_argv(argv: &[String]) -> String {
    let words = argv.iter().map(|word| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+/.,:@%".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    words.collect::<Vec<_>>().join(" ")
}
