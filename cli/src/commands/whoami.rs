//! `pact whoami`

use pact_schemas::{convert, v1};
use serde_json::json;

use crate::failure::Failure;
use crate::gateway;
use crate::output::{self, Envelope, Format, fields};
use crate::session::{Exit, Session};
use crate::view;

const EXAMPLES: &str = "\
Examples:
  pact whoami
  pact whoami --output json";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let reply = gateway::unary(session, |mut client| async move {
            client.whoami(v1::WhoamiRequest {}).await
        })
        .await?;
        let principal = convert::required(reply.principal.as_ref(), "WhoamiReply.principal")
            .map_err(v1::Error::from)?;
        let kind = view::entry::principal_kind(principal);
        let expires = view::at(reply.expires.as_ref());
        match session.format() {
            Format::Json => {
                let item = json!({
                    "principal": principal.subject,
                    "type": kind,
                    "issuer": principal.issuer,
                    "roles": principal.roles,
                    "expires": expires.map(|at| at.to_string()),
                });
                Envelope::new("pact/v1/Whoami", vec![item]).write()?;
            }
            Format::Text => output::write_out(&fields(
                &[
                    ("principal", Some(principal.subject.clone())),
                    ("type", Some(kind)),
                    ("issuer", Some(principal.issuer.clone())),
                    ("roles", Some(principal.roles.join(", "))),
                    ("expires", expires.map(|at| session.screen.times.deadline(at))),
                ],
                session.screen,
            ))?,
        }
        Ok(Exit::SUCCESS)
    }
}
