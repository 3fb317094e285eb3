//! From what a user typed to nodes that the journal knows.

use std::collections::{BTreeMap, BTreeSet};

use pact_schemas::convert::vcluster_of;
use pact_schemas::judged::{self, Places};
use pact_schemas::node_state::UnknownState;
use pact_schemas::nodeset::{Expression, MAX_TEXT_BYTES, NodeSetError, Term};
use pact_schemas::v1::{JudgedScope, NodeRecord, NodesReply, NodesRequest};
use pact_schemas::{ErrorCode, NodeId, NodeSet, NodeState, VclusterId, v1};

use crate::context::Gateway;
use crate::error::{Answer, bad_reply};

/// Names in one request for nodes: a page.
const NAMES_PER_PAGE: usize = 1_000;

/// Unknown names that an error lists; the rest is counted.
const NAMES_IN_ERROR: usize = 10;

/// Nodes with their records, in order; never empty.
#[derive(Debug, Clone)]
pub(crate) struct Targets {
    pub(crate) records: Vec<NodeRecord>,
    pub(crate) set: NodeSet,
}

impl Targets {
    /// The folded text that proposals and grants carry.
    pub(crate) fn folded(&self) -> Answer<String> {
        let text = self.set.fold();
        if text.len() > MAX_TEXT_BYTES {
            let bytes = text.len();
            return Err(ErrorCode::TooLarge
                .error(format!("the node set has {bytes} bytes when folded; at most {MAX_TEXT_BYTES} are carried"))
                .next("split it into several commands"));
        }
        Ok(text)
    }

    /// In which vCluster each node was when the right to act on it was judged: by the records that it was judged by.
    ///
    /// # Errors
    /// `PACT_TOO_LARGE` for nodes that lie in their vClusters in too many pieces.
    pub(crate) fn judged(&self) -> Answer<Vec<JudgedScope>> {
        let place = |(node, record): (&NodeId, &NodeRecord)| {
            let vcluster = vcluster_of(record).map_err(|e| bad_reply("pact-journal", e))?;
            Ok((node.clone(), vcluster))
        };
        let places = self.nodes().map(place).collect::<Answer<Places>>()?;
        judged::fold(&places).map_err(|error| {
            ErrorCode::TooLarge.error(error.to_string()).next("split it into several commands")
        })
    }

    /// The nodes with their ids checked.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&NodeId, &NodeRecord)> {
        self.set.iter().zip(&self.records)
    }
}

/// In which vCluster a node was when the right to act on it was judged.
pub(crate) fn one_judged(node: &NodeId, record: &NodeRecord) -> Answer<Vec<JudgedScope>> {
    let set = NodeSet::new([node.clone()]).map_err(refuse)?;
    Targets { records: vec![record.clone()], set }.judged()
}

/// Which nodes of the journal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Condition {
    pub(crate) vcluster: Option<VclusterId>,
    pub(crate) state: Option<NodeState>,
}

impl Gateway {
    /// The nodes of an expression, less those of `exclude`. Every node that is named must exist, in both: a slip in what is
    /// left out would act on one more.
    pub(crate) async fn resolve(&self, targets: &str, exclude: &str) -> Answer<Targets> {
        let wanted = Expression::parse(targets).map_err(refuse)?;
        let mut records = self.expand(wanted).await?;
        if !exclude.is_empty() {
            let excluded = Expression::parse(exclude).map_err(refuse)?;
            let excluded = self.expand(excluded).await?;
            records.retain(|node, _| !excluded.contains_key(node));
        }
        targets_of(records)
    }

    /// One node by its name.
    pub(crate) async fn one_node(&self, name: &str) -> Answer<Targets> {
        let node =
            NodeId::new(name).map_err(|e| ErrorCode::InvalidArgument.error(e.to_string()))?;
        targets_of(self.named(&BTreeSet::from([node]), true).await?)
    }

    async fn expand(&self, expression: Expression) -> Answer<BTreeMap<NodeId, NodeRecord>> {
        let (mut names, mut records) = (BTreeSet::new(), BTreeMap::new());
        for term in expression.0 {
            let condition = match term {
                Term::Nodes(set) => {
                    names.extend(set.iter().cloned());
                    continue;
                }
                Term::Vcluster(vcluster) => Condition { vcluster: Some(vcluster), state: None },
                Term::State(name) => Condition { vcluster: None, state: Some(state_named(&name)?) },
                Term::Lattice(state) => {
                    return Err(ErrorCode::NotConfigured
                        .error(format!(
                            "@lattice:{state} cannot be resolved: lattice is not configured"
                        ))
                        .next("name the nodes, or use @vc: or @state:"));
                }
            };
            records.extend(self.nodes_where(&condition).await?);
        }
        records.extend(self.named(&names, true).await?);
        Ok(records)
    }

