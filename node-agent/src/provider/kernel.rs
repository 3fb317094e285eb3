//! The `kernel` dimension: parameters (`sysctl/…`) and modules (`module/…`), as two tables.
//!
//! The kernel notifies of neither. Declared keys and the list of modules are read at each poll, all parameters in a
//! sweep of small slices every five minutes. The baseline holds parameters that somebody may write and that do not
//! change by themselves (`sysctl`); one that appears later, with an interface or a module, joins it as it is, and one
//! that vanishes leaves it: neither is drift. It belongs to one release of the kernel.
//!
//! Parameters that move each other (`groups`) count as one: what only follows another is no drift, and an undo sets the one
//! that was set before.
//!
//! A parameter is never held; a module is by what the kernel counts. Where `/proc/sys` is read-only, this observes only.

use std::path::PathBuf;
use std::time::Duration;

use pact_runtime::Clock;
use pact_schemas::resource::{KeyPatterns, Kind};

use super::ProviderError;
use super::abilities::Tree;
use super::table::{self, Tables};
use module::Modules;
use sysctl::Parameters;

mod groups;
mod module;
mod sysctl;

pub(super) use module::MODULE;
pub(super) use sysctl::SYSCTL;

/// What the kernel provider needs to know.
#[derive(Debug)]
pub(crate) struct Options {
    /// `/proc`, but for tests.
    pub(crate) proc: PathBuf,
    /// `/lib/modules/<release>`, but for tests.
    pub(crate) modules: PathBuf,
    /// `/sbin/modprobe`, but for tests.
    pub(crate) modprobe: PathBuf,
    /// Whose values never leave the node, whatever their mode.
    pub(crate) secret: KeyPatterns,
    /// What is not under watch.
    pub(crate) ignored: KeyPatterns,
    /// The provider's own folder (`<state>/kernel`, made 0700): the baseline and the key.
    pub(crate) folder: PathBuf,
    /// Time.
    pub(crate) clock: Clock,
}

/// How often declared keys and the list of modules are read when nobody asks more often.
const NEAR_INTERVAL: Duration = Duration::from_secs(10);

/// Where a container has this read-only, nothing of the kernel is this node's to change: neither parameters nor modules.
static TREE: Tree = Tree { path: "/proc/sys", holds: "kernel parameters" };

/// Opens the provider of parameters and modules. Nothing is watched before the first scan.
pub(crate) fn open(options: Options) -> Result<Tables, ProviderError> {
    let Options { proc, modules, modprobe, secret, ignored, folder, clock } = options;
    let root = proc.join("sys");
    let release = sysctl::read(&root.join("kernel/osrelease"));
    let release = release.ok().flatten().map(|row| row.text).unwrap_or_default();
    let modules = Modules::new(&proc, &modules, modprobe, clock.clone());
    Tables::open(table::Options {
        kinds: &[Kind::Sysctl, Kind::Module],
        tables: vec![Box::new(Parameters::new(root)), Box::new(modules)],
        release,
        secret,
        ignored,
        folder,
        interval: NEAR_INTERVAL,
        clock,
    })
}

#[cfg(test)]
mod tests;
