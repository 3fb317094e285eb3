//! Where the right to act on nodes was judged: written by the gateway, compared by the journal.
//!
//! An action on nodes names each of them once, under the vCluster that it was in when the policy was asked. Folded, a set that
//! lies within one vCluster costs as much as its own text.

use std::collections::{BTreeMap, BTreeSet};

use crate::convert::WireError;
use crate::id::{IdError, NodeId, VclusterId};
use crate::nodeset::{MAX_TEXT_BYTES, NodeSet, NodeSetError};
use crate::v1::JudgedScope;

/// Scopes of one action. With 4 KiB of nodes each they stay, all together, under half of a Raft record.
pub const MAX_SCOPES: usize = 64;

/// Nodes, each with the vCluster that it is in, if it is in one.
pub type Places = BTreeMap<NodeId, Option<VclusterId>>;

/// Why places are not written, or what is written is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JudgedError {
    /// Nothing says where the right was judged.
    #[error("an action on nodes does not say in which vCluster the right to it was judged")]
    Missing,
    /// In more pieces than are carried.
    #[error("the nodes lie in their vClusters in more than {MAX_SCOPES} pieces")]
    TooMany,
    /// A node is named twice, or is none of those that are acted on.
    #[error("the right was not judged for exactly the nodes that are acted on: {node}")]
    Others {
        /// The first such node.
        node: NodeId,
    },
    /// A text that is no node set.
    #[error("{0}")]
    Nodes(#[from] NodeSetError),
    /// A name that is no vCluster.
    #[error("{0}")]
    Vcluster(#[from] IdError),
}

/// The scopes that name these places. Nodes of one vCluster whose folded text is longer than 4 KiB come in several.
///
/// # Errors
/// [`JudgedError::Missing`] without nodes, [`JudgedError::TooMany`], [`JudgedError::Nodes`] beyond 100,000 in one vCluster.
pub fn fold(places: &Places) -> Result<Vec<JudgedScope>, JudgedError> {
    let mut within: BTreeMap<Option<&VclusterId>, Vec<NodeId>> = BTreeMap::new();
    for (node, vcluster) in places {
        within.entry(vcluster.as_ref()).or_default().push(node.clone());
    }
    let mut scopes = Vec::new();
    for (vcluster, nodes) in within {
        let mut pieces = vec![nodes];
        while let Some(mut piece) = pieces.pop() {
            let targets = NodeSet::new(piece.iter().cloned())?.fold();
            if targets.len() <= MAX_TEXT_BYTES {
                scopes.push(JudgedScope { vcluster: vcluster.map(ToString::to_string), targets });
            } else {
                // Ends: one node is far shorter.
                let rest = piece.split_off(piece.len() / 2);
                pieces.extend([rest, piece]);
            }
            if scopes.len() > MAX_SCOPES {
                return Err(JudgedError::TooMany);
            }
        }
    }
    if scopes.is_empty() { Err(JudgedError::Missing) } else { Ok(scopes) }
}

/// The places that scopes name, which have to be those of exactly these nodes.
///
/// # Errors
/// [`JudgedError`] for whatever is missing, too much, named twice or malformed.
pub fn read(scopes: &[JudgedScope], nodes: &BTreeSet<NodeId>) -> Result<Places, JudgedError> {
    if scopes.is_empty() {
        return Err(JudgedError::Missing);
    }
    if scopes.len() > MAX_SCOPES {
        return Err(JudgedError::TooMany);
    }
    let mut places = Places::new();
    for scope in scopes {
        let vcluster: Option<VclusterId> = scope.vcluster.as_deref().map(str::parse).transpose()?;
        for node in NodeSet::parse(&scope.targets)?.iter() {
            let is_new = places.insert(node.clone(), vcluster.clone()).is_none();
            if !is_new || !nodes.contains(node) {
                return Err(JudgedError::Others { node: node.clone() });
            }
        }
    }
    match nodes.iter().find(|node| !places.contains_key(*node)) {
        Some(node) => Err(JudgedError::Others { node: node.clone() }),
        None => Ok(places),
    }
}

impl From<JudgedError> for WireError {
    fn from(error: JudgedError) -> Self {
        let field = "Action.judged";
        match error {
            JudgedError::Missing => Self::Missing { field },
            JudgedError::TooMany => Self::Bounds { field, rule: "has more than 64 scopes" },
            JudgedError::Others { .. } => {
                Self::Bounds { field, rule: "does not name each target exactly once" }
            }
            JudgedError::Nodes(_) => {
                Self::Bounds { field, rule: "has targets that are no node set" }
            }
            JudgedError::Vcluster(source) => Self::Id { field, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places(of: &[(&str, Option<&str>)]) -> Places {
        let place = |(node, vcluster): &(&str, Option<&str>)| {
            (node.parse().unwrap(), vcluster.map(|name| name.parse().unwrap()))
        };
        of.iter().map(place).collect()
    }

    fn scope(vcluster: Option<&str>, targets: &str) -> JudgedScope {
        JudgedScope { vcluster: vcluster.map(str::to_owned), targets: targets.to_owned() }
    }

    #[test]
    fn nodes_of_one_vcluster_are_one_scope() {
        let found =
            places(&[("n1", Some("ml")), ("n2", Some("ml")), ("n4", None), ("x", Some("a"))]);
        let expected = [scope(None, "n4"), scope(Some("a"), "x"), scope(Some("ml"), "n[1-2]")];
        assert_eq!(fold(&found).unwrap(), expected);
        assert_eq!(fold(&Places::new()), Err(JudgedError::Missing));
    }

    #[test]
    fn what_is_too_long_for_one_scope_comes_in_several_up_to_a_bound() {
        // Every second node, so that nothing folds to ranges.
        let every_second = |count: usize| -> Places {
            let vcluster: Option<VclusterId> = Some("ml".parse().unwrap());
            (0..count)
                .map(|i| (format!("node{:06}", i * 2).parse().unwrap(), vcluster.clone()))
                .collect()
        };
        let some = every_second(20_000);
        let scopes = fold(&some).unwrap();
        assert!((30..=MAX_SCOPES).contains(&scopes.len()), "{}", scopes.len());
        assert!(scopes.iter().all(|scope| scope.targets.len() <= MAX_TEXT_BYTES));
        assert_eq!(read(&scopes, &some.keys().cloned().collect()).unwrap(), some);
        assert_eq!(fold(&every_second(50_000)), Err(JudgedError::TooMany));
    }

    #[test]
    fn scopes_name_each_node_once_and_no_other() {
        let nodes: BTreeSet<NodeId> = ["a", "b"].map(|name| name.parse().unwrap()).into();
        let whole = [scope(Some("ml"), "a"), scope(None, "b")];
        assert_eq!(read(&whole, &nodes).unwrap(), places(&[("a", Some("ml")), ("b", None)]));
        for bad in [
            vec![],
            vec![scope(Some("ml"), "a")],
            vec![scope(Some("ml"), "a,b"), scope(None, "b")],
            vec![scope(Some("ml"), "a,b,c")],
            vec![scope(Some(""), "a,b")],
            vec![scope(Some("ml"), "")],
            vec![scope(Some("ml"), "a,b"); MAX_SCOPES + 1],
        ] {
            assert!(read(&bad, &nodes).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_folded_is_read_back(
            found in prop::collection::btree_map("[ab]{1,3}[0-9]{0,3}", prop::option::of("v[abc]"), 1..40),
        ) {
            let found: Places = found
                .into_iter()
                .map(|(node, vcluster)| (node.parse().unwrap(), vcluster.map(|v| v.parse().unwrap())))
                .collect();
            let scopes = fold(&found).unwrap();
            prop_assert_eq!(read(&scopes, &found.keys().cloned().collect()).unwrap(), found);
        }
    }
}
