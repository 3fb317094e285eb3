//! Kernel parameters: the files under `/proc/sys`, by their dotted names, as a table.
//!
//! As sysctl(8) has it, `.` parts the components and a `.` within one is written `/`:
//! `net.ipv4.conf.eth0/100.forwarding` is `net/ipv4/conf/eth0.100/forwarding`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use pact_schemas::resource::{KeyPatterns, Kind, ResourceKey, Value};

use super::{TREE, groups};
use crate::provider::ProviderError;
use crate::provider::abilities::{Abilities, Notice, Stage};
use crate::provider::table::{Listing, Mover, Row, Section, Table};
use crate::readers::others_read;

/// What parameters can.
pub(crate) static SYSCTL: Abilities = Abilities {
    kind: Kind::Sysctl,
    stage: Stage::Parameters,
    notice: Notice::ByLooking,
    tree: Some(&TREE),
    needs: &[],
    refusal: |want| matches!(want, Value::Absent).then_some("a kernel parameter cannot be removed"),
};

/// Longest value: what the resource model takes as a text.
const MAX_VALUE_BYTES: u64 = pact_schemas::resource::MAX_TEXT_BYTES as u64;
/// The kernel's tree has six levels; a deeper one is no tree of settings.
const MAX_DEPTH: usize = 12;

/// Parameters that change by themselves, or are commands in the shape of a file. Those that nobody may write (counters,
/// mostly) need no place here: they are not watched anyway.
const NOT_SETTINGS: &[&str] = &[
    // State of the kernel.
    "sysctl/fs.dentry-state",
    "sysctl/fs.file-nr",
    "sysctl/fs.inode-nr",
    "sysctl/fs.inode-state",
    "sysctl/fs.quota.*",
    "sysctl/kernel.hung_task_detect_count",
    "sysctl/kernel.ns_last_pid",
    "sysctl/kernel.pty.nr",
    "sysctl/kernel.random.*",
    "sysctl/kernel.tainted",
    "sysctl/net.netfilter.nf_conntrack_count",
    // Used up by the next call, then -1 again.
    "sysctl/kernel.*_next_id",
    // Lowered by the kernel when interrupts take too long.
    "sysctl/kernel.perf_event_max_sample_rate",
    // Follows the processors that are online.
    "sysctl/kernel.sched_domain.*",
    // Follows the interface's own, which belongs to `net/`.
    "sysctl/net.ipv6.conf.**.mtu",
    // Commands.
    "sysctl/**.flush",
    "sysctl/vm.compact_memory",
    "sysctl/vm.drop_caches",
    "sysctl/vm.stat_refresh",
];

/// Domain of keyed digests, with its NUL.
const DOMAIN: &[u8] = b"pact.v1.withheld.sysctl\0";

/// The table of parameters.
pub(super) struct Parameters {
    root: PathBuf,
    not_settings: KeyPatterns,
}

impl Parameters {
    /// Those of this tree.
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, not_settings: not_settings() }
    }

    fn path(&self, key: &ResourceKey) -> Result<PathBuf, ProviderError> {
        path_of(&self.root, key).ok_or_else(|| ProviderError::WrongKey { key: key.clone() })
    }
}

