//! Resolution of programs and files: what a path given as an argument really names, and whether it
//! may be read.
//!
//! A path is walked one component at a time, links included (`walk`), and every step is held
//! against the deny rules. `/` is the working directory; whoever runs the command must set exactly
//! that (`WORKING_DIRECTORY`).
//!
//! And nothing is read that an unprivileged user of the node could not read: every directory on the
//! way must let such a user pass, and what is read at its end must let them read (`Disk::lets`).
//!
//! What this cannot do: the file is resolved here and opened later by the command. Somebody who can
//! change a directory on the way can exchange a link in between, and a hard link or bind mount made
//! by root carries no trace of the path it stands for. Kernel limits on the running command
//! (Landlock) close that; this check alone does not.

use std::path::PathBuf;

use crate::deny::{DenyRules, PatternError};
use crate::disk::{Access, Disk, FileKind};
use crate::refusal::FileRefusal;
use crate::walk::{ResolvedFile, Walk};

/// The working directory that the judgement assumes and the command must run in.
pub const WORKING_DIRECTORY: &str = "/";
/// Where programs are looked for; `/usr/local` is left out because packages do not own it.
pub(crate) const TRUSTED_PATH: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Entries of a tree that are looked at before a recursive read: about a quarter of a second at
/// worst.
const MAX_TREE_ENTRIES: usize = 20_000;
/// Where the kernel lists what is mounted.
const MOUNTS: &str = "/proc/mounts";
/// Mount points without which the node does not run.
const ESSENTIAL_MOUNTS: [&str; 16] = [
    "/",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/proc",
    "/run",
    "/run/pact",
    "/sys",
    "/usr",
    "/var",
    "/var/lib",
    "/var/lib/pact",
    "/var/log",
    "/var/log/audit",
    "/var/log/journal",
];
/// Trees of mount points that belong to the system.
const ESSENTIAL_MOUNT_TREES: [&str; 5] =
    ["/dev/", "/proc/", "/sys/", "/run/pact/", "/var/lib/pact/"];

/// What a command reads of a file that it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Owner, size and the like, which whoever comes there may see.
    Nothing,
    /// The names in a directory.
    Names,
    /// Contents, and the names in a directory.
    Contents,
}

/// What the list needs to know about the node's files.
pub trait FileResolver {
    /// The program of that name in the trusted directories, as a path whose last component is the
    /// name (several programs look at it, `lsmod` is a link to `kmod`). A name with a slash must be
    /// absolute and the same program.
    fn resolve_program(&self, name: &str) -> Option<PathBuf>;
    /// Any executable file: by absolute path, or by name in the trusted directories. For modes that
    /// run what is off the list.
    fn locate_program(&self, given: &str) -> Option<PathBuf>;
    /// The file a path names, seen from `/`, if so much of it may be read.
    ///
    /// # Errors
    /// Says which rule or circumstance forbids it.
    fn resolve_file(&self, path: &str, reads: Reads) -> Result<ResolvedFile, FileRefusal>;
    /// The same for a program that descends into directories.
    ///
    /// # Errors
    /// As `resolve_file`, and when anything below may not be read.
    fn resolve_tree(&self, path: &str, reads: Reads) -> Result<ResolvedFile, FileRefusal>;
    /// Whether the path is a mount point that may be taken away. Does not touch the mount, which
    /// may hang.
    ///
    /// # Errors
    /// Says why not.
    fn check_mount_point(&self, path: &str) -> Result<(), FileRefusal>;
}

/// The files of a disk under the default deny rules and those of the site.
#[derive(Debug, Clone)]
pub struct Files<D> {
    disk: D,
    deny: DenyRules,
}

impl<D: Disk> Files<D> {
    /// What lies on this disk, under the default rules.
    #[must_use]
    pub fn new(disk: D) -> Self {
        Self { disk, deny: DenyRules::default() }
    }

    /// Adds deny rules of the site: absolute paths or `**/…`, with `*` within a component and `**`
    /// for any number of them.
    ///
    /// # Errors
    /// Names the pattern that is none.
    pub fn with_denied(mut self, patterns: &[String]) -> Result<Self, PatternError> {
        for pattern in patterns {
            self.deny.add(pattern)?;
        }
        Ok(self)
    }

