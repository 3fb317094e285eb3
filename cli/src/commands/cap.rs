//! `pact cap`

use pact_schemas::v1;

use crate::failure::Failure;
use crate::fleet;
use crate::gateway;
use crate::output::{self, Envelope, Format};
use crate::session::{Exit, Session};
use crate::target::{ExcludeArg, NodeArg, Targets, acting_node};
use crate::view;

const EXAMPLES: &str = "\
Examples:
  pact cap                             This machine, if it is a node
  pact cap node-042                    Another node";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Nodes to show (default: --node, PACT_NODE, this machine)
    #[arg(value_name = "NODE", conflicts_with = "node")]
    nodes: Option<String>,
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
        let request = v1::CapabilityRequest { targets: targets.set, exclude: targets.exclude };
        let reply = gateway::unary_of(session, &request.targets, |mut client| {
            let request = request.clone();
            async move { client.capability(request).await }
        })
        .await?;
        match session.format() {
            Format::Json => {
                let items =
                    reply.nodes.iter().map(view::capability::as_json).collect::<Result<_, _>>()?;
                Envelope::with_errors("pact/v1/Cap", items, &reply.errors).write()?;
            }
            Format::Text => {
                let texts: Vec<String> = reply
                    .nodes
                    .iter()
                    .map(|n| view::capability::text(n, session.screen))
                    .collect::<Result<_, _>>()?;
                output::write_out(&texts.join("\n"))?;
                for error in fleet::folded(reply.errors) {
                    session.screen.warn(&format!("{}: {}", error.node, error.message));
                }
            }
        }
        Ok(Exit::SUCCESS)
    }
}
