//! `pact node assign`, `unassign` and `move`: one request with three meanings.

use pact_schemas::{VclusterId, v1};
use serde_json::json;

use crate::failure::Failure;
use crate::gateway;
use crate::output::{self, Envelope, Format};
use crate::session::{Exit, Session};
use crate::target::{ExcludeArg, Targets};

const ASSIGN_EXAMPLES: &str = "\
Examples:
  pact node assign compute-001 --vcluster ml-training
  pact node assign 'compute-[001-128]' -x compute-013 --vcluster ml-training

--vcluster is required; neither PACT_VCLUSTER nor the config file counts here.";

#[derive(Debug, clap::Args)]
#[command(after_help = ASSIGN_EXAMPLES)]
pub(crate) struct AssignArgs {
    /// Nodes to assign
    #[arg(value_name = "NODE_ID")]
    node: String,
    #[command(flatten)]
    exclude: ExcludeArg,
}

const UNASSIGN_EXAMPLES: &str = "\
Examples:
  pact node unassign compute-001";

#[derive(Debug, clap::Args)]
#[command(after_help = UNASSIGN_EXAMPLES)]
pub(crate) struct UnassignArgs {
    /// Nodes to take out of their vCluster
    #[arg(value_name = "NODE_ID")]
    node: String,
    #[command(flatten)]
    exclude: ExcludeArg,
}

const MOVE_EXAMPLES: &str = "\
Examples:
  pact node move compute-001 --to-vcluster dev-sandbox";

#[derive(Debug, clap::Args)]
#[command(after_help = MOVE_EXAMPLES)]
pub(crate) struct MoveArgs {
    /// Nodes to move
    #[arg(value_name = "NODE_ID")]
    node: String,
    /// Target vCluster
    #[arg(long, value_name = "NAME")]
    to_vcluster: VclusterId,
    #[command(flatten)]
    exclude: ExcludeArg,
}

impl AssignArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let vcluster = session.required_vcluster_flag()?;
        let targets = Targets::new(&self.node, &self.exclude)?;
        send(session, targets, Some(vcluster), v1::AssignOperation::Assign).await
    }
}

impl UnassignArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let targets = Targets::new(&self.node, &self.exclude)?;
        send(session, targets, None, v1::AssignOperation::Unassign).await
    }
}

impl MoveArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let targets = Targets::new(&self.node, &self.exclude)?;
        let vcluster = Some(self.to_vcluster.to_string());
        send(session, targets, vcluster, v1::AssignOperation::Move).await
    }
}

async fn send(
    session: &Session,
    targets: Targets,
    vcluster: Option<String>,
    operation: v1::AssignOperation,
) -> Result<Exit, Failure> {
    let request = v1::AssignNodeRequest {
        request_id: session.new_request_id(),
        targets: targets.set,
        exclude: targets.exclude,
        vcluster: vcluster.clone(),
        operation: operation.into(),
    };
    let reply = gateway::unary(session, |mut client| {
        let request = request.clone();
        async move { client.assign_node(request).await }
    })
    .await?;
    match session.format() {
        Format::Json => {
            let item = |node: &String| {
                json!({
                    "node": node,
                    "vcluster": vcluster,
                    "first_seq": reply.first_seq,
                    "last_seq": reply.last_seq,
                })
            };
            let items = reply.nodes.iter().map(item).collect();
            Envelope::new("pact/v1/NodeAssign", items).write()?;
        }
        Format::Text => {
            let place = match &vcluster {
                Some(name) => format!("in {name}"),
                None => "in no vCluster".to_owned(),
            };
            let entries = match (reply.first_seq, reply.last_seq) {
                (first, last) if first == last => format!("entry {first}"),
                (first, last) => format!("entries {first} to {last}"),
            };
            let lines: String = reply
                .nodes
                .iter()
                .map(|node| format!("{} is now {place}\n", output::clean_line(node)))
                .collect();
            output::write_out(&lines)?;
            session.screen.note(&format!("recorded as {entries}"));
        }
    }
    Ok(Exit::SUCCESS)
}
