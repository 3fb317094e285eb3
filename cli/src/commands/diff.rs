//! `pact diff`

use pact_schemas::error_code::ErrorCode;
use pact_schemas::v1;

use crate::failure::Failure;
use crate::fleet::Answered;
use crate::gateway;
use crate::session::{Exit, Session};
use crate::target::{ExcludeArg, NodeArg, Targets, acting_node};
use crate::view::drift;

const EXAMPLES: &str = "\
Examples:
  pact diff                            This machine, if it is a node
  pact diff node-042                   Another node
  pact diff --committed node-042       Committed deltas not yet promoted
  pact diff --committed --at 42 node-042
  pact diff node-042 --exit-code       Exit with 11 if there is drift

The digest is what `pact commit --expect` takes. Of files it shows size, digest,
mode and owner, never contents.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Nodes to compare (default: --node, PACT_NODE, this machine)
    #[arg(value_name = "NODE", conflicts_with = "node")]
    nodes: Option<String>,
    /// Show committed node deltas that are not promoted to the overlay
    #[arg(long)]
    committed: bool,
    /// Against the declared state after this entry
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
    at: Option<u64>,
    /// Exit with 11 if there is drift
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    node: NodeArg,
    #[command(flatten)]
    exclude: ExcludeArg,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let targets = match &self.nodes {
            Some(nodes) => Targets::new(nodes, &self.exclude)?,
            None => acting_node(session, self.node.node.as_deref()).await?,
        };
        let request = v1::DiffNodesRequest {
            targets: targets.set,
            exclude: targets.exclude,
            committed: self.committed,
            at_seq: self.at,
        };
        let reply = gateway::unary_of(session, &request.targets, |mut client| {
            let request = request.clone();
            async move { client.diff(request).await }
        })
        .await?;
        let differs = reply.nodes.iter().any(|node| node.total > node.report_only_total);
        let text = |node| drift::diff_text(node, self.committed, session.screen);
        let texts: Vec<String> = reply.nodes.iter().map(text).collect();
        let exit = Answered {
            schema: "pact/v1/Diff",
            items: reply.nodes.iter().map(drift::diff_json).collect(),
            ok: reply.nodes.len(),
            text: texts.join("\n"),
            errors: reply.errors,
        }
        .show(session)?;
        // What could not be asked is worse than what differs.
        if self.exit_code && differs && exit == Exit::SUCCESS {
            return Ok(Exit::with(ErrorCode::DriftFound.exit_code()));
        }
        Ok(exit)
    }
}
