//! What the journal of these tests declares, and how it came to be.

use std::collections::BTreeMap;

use pact_journal_core::declared::DeclaredScope;
use pact_journal_core::view::StateView as _;
use pact_schemas::convert::Scope;
use pact_schemas::resource::{Change, Value, change_set};
use pact_schemas::v1;
use pact_schemas::v1::action::Action;
use ring::digest::{SHA256, digest};

use crate::journal::State;

pub(crate) fn node_scope(node: &str) -> v1::Scope {
    v1::Scope { scope: Some(v1::scope::Scope::Node(node.into())) }
}

pub(crate) fn vc_scope(name: &str) -> v1::Scope {
    v1::Scope { scope: Some(v1::scope::Scope::Vcluster(name.into())) }
}

pub(crate) fn text(value: &str) -> v1::Value {
    v1::Value { value: Some(v1::value::Value::Text(value.into())) }
}

/// `None`: a node in no vCluster has no deltas.
pub(crate) fn scope_of(state: &State, scope: &v1::Scope) -> Option<DeclaredScope> {
    match Scope::try_from(scope).unwrap() {
        Scope::Vcluster(vcluster) => Some(DeclaredScope::Overlay(vcluster)),
        Scope::Node(node) => {
            let vcluster = state.journal.nodes[&node].vcluster.as_ref()?.parse().unwrap();
            Some(DeclaredScope::Delta(vcluster, node))
        }
        Scope::Global => panic!("nothing is declared for the whole site"),
    }
}

/// What a scope declares now.
pub(crate) fn keys(state: &State, scope: &v1::Scope) -> BTreeMap<String, v1::Value> {
    let scope = scope_of(state, scope).unwrap();
    let held = state.journal.declared_after(&scope, u64::MAX, None, usize::MAX);
    held.into_iter().map(|(key, held)| (key.to_string(), (&held.value).into())).collect()
}

/// A chunk that a node sends, or a gateway.
pub(crate) fn put(state: &mut State, by_node: Option<&str>, bytes: &[u8]) -> Vec<u8> {
    let sha256 = digest(&SHA256, bytes).as_ref().to_vec();
    let blob = v1::PutBlob {
        sha256: sha256.clone(),
        compressed: zstd::bulk::compress(bytes, 1).unwrap(),
        size_bytes: u32::try_from(bytes.len()).unwrap(),
    };
    state.commit(by_node, Action::PutBlob(blob));
    sha256
}

fn packed(
    state: &mut State,
    by_node: Option<&str>,
    keys: impl Iterator<Item = (String, Value)>,
) -> v1::ChangeSet {
    let change = |(key, new): (String, Value)| Change {
        key: key.parse().unwrap(),
        old: None,
        new: Some(new),
    };
    let (set, chunks) = change_set::pack(&keys.map(change).collect::<Vec<_>>());
    for chunk in chunks {
        put(state, by_node, &chunk);
    }
    set
}

/// A node of `ml` commits these keys; the entry.
pub(crate) fn commit(
    state: &mut State,
    node: &str,
    keys: impl Iterator<Item = (String, Value)>,
) -> u64 {
    let changes = Some(packed(state, Some(node), keys));
    let commit = v1::CommitDelta {
        node: node.into(),
        vcluster: "ml".into(),
        changes,
        drift_digest: vec![7; 32],
        base_seq: u64::MAX,
        ..v1::CommitDelta::default()
    };
    state.commit(None, Action::CommitDelta(commit))
}

/// The overlay of `ml` has these keys beside those that it had; the entry.
pub(crate) fn apply(state: &mut State, keys: impl Iterator<Item = (String, Value)>) -> u64 {
    let changes = Some(packed(state, None, keys));
    let update =
        v1::OverlayUpdate { vcluster: "ml".into(), changes, ..v1::OverlayUpdate::default() };
    let spec = v1::ApplySpec {
        overlays: vec![update],
        on_conflict: v1::OnConflict::Keep.into(),
        ..v1::ApplySpec::default()
    };
    state.commit(None, Action::ApplySpec(spec))
}
