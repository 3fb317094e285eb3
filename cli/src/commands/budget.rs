//! `pact budget`

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};

const EXAMPLES: &str = "\
Examples:
  pact budget tenant ml-team               GPU and node hours of a tenant
  pact budget tenant ml-team --days 30     Last 30 days
  pact budget user alice                   A user's usage across tenants";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// GPU hours, node hours and budget fractions of a tenant
    Tenant(Subject),
    /// Usage of a user, by tenant
    User(Subject),
}

#[derive(Debug, clap::Args)]
struct Subject {
    /// Tenant or user
    #[arg(value_name = "ID")]
    id: String,
    /// Only the last so many days
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    days: Option<u32>,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let (operation, subject) = match self.command {
            Command::Tenant(subject) => ("budget.tenant", subject),
            Command::User(subject) => ("budget.user", subject),
        };
        Invocation::new(operation)
            .argument("id", subject.id)
            .maybe("days", subject.days)
            .send(session)
            .await
    }
}