    /// Records of these nodes.
    pub(crate) async fn named(
        &self,
        names: &BTreeSet<NodeId>,
        must_exist: bool,
    ) -> Answer<BTreeMap<NodeId, NodeRecord>> {
        let mut records = BTreeMap::new();
        let all: Vec<String> = names.iter().map(ToString::to_string).collect();
        for page in all.chunks(NAMES_PER_PAGE) {
            let request = NodesRequest { nodes: page.to_vec(), ..NodesRequest::default() };
            records.extend(self.pages(request).await?);
        }
        let unknown: Vec<&str> =
            names.iter().filter(|n| !records.contains_key(*n)).map(NodeId::as_str).collect();
        if must_exist && !unknown.is_empty() {
            return Err(unknown_nodes(&unknown));
        }
        Ok(records)
    }

    /// All nodes for which the condition holds.
    pub(crate) async fn nodes_where(
        &self,
        condition: &Condition,
    ) -> Answer<BTreeMap<NodeId, NodeRecord>> {
        let request = NodesRequest {
            vcluster: condition.vcluster.as_ref().map(ToString::to_string),
            state: condition.state.map(Into::into),
            ..NodesRequest::default()
        };
        self.pages(request).await
    }

    /// All nodes of a request, page by page.
    pub(crate) async fn pages(
        &self,
        mut request: NodesRequest,
    ) -> Answer<BTreeMap<NodeId, NodeRecord>> {
        let mut records = BTreeMap::new();
        loop {
            let reply: NodesReply = self.journal.read("nodes", &request).await?;
            let page = keyed(reply.nodes)?;
            let last = page.last_key_value().map(|(node, _)| node.to_string());
            records.extend(page);
            match last {
                // Pages ascend, so each begins after the last: the loop ends.
                Some(last) if reply.more && last > request.after => request.after = last,
                _ => return Ok(records),
            }
        }
    }
}

/// Records by their checked ids. A state or the name of a vCluster that this version cannot read is an error here, so
/// that nobody behind this has to decide what it might mean.
fn keyed(records: Vec<NodeRecord>) -> Answer<BTreeMap<NodeId, NodeRecord>> {
    let keyed = records.into_iter().map(|record| {
        let node = NodeId::new(&record.node).map_err(|e| bad_reply("pact-journal", e))?;
        vcluster_of(&record).map_err(|e| bad_reply("pact-journal", e).on(&node))?;
        NodeState::of(&record).map_err(|e| bad_reply("pact-journal", e).on(&node))?;
        Ok((node, record))
    });
    keyed.collect()
}

/// These nodes as targets.
///
/// # Errors
/// When there are none, or too many.
pub(crate) fn targets_of(records: BTreeMap<NodeId, NodeRecord>) -> Answer<Targets> {
    let set = NodeSet::new(records.keys().cloned()).map_err(refuse)?;
    Ok(Targets { records: records.into_values().collect(), set })
}

fn state_named(name: &str) -> Answer<NodeState> {
    name.parse().map_err(|e: UnknownState| ErrorCode::InvalidArgument.error(e.to_string()))
}

fn refuse(error: NodeSetError) -> v1::Error {
    let code = match error {
        NodeSetError::TooLong { .. } | NodeSetError::TooMany => ErrorCode::TooLarge,
        NodeSetError::Empty | NodeSetError::Part { .. } => ErrorCode::InvalidArgument,
    };
    code.error(error.to_string())
        .next("node sets look like node[001-128],login1 or @vc:ml-training")
}

fn unknown_nodes(unknown: &[&str]) -> v1::Error {
    let shown = unknown.iter().take(NAMES_IN_ERROR).copied().collect::<Vec<_>>().join(", ");
    let more = match unknown.len().saturating_sub(NAMES_IN_ERROR) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let mut error = ErrorCode::NotFound
        .error(format!("no such node: {shown}{more}"))
        .because("the journal has no registration under this name")
        .next("list the nodes with `pact node list`, or register it with `pact node enroll`");
    if let [only] = unknown {
        (*only).clone_into(&mut error.node);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_an_unknown_state_or_an_unreadable_vcluster_is_an_error() {
        let known = NodeRecord {
            node: "n1".into(),
            vcluster: Some("ml".into()),
            state: NodeState::Active.into(),
            ..NodeRecord::default()
        };
        assert!(keyed(vec![known.clone()]).is_ok());
        let unreadable = Some("M L".to_owned());
        for bad in [
            NodeRecord { state: 0, ..known.clone() },
            NodeRecord { state: 9, ..known.clone() },
            NodeRecord { vcluster: unreadable, ..known },
        ] {
            let error = keyed(vec![bad.clone()]).unwrap_err();
            assert_eq!((error.known_code(), error.node.as_str()), (ErrorCode::Malformed, "n1"));
        }
    }
}
