//! The ids by which the machine of a node is known: MAC addresses, a BMC serial, hardware ids. Each
//! belongs to one node.

use std::collections::BTreeSet;

use pact_schemas::v1::HardwareIdentity;

use crate::refusal::Refusal;
use crate::working::Working;

/// MAC addresses, or hardware ids, of one node.
const MAX_HARDWARE_IDS: usize = 64;
/// Longest id or serial.
const MAX_ID_BYTES: usize = 256;

/// The ids given replace those of their kind; kinds that are not given stay.
pub(crate) fn merged(before: HardwareIdentity, given: &HardwareIdentity) -> HardwareIdentity {
    let list = |old: Vec<String>, new: &[String]| if new.is_empty() { old } else { new.to_vec() };
    HardwareIdentity {
        macs: list(before.macs, &given.macs),
        bmc_serial: given.bmc_serial.clone().or(before.bmc_serial),
        hardware_ids: list(before.hardware_ids, &given.hardware_ids),
    }
}

/// Whether the ids are some, not too many, and well spelled.
pub(crate) fn check(identity: &HardwareIdentity) -> Result<(), Refusal> {
    let argument = |field, rule| Err(Refusal::Argument { field, rule });
    if identity.macs.is_empty() && identity.bmc_serial.is_none() && identity.hardware_ids.is_empty()
    {
        return argument("identity", "must hold a MAC address, a BMC serial or a hardware id");
    }
    if identity.macs.len() > MAX_HARDWARE_IDS || identity.hardware_ids.len() > MAX_HARDWARE_IDS {
        return argument("identity", "may hold 64 MAC addresses and 64 hardware ids");
    }
    if !identity.macs.iter().all(|mac| is_mac(mac)) {
        return argument("macs", "must look like 0c:42:a1:00:00:01");
    }
    let serials = identity.bmc_serial.iter().chain(&identity.hardware_ids);
    if !serials
        .clone()
        .all(|s| (1..=MAX_ID_BYTES).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_graphic()))
    {
        return argument(
            "identity",
            "must be made of 1 to 256 printable characters without blanks",
        );
    }
    let known_kind =
        |h: &String| ["tpm:", "smbios:", "mac:"].iter().any(|kind| h.starts_with(kind));
    if !identity.hardware_ids.iter().all(known_kind) {
        return argument("hardware_ids", "must begin with tpm:, smbios: or mac:");
    }
    Ok(())
}

fn is_mac(mac: &str) -> bool {
    let hex = |pair: &str| {
        pair.len() == 2 && pair.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    mac.split(':').count() == 6 && mac.split(':').all(hex)
}

/// Keys under which the ids of a node are found; `mac:` ids and MAC addresses are the same thing.
pub(crate) fn keys(identity: &HardwareIdentity) -> BTreeSet<String> {
    let macs = identity.macs.iter().map(|mac| format!("mac:{mac}"));
    let bmc = identity.bmc_serial.iter().map(|serial| format!("bmc:{serial}"));
    macs.chain(bmc).chain(identity.hardware_ids.iter().cloned()).collect()
}

/// Nobody has these ids any more.
pub(crate) fn release(work: &mut Working<'_>, identity: &HardwareIdentity) {
    for hardware in keys(identity) {
        work.staged.hardware.insert(hardware, None);
    }
}
