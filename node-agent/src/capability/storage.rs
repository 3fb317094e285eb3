//! Block devices, from `/sys/block`.

use serde::{Deserialize, Serialize};

use super::tree::Tree;

const BLOCK: &str = "sys/block";
/// The unit of `size`, whatever the device's own sectors are.
const SECTOR_BYTES: u64 = 512;
/// Devices made of memory or files, and of network blocks without a server.
const SKIPPED: [&str; 4] = ["loop", "ram", "zram", "nbd"];

/// One block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The kernel's name.
    pub name: String,
    /// Capacity.
    pub size_bytes: u64,
    /// Whether it spins.
    pub rotational: Option<bool>,
    /// The device's own name for itself.
    pub model: Option<String>,
    /// `nvme`, `sata`, `sas`, `usb`, `virtio`, `mmc`, or nothing for devices made of others (`dm-0`, `md0`).
    pub transport: Option<String>,
}

pub(super) fn read(tree: &Tree) -> Vec<Disk> {
    tree.names(BLOCK).into_iter().filter_map(|name| disk(tree, name)).collect()
}

fn disk(tree: &Tree, name: String) -> Option<Disk> {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if SKIPPED.contains(&stem) {
        return None;
    }
    let file = |entry: &str| format!("{BLOCK}/{name}/{entry}");
    // Drives without a medium have no size.
    let sectors = tree.number(&file("size")).filter(|sectors| *sectors > 0)?;
    Some(Disk {
        size_bytes: sectors.checked_mul(SECTOR_BYTES)?,
        rotational: tree.number(&file("queue/rotational")).map(|spins| spins == 1),
        model: tree.text(&file("device/model")),
        transport: transport(tree, &name),
        name,
    })
}

/// From where the device hangs in the tree of devices.
fn transport(tree: &Tree, name: &str) -> Option<String> {
    let place = tree.link(&format!("{BLOCK}/{name}"))?;
    let hangs = |part: &str| place.split('/').any(|step| step.starts_with(part));
    // In this order: a disk in a USB case has a SCSI host below the USB port.
    let kinds = [
        ("usb", "usb"),
        ("nvme", "nvme"),
        ("virtio", "virtio"),
        ("ata", "sata"),
        ("end_device", "sas"),
        ("mmc", "mmc"),
    ];
    kinds.iter().find(|(part, _)| hangs(part)).map(|(_, transport)| (*transport).to_owned())
}
