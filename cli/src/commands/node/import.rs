//! `pact node import`

use pact_schemas::error_code::ErrorCode;

use crate::failure::Failure;
use crate::session::{Exit, Session};

const EXAMPLES: &str = "\
Examples:
  pact node import                     Import all nodes from SMD
  pact node import --group Compute     Only nodes with the role \"Compute\"

Environment: PACT_OPENCHAMI_SMD_URL (required), PACT_OPENCHAMI_TOKEN.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only nodes with this role in SMD
    #[arg(long, value_name = "ROLE")]
    group: Option<String>,
}

impl Args {
    pub(crate) fn run(self, session: &Session) -> Result<Exit, Failure> {
        if session.settings.smd_url.is_none() {
            return Err(Failure::new(ErrorCode::NotConfigured, "OpenCHAMI SMD is not configured")
                .because("PACT_OPENCHAMI_SMD_URL is not set")
                .next("set PACT_OPENCHAMI_SMD_URL to the base URL of SMD"));
        }
        let what = self.group.map_or_else(
            || "node import".to_owned(),
            |group| format!("node import of group {group}"),
        );
        Err(Failure::unimplemented(&what)
            .next("register nodes one by one with `pact node enroll <id> --mac <mac>`"))
    }
}
