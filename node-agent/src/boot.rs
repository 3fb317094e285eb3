//! Which boot of the machine this is: what was learned during an earlier one does not hold any more.

use std::fmt;
use std::io;

/// Where the kernel says it.
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// The kernel's random id of the present boot, a UUID in lower case.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct BootId(String);

/// The kernel does not tell the boot id.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {BOOT_ID_FILE}, by which the agent knows that the machine was not restarted")]
pub struct NoBootId(#[source] io::Error);

impl BootId {
    /// The present boot's id.
    ///
    /// # Errors
    /// [`NoBootId`] where `/proc` is not mounted.
    pub(crate) fn read() -> Result<Self, NoBootId> {
        let text = std::fs::read_to_string(BOOT_ID_FILE).map_err(NoBootId)?;
        Ok(Self(text.trim().to_owned()))
    }

    /// The id as if it were another boot's.
    #[cfg(test)]
    pub(crate) fn other() -> Self {
        Self("00000000-0000-0000-0000-000000000000".to_owned())
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
