//! Hardware identities: their shape, and whether a machine is the registered one.

use std::collections::BTreeSet;

use pact_schemas::convert::WireError;
use pact_schemas::v1;

/// MAC addresses, or hardware ids, of one node; the journal's bound.
const MAX_IDS: usize = 64;

/// Longest serial or id, in bytes; the journal's bound.
const MAX_ID_BYTES: usize = 256;

/// Prefixes of hardware ids.
const ID_KINDS: [&str; 3] = ["tpm:", "smbios:", "mac:"];

/// A hardware identity of the right shape. MAC addresses are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hardware {
    macs: Vec<String>,
    bmc_serial: Option<String>,
    ids: Vec<String>,
}

/// What of the registered identity a machine did not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// Nothing is registered that a machine could be recognised by.
    NothingRegistered,
    /// The first registered MAC address is not among those presented.
    Mac,
    /// The registered BMC serial is not the one presented, or none was.
    BmcSerial,
    /// A registered hardware id was not presented.
    HardwareId,
}

impl Mismatch {
    /// In words; never the registered value, which the caller may be after.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NothingRegistered => "no hardware identity is registered for this node",
            Self::Mac => "the registered MAC address was not presented",
            Self::BmcSerial => "the registered BMC serial was not presented",
            Self::HardwareId => "a registered hardware id was not presented",
        }
    }
}

impl TryFrom<&v1::HardwareIdentity> for Hardware {
    type Error = WireError;

    fn try_from(wire: &v1::HardwareIdentity) -> Result<Self, WireError> {
        let bounds = |field, rule| Err(WireError::Bounds { field, rule });
        if wire.macs.len() > MAX_IDS || wire.hardware_ids.len() > MAX_IDS {
            return bounds("HardwareIdentity", "may hold 64 MAC addresses and 64 hardware ids");
        }
        let macs: Vec<String> = wire.macs.iter().map(|mac| mac.to_ascii_lowercase()).collect();
        if !macs.iter().all(|mac| is_mac(mac)) {
            return bounds("HardwareIdentity.macs", "must look like 0c:42:a1:00:00:01");
        }
        if !wire.bmc_serial.iter().chain(&wire.hardware_ids).all(|text| is_plain(text)) {
            return bounds("HardwareIdentity", "must be made of 1 to 256 printable characters");
        }
        let has_kind = |id: &String| ID_KINDS.iter().any(|kind| id.starts_with(kind));
        if !wire.hardware_ids.iter().all(has_kind) {
            return bounds(
                "HardwareIdentity.hardware_ids",
                "must begin with tpm:, smbios: or mac:",
            );
        }
        Ok(Self { macs, bmc_serial: wire.bmc_serial.clone(), ids: wire.hardware_ids.clone() })
    }
}

impl Hardware {
    /// Whether there is nothing to recognise a machine by.
    pub(crate) fn is_empty(&self) -> bool {
        self.macs.is_empty() && self.bmc_serial.is_none() && self.ids.is_empty()
    }

    /// Whether the machine that `presented` is the registered one (`self`).
    ///
    /// The strict rule: whatever an admin has registered must be shown. Of several MAC addresses the first must be, since the
    /// others come and go with cards and cables; the BMC serial and every hardware id must be. What is presented beyond that
    /// means nothing.
    pub(crate) fn recognises(&self, presented: &Self) -> Result<(), Mismatch> {
        if self.is_empty() {
            return Err(Mismatch::NothingRegistered);
        }
        let shown = presented.all_ids();
        if self.macs.first().is_some_and(|mac| !shown.contains(&format!("mac:{mac}"))) {
            return Err(Mismatch::Mac);
        }
        if self.bmc_serial.is_some() && self.bmc_serial != presented.bmc_serial {
            return Err(Mismatch::BmcSerial);
        }
        let is_shown = |id: &String| shown.contains(&canonical(id));
        if self.ids.iter().all(is_shown) { Ok(()) } else { Err(Mismatch::HardwareId) }
    }

    /// MAC addresses and hardware ids in one form: `mac:` ids and MAC addresses are the same thing.
    fn all_ids(&self) -> BTreeSet<String> {
        let macs = self.macs.iter().map(|mac| format!("mac:{mac}"));
        macs.chain(self.ids.iter().map(|id| canonical(id))).collect()
    }
}

fn canonical(id: &str) -> String {
    if id.starts_with("mac:") { id.to_ascii_lowercase() } else { id.to_owned() }
}

fn is_mac(mac: &str) -> bool {
    let hex = |pair: &str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    mac.split(':').count() == 6 && mac.split(':').all(hex)
}

/// 1 to 256 printable characters without blanks.
fn is_plain(text: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hardware(macs: &[&str], bmc: Option<&str>, ids: &[&str]) -> Hardware {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let wire = v1::HardwareIdentity {
            macs: own(macs),
            bmc_serial: bmc.map(str::to_owned),
            hardware_ids: own(ids),
        };
        Hardware::try_from(&wire).unwrap()
    }

    const A: &str = "0c:42:a1:00:00:01";
    const B: &str = "0c:42:a1:00:00:02";

    #[test]
    fn whatever_is_registered_must_be_shown() {
        let shown = hardware(&[B, A], Some("S1"), &["smbios:1", "tpm:2"]);
        for registered in [
            hardware(&[A], None, &[]),
            hardware(&["0C:42:A1:00:00:01", "ff:ff:ff:ff:ff:ff"], None, &[]),
            hardware(&[B], Some("S1"), &["tpm:2"]),
            hardware(&[], Some("S1"), &[]),
            hardware(&[], None, &["mac:0C:42:A1:00:00:01"]),
        ] {
            assert_eq!(registered.recognises(&shown), Ok(()), "{registered:?}");
        }
        for (registered, mismatch) in [
            (hardware(&[], None, &[]), Mismatch::NothingRegistered),
            (hardware(&["0c:42:a1:00:00:03", A], Some("S1"), &[]), Mismatch::Mac),
            (hardware(&[A], Some("S2"), &[]), Mismatch::BmcSerial),
            (hardware(&[A], Some("S1"), &["tpm:2", "tpm:3"]), Mismatch::HardwareId),
        ] {
            assert_eq!(registered.recognises(&shown), Err(mismatch), "{registered:?}");
        }
        let silent = hardware(&[A], None, &[]);
        assert_eq!(hardware(&[A], Some("S1"), &[]).recognises(&silent), Err(Mismatch::BmcSerial));
        assert_eq!(hardware(&[A], None, &["tpm:2"]).recognises(&silent), Err(Mismatch::HardwareId));
    }

    #[test]
    fn shapes_are_checked() {
        let many = vec![A.to_owned(); 65];
        for wire in [
            v1::HardwareIdentity { macs: vec!["0c:42:a1:00:00".into()], ..Default::default() },
            v1::HardwareIdentity { macs: vec!["0c-42-a1-00-00-01".into()], ..Default::default() },
            v1::HardwareIdentity { macs: many, ..Default::default() },
            v1::HardwareIdentity { bmc_serial: Some(String::new()), ..Default::default() },
            v1::HardwareIdentity { bmc_serial: Some("a\nb".into()), ..Default::default() },
            v1::HardwareIdentity { hardware_ids: vec!["serial:1".into()], ..Default::default() },
        ] {
            assert!(Hardware::try_from(&wire).is_err(), "{wire:?}");
        }
    }
}
