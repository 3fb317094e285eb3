//! `pact dag`

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};

const EXAMPLES: &str = "\
Examples:
  pact dag list                            All DAGs
  pact dag list --tenant ml-team           Of a tenant
  pact dag list --state running            In a state
  pact dag inspect dag-7f3a                Details and steps
  pact dag cancel dag-7f3a                 Cancel a running DAG";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List DAG workflows
    List {
        /// Only of this tenant
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
        /// Only in this state
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// At most so many
        #[arg(short = 'n', value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
        count: Option<u32>,
    },
    /// Show a DAG and the state of its allocations
    Inspect {
        /// DAG id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Cancel a DAG and its allocations
    Cancel {
        /// DAG id
        #[arg(value_name = "ID")]
        id: String,
    },
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let invocation = match self.command {
            Command::List { tenant, state, count } => Invocation::new("dag.list")
                .maybe("tenant", tenant)
                .maybe("state", state)
                .maybe("count", count),
            Command::Inspect { id } => Invocation::new("dag.inspect").argument("id", id),
            Command::Cancel { id } => Invocation::new("dag.cancel").argument("id", id),
        };
        invocation.send(session).await
    }
}
