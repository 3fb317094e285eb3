//! `pact enroll`: short for `node enroll`, which on a node that exists replaces the ids given, and
//! `enroll status`, short for `node inspect`.

use pact_schemas::error_code::ErrorCode;
use pact_schemas::v1;

use super::node::{Identity, inspect_node, parse_hardware_id, parse_mac, register};
use crate::failure::Failure;
use crate::gateway;
use crate::session::{Exit, Session};

const EXAMPLES: &str = "\
Examples:
  pact enroll compute-001 --mac aa:bb:cc:dd:ee:01
  pact enroll compute-001 --hardware-id smbios:4c4c4544-0051
  pact enroll status compute-001";

#[derive(Debug, clap::Args)]
#[command(
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub(crate) struct Args {
    /// Node to register, or whose identity to replace
    #[arg(value_name = "NODE_ID", required = true)]
    node: Option<String>,
    /// Primary MAC address
    #[arg(long, value_name = "MAC", value_parser = parse_mac)]
    mac: Option<String>,
    /// Serial number of the management controller
    #[arg(long, value_name = "SERIAL")]
    bmc_serial: Option<String>,
    /// Hardware id: tpm:<hex>, smbios:<uuid> or mac:<address>
    #[arg(long, value_name = "ID", value_parser = parse_hardware_id)]
    hardware_id: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show a node's enrolment
    Status {
        /// Node to show
        #[arg(value_name = "NODE_ID")]
        node: String,
    },
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let node = match (self.command, self.node) {
            (Some(Command::Status { node }), _) => return inspect_node(session, &node).await,
            (None, Some(node)) => node,
            (None, None) => return Err(Failure::argument("a node is required")),
        };
        let given =
            Identity { mac: self.mac, bmc_serial: self.bmc_serial, hardware_id: self.hardware_id };
        if given.mac.is_none() && given.bmc_serial.is_none() && given.hardware_id.is_none() {
            return Err(Failure::argument("no hardware identity is given")
                .next("use --mac, --bmc-serial or --hardware-id"));
        }
        match known_identity(session, &node).await? {
            Some(known) => register(session, &node, given.over(known), true).await,
            None if given.mac.is_none() => {
                Err(Failure::argument(format!("{node} is not registered"))
                    .because("a new node needs --mac"))
            }
            None => register(session, &node, given.over(None), false).await,
        }
    }
}

/// The node's present identity; the outer `None`: there is no such node.
async fn known_identity(
    session: &Session,
    node: &str,
) -> Result<Option<Option<v1::HardwareIdentity>>, Failure> {
    let request = v1::InspectNodeRequest { node: node.to_owned() };
    let reply = gateway::unary(session, |mut client| {
        let request = request.clone();
        async move { client.inspect_node(request).await }
    })
    .await;
    match reply {
        Ok(reply) => Ok(Some(reply.status.and_then(|s| s.record).and_then(|r| r.identity))),
        Err(failure) => match failure.code() {
            Some(ErrorCode::NotFound | ErrorCode::NodeNotEnrolled) => Ok(None),
            _ => Err(failure),
        },
    }
}
