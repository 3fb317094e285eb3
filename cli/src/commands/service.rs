//! `pact service`

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};
use crate::target::{NodeArg, acting_node, written_node};

const EXAMPLES: &str = "\
Examples:
  pact service status                  All services
  pact service status chronyd          One service
  pact service restart nvidia-persistenced
  pact service logs lattice-node-agent --node node-042";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show services
    Status {
        /// Service (default: all)
        #[arg(value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        node: NodeArg,
    },
    /// Restart a service
    Restart {
        /// Service
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        node: NodeArg,
    },
    /// Show the last 50 log lines of a service
    Logs {
        /// Service
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        node: NodeArg,
    },
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let (operation, name, targets) = match self.command {
            Command::Status { name, node } => {
                ("service.status", name, acting_node(session, node.node.as_deref()).await?)
            }
            Command::Restart { name, node } => {
                ("service.restart", Some(name), written_node(session, node.node.as_deref()).await?)
            }
            Command::Logs { name, node } => {
                ("service.logs", Some(name), acting_node(session, node.node.as_deref()).await?)
            }
        };
        Invocation::new(operation).on(targets).maybe("name", name).send(session).await
    }
}
