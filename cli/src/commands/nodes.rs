//! `pact nodes`: lattice's inventory, not to be confused with `pact node`.

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};

const EXAMPLES: &str = "\
Examples:
  pact nodes list                          All nodes
  pact nodes list --state draining         In a state
  pact nodes list --vcluster ml-training   Of a vCluster
  pact nodes inspect node-042              Everything about a node";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List nodes: state, GPUs, cores, memory, vCluster
    List {
        /// Only in this state of lattice
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// At most so many
        #[arg(short = 'n', value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
        count: Option<u32>,
    },
    /// Show hardware, ownership, allocations and heartbeat of a node
    Inspect {
        /// Node to inspect
        #[arg(value_name = "NODE_ID")]
        node: String,
    },
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let invocation = match self.command {
            Command::List { state, count } => Invocation::new("nodes.list")
                .vcluster(session.vcluster_flag())
                .maybe("state", state)
                .maybe("count", count),
            // Lattice's own name of the node: not necessarily one that pact would accept.
            Command::Inspect { node } => Invocation::new("nodes.inspect").argument("node", node),
        };
        invocation.send(session).await
    }
}
