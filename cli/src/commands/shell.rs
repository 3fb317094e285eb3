//! `pact shell`

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};
use crate::target::Targets;

const EXAMPLES: &str = "\
Examples:
  pact shell node-042";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Target node
    #[arg(value_name = "NODE")]
    node: String,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        Invocation::new("shell").on(Targets::one(&self.node)?).send(session).await
    }
}
