//! The `kernel` dimension: sysctls and modules. See [`Options`] for what it needs.

use std::path::PathBuf;

use pact_runtime::Clock;
use pact_schemas::resource::KeyPatterns;

/// What the kernel provider needs to know.
#[derive(Debug)]
pub(crate) struct Options {
    /// `/proc`, but for tests.
    pub(crate) proc: PathBuf,
    /// `/lib/modules/<release>`, but for tests.
    pub(crate) modules: PathBuf,
    /// `/sbin/modprobe`, but for tests.
    pub(crate) modprobe: PathBuf,
    /// What is not under watch.
    pub(crate) ignored: KeyPatterns,
    /// The provider's own folder (`<state>/kernel`, made 0700): the baseline.
    pub(crate) folder: PathBuf,
    /// Time.
    pub(crate) clock: Clock,
}
