//! Bounded reads below a base path.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// `/proc/cpuinfo` of the largest machines stays below this; everything else is far smaller.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// Entries of one folder at most; the most interfaces and devices that a report carries.
const MAX_ENTRIES: usize = 4096;

/// The tree that is read.
#[derive(Debug)]
pub(super) struct Tree {
    base: PathBuf,
}

impl Tree {
    pub(super) fn at(base: &Path) -> Self {
        Self { base: base.to_path_buf() }
    }

    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.base.join(relative)
    }

    /// The whole text, at most `MAX_FILE_BYTES` of it.
    pub(super) fn read(&self, relative: &str) -> io::Result<String> {
        let mut bytes = Vec::new();
        File::open(self.path(relative))?.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The text without surrounding blanks; nothing when it is absent, empty or unreadable. Control characters, which
    /// devices do put into their names, become blanks; line breaks stay.
    pub(super) fn text(&self, relative: &str) -> Option<String> {
        let text = self.read(relative).ok()?;
        let clean = text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c });
        let clean = clean.collect::<String>().trim().to_owned();
        (!clean.is_empty()).then_some(clean)
    }

    /// A decimal number; nothing when there is none or it is negative.
    pub(super) fn number(&self, relative: &str) -> Option<u64> {
        self.text(relative)?.parse().ok()
    }

    /// Whether there is anything of that name.
    pub(super) fn has(&self, relative: &str) -> bool {
        self.path(relative).exists()
    }

    /// The last component of a link's target.
    pub(super) fn link_name(&self, relative: &str) -> Option<String> {
        Some(fs::read_link(self.path(relative)).ok()?.file_name()?.to_string_lossy().into_owned())
    }

    /// A link's target as it stands.
    pub(super) fn link(&self, relative: &str) -> Option<String> {
        Some(fs::read_link(self.path(relative)).ok()?.to_string_lossy().into_owned())
    }

    /// The names in a folder, in order; none when it is absent.
    pub(super) fn names(&self, relative: &str) -> Vec<String> {
        let entries =
            fs::read_dir(self.path(relative)).into_iter().flatten().flatten().take(MAX_ENTRIES);
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }

    /// The names made of this prefix and a number (`cpu0`, not `cpufreq`).
    pub(super) fn numbered(&self, relative: &str, prefix: &str) -> Vec<String> {
        let is_numbered = |name: &String| {
            name.strip_prefix(prefix)
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        };
        self.names(relative).into_iter().filter(is_numbered).collect()
    }
}
