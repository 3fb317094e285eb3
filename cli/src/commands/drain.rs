//! `pact drain`

use crate::confirm::{self, YesArg};
use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};
use crate::target::{ExcludeArg, Targets};

const EXAMPLES: &str = "\
Examples:
  pact drain node-042
  pact drain 'node[001-128]' -x node-013";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Target nodes
    #[arg(value_name = "NODE")]
    node: String,
    #[command(flatten)]
    exclude: ExcludeArg,
    #[command(flatten)]
    yes: YesArg,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let targets = Targets::new(&self.node, &self.exclude)?;
        confirm::fleet(session, &targets, &self.yes, "drain").await?;
        Invocation::new("drain").on(targets).send(session).await
    }
}
