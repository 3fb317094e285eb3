//! Memory, from `/proc/meminfo`.

use serde::{Deserialize, Serialize};

use super::CapabilityError;
use super::tree::Tree;

const MEMINFO: &str = "proc/meminfo";
const BYTES_PER_KB: u64 = 1024;

/// Memory of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// What the kernel manages; a little less than what is installed.
    pub total_bytes: u64,
    /// Huge pages of the default size that are set aside.
    pub hugepages_total: Option<u64>,
    /// The default size of a huge page.
    pub hugepage_size_bytes: Option<u64>,
    /// Swap space.
    pub swap_bytes: Option<u64>,
}

pub(super) fn read(tree: &Tree) -> Result<Memory, CapabilityError> {
    let path = || tree.path(MEMINFO);
    let info = tree
        .read(MEMINFO)
        .map_err(|source| CapabilityError::Unreadable { path: path(), source })?;
    let value = |key: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        let (number, unit) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let number: u64 = number.parse().ok()?;
        if unit == "kB" { number.checked_mul(BYTES_PER_KB) } else { Some(number) }
    };
    let missing = || CapabilityError::Malformed { path: path(), missing: "MemTotal" };
    Ok(Memory {
        total_bytes: value("MemTotal").ok_or_else(missing)?,
        hugepages_total: value("HugePages_Total"),
        hugepage_size_bytes: value("Hugepagesize"),
        swap_bytes: value("SwapTotal"),
    })
}
