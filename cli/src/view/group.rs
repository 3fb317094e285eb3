//! vCluster groups and their policies.

use pact_schemas::v1;
use serde_json::{Value, json};

use crate::output::{Cell, Screen, Table, fields};

/// The policy as JSON; what is not set has its documented default and is left out.
pub(crate) fn policy_json(policy: &v1::VclusterPolicy) -> Value {
    let mut object = serde_json::Map::new();
    for (name, value) in policy_fields(policy) {
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}

/// Every key of the policy that is set, in the order of the specification.
fn policy_fields(p: &v1::VclusterPolicy) -> Vec<(&'static str, Value)> {
    // In an update a list may be there to become empty.
    let list = |name: &'static str, items: &[String]| {
        let is_given = !items.is_empty() || p.cleared_lists.iter().any(|cleared| cleared == name);
        (name, is_given.then(|| json!(items)))
    };
    let all = [
        ("enforcement_mode", p.enforcement_mode.as_ref().map(|v| json!(v))),
        ("drift_sensitivity", p.drift_sensitivity.map(|v| json!(v))),
        ("base_commit_window_seconds", p.base_commit_window_seconds.map(|v| json!(v))),
        ("min_window_seconds", p.min_window_seconds.map(|v| json!(v))),
        ("emergency_window_seconds", p.emergency_window_seconds.map(|v| json!(v))),
        ("emergency_allowed", p.emergency_allowed.map(|v| json!(v))),
        ("regulated", p.regulated.map(|v| json!(v))),
        ("two_person_approval", p.two_person_approval.map(|v| json!(v))),
        ("approval_timeout_seconds", p.approval_timeout_seconds.map(|v| json!(v))),
        ("exec_requires_approval", p.exec_requires_approval.map(|v| json!(v))),
        list("exec_whitelist", &p.exec_whitelist),
        list("shell_whitelist", &p.shell_whitelist),
        ("shell_privileged", p.shell_privileged.map(|v| json!(v))),
        list("auto_converge_categories", &p.auto_converge_categories),
        list("require_ack_categories", &p.require_ack_categories),
        ("audit_retention_days", p.audit_retention_days.map(|v| json!(v))),
        ("ai_exec_allowed", p.ai_exec_allowed.map(|v| json!(v))),
        ("degraded_exec", p.degraded_exec.map(|v| json!(v))),
        list("root_keys", &p.root_keys),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// A group as JSON.
pub(crate) fn as_json(group: &v1::VclusterRecord) -> Value {
    json!({
        "group": group.vcluster,
        "node_count": group.node_count,
        "created_seq": group.created_seq,
        "policy_seq": group.policy_seq,
        "policy": group.policy.as_ref().map(policy_json),
    })
}

/// `pact group list`.
pub(crate) fn table(groups: &[v1::VclusterRecord], screen: Screen) -> String {
    let mut table = Table::new(&["GROUP", "NODES", "REGULATED", "MODE", "POLICY ENTRY"]);
    for group in groups {
        let policy = group.policy.clone().unwrap_or_default();
        table.row(vec![
            Cell::from(&group.vcluster),
            Cell::from(group.node_count.to_string()),
            Cell::from(if policy.regulated.unwrap_or(false) { "yes" } else { "no" }),
            Cell::from(policy.enforcement_mode.unwrap_or_default()),
            Cell::from(group.policy_seq.to_string()),
        ]);
    }
    table.render(screen)
}

/// `pact group show`.
pub(crate) fn full(group: &v1::VclusterRecord, nodes: &[String], screen: Screen) -> String {
    let mut pairs = vec![
        ("group", Some(group.vcluster.clone())),
        ("nodes", Some(folded(nodes))),
        ("created in", Some(format!("entry {}", group.created_seq))),
        ("policy of", Some(format!("entry {}", group.policy_seq))),
    ];
    let policy = group.policy.clone().unwrap_or_default();
    let shown = policy_fields(&policy).into_iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        (name, Some(text))
    });
    pairs.extend(shown);
    fields(&pairs, screen)
}

/// `node[001-128]`, or the names as they are when they are no ids.
fn folded(nodes: &[String]) -> String {
    let ids = nodes.iter().filter_map(|n| pact_schemas::NodeId::new(n).ok());
    match pact_schemas::NodeSet::new(ids) {
        Ok(set) if set.len() == nodes.len() => format!("{} ({})", set.fold(), set.len()),
        _ if nodes.is_empty() => "none".to_owned(),
        _ => nodes.join(","),
    }
}
