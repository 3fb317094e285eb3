//! Actions for tests of the rules.

use pact_schemas::convert::Scope;
use pact_schemas::resource::{Change, FileKind, FileValue, ResourceKey, Value, change_set};
use pact_schemas::v1::{self, OnConflict, action::Action};
use pact_schemas::{NodeId, VclusterId};
use proptest::prelude::*;

use super::{DeclaredScope, HeldKeys};
use crate::memory::{Commands, Memory, assign, committed, policy, register};
use crate::working::Working;

pub fn key(text: &str) -> ResourceKey {
    text.parse().unwrap()
}

pub fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

pub fn change(of: &str, old: Option<Value>, new: Option<Value>) -> Change {
    Change { key: key(of), old, new }
}

/// Keys and texts, in key order; an empty text takes the key out.
fn wanted(keys: &[(&str, &str)]) -> Vec<Change> {
    let mut changes: Vec<Change> = keys
        .iter()
        .map(|(of, value)| change(of, None, (!value.is_empty()).then(|| text(value))))
        .collect();
    changes.sort();
    changes
}

pub fn packed(changes: &[Change]) -> v1::ChangeSet {
    change_set::pack(changes).0
}

pub fn update(vcluster: &str, keys: &[(&str, &str)]) -> v1::OverlayUpdate {
    v1::OverlayUpdate {
        vcluster: vcluster.to_owned(),
        changes: Some(packed(&wanted(keys))),
        ..v1::OverlayUpdate::default()
    }
}

pub fn spec(update: v1::OverlayUpdate, on_conflict: OnConflict) -> v1::ApplySpec {
    v1::ApplySpec { overlays: vec![update], policies: Vec::new(), on_conflict: on_conflict.into() }
}

pub fn apply(vcluster: &str, keys: &[(&str, &str)]) -> Action {
    Action::ApplySpec(spec(update(vcluster, keys), OnConflict::Refuse))
}

pub fn delta(node: &str, vcluster: &str, keys: &[(&str, &str)], base_seq: u64) -> v1::CommitDelta {
    v1::CommitDelta {
        node: node.to_owned(),
        vcluster: vcluster.to_owned(),
        changes: Some(packed(&wanted(keys))),
        drift_digest: vec![7; 32],
        base_seq,
        ttl_seconds: None,
        message: "tuned".to_owned(),
    }
}

/// A commit that saw everything.
pub fn commit(node: &str, vcluster: &str, keys: &[(&str, &str)]) -> Action {
    Action::CommitDelta(delta(node, vcluster, keys, u64::MAX))
}

pub fn rollback_of(scope: &Scope, to_seq: u64, base_seq: u64) -> v1::Rollback {
    let plan = if matches!(scope, Scope::Node(_)) { vec![9; 32] } else { Vec::new() };
    v1::Rollback {
        scope: Some(scope.into()),
        to_seq: Some(to_seq),
        base_seq,
        plan_sha256: plan,
        ..v1::Rollback::default()
    }
}

pub fn file(sha256: [u8; 32], content_kept: bool) -> Value {
    Value::File(FileValue {
        kind: FileKind::Regular,
        sha256: Some(sha256),
        size_bytes: 4,
        mode: 0o644,
        owner: "root".to_owned(),
        group: "root".to_owned(),
        link_target: None,
        content_kept,
    })
}

pub fn overlay(vcluster: &str) -> DeclaredScope {
    DeclaredScope::Overlay(VclusterId::new(vcluster).unwrap())
}

pub fn delta_of(vcluster: &str, node: &str) -> DeclaredScope {
    DeclaredScope::Delta(VclusterId::new(vcluster).unwrap(), NodeId::new(node).unwrap())
}

/// What a scope declares now.
pub fn held(state: &Memory, scope: &DeclaredScope) -> HeldKeys {
    Working::new(state).held_at(scope, u64::MAX)
}

