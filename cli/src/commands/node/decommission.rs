//! `pact node decommission`

use crate::confirm::{self, YesArg};
use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};
use crate::target::{ExcludeArg, Targets};

const EXAMPLES: &str = "\
Examples:
  pact node decommission compute-001
  pact node decommission compute-001 --force";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Nodes to decommission
    #[arg(value_name = "NODE_ID")]
    node: String,
    /// Also with active sessions
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    exclude: ExcludeArg,
    #[command(flatten)]
    yes: YesArg,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let targets = Targets::new(&self.node, &self.exclude)?;
        confirm::fleet(session, &targets, &self.yes, "decommission").await?;
        Invocation::new("node.decommission")
            .on(targets)
            .switch("force", self.force)
            .send(session)
            .await
    }
}