impl Table for Parameters {
    fn abilities(&self) -> &'static Abilities {
        &SYSCTL
    }

    fn section(&self) -> Section {
        Section::Texts("sysctl")
    }

    fn list(&self) -> Result<Listing, ProviderError> {
        let folders = vec![PathBuf::new()];
        let walk = Walk { root: self.root.clone(), folders, settings: Vec::new() };
        Ok(Listing::Keys(Box::new(walk)))
    }

    fn read(&self, key: &ResourceKey) -> Result<Option<Row>, ProviderError> {
        let path = self.path(key)?;
        read(&path).map_err(|error| ProviderError::io("read", path, error))
    }

    fn write(&self, key: &ResourceKey, wanted: Option<&str>) -> Result<(), ProviderError> {
        // That a parameter is never removed is among the abilities.
        let wrong = || ProviderError::WrongValue { key: key.clone() };
        write(key, &self.path(key)?, wanted.ok_or_else(wrong)?)
    }

    fn text(&self, key: &ResourceKey, want: &Value) -> Result<Option<String>, ProviderError> {
        match want {
            Value::Text(text) => Ok(Some(fold(text))),
            Value::Integer(number) => Ok(Some(number.to_string())),
            Value::Absent => Ok(None),
            _ => Err(ProviderError::WrongValue { key: key.clone() }),
        }
    }

    fn movers(&self, key: &ResourceKey) -> Vec<Mover> {
        groups::movers(key.name())
    }

    fn moved(&self, key: &ResourceKey) -> Vec<ResourceKey> {
        groups::moved(key.name(), |family| {
            let folder = Path::new("net").join(family).join("conf");
            let names = list(&self.root, &folder).folders.into_iter();
            names.filter_map(|path| Some(path.file_name()?.to_str()?.replace('.', "/"))).collect()
        })
    }

    fn veil(&self) -> Option<&'static [u8]> {
        Some(DOMAIN)
    }

    fn comes_and_goes(&self) -> bool {
        true
    }

    fn is_setting(&self, key: &ResourceKey) -> bool {
        !self.not_settings.matches(key)
    }
}

/// A walk through the tree, folder by folder.
struct Walk {
    root: PathBuf,
    /// Still to be listed.
    folders: Vec<PathBuf>,
    /// Of the folder that was listed last.
    settings: Vec<PathBuf>,
}

impl Iterator for Walk {
    type Item = ResourceKey;

    fn next(&mut self) -> Option<ResourceKey> {
        loop {
            if let Some(below) = self.settings.pop() {
                match key_of(&below) {
                    Some(key) => return Some(key),
                    None => continue,
                }
            }
            let folder = self.folders.pop()?;
            let listing = list(&self.root, &folder);
            self.settings = listing.settings;
            self.folders.extend(listing.folders);
        }
    }
}

/// What is never watched.
fn not_settings() -> KeyPatterns {
    // Every one of them parses: a test says so.
    KeyPatterns::parse(NOT_SETTINGS).unwrap_or_default()
}

/// The path of a dotted name below the tree's root.
fn path_of(root: &Path, key: &ResourceKey) -> Option<PathBuf> {
    let name = (key.kind() == Kind::Sysctl).then(|| key.plain_name())?;
    let name = String::from_utf8(name).ok()?;
    let turned: String = name
        .chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect();
    let is_plain = |part: &str| !matches!(part, "" | "." | "..");
    turned.split('/').all(is_plain).then(|| root.join(turned))
}

/// The key of a file of the tree; `None` for one that no key can name.
fn key_of(below: &Path) -> Option<ResourceKey> {
    let parts = below.iter().map(|part| Some(part.to_str()?.replace('.', "/")));
    let name = parts.collect::<Option<Vec<_>>>()?.join(".");
    ResourceKey::new(Kind::Sysctl, &name).ok()
}

/// Folds blanks, as values are compared.
fn fold(raw: &str) -> String {
    raw.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a parameter is, blanks folded; `None`: this kernel has none of this name.
pub(super) fn read(path: &Path) -> io::Result<Option<Row>> {
    let file = match open(path, OpenOptions::new().read(true)) {
        Err(error) if is_missing(&error) => return Ok(None),
        other => other?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut raw = Vec::new();
    file.take(MAX_VALUE_BYTES).read_to_end(&mut raw)?;
    let text = fold(&String::from_utf8_lossy(&raw));
    Ok(Some(Row { text, is_shut: !others_read(metadata.mode()) }))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

/// Writes a value.
fn write(key: &ResourceKey, path: &Path, value: &str) -> Result<(), ProviderError> {
    let mut file =
        open(path, OpenOptions::new().write(true)).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => ProviderError::ReadOnly { path: path.to_owned() },
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                ProviderError::NotRestorable {
                    key: key.clone(),
                    why: "this kernel has no such parameter",
                }
            }
            _ => ProviderError::io("write", path, error),
        })?;
    // In one call: the kernel takes each for a value of its own.
    let line = format!("{value}\n");
    match file.write(line.as_bytes()) {
        // Of a value with too many parts the kernel takes the first: what it reads then tells.
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            Err(ProviderError::ReadOnly { path: path.to_owned() })
        }
        Err(error) => Err(ProviderError::Refused { key: key.clone(), source: Some(error) }),
    }
}

