//! `pact group set-policy`

use std::path::PathBuf;

use pact_schemas::{VclusterId, v1};
use serde_json::json;

use crate::commands::apply::read_bounded;
use crate::failure::Failure;
use crate::gateway;
use crate::output::{self, Envelope, Format};
use crate::session::{Exit, Session};
use crate::view;

const EXAMPLES: &str = "\
Examples:
  pact group set-policy ml-training --file policy.toml";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Name of the group
    #[arg(value_name = "GROUP")]
    group: VclusterId,
    /// Policy (TOML): bare keys or a [vcluster.GROUP.policy] table
    #[arg(long, value_name = "PATH")]
    file: PathBuf,
    /// Do not wait for approval: exit with 8 if it is needed
    #[arg(long)]
    no_wait: bool,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = v1::SetPolicyRequest {
            request_id: session.new_request_id(),
            group: self.group.to_string(),
            policy: read_bounded(&self.file, "policy")?,
            file_name: self.file.display().to_string(),
        };
        let reply = gateway::unary(session, |mut client| {
            let request = request.clone();
            async move { client.set_policy(request).await }
        })
        .await?;
        match session.format() {
            Format::Json => {
                let policy = reply.policy.and_then(|update| update.policy);
                let item = json!({
                    "group": self.group.as_str(),
                    "seq": reply.seq,
                    "policy": policy.as_ref().map(view::group::policy_json),
                });
                Envelope::new("pact/v1/SetPolicy", vec![item]).write()?;
            }
            Format::Text => {
                let text = format!("policy of {} set (entry {})\n", self.group, reply.seq);
                output::write_out(&text)?;
            }
        }
        Ok(Exit::SUCCESS)
    }
}
