//! `pact rollback`

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};
use crate::target::{ExcludeArg, Targets};

const EXAMPLES: &str = "\
Examples:
  pact rollback 42                     To the state right after entry 42
  pact rollback head --node node-042   Discard a node's present drift";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Sequence number to roll back to, or head
    #[arg(value_name = "SEQ", value_parser = parse_seq)]
    seq: String,
    /// Roll back these nodes' deltas, whatever the scope of the entry
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    #[command(flatten)]
    exclude: ExcludeArg,
    /// Do not wait for approval: exit with 8 if it is needed
    #[arg(long)]
    no_wait: bool,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let invocation = Invocation::new("rollback")
            .vcluster(session.vcluster_flag())
            .argument("seq", &self.seq)
            .switch("no_wait", self.no_wait);
        // `head` discards drift, which only nodes have; another entry brings its own scope.
        let node = match &self.node {
            Some(node) => Some(node.as_str()),
            None if self.seq == "head" => session.settings.node.as_deref(),
            None => None,
        };
        let invocation = match node {
            Some(node) => {
                session.screen.note(&format!("target: {node}"));
                invocation.on(Targets::new(node, &self.exclude)?)
            }
            None => invocation,
        };
        invocation.send(session).await
    }
}

fn parse_seq(text: &str) -> Result<String, String> {
    let is_seq = text.parse::<u64>().is_ok_and(|seq| seq > 0);
    if is_seq || text == "head" {
        Ok(text.to_owned())
    } else {
        Err("expected a sequence number from 1, or head".to_owned())
    }
}
