//! Processors, from `/proc/cpuinfo` and the topology under `/sys`.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::CapabilityError;
use super::tree::Tree;

const CPUINFO: &str = "proc/cpuinfo";
const CPUS: &str = "sys/devices/system/cpu";

/// The processors that are online.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// Model name; on ARM the part number.
    pub model: Option<String>,
    /// Vendor; on ARM the implementer's number.
    pub vendor: Option<String>,
    /// Packages.
    pub sockets: u32,
    /// Physical cores.
    pub cores: u32,
    /// What the scheduler sees.
    pub threads: u32,
    /// Memory nodes.
    pub numa_nodes: u32,
    /// Highest frequency in MHz.
    pub max_mhz: Option<u32>,
    /// SHA-256 over the sorted instruction set flags, in hex: equal processors have equal ones.
    pub flags_digest: Option<String>,
}

pub(super) fn read(tree: &Tree) -> Result<Cpu, CapabilityError> {
    let path = || tree.path(CPUINFO);
    let info = tree
        .read(CPUINFO)
        .map_err(|source| CapabilityError::Unreadable { path: path(), source })?;
    let threads = values(&info, "processor").count();
    if threads == 0 {
        return Err(CapabilityError::Malformed { path: path(), missing: "a processor" });
    }
    let (sockets, cores) = topology(tree).or_else(|| from_cpuinfo(&info)).unwrap_or((1, threads));
    let khz = tree.number(&format!("{CPUS}/cpu0/cpufreq/cpuinfo_max_freq"));
    let first =
        |keys: &[&str]| keys.iter().find_map(|key| values(&info, key).next()).map(str::to_owned);
    Ok(Cpu {
        model: first(&["model name", "cpu", "CPU part"]),
        vendor: first(&["vendor_id", "CPU implementer"]),
        sockets: count(sockets),
        cores: count(cores),
        threads: count(threads),
        numa_nodes: count(tree.numbered("sys/devices/system/node", "node").len().max(1)),
        max_mhz: khz.and_then(|khz| u32::try_from(khz / 1000).ok()),
        flags_digest: first(&["flags", "Features"]).map(|flags| digest(&flags)),
    })
}

/// The values of one key of `/proc/cpuinfo`, in order.
fn values<'a>(info: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    info.lines().filter_map(move |line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim()).filter(|value| !value.is_empty())
    })
}

/// Sockets and cores of the processors that have a topology, that is, are online.
fn topology(tree: &Tree) -> Option<(usize, usize)> {
    let place = |name: String| {
        let socket = tree.text(&format!("{CPUS}/{name}/topology/physical_package_id"))?;
        let core = tree.text(&format!("{CPUS}/{name}/topology/core_id"))?;
        let die = tree.text(&format!("{CPUS}/{name}/topology/die_id")).unwrap_or_default();
        Some((socket, die, core))
    };
    let places: BTreeSet<_> = tree.numbered(CPUS, "cpu").into_iter().filter_map(place).collect();
    let sockets: BTreeSet<_> = places.iter().map(|(socket, ..)| socket).collect();
    (!places.is_empty()).then_some((sockets.len(), places.len()))
}

fn from_cpuinfo(info: &str) -> Option<(usize, usize)> {
    let sockets: BTreeSet<&str> = values(info, "physical id").collect();
    let places: BTreeSet<_> = values(info, "physical id").zip(values(info, "core id")).collect();
    (!places.is_empty()).then_some((sockets.len(), places.len()))
}

fn digest(flags: &str) -> String {
    let flags: BTreeSet<&str> = flags.split_whitespace().collect();
    let text = flags.into_iter().collect::<Vec<_>>().join(" ");
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    hash.as_ref().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
