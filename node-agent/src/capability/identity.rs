//! What a node is recognised by at its first contact: hardware addresses, the board's UUID, the BMC's serial number.
//!
//! Identification, not attestation: root on a machine can claim any of these.

use std::path::Path;

use super::network;
use super::tree::Tree;

/// Where the BMC's serial number may be written by the image; the kernel does not show it.
const BMC_SERIAL: &str = "etc/pact/bmc-serial";
/// Set by the firmware, readable by root only.
const PRODUCT_UUID: &str = "sys/class/dmi/id/product_uuid";
/// Longest serial number taken.
const MAX_SERIAL_BYTES: usize = 64;

/// What the hardware says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HardwareIdentity {
    /// Lower-case addresses of the interfaces with a device behind them, or of all but loopback when there are none.
    pub macs: Vec<String>,
    /// The board's UUID in lower case, unless the firmware left it unset.
    pub smbios_uuid: Option<String>,
    /// From `/etc/pact/bmc-serial` only.
    pub bmc_serial: Option<String>,
}

/// Reads the identity below `base`; what is not there is left out.
#[must_use]
pub fn hardware_identity(base: &Path) -> HardwareIdentity {
    let tree = Tree::at(base);
    let interfaces = network::read(&tree);
    let physical =
        interfaces.iter().any(|interface| !interface.is_virtual && interface.mac.is_some());
    let chosen = interfaces.into_iter().filter(|interface| !physical || !interface.is_virtual);
    let mut macs: Vec<String> = chosen.filter_map(|interface| interface.mac).collect();
    macs.sort_unstable();
    macs.dedup();
    HardwareIdentity {
        macs,
        smbios_uuid: tree.text(PRODUCT_UUID).and_then(|uuid| board_uuid(&uuid)),
        bmc_serial: tree.text(BMC_SERIAL).filter(|serial| is_serial(serial)),
    }
}

/// Lower case; nothing for what firmware writes when nobody set one.
fn board_uuid(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let groups: Vec<&str> = text.split('-').collect();
    let shaped = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]);
    let digits: Vec<char> = text.chars().filter(|c| *c != '-').collect();
    let same = digits.iter().all(|digit| Some(digit) == digits.first());
    (shaped && digits.iter().all(char::is_ascii_hexdigit) && !same).then_some(text)
}

fn is_serial(text: &str) -> bool {
    text.len() <= MAX_SERIAL_BYTES
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}
