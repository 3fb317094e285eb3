//! The baseline of the kernel: one JSON file (`baseline.json`, 0600), replaced as a whole.
//!
//! It belongs to one release of the kernel: another one has other parameters and other defaults, so its first scan takes
//! a new baseline.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::provider::ProviderError;

/// Twenty thousand parameters with their names.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Of this file.
const FORMAT: u32 = 1;

/// What parameters and modules should be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Baseline {
    format: u32,
    /// Of the kernel that it was taken under.
    pub(super) release: String,
    /// Folded values by dotted name.
    pub(super) sysctl: BTreeMap<Box<str>, Box<str>>,
    /// Loaded ones.
    pub(super) modules: BTreeSet<Box<str>>,
}

impl Baseline {
    /// An empty one of this release.
    pub(super) fn of(release: &str) -> Self {
        Self { release: release.to_owned(), ..Self::default() }
    }

    /// Whether both say the same, whichever format they were written in.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.release == other.release
            && self.sysctl == other.sysctl
            && self.modules == other.modules
    }
}

/// The baseline and its file.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    /// `None`: the next scan takes it.
    pub(super) baseline: Option<Baseline>,
}

impl State {
    pub(super) fn open(folder: &Path, release: &str) -> Result<Self, ProviderError> {
        let path = folder.join("baseline.json");
        let damaged = || ProviderError::Damaged { path: path.clone() };
        let bytes = match durable::read_bounded(&path, MAX_FILE_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Err(damaged()),
            other => other.map_err(|error| ProviderError::io("read", &path, error))?,
        };
        let baseline = match bytes {
            None => None,
            Some(bytes) => {
                let found: Baseline = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
                if found.format != FORMAT {
                    return Err(damaged());
                }
                Some(found).filter(|found| found.release == release)
            }
        };
        Ok(Self { path, baseline })
    }

    /// Makes this the baseline. On disk when it returns.
    pub(super) fn set(&mut self, baseline: Baseline) -> Result<(), ProviderError> {
        let baseline = Baseline { format: FORMAT, ..baseline };
        let written = serde_json::to_vec(&baseline)
            .map_err(io::Error::from)
            .and_then(|bytes| durable::replace(&self.path, &bytes, durable::PRIVATE));
        written.map_err(|error| ProviderError::io("write", &self.path, error))?;
        self.baseline = Some(baseline);
        Ok(())
    }
}
