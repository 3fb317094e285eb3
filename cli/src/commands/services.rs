//! `pact services`: lattice's registry, not to be confused with `pact service`.

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};

const EXAMPLES: &str = "\
Examples:
  pact services list                          All services
  pact services list --vcluster ml-training   Of a vCluster
  pact services lookup my-inference-api";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List registered services
    List,
    /// Show a service: endpoints, health, vCluster
    Lookup {
        /// Service name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let invocation = match self.command {
            Command::List => Invocation::new("services.list").vcluster(session.vcluster_flag()),
            Command::Lookup { name } => Invocation::new("services.lookup").argument("name", name),
        };
        invocation.send(session).await
    }
}
