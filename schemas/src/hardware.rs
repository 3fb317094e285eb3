//! What a machine is recognised by: hardware addresses, the serial of its management controller, ids of its board.
//!
//! A MAC address has one spelling here: lower case with colons. Whatever spelling comes in, from a person, from a node
//! or from what was stored earlier, is brought into it before anything is compared, counted or kept.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::convert::WireError;
use crate::v1;

/// MAC addresses, or hardware ids, of one node: a chassis full of cards, with room.
const MAX_IDS: usize = 64;
/// Longest serial or hardware id in bytes.
const MAX_ID_BYTES: usize = 256;
/// Bytes of an address of Ethernet, and of InfiniBand.
const ADDRESS_BYTES: [usize; 2] = [6, 20];
/// What a hardware id may be: of a TPM, of the board, or an address again.
const KINDS: [&str; 3] = ["tpm:", "smbios:", "mac:"];

/// A hardware address in lower case with colons, e.g. `0c:42:a1:00:00:01`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(String);

impl FromStr for Mac {
    type Err = WireError;

    /// Takes pairs of hex digits of either case with colons.
    fn from_str(text: &str) -> Result<Self, WireError> {
        let is_pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
        if ADDRESS_BYTES.contains(&text.split(':').count()) && text.split(':').all(is_pair) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            let rule = "must look like 0c:42:a1:00:00:01";
            Err(WireError::Bounds { field: "HardwareIdentity.macs", rule })
        }
    }
}

impl Mac {
    /// Whether the address tells interfaces apart: what has none says all zeros or all ones.
    #[must_use]
    pub fn is_telling(&self) -> bool {
        !["00", "ff"].iter().any(|same| self.0.split(':').all(|pair| pair == *same))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `tpm:…`, `smbios:…` or `mac:…`; an address in its one spelling.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HardwareId(String);

impl FromStr for HardwareId {
    type Err = WireError;

    fn from_str(text: &str) -> Result<Self, WireError> {
        plain(text)?;
        if let Some(address) = text.strip_prefix("mac:") {
            return Ok(Self(format!("mac:{}", address.parse::<Mac>()?)));
        }
        if KINDS.iter().any(|kind| text.starts_with(kind) && text.len() > kind.len()) {
            return Ok(Self(text.to_owned()));
        }
        let rule = "must begin with tpm:, smbios: or mac:";
        Err(WireError::Bounds { field: "HardwareIdentity.hardware_ids", rule })
    }
}

impl fmt::Display for HardwareId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// 1 to 256 printable characters without blanks.
fn plain(text: &str) -> Result<(), WireError> {
    if (1..=MAX_ID_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    let rule = "must be made of 1 to 256 printable characters without blanks";
    Err(WireError::Bounds { field: "HardwareIdentity", rule })
}

/// A hardware identity of the right shape; may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HardwareIdentity {
    macs: Vec<Mac>,
    bmc_serial: Option<String>,
    ids: Vec<HardwareId>,
}

impl HardwareIdentity {
    /// Whether there is nothing to recognise a machine by.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.macs.is_empty() && self.bmc_serial.is_none() && self.ids.is_empty()
    }

    /// The addresses, in the order in which they were given.
    #[must_use]
    pub fn macs(&self) -> &[Mac] {
        &self.macs
    }

    /// The serial of the management controller.
    #[must_use]
    pub fn bmc_serial(&self) -> Option<&str> {
        self.bmc_serial.as_deref()
    }

    /// The hardware ids, in the order in which they were given.
    #[must_use]
    pub fn ids(&self) -> &[HardwareId] {
        &self.ids
    }

    /// Everything that identifies the machine, each with its kind: `mac:…`, `bmc:…`, `tpm:…`, `smbios:…`. An address is
    /// the same thing whether it was given as one or as a `mac:` id.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<String> {
        let macs = self.macs.iter().map(|mac| format!("mac:{mac}"));
        let bmc = self.bmc_serial.iter().map(|serial| format!("bmc:{serial}"));
        macs.chain(bmc).chain(self.ids.iter().map(HardwareId::to_string)).collect()
    }
}

