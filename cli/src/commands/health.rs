//! `pact health`

use pact_schemas::v1;

use crate::failure::Failure;
use crate::gateway;
use crate::output::{self, Envelope, Format};
use crate::session::{Exit, Session};
use crate::view;

const EXAMPLES: &str = "\
Examples:
  pact health
  pact health --output json";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

impl Args {
    /// Exits with 0 whatever the state of the parts: the question was answered.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let reply = gateway::unary(session, |mut client| async move {
            client.health(v1::HealthRequest {}).await
        })
        .await?;
        match session.format() {
            Format::Json => {
                let items = reply.items.iter().map(view::cluster::health_json).collect();
                Envelope::new("pact/v1/Health", items).write()?;
            }
            Format::Text => {
                output::write_out(&view::cluster::health_table(&reply.items, session.screen))?;
            }
        }
        Ok(Exit::SUCCESS)
    }
}