    fn trusted(&self, name: &str) -> Option<String> {
        if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
            return None;
        }
        TRUSTED_PATH.iter().find_map(|directory| {
            let found = format!("{}/{name}", self.without_links(directory)?);
            self.disk.is_program(&found).then_some(found)
        })
    }

    /// The path of what is there, without links, `.` and `..`; whether it may be read is not asked.
    fn without_links(&self, path: &str) -> Option<String> {
        let found = Walk::new(&self.disk, None).run(path).ok()?;
        (found.kind != FileKind::Missing).then_some(found.path)
    }

    /// Refuses what no unprivileged user of the node could read.
    fn readable(&self, path: &str) -> Result<(), FileRefusal> {
        let withheld = || FileRefusal::Withheld { path: path.into() };
        self.disk.lets(path, Access::Read).then_some(()).ok_or_else(withheld)
    }

    fn walk_tree(&self, top: &str, reads: Reads) -> Result<(), FileRefusal> {
        let mut pending = vec![top.to_owned()];
        let mut left = MAX_TREE_ENTRIES;
        while let Some(directory) = pending.pop() {
            // One more than may be there shows that there are too many.
            let entries = self.disk.entries(&directory, left + 1);
            let unexamined = || FileRefusal::Unexamined { path: directory.clone().into() };
            for entry in entries.ok_or_else(unexamined)? {
                left = left
                    .checked_sub(1)
                    .ok_or(FileRefusal::TreeTooLarge { limit: MAX_TREE_ENTRIES })?;
                let path = format!("{}/{}", directory.trim_end_matches('/'), entry.name);
                if let Some(rule) = self.deny.denies(&path) {
                    let rule = rule.to_owned();
                    return Err(FileRefusal::TreeHolds { path: path.into(), rule });
                }
                if entry.is_directory || reads == Reads::Contents {
                    self.readable(&path)?;
                }
                if entry.is_directory {
                    if !self.disk.lets(&path, Access::Pass) {
                        return Err(FileRefusal::Withheld { path: path.into() });
                    }
                    pending.push(path);
                }
            }
        }
        Ok(())
    }
}

impl<D: Disk> FileResolver for Files<D> {
    fn resolve_program(&self, name: &str) -> Option<PathBuf> {
        let found = self.trusted(name.rsplit('/').next()?)?;
        let is_same = || {
            let given = name.starts_with('/').then(|| self.without_links(name))??;
            Some(given == self.without_links(&found)?)
        };
        (!name.contains('/') || is_same() == Some(true)).then(|| found.into())
    }

    fn locate_program(&self, given: &str) -> Option<PathBuf> {
        if !given.contains('/') {
            return self.trusted(given).map(PathBuf::from);
        }
        let is_usable = given.starts_with('/') && !given.contains('\0');
        (is_usable && self.disk.is_program(given)).then(|| given.into())
    }

    fn resolve_file(&self, path: &str, reads: Reads) -> Result<ResolvedFile, FileRefusal> {
        let file = Walk::new(&self.disk, Some(&self.deny)).run(path)?;
        let is_read = match file.kind {
            FileKind::Regular => reads == Reads::Contents,
            FileKind::Directory => reads != Reads::Nothing,
            FileKind::Device | FileKind::Pipe | FileKind::Socket | FileKind::Missing => false,
        };
        if is_read {
            self.readable(&file.path)?;
        }
        Ok(file)
    }

    fn resolve_tree(&self, path: &str, reads: Reads) -> Result<ResolvedFile, FileRefusal> {
        let top = self.resolve_file(path, reads)?;
        if top.kind != FileKind::Directory {
            return Ok(top);
        }
        if let Some((below, rule)) = self.deny.reaches_below(&top.path) {
            return Err(FileRefusal::TreeHolds { path: below, rule: rule.to_owned() });
        }
        self.walk_tree(&top.path, reads)?;
        Ok(top)
    }

    fn check_mount_point(&self, path: &str) -> Result<(), FileRefusal> {
        // Octal escapes stand for blanks and the like in this table: such mount points are simply
        // not found.
        let unexamined = || FileRefusal::Unexamined { path: MOUNTS.into() };
        let mounts = self.disk.mounts().ok_or_else(unexamined)?;
        let listed = mounts.lines().any(|line| line.split(' ').nth(1) == Some(path));
        if !listed {
            return Err(FileRefusal::NotAMountPoint);
        }
        if is_essential_mount(path) { Err(FileRefusal::EssentialMount) } else { Ok(()) }
    }
}

/// Whether the node, or pact on it, stands on what is mounted there.
pub(crate) fn is_essential_mount(path: &str) -> bool {
    ESSENTIAL_MOUNTS.contains(&path)
        || ESSENTIAL_MOUNT_TREES.iter().any(|tree| path.starts_with(tree))
}
