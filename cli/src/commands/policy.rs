//! `pact policy`

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};
use crate::target::{ExcludeArg, Targets};

const EXAMPLES: &str = "\
Examples:
  pact policy explain exec node-042        May I, and which rule says so?
  pact policy test site-rules/             Test a site bundle of the gateway's host";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show how a request of yours would be decided, and why
    Explain {
        /// Operation, e.g. exec or node.assign
        #[arg(value_name = "OPERATION")]
        operation: String,
        /// Nodes it would act on
        #[arg(value_name = "NODE")]
        node: Option<String>,
        #[command(flatten)]
        exclude: ExcludeArg,
    },
    /// Run the tests of a site bundle
    Test {
        /// Folder of the bundle
        #[arg(value_name = "BUNDLE")]
        bundle: String,
    },
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let invocation = match self.command {
            Command::Explain { operation, node, exclude } => {
                let invocation = Invocation::new("policy.explain")
                    .vcluster(session.vcluster())
                    .argument("operation", operation);
                match node {
                    Some(node) => invocation.on(Targets::new(&node, &exclude)?),
                    None => invocation,
                }
            }
            Command::Test { bundle } => Invocation::new("policy.test").argument("bundle", bundle),
        };
        invocation.send(session).await
    }
}
