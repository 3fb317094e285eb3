//! The least that plane time can be: what ended by it has ended for ever.
//!
//! Plane time itself is unknown after a reboot, and again a day after the last fix. It is never before a time that was known
//! once, though, and it goes on at least as fast as the slowest clock of a machine that works. So what ends at a time (a node
//! delta's TTL) ends without the journal, late rather than early, and never comes back to life: the bound is kept on disk before
//! anything ends by it.
//!
//! It goes back only when the journal's members say together that the plane's time itself was wrong ([`CORRECTED`]): what ended
//! by a wrong time has not ended.
//!
//! ```text
//! <state_dir>/plane-seen.json    {boot_id, time, at}: plane time that had passed, Unix ns, at this CLOCK_BOOTTIME, ns
//! ```

use std::path::Path;
use std::time::Duration;

use crate::boot::BootId;
use crate::durable::{self, PRIVATE};

/// The slowest clock of a machine: the kernel slews by at most 500 ppm, a bad crystal is 100 ppm slow. One part in so many.
const SLOWEST: i64 = 1_000;

/// A correction back by more than this says that the plane's time was wrong; a smaller one is noise, and waited for. Far more than
/// members and fixes differ by, far less than the shortest TTL (900 s).
const CORRECTED: Duration = Duration::from_secs(60);

/// Far above what the file holds.
const MAX_FILE_BYTES: u64 = 4096;

/// Plane time that had passed at a moment of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    /// Unix nanoseconds.
    time: i64,
    /// CLOCK_BOOTTIME, nanoseconds.
    at: i64,
}

/// As it is on disk.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    boot_id: BootId,
    time: i64,
    at: i64,
}

impl Bound {
    /// `time` had passed at `at`.
    pub(super) const fn new(time: i64, at: i64) -> Self {
        Self { time, at }
    }

    /// What has surely passed at this moment of the boot.
    pub(super) const fn now(self, boot_time: i64) -> i64 {
        let passed = boot_time.saturating_sub(self.at);
        let passed = if passed > 0 { passed - passed / SLOWEST } else { 0 };
        self.time.saturating_add(passed)
    }

    /// The greater of two, at this moment.
    pub(super) fn or(self, other: Option<Self>, boot_time: i64) -> Self {
        let other = other.filter(|other| other.now(boot_time) > self.now(boot_time));
        other.unwrap_or(self)
    }

    /// The bound after a fix, and whether the fix says that the time before it was wrong.
    pub(super) fn after_fix(before: Option<Self>, time: i64, at: i64) -> (Self, bool) {
        let fixed = Self::new(time, at);
        let ahead = before.map_or(0, |before| before.now(at).saturating_sub(time));
        let is_corrected = i128::from(ahead) > CORRECTED.as_nanos().cast_signed();
        if is_corrected { (fixed, true) } else { (fixed.or(before, at), false) }
    }

    /// What an earlier run of the agent kept; of an earlier boot, all of this one came after it. A file that does not parse counts
    /// as none.
    pub(super) fn read(path: &Path, boot: &BootId) -> std::io::Result<Option<Self>> {
        let bytes = durable::read_bounded(path, MAX_FILE_BYTES)?;
        let file: Option<File> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(file.map(|file| Self::new(file.time, if file.boot_id == *boot { file.at } else { 0 })))
    }

    /// On `Ok` it is on disk.
    pub(super) fn keep(self, path: &Path, boot: &BootId) -> std::io::Result<()> {
        let file = File { boot_id: boot.clone(), time: self.time, at: self.at };
        durable::replace(path, &serde_json::to_vec(&file)?, PRIVATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const DAY: i64 = 86_400 * SECOND;

    #[test]
    fn it_goes_on_with_the_machine_and_never_faster_than_time() {
        let bound = Bound::new(100 * DAY, 5 * DAY);
        assert_eq!(bound.now(5 * DAY), 100 * DAY);
        assert_eq!(bound.now(6 * DAY), 101 * DAY - DAY / 1_000);
        assert_eq!(bound.now(0), 100 * DAY, "never behind what it was");
    }

    #[test]
    fn a_fix_raises_it_and_only_a_correction_lowers_it() {
        let bound = Bound::new(100 * DAY, 0);
        let later = Bound::after_fix(Some(bound), 102 * DAY, DAY);
        assert_eq!(later, (Bound::new(102 * DAY, DAY), false));
        let noise = 100 * DAY - 60 * SECOND;
        assert_eq!(Bound::after_fix(Some(bound), noise, 0), (bound, false));
        let wrong = 100 * DAY - 60 * SECOND - 1;
        assert_eq!(Bound::after_fix(Some(bound), wrong, 0), (Bound::new(wrong, 0), true));
        assert_eq!(Bound::after_fix(None, 7, 9), (Bound::new(7, 9), false));
    }

    #[test]
    fn after_a_reboot_all_of_the_boot_comes_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seen");
        let boot = BootId::read().unwrap();
        assert_eq!(Bound::read(&path, &boot).unwrap(), None);
        Bound::new(100 * DAY, 5 * DAY).keep(&path, &boot).unwrap();
        assert_eq!(Bound::read(&path, &boot).unwrap(), Some(Bound::new(100 * DAY, 5 * DAY)));
        assert_eq!(Bound::read(&path, &BootId::other()).unwrap(), Some(Bound::new(100 * DAY, 0)));
        std::fs::write(&path, "{").unwrap();
        assert_eq!(Bound::read(&path, &boot).unwrap(), None);
    }
}
