//! What this node has: processors, memory, network interfaces and disks, as the kernel shows them.
//!
//! Everything is read below a base path (`/` on a node, a recorded tree in tests), in bounded pieces, without running a
//! program and without touching a device. What a kernel or a virtual machine does not tell is absent from the report and
//! no error; only a tree without processors or memory is none of a node. The document is `pact/v1/Capability`:
//! fields are added, never renamed. GPUs are not looked at yet, and the report says so instead of saying "none".
//!
//! Nothing here reads a clock: the time of collection comes in as a value, so that two reports of one state are equal.

mod cpu;
mod identity;
mod memory;
mod network;
mod storage;
mod tree;

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use cpu::Cpu;
pub use identity::{HardwareIdentity, hardware_identity};
pub use memory::Memory;
pub use network::Interface;
pub use storage::Disk;
use tree::Tree;

/// The schema of the document.
pub const SCHEMA: &str = "pact/v1/Capability";

/// The report of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capability {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The node's id in pact.
    pub node_id: String,
    /// RFC 3339, UTC.
    pub collected_at: String,
    /// The kernel's host name.
    pub hostname: Option<String>,
    /// Release, as `uname -r`.
    pub kernel: Option<String>,
    /// Machine, as `uname -m`.
    pub architecture: String,
    /// `PRETTY_NAME` of `/etc/os-release`.
    pub os: Option<String>,
    /// Random per boot.
    pub boot_id: Option<String>,
    /// Processors.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Interfaces but loopback, by name.
    pub network: Vec<Interface>,
    /// Block devices but loop, ram and empty ones, by name.
    pub storage: Vec<Disk>,
    /// GPUs.
    pub gpu: Gpu,
}

/// GPUs of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Gpu {
    /// This version does not look for GPUs; says nothing about whether there are any.
    Unimplemented,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum CapabilityError {
    /// A file that every Linux has is not there or cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that every Linux has does not say what it must.
    #[error("{} does not say {missing}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line or value looked for.
        missing: &'static str,
    },
    /// The report cannot be written.
    #[error("cannot write the capability report to {}", path.display())]
    Unwritable {
        /// The manifest.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The report cannot be encoded.
    #[error("cannot encode the capability report")]
    Unencodable {
        /// Why.
        source: serde_json::Error,
    },
}

/// Reads the node below `base`. `collected_at` is RFC 3339. Blocks on file reads of `/proc` and `/sys`.
///
/// # Errors
/// Only when `/proc/cpuinfo` or `/proc/meminfo` are missing or say nothing.
pub fn collect(
    base: &Path,
    node_id: &str,
    collected_at: String,
) -> Result<Capability, CapabilityError> {
    let tree = Tree::at(base);
    let architecture =
        tree.text("proc/sys/kernel/arch").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    Ok(Capability {
        schema: SCHEMA.to_owned(),
        node_id: node_id.to_owned(),
        collected_at,
        hostname: tree.text("proc/sys/kernel/hostname"),
        kernel: tree.text("proc/sys/kernel/osrelease"),
        architecture,
        os: os_name(&tree),
        boot_id: tree.text("proc/sys/kernel/random/boot_id"),
        cpu: cpu::read(&tree)?,
        memory: memory::read(&tree)?,
        network: network::read(&tree),
        storage: storage::read(&tree),
        gpu: Gpu::Unimplemented,
    })
}

/// Writes the report as JSON for all to read; afterwards the file holds the old report or this one, never a part.
///
/// # Errors
/// When the folder is missing or not writable.
pub fn write_manifest(capability: &Capability, path: &Path) -> Result<(), CapabilityError> {
    let mut bytes = serde_json::to_vec_pretty(capability)
        .map_err(|source| CapabilityError::Unencodable { source })?;
    bytes.push(b'\n');
    crate::durable::replace(path, &bytes, crate::durable::PUBLIC)
        .map_err(|source| CapabilityError::Unwritable { path: path.into(), source })
}

fn os_name(tree: &Tree) -> Option<String> {
    let release = tree.text("etc/os-release").or_else(|| tree.text("usr/lib/os-release"))?;
    let value = |key: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim().trim_matches(['"', '\'']).to_owned())
    };
    value("PRETTY_NAME").or_else(|| value("NAME"))
}

#[cfg(test)]
mod tests;
