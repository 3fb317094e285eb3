//! The `files` dimension. See [`Options`] for what it needs.

use std::path::PathBuf;

use pact_runtime::Clock;
use pact_schemas::resource::KeyPatterns;

/// What the files provider needs to know.
#[derive(Debug)]
pub(crate) struct Options {
    /// Absolute folders under watch; each on its own file system, which is not left unless another root says so.
    pub(crate) roots: Vec<PathBuf>,
    /// Whose contents never leave the node, whatever their mode.
    pub(crate) secret: KeyPatterns,
    /// What is not under watch.
    pub(crate) ignored: KeyPatterns,
    /// The provider's own folder (`<state>/files`, made 0700): baseline, kept contents, quarantine, key.
    pub(crate) folder: PathBuf,
    /// Time and randomness.
    pub(crate) clock: Clock,
}
