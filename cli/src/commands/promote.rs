//! `pact promote`

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};
use crate::target::Targets;

const EXAMPLES: &str = "\
Examples:
  pact promote node-042                Export deltas as TOML to stdout
  pact promote node-042 --dry-run      Show which deltas would be exported
  pact promote node-042 > changes.toml Export to a file, then: pact apply changes.toml";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Node whose committed deltas to export
    #[arg(value_name = "NODE")]
    node: String,
    /// Show which deltas would be exported, without TOML
    #[arg(long)]
    dry_run: bool,
    /// What to do with local values of other nodes
    #[arg(long, value_name = "CHOICE", value_parser = ["overwrite", "keep-local"])]
    on_conflict: Option<String>,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        Invocation::new("promote")
            .on(Targets::one(&self.node)?)
            .switch("dry_run", self.dry_run)
            .maybe("on_conflict", self.on_conflict)
            .send(session)
            .await
    }
}
