//! Which nodes a command is about.

use std::path::Path;

use pact_schemas::error_code::ErrorCode;
use pact_schemas::nodeset::{Expression, MAX_TEXT_BYTES, NodeSet, NodeSetError};
use pact_schemas::{NodeId, v1};

use crate::failure::Failure;
use crate::gateway;
use crate::session::Session;

/// A list of nodes in a file: as many names as a set may hold, with room for comments.
const MAX_LIST_BYTES: u64 = 8 * 1024 * 1024;
/// Candidates shown when no node was named.
const MAX_CANDIDATES: usize = 10;

/// A node set, and what to leave out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Targets {
    pub(crate) set: String,
    pub(crate) exclude: String,
}

/// `-x`, wherever a node set is accepted.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct ExcludeArg {
    /// Nodes to leave out of the set
    #[arg(short = 'x', long = "exclude", value_name = "NODES")]
    exclude: Option<String>,
}

/// `--node`, for commands that act on one node and have no argument for it.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct NodeArg {
    /// Node to act on (default: PACT_NODE, else this machine)
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<String>,
}

impl ExcludeArg {
    /// The expression, checked; empty when there is none.
    pub(crate) fn checked(&self) -> Result<String, Failure> {
        self.exclude.as_deref().map_or_else(|| Ok(String::new()), checked)
    }
}

impl Targets {
    /// Checks the expressions and reads `@file:` lists, which only this machine can.
    pub(crate) fn new(set: &str, exclude: &ExcludeArg) -> Result<Self, Failure> {
        Ok(Self { set: checked(set)?, exclude: exclude.checked()? })
    }

    /// A single node, by its id.
    pub(crate) fn one(node: &str) -> Result<Self, Failure> {
        let node = NodeId::new(node).map_err(|error| Failure::argument(error.to_string()))?;
        Ok(Self { set: node.to_string(), exclude: String::new() })
    }

    /// Whether it names exactly one node, whatever the site has.
    pub(crate) fn is_single(&self) -> bool {
        NodeId::new(&self.set).is_ok()
    }

    /// The nodes that the site has of this set.
    pub(crate) async fn resolve(&self, session: &Session) -> Result<Vec<String>, Failure> {
        let request = v1::StatusRequest {
            targets: self.set.clone(),
            exclude: self.exclude.clone(),
            vcluster: None,
        };
        let reply = gateway::unary(session, |mut client| {
            let request = request.clone();
            async move { client.status(request).await }
        })
        .await?;
        let nodes: Vec<String> =
            reply.nodes.into_iter().filter_map(|n| n.record).map(|r| r.node).collect();
        // Errors beside rows are about what else is known of the nodes, not about the set.
        if let (true, Some(error)) = (nodes.is_empty(), reply.errors.into_iter().next()) {
            return Err(error.into());
        }
        if nodes.is_empty() {
            return Err(Failure::argument(NodeSetError::Empty.to_string()));
        }
        Ok(nodes)
    }
}

fn checked(text: &str) -> Result<String, Failure> {
    let expanded = expand_files(text)?;
    Expression::parse(&expanded).map_err(|error| Failure::argument(error.to_string()))?;
    Ok(expanded)
}

/// Replaces each `@file:path` by the names in the file, folded.
fn expand_files(text: &str) -> Result<String, Failure> {
    if !text.contains("@file:") {
        return Ok(text.to_owned());
    }
    let mut parts = Vec::new();
    // Paths hold no commas here; ranges in brackets do, and are put together again by the join.
    for part in text.split(',') {
        match part.trim().strip_prefix("@file:") {
            Some(path) => parts.push(read_list(Path::new(path))?),
            None => parts.push(part.to_owned()),
        }
    }
    Ok(parts.join(","))
}

fn read_list(path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let unreadable = |why: String| {
        Failure::argument(format!("the node list {shown} cannot be read")).because(why)
    };
    let size = std::fs::metadata(path).map_err(|e| unreadable(e.to_string()))?.len();
    if size > MAX_LIST_BYTES {
        return Err(unreadable(format!("it has more than {MAX_LIST_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(e.to_string()))?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let set = NodeSet::parse_list(&lines.collect::<Vec<_>>().join("\n"))
        .map_err(|error| Failure::argument(format!("the node list {shown}: {error}")))?;
    let folded = set.fold();
    if folded.len() > MAX_TEXT_BYTES {
        return Err(Failure::argument(format!(
            "the node list {shown} folds to {} bytes; at most {MAX_TEXT_BYTES} are accepted",
            folded.len()
        ))
        .next("split the list, or assign the nodes to a vCluster and use @vc:NAME"));
    }
    Ok(folded)
}

/// The node that a command without a node argument acts on: `--node`, `PACT_NODE`, this machine.
/// Otherwise an error that lists candidates: no command guesses.
pub(crate) async fn acting_node(
    session: &Session,
    given: Option<&str>,
) -> Result<Targets, Failure> {
    if let Some(node) = given.or(session.settings.node.as_deref()) {
        return Targets::new(node, &ExcludeArg::default());
    }
    let candidates = candidates(session).await;
    let failure = Failure::new(ErrorCode::NoNode, "No node specified")
        .because("this command acts on one node, and this machine is none")
        .next("use --node or set PACT_NODE");
    Err(if candidates.is_empty() {
        failure
    } else {
        failure.next(format!("use --node or set PACT_NODE; candidates: {}", candidates.join(", ")))
    })
}

/// Like [`acting_node`] for a command that changes something: names its target on stderr.
pub(crate) async fn written_node(
    session: &Session,
    given: Option<&str>,
) -> Result<Targets, Failure> {
    let targets = acting_node(session, given).await?;
    session.screen.note(&format!("target: {}", targets.set));
    Ok(targets)
}

/// Some nodes of the site, for the error text only: whoever may not list them sees none.
async fn candidates(session: &Session) -> Vec<String> {
    let request = v1::ListNodesRequest { vcluster: session.vcluster(), ..Default::default() };
    let reply = gateway::unary(session, |mut client| {
        let request = request.clone();
        async move { client.list_nodes(request).await }
    })
    .await;
    let nodes = reply.map(|r| r.nodes).unwrap_or_default();
    let mut names: Vec<String> =
        nodes.into_iter().map(|n| n.node).take(MAX_CANDIDATES + 1).collect();
    if names.len() > MAX_CANDIDATES {
        names.truncate(MAX_CANDIDATES);
        names.push("…".to_owned());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_lists_are_read_here_and_folded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nodes");
        std::fs::write(&path, "# rack 1\nnode-1 node-2\nnode-3, login # and more\n\nx[1,4-5],y\n")
            .unwrap();
        let expression = format!("gpu[1,3],@file:{}", path.display());
        let targets = Targets::new(&expression, &ExcludeArg::default()).unwrap();
        assert_eq!(targets.set, "gpu[1,3],login,node-[1-3],x[1,4-5],y");
        assert!(!targets.is_single());
    }

    #[test]
    fn an_empty_set_is_an_error_and_never_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nodes");
        std::fs::write(&path, "# none\n").unwrap();
        for empty in ["", ",", &format!("@file:{}", path.display())] {
            assert!(Targets::new(empty, &ExcludeArg::default()).is_err(), "{empty:?}");
        }
        let exclude = ExcludeArg { exclude: Some(String::new()) };
        assert!(Targets::new("node-1", &exclude).is_err());
    }
}
