//! `pact node list`

use pact_schemas::{NodeState, v1};

use crate::failure::Failure;
use crate::gateway;
use crate::output::{self, Envelope, Format};
use crate::session::{Exit, Session};
use crate::view;

const EXAMPLES: &str = "\
Examples:
  pact node list
  pact node list --vcluster ml-training
  pact node list --state active
  pact node list --unassigned";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only nodes in this state
    #[arg(long, value_name = "STATE", value_enum)]
    state: Option<State>,
    /// Only nodes without a vCluster
    #[arg(long, conflicts_with = "vcluster")]
    unassigned: bool,
}

/// States of enrolment.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum State {
    Active,
    Inactive,
    Registered,
    Revoked,
}

impl From<State> for NodeState {
    fn from(state: State) -> Self {
        match state {
            State::Active => Self::Active,
            State::Inactive => Self::Inactive,
            State::Registered => Self::Registered,
            State::Revoked => Self::Revoked,
        }
    }
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = v1::ListNodesRequest {
            state: self.state.map(|s| NodeState::from(s).into()),
            vcluster: session.vcluster_flag(),
            unassigned: self.unassigned,
        };
        let reply = gateway::unary(session, |mut client| {
            let request = request.clone();
            async move { client.list_nodes(request).await }
        })
        .await?;
        match session.format() {
            Format::Json => {
                let items = reply.nodes.iter().map(view::node::record_json).collect();
                Envelope::new("pact/v1/NodeList", items).write()?;
            }
            Format::Text if reply.nodes.is_empty() => session.screen.note("no nodes"),
            Format::Text => {
                output::write_out(&view::node::record_table(&reply.nodes, session.screen))?;
            }
        }
        Ok(Exit::SUCCESS)
    }
}
