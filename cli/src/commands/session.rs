//! `pact session`

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};

const EXAMPLES: &str = "\
Examples:
  pact session play 42";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Play a recorded shell
    Play {
        /// Session id
        #[arg(value_name = "ID")]
        id: String,
    },
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let Command::Play { id } = self.command;
        Invocation::new("session.play").argument("id", id).send(session).await
    }
}
