//! `pact jobs`

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};
use crate::target::{ExcludeArg, Targets};

const EXAMPLES: &str = "\
Examples:
  pact jobs list                           All jobs in the default vCluster
  pact jobs list --node node-042           Jobs on a node
  pact jobs list --vcluster ml-training    Jobs in a vCluster
  pact jobs cancel alloc-7f3a
  pact jobs inspect alloc-7f3a";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List running allocations
    List {
        /// Only on these nodes
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
        #[command(flatten)]
        exclude: ExcludeArg,
    },
    /// Cancel an allocation
    Cancel {
        /// Allocation id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Show an allocation: resources, placement, probes
    Inspect {
        /// Allocation id
        #[arg(value_name = "ID")]
        id: String,
    },
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let invocation = match self.command {
            Command::List { node: Some(node), exclude } => Invocation::new("jobs.list")
                .on(Targets::new(&node, &exclude)?)
                .vcluster(session.vcluster_flag()),
            Command::List { node: None, .. } => {
                Invocation::new("jobs.list").vcluster(Some(session.required_vcluster()?))
            }
            Command::Cancel { id } => Invocation::new("jobs.cancel").argument("id", id),
            Command::Inspect { id } => Invocation::new("jobs.inspect").argument("id", id),
        };
        invocation.send(session).await
    }
}
