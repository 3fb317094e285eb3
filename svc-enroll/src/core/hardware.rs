//! Whether a machine is the registered one.

use std::collections::BTreeSet;

use pact_schemas::HardwareIdentity;

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

/// Whether the machine that `presented` this identity is the registered one.
///
/// The strict rule: whatever an admin has registered must be shown. Of several MAC addresses the first must be, since the
/// others come and go with cards and cables; the BMC serial and every hardware id must be. What is presented beyond that
/// means nothing.
pub(crate) fn recognises(
    registered: &HardwareIdentity,
    presented: &HardwareIdentity,
) -> Result<(), Mismatch> {
    if registered.is_empty() {
        return Err(Mismatch::NothingRegistered);
    }
    let shown: BTreeSet<String> = presented.keys();
    if registered.macs().first().is_some_and(|mac| !shown.contains(&format!("mac:{mac}"))) {
        return Err(Mismatch::Mac);
    }
    let serial = registered.bmc_serial();
    if serial.is_some() && serial != presented.bmc_serial() {
        return Err(Mismatch::BmcSerial);
    }
    if registered.ids().iter().all(|id| shown.contains(&id.to_string())) {
        Ok(())
    } else {
        Err(Mismatch::HardwareId)
    }
}

#[cfg(test)]
mod tests {
    use pact_schemas::v1;

    use super::*;

    fn hardware(macs: &[&str], bmc: Option<&str>, ids: &[&str]) -> HardwareIdentity {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let wire = v1::HardwareIdentity {
            macs: own(macs),
            bmc_serial: bmc.map(str::to_owned),
            hardware_ids: own(ids),
        };
        HardwareIdentity::try_from(&wire).unwrap()
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
            assert_eq!(recognises(&registered, &shown), Ok(()), "{registered:?}");
        }
        for (registered, mismatch) in [
            (hardware(&[], None, &[]), Mismatch::NothingRegistered),
            (hardware(&["0c:42:a1:00:00:03", A], Some("S1"), &[]), Mismatch::Mac),
            (hardware(&[A], Some("S2"), &[]), Mismatch::BmcSerial),
            (hardware(&[A], Some("S1"), &["tpm:2", "tpm:3"]), Mismatch::HardwareId),
        ] {
            assert_eq!(recognises(&registered, &shown), Err(mismatch), "{registered:?}");
        }
        let silent = hardware(&[A], None, &[]);
        for (registered, mismatch) in [
            (hardware(&[A], Some("S1"), &[]), Mismatch::BmcSerial),
            (hardware(&[A], None, &["tpm:2"]), Mismatch::HardwareId),
        ] {
            assert_eq!(recognises(&registered, &silent), Err(mismatch));
        }
    }
}
