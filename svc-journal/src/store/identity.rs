//! Whose data folder this is.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use pact_schemas::{MemberId, SiteName};
use serde::{Deserialize, Serialize};

use super::private;
use crate::raft::members::ClusterIds;

/// Layout of the folder and encoding of the rows.
pub(crate) const FORMAT_VERSION: u32 = 1;

const FILE: &str = "IDENTITY";

/// What a folder belongs to. Written before anything else; compared at every start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    pub(crate) format_version: u32,
    pub(crate) site: String,
    pub(crate) cluster: String,
    /// How versions before members could be changed named this cluster: such a folder is ours, too.
    #[serde(skip)]
    pub(crate) named_before: String,
    pub(crate) member: u64,
    /// SHA-256 of the public keys of the site roots that the member trusted when it started last. Two sites may have one
    /// name and the same members, never one root; a site may replace its root, in steps that share one. Folders of before
    /// have none.
    #[serde(default)]
    pub(crate) roots: BTreeSet<String>,
}

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It cannot be read or written.
    #[error("{path} cannot be used")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not written by pact, or damaged.
    #[error("{path} is not an identity file of pact")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// Holds data, but not ours.
    #[error("{path} is not empty and has no identity file: it is no data folder of pact's journal")]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// Another site's, cluster's or member's.
    #[error(
        "{path} belongs to {what} {found}; this process is {what} {expected}: correct the configuration, or use another data_dir"
    )]
    Other {
        /// The folder.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// As in the file.
        found: String,
        /// As configured.
        expected: String,
    },
    /// Others than the owner may write in it.
    #[error(
        "{path} has mode {mode:04o}: others than its owner may write in it; look at what is in it, then `chmod 0700 {path}`"
    )]
    Writable {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process has it open.
    #[error("{path} is in use by another process")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
}

/// The lock on a data folder, held while it lives.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

impl Identity {
    pub(crate) fn new(
        site: &SiteName,
        cluster: &ClusterIds,
        member: MemberId,
        roots: BTreeSet<String>,
    ) -> Self {
        let hex = |id: &[u8; 32]| id.iter().map(|b| format!("{b:02x}")).collect();
        Self {
            format_version: FORMAT_VERSION,
            site: site.to_string(),
            cluster: hex(&cluster.of_site),
            named_before: hex(&cluster.listed),
            member: member.get(),
            roots,
        }
    }

    /// Locks the folder and checks that it is ours, or makes an empty one ours.
    ///
    /// # Errors
    /// [`IdentityError`]; nothing has changed then.
    pub(crate) fn claim(&self, folder: &Path) -> Result<FolderLock, IdentityError> {
        let file = folder.join(FILE);
        not_writable(folder)?;
        if let Some(found) = read(&file)? {
            self.compare(folder, &found)?;
            let lock = lock(folder)?;
            close(folder)?;
            if (Self { named_before: self.named_before.clone(), ..found }) != *self {
                self.write(folder)?;
            }
            return Ok(lock);
        }
        private::make_folder(folder)
            .map_err(|source| IdentityError::Io { path: folder.to_owned(), source })?;
        if !is_empty(folder)? {
            return Err(IdentityError::Foreign { path: folder.to_owned() });
        }
        let lock = lock(folder)?;
        close(folder)?;
        self.write(folder)?;
        Ok(lock)
    }

    fn write(&self, folder: &Path) -> Result<(), IdentityError> {
        write_synced(folder, FILE, &self.to_text())
            .map_err(|source| IdentityError::Io { path: folder.join(FILE), source })
    }

    fn to_text(&self) -> Vec<u8> {
        // A struct of texts and numbers always encodes.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    fn compare(&self, folder: &Path, found: &Self) -> Result<(), IdentityError> {
        let differs = |what, found: String, expected: String| {
            Err(IdentityError::Other { path: folder.to_owned(), what, found, expected })
        };
        if found.format_version != self.format_version {
            return differs(
                "format version",
                found.format_version.to_string(),
                self.format_version.to_string(),
            );
        }
        if found.site != self.site {
            return differs("site", found.site.clone(), self.site.clone());
        }
        if found.member != self.member {
            return differs("member", found.member.to_string(), self.member.to_string());
        }
        if found.cluster != self.cluster && found.cluster != self.named_before {
            return differs("cluster", found.cluster.clone(), self.cluster.clone());
        }
        if !found.roots.is_empty() && found.roots.is_disjoint(&self.roots) {
            let shown = |roots: &BTreeSet<String>| {
                roots.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
            };
            return differs("the site with root", shown(&found.roots), shown(&self.roots));
        }
        Ok(())
    }
}

fn read(file: &Path) -> Result<Option<Identity>, IdentityError> {
    match fs::read(file) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| IdentityError::Malformed { path: file.to_owned(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::Io { path: file.to_owned(), source }),
    }
}

