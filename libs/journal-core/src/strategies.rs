//! Random actions for property tests: of this crate, and of the journal's rows, whose tests take
//! this file in. `samples` needs no crate that only tests need, so that the services are built
//! alike for tests and for use.

use pact_journal_core::samples::{delta, rollback_of, spec, update};
use pact_schemas::convert::Scope;
use pact_schemas::v1::{self, OnConflict, action::Action};
use pact_schemas::{NodeId, VclusterId};
use proptest::prelude::*;

fn keys() -> impl Strategy<Value = Vec<(String, String)>> {
    let one = ("(sysctl/[ab]|service/[ab]|file//[ab])", "[xy]?");
    prop::collection::btree_map(one.0, one.1, 1..4).prop_map(|map| map.into_iter().collect())
}

fn borrowed(keys: &[(String, String)]) -> Vec<(&str, &str)> {
    keys.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// Specifications, commits and blacklists over few names, so that they meet.
pub(crate) fn declaring(
    nodes: &'static str,
    vclusters: &'static str,
) -> impl Strategy<Value = Action> {
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
pub(crate) fn rolling_back(
    nodes: &'static str,
    vclusters: &'static str,
) -> impl Strategy<Value = Action> {
    let scope = prop_oneof![
        nodes.prop_map(|node| Scope::Node(NodeId::new(&node).unwrap())),
        vclusters.prop_map(|vcluster| Scope::Vcluster(VclusterId::new(&vcluster).unwrap())),
    ];
    (scope, 0..40_u64, 0..40_u64)
        .prop_map(|(scope, to, base)| Action::Rollback(rollback_of(&scope, to, base)))
}
