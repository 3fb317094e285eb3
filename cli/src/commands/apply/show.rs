//! What a specification changes, or changed.

use pact_schemas::v1;
use serde_json::{Value, json};

use crate::output::{Screen, clean_line, counted};
use crate::view::{self, change, drift};

/// One item: all of it.
pub(super) fn as_json(reply: &v1::ApplyReply, dry_run: bool) -> Value {
    let policy = |p: &v1::PolicyUpdate| json!({"vcluster": p.vcluster, "policy": p.policy.as_ref().map(view::group::policy_json)});
    let node =
        |s: &v1::NodeSettled| json!({"node": s.node, "settled": drift::settled_json(Some(s))});
    json!({
        "dry_run": dry_run,
        "first_seq": reply.first_seq,
        "last_seq": reply.last_seq,
        "policies": reply.policies.iter().map(policy).collect::<Vec<_>>(),
        "overlays": reply.overlays.iter().map(overlay_json).collect::<Vec<_>>(),
        "nodes": reply.nodes.iter().map(node).collect::<Vec<_>>(),
        "created": reply.created,
        "away": Some(&reply.away).filter(|a| !a.is_empty()),
    })
}

fn overlay_json(overlay: &v1::AppliedOverlay) -> Value {
    json!({
        "vcluster": overlay.vcluster,
        "changes": change::as_json(&overlay.changes),
        "omitted_changes": overlay.omitted_changes,
        "removed_keys": overlay.removed_keys,
        "conflicts": drift::conflicts_json(&overlay.conflicts),
        "absorbed": drift::conflicts_json(&overlay.absorbed),
        "blacklist": overlay.blacklist.as_ref().map(|b| &b.patterns),
    })
}

/// What goes away, said loudly.
pub(super) fn removal(overlay: &v1::AppliedOverlay, dry_run: bool) -> String {
    let removed = overlay.changes.iter().filter(|c| c.new.is_none()).map(|c| c.key.as_str());
    let verb = if dry_run { "would remove" } else { "removed" };
    let (count, keys) = (counted(overlay.removed_keys, "declared key"), change::keys(removed));
    format!("{verb} {count} of vc:{}: {keys}", overlay.vcluster)
}

/// The changes of each vCluster, one line about all of it, and the nodes.
pub(super) fn as_text(reply: &v1::ApplyReply, dry_run: bool, screen: Screen) -> String {
    let mut text = String::new();
    for overlay in &reply.overlays {
        text.push_str(&overlay_text(overlay, screen));
    }
    let verb = if dry_run { "new" } else { "made" };
    for name in &reply.created {
        text.push_str(&format!("{verb}: vc:{}\n", clean_line(name)));
    }
    let what = what(reply);
    let is_refused = dry_run && !reply.errors.is_empty();
    text.push_str(&match (dry_run, reply.first_seq, reply.last_seq) {
        _ if is_refused => format!("would be refused as it is: {what}\n"),
        (true, ..) => format!("would apply: {what}\n"),
        (false, 0, _) => format!("nothing changed: {what}\n"),
        (false, first, last) if first == last => format!("applied: {what} (entry {first})\n"),
        (false, first, last) => format!("applied: {what} (entries {first} to {last})\n"),
    });
    for settled in &reply.nodes {
        text.push_str(&drift::node_line(&settled.node, &drift::settled_text(settled, screen)));
    }
    if !reply.away.is_empty() {
        text.push_str(&drift::node_line(&reply.away, "away; they take it when they are back"));
    }
    text
}

fn overlay_text(overlay: &v1::AppliedOverlay, screen: Screen) -> String {
    let mut text = String::new();
    if !overlay.changes.is_empty() {
        text.push_str(&format!("vc:{}\n", clean_line(&overlay.vcluster)));
        text.push_str(&change::table(&overlay.changes, overlay.omitted_changes, screen));
    }
    if !overlay.conflicts.is_empty() {
        text.push_str("nodes whose own values differ:\n");
        text.push_str(&drift::conflicts_table(&overlay.conflicts, screen));
    }
    if !overlay.absorbed.is_empty() {
        let nodes = overlay.absorbed.iter().map(|c| format!("{} on {}", c.key, c.node));
        let nodes: Vec<String> = nodes.collect();
        let keys = change::keys(nodes.iter().map(String::as_str));
        text.push_str(&format!("deltas that end, because the overlay now says the same: {keys}\n"));
    }
    text
}

/// In a few words.
fn what(reply: &v1::ApplyReply) -> String {
    let mut words: Vec<String> = Vec::new();
    let policies: Vec<String> = reply.policies.iter().map(|p| clean_line(&p.vcluster)).collect();
    if !policies.is_empty() {
        words.push(format!("policy of {}", policies.join(", ")));
    }
    for overlay in &reply.overlays {
        let count = overlay.changes.len() + overlay.omitted_changes as usize;
        let name = clean_line(&overlay.vcluster);
        match (count, &overlay.blacklist) {
            (0, None) => {}
            (0, Some(_)) => words.push(format!("blacklist of {name}")),
            (1, _) => words.push(format!("1 key of {name}")),
            (count, _) => words.push(format!("{count} keys of {name}")),
        }
    }
    if words.is_empty() { "nothing to change".to_owned() } else { words.join(", ") }
}
