//! `pact status`

use pact_schemas::v1;

use crate::failure::Failure;
use crate::fleet;
use crate::gateway;
use crate::output::{self, Envelope, Format};
use crate::session::{Exit, Session};
use crate::target::{ExcludeArg, Targets};
use crate::view;

const EXAMPLES: &str = "\
Examples:
  pact status                          All nodes in the default vCluster
  pact status node-042                 One node
  pact status 'node[001-128]' -x node-013
  pact status --vcluster ml-training   All nodes in a vCluster";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Nodes to query (default: all nodes of the vCluster, or all that you may see)
    #[arg(value_name = "NODE")]
    node: Option<String>,
    #[command(flatten)]
    exclude: ExcludeArg,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = self.request(session)?;
        let reply = gateway::unary(session, |mut client| {
            let request = request.clone();
            async move { client.status(request).await }
        })
        .await?;
        match session.format() {
            Format::Json => {
                let items =
                    reply.nodes.iter().map(view::node::status_json).collect::<Result<_, _>>()?;
                Envelope::with_errors("pact/v1/Status", items, &reply.errors).write()?;
            }
            Format::Text => {
                let table = view::node::status_table(&reply.nodes, session.screen)?;
                if table.is_empty() && reply.errors.is_empty() {
                    session.screen.note("no nodes");
                }
                output::write_out(&table)?;
                for error in fleet::folded(reply.errors) {
                    session.screen.warn(&format!("{}: {}", error.node, error.message));
                }
            }
        }
        Ok(Exit::SUCCESS)
    }

    fn request(self, session: &Session) -> Result<v1::StatusRequest, Failure> {
        Ok(match &self.node {
            // A node named is shown whatever the default vCluster is.
            Some(node) => {
                let targets = Targets::new(node, &self.exclude)?;
                v1::StatusRequest {
                    targets: targets.set,
                    exclude: targets.exclude,
                    vcluster: session.vcluster_flag(),
                }
            }
            None => v1::StatusRequest {
                targets: String::new(),
                exclude: self.exclude.checked()?,
                vcluster: session.vcluster(),
            },
        })
    }
}