fn is_empty(folder: &Path) -> Result<bool, IdentityError> {
    let io = |source| IdentityError::Io { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        // A lock file, or an identity that was never renamed into place, is left by a start that went no further.
        if name != "LOCK" && name != "IDENTITY.tmp" && name != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whoever can write in a folder can exchange what is in it.
fn not_writable(folder: &Path) -> Result<(), IdentityError> {
    match private::mode(folder) {
        Ok(mode) if mode & private::WRITABLE_BY_OTHERS != 0 => {
            Err(IdentityError::Writable { path: folder.to_owned(), mode })
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(IdentityError::Io { path: folder.to_owned(), source }),
    }
}

fn close(folder: &Path) -> Result<(), IdentityError> {
    private::close_folder(folder)
        .map_err(|source| IdentityError::Io { path: folder.to_owned(), source })
}

fn lock(folder: &Path) -> Result<FolderLock, IdentityError> {
    let path = folder.join("LOCK");
    let io = |source| IdentityError::Io { path: path.clone(), source };
    let file = private::file().create(true).truncate(false).write(true).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(FolderLock { _file: file }),
        Err(fs::TryLockError::WouldBlock) => Err(IdentityError::Locked { path: folder.to_owned() }),
        Err(fs::TryLockError::Error(source)) => Err(io(source)),
    }
}

/// Writes a small file so that after a crash either all of it is there or what was there before.
pub(crate) fn write_synced(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!("{name}.tmp"));
    let mut file = private::file().create(true).truncate(true).write(true).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(name))?;
    sync_folder(folder)
}

/// Makes renames and new files in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn identity(site: &str, member: u64) -> Identity {
        rooted(site, member, &["a"])
    }

    fn rooted(site: &str, member: u64, roots: &[&str]) -> Identity {
        let roots = roots.iter().map(|root| (*root).to_owned()).collect();
        let site = SiteName::new(site).unwrap();
        let cluster = ClusterIds { of_site: [7; 32], listed: [8; 32] };
        Identity::new(&site, &cluster, MemberId::new(member).unwrap(), roots)
    }

    #[test]
    fn a_folder_that_names_its_cluster_by_the_configured_members_becomes_one_of_the_site() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        drop(identity("alps", 1).claim(&path).unwrap());
        let now = fs::read_to_string(path.join(FILE)).unwrap();
        let before = now.replace(&"07".repeat(32), &"08".repeat(32));
        fs::write(path.join(FILE), &before).unwrap();
        drop(identity("alps", 1).claim(&path).unwrap());
        assert_eq!(fs::read_to_string(path.join(FILE)).unwrap(), now);
        // With other members than those that are configured.
        let other = now.replace(&"07".repeat(32), &"09".repeat(32));
        fs::write(path.join(FILE), &other).unwrap();
        let error = identity("alps", 1).claim(&path).unwrap_err();
        assert!(matches!(error, IdentityError::Other { what: "cluster", .. }), "{error}");
        assert_eq!(fs::read_to_string(path.join(FILE)).unwrap(), other);
    }

    #[test]
    fn a_folder_of_another_site_of_the_same_name_is_refused_and_a_root_may_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let claim = |roots: &[&str]| rooted("alps", 1, roots).claim(&path).map(drop);
        claim(&["a"]).unwrap();
        let before = fs::read(path.join(FILE)).unwrap();
        let error = claim(&["b"]).unwrap_err();
        assert!(error.to_string().contains("to the site with root a; "), "{error}");
        assert_eq!(fs::read(path.join(FILE)).unwrap(), before);
        for roots in [&["a", "b"][..], &["b"]] {
            claim(roots).unwrap();
        }
        claim(&["a"]).unwrap_err();
        // As an older version wrote it.
        let mut old: serde_json::Value =
            serde_json::from_slice(&fs::read(path.join(FILE)).unwrap()).unwrap();
        old.as_object_mut().unwrap().remove("roots").unwrap();
        fs::write(path.join(FILE), old.to_string()).unwrap();
        claim(&["c"]).unwrap();
        claim(&["d"]).unwrap_err();
    }

    #[test]
    fn a_folder_is_used_by_its_owner_alone_and_once_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let held = identity("alps", 1).claim(&path).unwrap();
        assert!(matches!(identity("alps", 1).claim(&path), Err(IdentityError::Locked { .. })));
        drop(held);
        let before = fs::read(path.join(FILE)).unwrap();
        for (site, member, what) in [("jura", 1, "site"), ("alps", 2, "member")] {
            let error = identity(site, member).claim(&path).unwrap_err();
            assert!(matches!(error, IdentityError::Other { what: w, .. } if w == what), "{error}");
        }
        assert_eq!(fs::read(path.join(FILE)).unwrap(), before);
        identity("alps", 1).claim(&path).unwrap();
    }

    #[test]
    fn a_folder_is_private_and_one_that_others_write_in_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/journal");
        drop(identity("alps", 1).claim(&path).unwrap());
        assert_eq!(private::mode(&path).unwrap(), 0o700);
        for name in [FILE, "LOCK"] {
            assert_eq!(private::mode(&path.join(name)).unwrap(), 0o600, "{name}");
        }
        let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        for mode in [0o770, 0o702] {
            set(mode);
            let error = identity("alps", 1).claim(&path).unwrap_err();
            assert!(matches!(error, IdentityError::Writable { mode: m, .. } if m == mode));
        }
        // As a package makes it: readable, until it is used.
        set(0o755);
        drop(identity("alps", 1).claim(&path).unwrap());
        assert_eq!(private::mode(&path).unwrap(), 0o700);
    }

    #[test]
    fn a_folder_with_other_files_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "x").unwrap();
        assert!(matches!(
            identity("alps", 1).claim(folder.path()),
            Err(IdentityError::Foreign { .. })
        ));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
