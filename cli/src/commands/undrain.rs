//! `pact undrain`

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};
use crate::target::{ExcludeArg, Targets};

const EXAMPLES: &str = "\
Examples:
  pact undrain node-042
  pact undrain node-042 --no-wait";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Target nodes
    #[arg(value_name = "NODE")]
    node: String,
    #[command(flatten)]
    exclude: ExcludeArg,
    /// Fail with exit code 4 instead of waiting while lattice still drains
    #[arg(long)]
    no_wait: bool,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let targets = Targets::new(&self.node, &self.exclude)?;
        Invocation::new("undrain").on(targets).switch("no_wait", self.no_wait).send(session).await
    }
}
