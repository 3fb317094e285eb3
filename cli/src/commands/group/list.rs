//! `pact group list`

use pact_schemas::v1;

use crate::failure::Failure;
use crate::gateway;
use crate::output::{self, Envelope, Format};
use crate::session::{Exit, Session};
use crate::view;

const EXAMPLES: &str = "\
Examples:
  pact group list
  pact group list --output json";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let reply = gateway::unary(session, |mut client| async move {
            client.list_groups(v1::ListGroupsRequest {}).await
        })
        .await?;
        match session.format() {
            Format::Json => {
                let items = reply.groups.iter().map(view::group::as_json).collect();
                Envelope::new("pact/v1/GroupList", items).write()?;
            }
            Format::Text if reply.groups.is_empty() => session.screen.note("no groups"),
            Format::Text => {
                output::write_out(&view::group::table(&reply.groups, session.screen))?;
            }
        }
        Ok(Exit::SUCCESS)
    }
}
