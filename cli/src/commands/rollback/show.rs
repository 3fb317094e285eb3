//! A rollback: its plan, and what came of it.

use pact_schemas::v1;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{Screen, clean_line};
use crate::view::{change, drift, entry};

/// The plan for people; and whether there is nothing to do.
pub(super) fn plan(reply: &v1::RollbackScopeReply, screen: Screen) -> (String, bool) {
    let mut text = String::new();
    let mut is_nothing = true;
    for plan in &reply.plans {
        let scope = entry::scope(plan.scope.as_ref()).unwrap_or_default();
        let count = count(plan);
        if count == 0 {
            continue;
        }
        is_nothing = false;
        text.push_str(&format!("target: {scope}\nplan: {}\n", keys(count)));
        text.push_str(&change::table(&plan.changes, plan.omitted_changes, screen));
    }
    (text, is_nothing)
}

fn count(plan: &v1::PlannedRollback) -> usize {
    plan.changes.len() + plan.omitted_changes as usize
}

fn keys(count: usize) -> String {
    if count == 1 { "1 key changes".to_owned() } else { format!("{count} keys change") }
}

/// Scopes and nodes that came out well.
pub(super) fn well(reply: &v1::RollbackScopeReply) -> usize {
    let failed = |node: &str| reply.errors.iter().any(|error| error.node == node);
    let is_well = |plan: &&v1::PlannedRollback| match of_node(plan) {
        Some(node) => !failed(node),
        None => true,
    };
    reply.plans.iter().filter(is_well).count()
}

fn of_node(plan: &v1::PlannedRollback) -> Option<&str> {
    match plan.scope.as_ref()?.scope.as_ref()? {
        v1::scope::Scope::Node(node) => Some(node),
        v1::scope::Scope::Vcluster(_) | v1::scope::Scope::Global(_) => None,
    }
}

/// The nodes of a scope: the one that it is, or all of the vCluster's.
fn nodes_of<'a>(
    reply: &'a v1::RollbackScopeReply,
    plan: &'a v1::PlannedRollback,
) -> impl Iterator<Item = &'a v1::NodeRollback> {
    let only = of_node(plan);
    reply.nodes.iter().filter(move |node| only.is_none_or(|only| only == node.node))
}

/// One item for each scope.
pub(super) fn as_json(reply: &v1::RollbackScopeReply) -> Result<Vec<Value>, Failure> {
    let one = |plan: &v1::PlannedRollback| {
        let nodes: Vec<Value> = nodes_of(reply, plan).map(node_json).collect();
        Ok(json!({
            "scope": entry::scope(plan.scope.as_ref())?,
            "seq": Some(plan.seq).filter(|seq| *seq > 0),
            "base_seq": plan.base_seq,
            "drift_digest": Some(drift::hex(&plan.drift_digest)).filter(|d| !d.is_empty()),
            "changes": change::as_json(&plan.changes),
            "omitted_changes": plan.omitted_changes,
            "nodes": nodes,
        }))
    };
    reply.plans.iter().map(one).collect()
}

fn node_json(node: &v1::NodeRollback) -> Value {
    json!({
        "node": node.node,
        "restored_keys": node.restored_keys,
        "when_back": node.when_back,
        "holders": drift::holders_json(&node.holders),
        "problems": drift::problems_json(&node.problems),
        "settled": drift::settled_json(node.settled.as_ref()),
    })
}

/// What came of each scope, then of each node.
pub(super) fn as_text(reply: &v1::RollbackScopeReply, screen: Screen) -> Result<String, Failure> {
    let mut text = String::new();
    for plan in &reply.plans {
        let scope = clean_line(&entry::scope(plan.scope.as_ref())?);
        text.push_str(&match (plan.seq, count(plan)) {
            (0, 0) => format!("{scope}: nothing to roll back\n"),
            (0, _) => format!("{scope}: nothing was changed\n"),
            (seq, _) => format!("{scope}: rolled back (entry {seq})\n"),
        });
        for node in nodes_of(reply, plan) {
            text.push_str(&node_text(node, screen));
        }
    }
    Ok(text)
}

fn node_text(node: &v1::NodeRollback, screen: Screen) -> String {
    let mut text = String::new();
    if node.when_back {
        text.push_str(&drift::node_line(&node.node, "away; it does it when it is back"));
    } else if let Some(settled) = &node.settled {
        text.push_str(&drift::node_line(&node.node, &drift::settled_text(settled, screen)));
    } else if node.holders.is_empty() {
        let what = match node.restored_keys {
            1 => "1 key restored".to_owned(),
            keys => format!("{keys} keys restored"),
        };
        text.push_str(&drift::node_line(&node.node, &what));
    }
    text.push_str(&drift::holders_table(&node.holders, screen));
    for problem in &node.problems {
        let what = format!("{}: {} {}", problem.key, problem.code, problem.reason);
        text.push_str(&drift::node_line(&node.node, &what));
    }
    text
}
