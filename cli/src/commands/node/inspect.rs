//! `pact node inspect`

use pact_schemas::{NodeId, convert, v1};

use crate::failure::Failure;
use crate::gateway;
use crate::output::{self, Envelope, Format};
use crate::session::{Exit, Session};
use crate::view;

const EXAMPLES: &str = "\
Examples:
  pact node inspect compute-001";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Node to inspect
    #[arg(value_name = "NODE_ID")]
    node: String,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        show(session, &self.node).await
    }
}

/// Shows one node.
pub(in crate::commands) async fn show(session: &Session, node: &str) -> Result<Exit, Failure> {
    let node = NodeId::new(node).map_err(|error| Failure::argument(error.to_string()))?;
    let request = v1::InspectNodeRequest { node: node.to_string() };
    let reply = gateway::unary(session, |mut client| {
        let request = request.clone();
        async move { client.inspect_node(request).await }
    })
    .await?;
    let status =
        convert::required(reply.status, "InspectNodeReply.status").map_err(v1::Error::from)?;
    match session.format() {
        Format::Json => {
            let item = view::node::status_json(&status)?;
            Envelope::new("pact/v1/NodeInspect", vec![item]).write()?;
        }
        Format::Text => output::write_out(&view::node::full(&status, session.screen)?)?,
    }
    Ok(Exit::SUCCESS)
}