impl TryFrom<&v1::HardwareIdentity> for HardwareIdentity {
    type Error = WireError;

    fn try_from(wire: &v1::HardwareIdentity) -> Result<Self, WireError> {
        if wire.macs.len() > MAX_IDS || wire.hardware_ids.len() > MAX_IDS {
            let rule = "may hold 64 MAC addresses and 64 hardware ids";
            return Err(WireError::Bounds { field: "HardwareIdentity", rule });
        }
        wire.bmc_serial.as_deref().map(plain).transpose()?;
        Ok(Self {
            macs: wire.macs.iter().map(|mac| mac.parse()).collect::<Result<_, _>>()?,
            bmc_serial: wire.bmc_serial.clone(),
            ids: wire.hardware_ids.iter().map(|id| id.parse()).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&HardwareIdentity> for v1::HardwareIdentity {
    fn from(identity: &HardwareIdentity) -> Self {
        Self {
            macs: identity.macs.iter().map(Mac::to_string).collect(),
            bmc_serial: identity.bmc_serial.clone(),
            hardware_ids: identity.ids.iter().map(HardwareId::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(macs: &[&str], bmc: Option<&str>, ids: &[&str]) -> v1::HardwareIdentity {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let bmc_serial = bmc.map(str::to_owned);
        v1::HardwareIdentity { macs: own(macs), bmc_serial, hardware_ids: own(ids) }
    }

    #[test]
    fn addresses_have_one_spelling() {
        let mac: Mac = "0C:42:a1:00:00:FF".parse().unwrap();
        assert_eq!(mac.to_string(), "0c:42:a1:00:00:ff");
        let infiniband = ["80"; 20].join(":");
        assert_eq!(infiniband.parse::<Mac>().unwrap().to_string(), infiniband);
        for bad in
            ["", "0c:42:a1:00:00", "0c-42-a1-00-00-01", "0c:42:a1:00:00:0g", "0c42:a1:00:00:01:02"]
        {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
        assert!(mac.is_telling());
        for nothing in ["00:00:00:00:00:00", "FF:ff:ff:ff:ff:ff"] {
            assert!(!nothing.parse::<Mac>().unwrap().is_telling(), "{nothing}");
        }
    }

    #[test]
    fn whatever_spelling_comes_in_it_is_the_same_identity() {
        let upper = wire(&["0C:42:A1:00:00:01"], Some("S1"), &["mac:0C:42:A1:00:00:02", "tpm:Ab"]);
        let lower = wire(&["0c:42:a1:00:00:01"], Some("S1"), &["mac:0c:42:a1:00:00:02", "tpm:Ab"]);
        let identity = HardwareIdentity::try_from(&upper).unwrap();
        assert_eq!(identity, HardwareIdentity::try_from(&lower).unwrap());
        assert_eq!(v1::HardwareIdentity::from(&identity), lower);
        let keys = ["bmc:S1", "mac:0c:42:a1:00:00:01", "mac:0c:42:a1:00:00:02", "tpm:Ab"];
        assert!(identity.keys().iter().eq(&keys));
        let both = wire(&["0c:42:a1:00:00:01"], None, &["mac:0C:42:A1:00:00:01"]);
        assert_eq!(HardwareIdentity::try_from(&both).unwrap().keys().len(), 1);
    }

    #[test]
    fn shapes_are_checked() {
        let mac = "0c:42:a1:00:00:01";
        for bad in [
            wire(&["0c:42:a1:00:00"], None, &[]),
            wire(&[mac; MAX_IDS + 1], None, &[]),
            wire(&[], None, &["tpm:1"; MAX_IDS + 1]),
            wire(&[], Some(""), &[]),
            wire(&[], Some("a\nb"), &[]),
            wire(&[], Some(&"x".repeat(MAX_ID_BYTES + 1)), &[]),
            wire(&[], None, &["serial:1"]),
            wire(&[], None, &["tpm:"]),
            wire(&[], None, &["mac:1"]),
        ] {
            assert!(HardwareIdentity::try_from(&bad).is_err(), "{bad:?}");
        }
        assert!(HardwareIdentity::try_from(&wire(&[], None, &[])).unwrap().is_empty());
    }
}
