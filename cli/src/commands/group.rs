//! `pact group`

mod list;
mod set_policy;
mod show;

use crate::failure::Failure;
use crate::session::{Exit, Session};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List all vCluster groups
    List(list::Args),
    /// Show one group: its policy and its nodes
    Show(show::Args),
    /// Set a group's policy from a file
    SetPolicy(set_policy::Args),
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self.command {
            Command::List(args) => args.run(session).await,
            Command::Show(args) => args.run(session).await,
            Command::SetPolicy(args) => args.run(session).await,
        }
    }
}
