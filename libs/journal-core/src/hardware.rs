//! The ids by which the machine of a node is known: MAC addresses, a BMC serial, hardware ids. Each
//! belongs to one node.

use pact_schemas::{HardwareIdentity, v1};

use crate::refusal::Refusal;
use crate::working::Working;

/// The ids given replace those of their kind; kinds that are not given stay.
///
/// # Errors
/// When an id is not well spelled, there are too many, or none is left.
pub(crate) fn merged(
    before: &v1::HardwareIdentity,
    given: &v1::HardwareIdentity,
) -> Result<HardwareIdentity, Refusal> {
    let list = |old: &[String], new: &[String]| if new.is_empty() { old } else { new }.to_vec();
    let identity = v1::HardwareIdentity {
        macs: list(&before.macs, &given.macs),
        bmc_serial: given.bmc_serial.clone().or_else(|| before.bmc_serial.clone()),
        hardware_ids: list(&before.hardware_ids, &given.hardware_ids),
    };
    let identity = HardwareIdentity::try_from(&identity).map_err(Refusal::argument)?;
    if identity.is_empty() {
        let rule = "must hold a MAC address, a BMC serial or a hardware id";
        return Err(Refusal::Argument { field: "identity", rule });
    }
    Ok(identity)
}

/// Nobody has these ids any more. What is stored was checked before it was.
pub(crate) fn release(
    work: &mut Working<'_>,
    identity: &v1::HardwareIdentity,
) -> Result<(), Refusal> {
    for hardware in HardwareIdentity::try_from(identity)?.keys() {
        work.staged.hardware.insert(hardware, None);
    }
    Ok(())
}
