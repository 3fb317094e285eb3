//! `pact node enroll`

use pact_schemas::hardware::{HardwareId, Mac};
use pact_schemas::{NodeId, v1};
use serde_json::json;

use crate::failure::Failure;
use crate::gateway;
use crate::output::{self, Envelope, Format};
use crate::session::{Exit, Session};

const EXAMPLES: &str = "\
Examples:
  pact node enroll compute-001 --mac aa:bb:cc:dd:ee:01
  pact node enroll compute-002 --mac aa:bb:cc:dd:ee:02 --bmc-serial SN12345";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Node to register
    #[arg(value_name = "NODE_ID")]
    node: String,
    /// Primary MAC address
    #[arg(long, value_name = "MAC", value_parser = parse_mac)]
    mac: String,
    /// Serial number of the management controller
    #[arg(long, value_name = "SERIAL")]
    bmc_serial: Option<String>,
    /// Hardware id: tpm:<hex>, smbios:<uuid> or mac:<address>
    #[arg(long, value_name = "ID", value_parser = parse_hardware_id)]
    hardware_id: Option<String>,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let identity = Identity {
            mac: Some(self.mac),
            bmc_serial: self.bmc_serial,
            hardware_id: self.hardware_id,
        };
        register(session, &self.node, identity.over(None), false).await
    }
}

/// The parts of a hardware identity that were given.
#[derive(Debug, Default)]
pub(in crate::commands) struct Identity {
    pub(in crate::commands) mac: Option<String>,
    pub(in crate::commands) bmc_serial: Option<String>,
    pub(in crate::commands) hardware_id: Option<String>,
}

impl Identity {
    /// The known identity with the given parts replaced.
    pub(in crate::commands) fn over(
        self,
        known: Option<v1::HardwareIdentity>,
    ) -> v1::HardwareIdentity {
        let known = known.unwrap_or_default();
        v1::HardwareIdentity {
            macs: self.mac.map_or(known.macs, |mac| vec![mac]),
            bmc_serial: self.bmc_serial.or(known.bmc_serial),
            hardware_ids: self.hardware_id.map_or(known.hardware_ids, |id| vec![id]),
        }
    }
}

/// Registers a node, or replaces the identity of one that exists.
pub(in crate::commands) async fn register(
    session: &Session,
    node: &str,
    identity: v1::HardwareIdentity,
    replace: bool,
) -> Result<Exit, Failure> {
    let node = NodeId::new(node).map_err(|error| Failure::argument(error.to_string()))?;
    let request = v1::EnrollNodeRequest {
        request_id: session.new_request_id(),
        node: node.to_string(),
        identity: Some(identity),
        replace,
    };
    let reply = gateway::unary(session, |mut client| {
        let request = request.clone();
        async move { client.enroll_node(request).await }
    })
    .await?;
    match session.format() {
        Format::Json => {
            let item = json!({"node": node.as_str(), "seq": reply.seq});
            Envelope::new("pact/v1/NodeEnroll", vec![item]).write()?;
        }
        Format::Text => {
            output::write_out(&format!("{node} is registered (entry {})\n", reply.seq))?;
        }
    }
    Ok(Exit::SUCCESS)
}

/// Pairs of hex digits with colons or dashes; lower case with colons on the wire.
pub(in crate::commands) fn parse_mac(text: &str) -> Result<String, String> {
    let mac = text.replace('-', ":").parse::<Mac>();
    mac.map(|mac| mac.to_string())
        .map_err(|_| "expected a MAC address like aa:bb:cc:dd:ee:01".to_owned())
}

/// `tpm:…`, `smbios:…` or `mac:…`.
pub(in crate::commands) fn parse_hardware_id(text: &str) -> Result<String, String> {
    if let Some(mac) = text.strip_prefix("mac:") {
        return parse_mac(mac).map(|mac| format!("mac:{mac}"));
    }
    let id = text.parse::<HardwareId>();
    id.map(|id| id.to_string())
        .map_err(|_| "expected tpm:<hex>, smbios:<uuid> or mac:<address>".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_reach_the_wire_in_one_form() {
        assert_eq!(parse_mac("AA-bb:cc:dd:ee:01").unwrap(), "aa:bb:cc:dd:ee:01");
        assert_eq!(parse_hardware_id("mac:AA:BB:CC:DD:EE:01").unwrap(), "mac:aa:bb:cc:dd:ee:01");
        for bad in
            ["", "aa:bb:cc:dd:ee", "aa:bb:cc:dd:ee:0g", "aa:bb:cc:dd:ee:01:02", "aabbccddee01"]
        {
            assert!(parse_mac(bad).is_err(), "{bad}");
        }
        for bad in ["", "tpm:", "serial:1", "mac:1", "SN12345"] {
            assert!(parse_hardware_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn replacing_keeps_what_was_not_given() {
        let known = v1::HardwareIdentity {
            macs: vec!["aa:bb:cc:dd:ee:01".into()],
            bmc_serial: Some("SN1".into()),
            hardware_ids: vec!["tpm:01".into()],
        };
        let given = Identity { hardware_id: Some("tpm:02".into()), ..Identity::default() };
        let merged = given.over(Some(known.clone()));
        assert_eq!(merged.hardware_ids, ["tpm:02"]);
        assert_eq!((merged.macs, merged.bmc_serial), (known.macs, known.bmc_serial));
    }
}
