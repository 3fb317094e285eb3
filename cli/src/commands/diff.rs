//! `pact diff`

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};
use crate::target::{ExcludeArg, NodeArg, Targets, acting_node};

const EXAMPLES: &str = "\
Examples:
  pact diff                            This machine, if it is a node
  pact diff node-042                   Another node
  pact diff --committed node-042       Committed deltas not yet promoted
  pact diff node-042 --exit-code       Exit with 11 if there is drift";

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
        Invocation::new("diff")
            .on(targets)
            .switch("committed", self.committed)
            .maybe("at", self.at)
            .switch("exit_code", self.exit_code)
            .send(session)
            .await
    }
}
