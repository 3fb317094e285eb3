//! `pact group show`

use pact_schemas::{VclusterId, convert, v1};
use serde_json::json;

use crate::failure::Failure;
use crate::gateway;
use crate::output::{self, Envelope, Format};
use crate::session::{Exit, Session};
use crate::view;

const EXAMPLES: &str = "\
Examples:
  pact group show ml-training";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Name of the group
    #[arg(value_name = "GROUP")]
    group: VclusterId,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = v1::ShowGroupRequest { group: self.group.to_string() };
        let reply = gateway::unary(session, |mut client| {
            let request = request.clone();
            async move { client.show_group(request).await }
        })
        .await?;
        let group =
            convert::required(reply.group, "ShowGroupReply.group").map_err(v1::Error::from)?;
        match session.format() {
            Format::Json => {
                let mut item = view::group::as_json(&group);
                if let Some(fields) = item.as_object_mut() {
                    fields.insert("nodes".to_owned(), json!(reply.nodes));
                }
                Envelope::new("pact/v1/GroupShow", vec![item]).write()?;
            }
            Format::Text => {
                output::write_out(&view::group::full(&group, &reply.nodes, session.screen))?;
            }
        }
        Ok(Exit::SUCCESS)
    }
}
