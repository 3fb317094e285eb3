//! `pact blacklist`: of one vCluster with `--vcluster`, else of one node.

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};
use crate::target::{NodeArg, acting_node, written_node};

const EXAMPLES: &str = "\
Examples:
  pact blacklist list
  pact blacklist list --vcluster ml-training
  pact blacklist add \"/var/cache/**\"
  pact blacklist add \"/opt/scratch/**\" --vcluster ml-training
  pact blacklist remove \"/var/cache/**\"";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the patterns of a node or a vCluster
    List {
        #[command(flatten)]
        node: NodeArg,
    },
    /// Leave what matches out of drift detection
    Add {
        /// Glob pattern
        #[arg(value_name = "PATTERN")]
        pattern: String,
        #[command(flatten)]
        node: NodeArg,
    },
    /// Take a pattern out of the list
    Remove {
        /// Glob pattern
        #[arg(value_name = "PATTERN")]
        pattern: String,
        #[command(flatten)]
        node: NodeArg,
    },
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let (operation, node, pattern) = match self.command {
            Command::List { node } => ("blacklist.list", node, None),
            Command::Add { pattern, node } => ("blacklist.add", node, Some(pattern)),
            Command::Remove { pattern, node } => ("blacklist.remove", node, Some(pattern)),
        };
        let invocation = Invocation::new(operation).maybe("pattern", pattern.as_ref());
        let invocation = match session.vcluster_flag() {
            Some(_) if node.node.is_some() => {
                return Err(Failure::argument("--node and --vcluster exclude each other"));
            }
            Some(vcluster) => invocation.vcluster(Some(vcluster)),
            None if pattern.is_none() => {
                invocation.on(acting_node(session, node.node.as_deref()).await?)
            }
            None => invocation.on(written_node(session, node.node.as_deref()).await?),
        };
        invocation.send(session).await
    }
}
