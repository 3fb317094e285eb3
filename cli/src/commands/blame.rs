//! `pact blame`

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};
use crate::target::{NodeArg, acting_node};

const EXAMPLES: &str = "\
Examples:
  pact blame --node node-042
  pact blame sysctl/vm.swappiness --node node-042";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Resource key (default: all declared keys)
    #[arg(value_name = "KEY")]
    key: Option<String>,
    #[command(flatten)]
    node: NodeArg,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let targets = acting_node(session, self.node.node.as_deref()).await?;
        Invocation::new("blame").on(targets).maybe("key", self.key).send(session).await
    }
}