/// One folder of the tree: parameters that may be watched, and folders, both as paths below the root.
#[derive(Debug, Default)]
struct Folder {
    settings: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

/// Lists a folder of the tree. Another file system mounted in it (`binfmt_misc`) is left out: looking into it would
/// mount it. What vanishes meanwhile is left out too.
fn list(root: &Path, below: &Path) -> Folder {
    let mut listing = Folder::default();
    let folder = root.join(below);
    let Ok(device) = folder.symlink_metadata().map(|metadata| metadata.dev()) else {
        return listing;
    };
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.path().symlink_metadata() else { continue };
        let path = below.join(entry.file_name());
        if metadata.is_dir() && metadata.dev() == device && below.iter().count() < MAX_DEPTH {
            listing.folders.push(path);
        } else if metadata.is_file() && metadata.mode() & 0o222 != 0 {
            listing.settings.push(path);
        }
    }
    listing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_turn_into_paths_and_back() {
        let root = Path::new("/proc/sys");
        for (name, below) in [
            ("vm.swappiness", "vm/swappiness"),
            ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ] {
            let key = ResourceKey::new(Kind::Sysctl, name).unwrap();
            assert_eq!(path_of(root, &key), Some(root.join(below)));
            assert_eq!(key_of(Path::new(below)), Some(key));
        }
        let module = ResourceKey::new(Kind::Module, "loop").unwrap();
        assert_eq!(path_of(root, &module), None);
    }

    #[test]
    fn what_is_no_setting_is_named_by_patterns_that_parse() {
        let patterns = KeyPatterns::parse(NOT_SETTINGS).unwrap();
        assert_eq!(patterns.as_slice().len(), NOT_SETTINGS.len());
        let matches = |name| patterns.matches(&ResourceKey::new(Kind::Sysctl, name).unwrap());
        for name in [
            "kernel.random.boot_id",
            "net.ipv4.route.flush",
            "net.ipv6.conf.eth0/7.mtu",
            "kernel.sched_domain.cpu0.domain0.flags",
            "kernel.sem_next_id",
        ] {
            assert!(matches(name), "{name}");
        }
        for name in
            ["vm.swappiness", "vm.stat_interval", "kernel.pty.max", "net.ipv4.route.mtu_expires"]
        {
            assert!(!matches(name), "{name}");
        }
    }

    #[test]
    fn a_value_is_written_and_read_folded() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("tcp_rmem");
        std::fs::write(&path, "4096\t131072\t6291456\n").unwrap();
        assert_eq!(read(&path).unwrap().unwrap().text, "4096 131072 6291456");
        let key = ResourceKey::new(Kind::Sysctl, "net.ipv4.tcp_rmem").unwrap();
        std::fs::write(&path, "").unwrap();
        write(&key, &path, "1  2\t3").unwrap();
        assert_eq!(read(&path).unwrap().unwrap().text, "1 2 3");
        assert_eq!(read(&root.path().join("none")).unwrap(), None);
        assert_eq!(read(root.path()).unwrap_or(None), None, "a folder is none");
        let missing = write(&key, &root.path().join("none"), "1").unwrap_err();
        assert!(matches!(missing, ProviderError::NotRestorable { .. }));
        // /dev/null takes everything and gives nothing back; a full device refuses.
        let full = write(&key, Path::new("/dev/full"), "1").unwrap_err();
        assert!(matches!(full, ProviderError::Refused { source: Some(_), .. }), "{full:?}");
    }

    #[test]
    fn the_kernels_own_tree_is_listed() {
        let root = Path::new("/proc/sys");
        let top = list(root, Path::new(""));
        assert!(top.folders.iter().any(|folder| folder == Path::new("vm")));
        let vm = list(root, Path::new("vm"));
        assert!(vm.settings.contains(&PathBuf::from("vm/swappiness")));
        assert!(!list(root, Path::new("fs")).settings.contains(&PathBuf::from("fs/file-nr")));
        assert!(list(root, Path::new("none")).settings.is_empty());
    }
}
