//! `pact audit`

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};

const EXAMPLES: &str = "\
Examples:
  pact audit                           pact's events
  pact audit --source all              pact's and lattice's events
  pact audit --source lattice          Lattice's events
  pact audit -n 50                     Last 50 entries
  pact audit verify
  pact audit prove 42";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// Whose events
    #[arg(long, value_name = "SOURCE", default_value = "pact", value_parser = ["pact", "lattice", "all"])]
    source: String,
    /// Number of entries to show
    #[arg(short = 'n', value_name = "COUNT", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Prove that the log only grew since the last checkpoint you saw
    Verify,
    /// Export a proof of one entry that others can check offline
    Prove {
        /// Sequence number of the entry
        #[arg(value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
        seq: u64,
    },
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let invocation = match self.command {
            None => Invocation::new("audit")
                .vcluster(session.vcluster())
                .argument("source", self.source)
                .argument("count", self.count),
            Some(Command::Verify) => Invocation::new("audit.verify"),
            Some(Command::Prove { seq }) => Invocation::new("audit.prove").argument("seq", seq),
        };
        invocation.send(session).await
    }
}
