//! `pact commit`

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};
use crate::target::{ExcludeArg, NodeArg, Targets, written_node};

/// Shortest life of a node delta: 15 minutes.
const MIN_TTL_SECONDS: i64 = 900;
/// Longest: ten days.
const MAX_TTL_SECONDS: i64 = 864_000;

const EXAMPLES: &str = "\
Examples:
  pact commit -m \"tuned hugepages for ML training\"
  pact commit -m \"added NFS mount for datasets\" --node node-042
  pact commit -m \"until the weekend\" --ttl 259200";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Commit message
    #[arg(short = 'm', value_name = "MESSAGE")]
    message: String,
    /// Seconds until the deltas expire, 900 to 864000 (default: until superseded)
    #[arg(long, value_name = "SECONDS",
          value_parser = clap::value_parser!(u32).range(MIN_TTL_SECONDS..=MAX_TTL_SECONDS))]
    ttl: Option<u32>,
    /// Digest of the drift that you saw with `diff` (default: at the start of this command)
    #[arg(long, value_name = "DIGEST")]
    expect: Option<String>,
    /// Do not wait for approval: exit with 8 if it is needed
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    node: NodeArg,
    #[command(flatten)]
    exclude: ExcludeArg,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let named = written_node(session, self.node.node.as_deref()).await?;
        let targets = Targets::new(&named.set, &self.exclude)?;
        Invocation::new("commit")
            .on(targets)
            .vcluster(session.vcluster())
            .argument("message", self.message)
            .maybe("ttl_seconds", self.ttl)
            .maybe("expect", self.expect)
            .switch("no_wait", self.no_wait)
            .send(session)
            .await
    }
}
