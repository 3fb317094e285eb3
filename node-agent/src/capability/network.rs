//! Network interfaces, from `/sys/class/net`.

use pact_schemas::hardware::Mac;
use serde::{Deserialize, Serialize};

use super::tree::Tree;

const NETWORK: &str = "sys/class/net";
/// ARPHRD_LOOPBACK.
const LOOPBACK: u64 = 772;

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The kernel's name.
    pub name: String,
    /// Hardware address in lower case; of a member of a bond its own one. InfiniBand addresses have 20 bytes.
    pub mac: Option<String>,
    /// Largest packet in bytes.
    pub mtu: Option<u64>,
    /// Link speed; absent when there is no link or the driver does not say.
    pub speed_mbps: Option<u64>,
    /// `up`, `down`, `unknown`, …
    pub operstate: Option<String>,
    /// The driver of the device.
    pub driver: Option<String>,
    /// No device stands behind it (bridge, veth, bond, tunnel).
    #[serde(rename = "virtual")]
    pub is_virtual: bool,
}

pub(super) fn read(tree: &Tree) -> Vec<Interface> {
    // Files such as `bonding_masters` stand beside the interfaces and have no `type`.
    let names = tree.names(NETWORK).into_iter();
    names
        .filter(|name| {
            tree.number(&format!("{NETWORK}/{name}/type")).is_some_and(|kind| kind != LOOPBACK)
        })
        .map(|name| interface(tree, name))
        .collect()
}

fn interface(tree: &Tree, name: String) -> Interface {
    let file = |entry: &str| format!("{NETWORK}/{name}/{entry}");
    let own = tree.text(&file("bonding_slave/perm_hwaddr"));
    Interface {
        mac: own.or_else(|| tree.text(&file("address"))).and_then(|mac| hardware_address(&mac)),
        mtu: tree.number(&file("mtu")),
        // Without a link the kernel says -1, or the largest 32-bit number, or refuses the read.
        speed_mbps: tree
            .number(&file("speed"))
            .filter(|speed| (1..u64::from(u32::MAX)).contains(speed)),
        operstate: tree.text(&file("operstate")),
        driver: tree.link_name(&file("device/driver")),
        is_virtual: !tree.has(&file("device")),
        name,
    }
}

/// Lower case, if it is an address that can tell interfaces apart.
fn hardware_address(text: &str) -> Option<String> {
    text.parse().ok().filter(Mac::is_telling).map(|mac| mac.to_string())
}
