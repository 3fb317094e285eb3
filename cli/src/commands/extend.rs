//! `pact extend`

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};
use crate::target::{NodeArg, written_node};

const EXAMPLES: &str = "\
Examples:
  pact extend                          By 15 minutes
  pact extend 30                       By 30 minutes";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Additional minutes
    #[arg(value_name = "MINS", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    minutes: u32,
    #[command(flatten)]
    node: NodeArg,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let targets = written_node(session, self.node.node.as_deref()).await?;
        Invocation::new("extend").on(targets).argument("minutes", self.minutes).send(session).await
    }
}
