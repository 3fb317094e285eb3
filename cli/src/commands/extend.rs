//! `pact extend`

use pact_schemas::{Minutes, v1};
use serde_json::json;

use crate::failure::Failure;
use crate::fleet::Answered;
use crate::gateway;
use crate::session::{Exit, Session};
use crate::target::{NodeArg, written_node};
use crate::view::drift;

const EXAMPLES: &str = "\
Examples:
  pact extend                          By 15 minutes
  pact extend 30                       By 30 minutes
  pact extend 30 --node node-042";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Additional minutes, 1 to 1440
    #[arg(value_name = "MINS", default_value_t = 15,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(Minutes::MAX)))]
    minutes: u32,
    #[command(flatten)]
    node: NodeArg,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let targets = written_node(session, self.node.node.as_deref()).await?;
        let request = v1::ExtendWindowRequest {
            request_id: session.new_request_id(),
            targets: targets.set,
            exclude: targets.exclude,
            minutes: self.minutes,
        };
        let reply = gateway::unary_of(session, &request.targets, |mut client| {
            let request = request.clone();
            async move { client.extend(request).await }
        })
        .await?;
        let as_json = |node: &v1::NodeWindow| {
            json!({
                "node": node.node,
                "seq": reply.first_seq,
                "window": drift::window_json(node.window.as_ref()),
            })
        };
        let as_text = |node: &v1::NodeWindow| {
            let window = node
                .window
                .as_ref()
                .map_or_else(String::new, |w| drift::window_text(w, session.screen));
            drift::node_line(&node.node, &format!("window {window} (entry {})", reply.first_seq))
        };
        Answered {
            schema: "pact/v1/Extend",
            items: reply.nodes.iter().map(as_json).collect(),
            ok: reply.nodes.len(),
            text: reply.nodes.iter().map(as_text).collect(),
            errors: reply.errors,
        }
        .show(session)
    }
}
