//! `pact emergency`: on one node with `--node`, else in the vCluster.

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};
use crate::target::{NodeArg, Targets};

const EXAMPLES: &str = "\
Examples:
  pact emergency start -r \"GPU node unresponsive, need unrestricted diagnostics\"
  pact emergency end                   End your own emergency
  pact emergency end --force           End another admin's emergency";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Enter emergency mode: longer window, relaxed whitelist, everything recorded
    Start {
        /// Reason
        #[arg(short = 'r', value_name = "REASON")]
        reason: String,
        #[command(flatten)]
        node: NodeArg,
    },
    /// Leave emergency mode
    End {
        /// End another admin's emergency
        #[arg(long)]
        force: bool,
        /// Commit what drift remains, with the message of -m
        #[arg(long, requires = "message", conflicts_with = "rollback")]
        commit: bool,
        /// Commit message
        #[arg(short = 'm', value_name = "MESSAGE", requires = "commit")]
        message: Option<String>,
        /// Roll back what drift remains
        #[arg(long)]
        rollback: bool,
        #[command(flatten)]
        node: NodeArg,
    },
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let (invocation, node) = match self.command {
            Command::Start { reason, node } => {
                (Invocation::new("emergency.start").argument("reason", reason), node)
            }
            Command::End { force, commit, message, rollback, node } => {
                let invocation = Invocation::new("emergency.end")
                    .switch("force", force)
                    .switch("commit", commit)
                    .maybe("message", message)
                    .switch("rollback", rollback);
                (invocation, node)
            }
        };
        // "Run on or for a node": this machine's own node counts, as `--node` does.
        let node = node.node.as_deref().or(session.settings.node.as_deref());
        let invocation = match (node, session.vcluster_flag()) {
            (Some(node), None) => {
                session.screen.note(&format!("target: {node}"));
                invocation.on(Targets::one(node)?)
            }
            _ => invocation.vcluster(Some(session.required_vcluster()?)),
        };
        invocation.send(session).await
    }
}
