//! `pact backup`

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};

const EXAMPLES: &str = "\
Examples:
  pact backup create /path/to/backup.bin
  pact backup verify /path/to/backup.bin
  pact backup restore /path/to/backup.bin --confirm

Paths are on lattice's server, not on this machine.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write lattice's state to a file on lattice's server
    Create {
        /// Path on lattice's server
        #[arg(value_name = "PATH")]
        path: String,
    },
    /// Check a backup and show its term and index
    Verify {
        /// Path on lattice's server
        #[arg(value_name = "PATH")]
        path: String,
    },
    /// Replace lattice's whole state; this cannot be undone
    Restore {
        /// Path on lattice's server
        #[arg(value_name = "PATH")]
        path: String,
        /// Required: lattice's present state is lost
        #[arg(long)]
        confirm: bool,
    },
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let invocation = match self.command {
            Command::Create { path } => Invocation::new("backup.create").argument("path", path),
            Command::Verify { path } => Invocation::new("backup.verify").argument("path", path),
            Command::Restore { confirm: false, .. } => {
                return Err(Failure::argument("backup restore needs --confirm")
                    .because("it replaces the entire state of lattice and cannot be undone"));
            }
            Command::Restore { path, confirm: true } => {
                Invocation::new("backup.restore").argument("path", path).argument("confirm", true)
            }
        };
        invocation.send(session).await
    }
}