/// The texts that a scope declares, as `key=text`.
pub fn shown(state: &Memory, scope: &DeclaredScope) -> Vec<String> {
    let held = held(state, scope);
    held.iter().map(|(key, held)| format!("{key}={}", held.value.as_text().unwrap())).collect()
}

/// Nodes a and b in ml, c in hpc, d in none.
pub fn site() -> (Memory, Commands) {
    let (mut state, mut commands) = (Memory::default(), Commands::new());
    let mut actions: Vec<Action> =
        (1..).zip(["a", "b", "c", "d"]).map(|(mac, name)| register(name, mac)).collect();
    actions.push(policy("ml", v1::VclusterPolicy::default()));
    actions.push(policy("hpc", v1::VclusterPolicy::default()));
    actions.push(assign("a,b", Some("ml"), v1::AssignMode::Assign));
    actions.push(assign("c", Some("hpc"), v1::AssignMode::Assign));
    for action in actions {
        let command = state.judging(commands.make(action));
        committed(&state.apply(&[command])[0]);
    }
    (state, commands)
}

fn keys() -> impl Strategy<Value = Vec<(String, String)>> {
    let one = ("(sysctl/[ab]|service/[ab]|file//[ab])", "[xy]?");
    prop::collection::btree_map(one.0, one.1, 1..4).prop_map(|map| map.into_iter().collect())
}

fn borrowed(keys: &[(String, String)]) -> Vec<(&str, &str)> {
    keys.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// Specifications, commits and blacklists over few names, so that they meet.
pub fn declaring(nodes: &'static str, vclusters: &'static str) -> impl Strategy<Value = Action> {
    let conflicts =
        prop::sample::select(vec![OnConflict::Refuse, OnConflict::Overwrite, OnConflict::Keep]);
    let replace = prop::sample::select(vec![None, Some("sysctl"), Some("file")]);
    let ttl = prop::sample::select(vec![None, Some(900), Some(1_800), Some(60)]);
    let base = prop_oneof![3 => Just(u64::MAX), 1 => 0..40_u64];
    prop_oneof![
        3 => (vclusters, keys(), conflicts, replace).prop_map(|(vcluster, keys, conflict, kind)| {
            let mut update = update(&vcluster, &borrowed(&keys));
            update.replace = kind.into_iter().map(str::to_owned).collect();
            update.keep = vec!["sysctl/a".to_owned()];
            update.overwrite = vec!["sysctl/b".to_owned()];
            Action::ApplySpec(spec(update, conflict))
        }),
        4 => (nodes, vclusters, keys(), ttl, base).prop_map(|(node, vcluster, keys, ttl, base)| {
            let mut commit = delta(&node, &vcluster, &borrowed(&keys), base);
            commit.ttl_seconds = ttl;
            Action::CommitDelta(commit)
        }),
        1 => (vclusters, "[xy]", any::<bool>()).prop_map(|(vcluster, name, add)| {
            let scope = Scope::Vcluster(VclusterId::new(&vcluster).unwrap());
            let patterns = vec![format!("/opt/{name}/**")];
            let (add, remove) = if add { (patterns, vec![]) } else { (vec![], patterns) };
            Action::ChangeBlacklist(v1::ChangeBlacklist {
                scope: Some((&scope).into()),
                add,
                remove,
                judged: Vec::new(),
            })
        }),
    ]
}

/// Rollbacks of entries and bases that may exist.
pub fn rolling_back(nodes: &'static str, vclusters: &'static str) -> impl Strategy<Value = Action> {
    let scope = prop_oneof![
        nodes.prop_map(|node| Scope::Node(NodeId::new(&node).unwrap())),
        vclusters.prop_map(|vcluster| Scope::Vcluster(VclusterId::new(&vcluster).unwrap())),
    ];
    (scope, 0..40_u64, 0..40_u64)
        .prop_map(|(scope, to, base)| Action::Rollback(rollback_of(&scope, to, base)))
}
