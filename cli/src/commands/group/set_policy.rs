//! `pact group set-policy`

use std::path::PathBuf;

use pact_schemas::VclusterId;

use crate::commands::apply::read_bounded;
use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};

const EXAMPLES: &str = "\
Examples:
  pact group set-policy ml-training --file policy.toml";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Name of the group
    #[arg(value_name = "GROUP")]
    group: VclusterId,
    /// Policy (TOML): bare keys or a [vcluster.GROUP.policy] table
    #[arg(long, value_name = "PATH")]
    file: PathBuf,
    /// Do not wait for approval: exit with 8 if it is needed
    #[arg(long)]
    no_wait: bool,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let policy = read_bounded(&self.file, "policy")?;
        Invocation::new("group.set-policy")
            .vcluster(Some(self.group.to_string()))
            .argument("policy", policy)
            .argument("file_name", self.file.display())
            .switch("no_wait", self.no_wait)
            .send(session)
            .await
    }
}
