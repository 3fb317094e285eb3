//! `pact approve`

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List pending requests that you may see
    #[command(after_help = "Examples:\n  pact approve list")]
    List,
    /// Approve a request of somebody else
    #[command(after_help = "Examples:\n  pact approve accept ap-7f3a")]
    Accept {
        /// Approval id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Deny a request, or withdraw your own
    #[command(
        after_help = "Examples:\n  pact approve deny ap-7f3a -m \"change window not scheduled\""
    )]
    Deny {
        /// Approval id
        #[arg(value_name = "ID")]
        id: String,
        /// Reason
        #[arg(short = 'm', value_name = "MESSAGE")]
        message: String,
    },
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let invocation = match self.command {
            Command::List => Invocation::new("approve.list").vcluster(session.vcluster_flag()),
            Command::Accept { id } => Invocation::new("approve.accept").argument("id", id),
            Command::Deny { id, message } => {
                Invocation::new("approve.deny").argument("id", id).argument("message", message)
            }
        };
        invocation.send(session).await
    }
}
