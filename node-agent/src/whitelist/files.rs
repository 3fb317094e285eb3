//! Resolution of programs and files: what a path given as an argument really names, and whether it may be read.
//!
//! A path is walked one component at a time, links included, and every step is held against the deny rules. Leaving the
//! walk to the kernel (`realpath`) would not do: `/proc/PID/root` and its kin are links whose text is a path of another
//! mount namespace, so they are refused at the step where they appear. `SystemFiles` works with working directory `/`;
//! whoever runs the command must set exactly that (`WORKING_DIRECTORY`).
//!
//! What this cannot do: the file is resolved here and opened later by the command. Somebody who can change a directory
//! on the way can exchange a link in between, and a hard link or bind mount made by root carries no trace of the path it
//! stands for. Kernel limits on the running command (Landlock) close that; this check alone does not.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::deny::{DenyRules, PatternError};
use super::refusal::FileRefusal;

/// The working directory that the judgement assumes and the command must run in.
pub const WORKING_DIRECTORY: &str = "/";
/// Where programs are looked for; `/usr/local` is left out because packages do not own it.
const TRUSTED_PATH: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// As the kernel's own PATH_MAX.
const MAX_PATH_BYTES: usize = 4096;
/// As the kernel's own limit on links in one walk.
const MAX_LINKS: usize = 40;
/// Entries of a tree that are looked at before a recursive read: about a quarter of a second at worst.
const MAX_TREE_ENTRIES: usize = 20_000;
/// Links into `/proc/self` whose content is the same for every process of a namespace.
const SHARED_PROC_LINKS: [&str; 2] = ["/proc/net", "/proc/mounts"];
/// Mount points without which the node does not run.
const ESSENTIAL_MOUNTS: [&str; 10] =
    ["/", "/boot", "/dev", "/etc", "/home", "/proc", "/run", "/sys", "/usr", "/var"];
/// Trees of mount points that belong to the system.
const ESSENTIAL_MOUNT_TREES: [&str; 5] =
    ["/dev/", "/proc/", "/sys/", "/run/pact/", "/var/lib/pact/"];

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A block or character device.
    Device,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// Nothing yet: the command will say so itself.
    Missing,
}

/// A file argument after resolving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedFile {
    /// The absolute path without links, `.` and `..`.
    pub path: PathBuf,
    /// What is there.
    pub kind: FileKind,
}

/// What the list needs to know about the node's files.
pub trait FileResolver {
    /// The program of that name in the trusted directories, as a path whose last component is the name (several
    /// programs look at it, `lsmod` is a link to `kmod`). A name with a slash must be absolute and the same program.
    fn resolve_program(&self, name: &str) -> Option<PathBuf>;
    /// Any executable file: by absolute path, or by name in the trusted directories. For modes that run what is off the list.
    fn locate_program(&self, given: &str) -> Option<PathBuf>;
    /// The file a path names, seen from `/`, if it may be read.
    ///
    /// # Errors
    /// Says which rule or circumstance forbids it.
    fn resolve_file(&self, path: &str) -> Result<ResolvedFile, FileRefusal>;
    /// The same for a program that descends into directories.
    ///
    /// # Errors
    /// As `resolve_file`, and when anything below may not be read.
    fn resolve_tree(&self, path: &str) -> Result<ResolvedFile, FileRefusal>;
    /// Whether the path is a mount point that may be taken away. Does not touch the mount, which may hang.
    ///
    /// # Errors
    /// Says why not.
    fn check_mount_point(&self, path: &str) -> Result<(), FileRefusal>;
}

/// The files of this node under the default deny rules and those of the site.
#[derive(Debug, Clone)]
pub struct SystemFiles {
    root: PathBuf,
    deny: DenyRules,
}

impl Default for SystemFiles {
    fn default() -> Self {
        Self::rooted("/")
    }
}

impl SystemFiles {
    /// The tree below `root`, which stands for `/`; recorded trees are tested this way.
    #[must_use]
    pub fn rooted(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), deny: DenyRules::default() }
    }

    /// Adds deny rules of the site: absolute paths or `**/…`, with `*` within a component and `**` for any number of them.
    ///
    /// # Errors
    /// Names the pattern that is none.
    pub fn with_denied(mut self, patterns: &[String]) -> Result<Self, PatternError> {
        for pattern in patterns {
            self.deny.add(pattern)?;
        }
        Ok(self)
    }

    fn real(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn trusted(&self, name: &str) -> Option<PathBuf> {
        if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
            return None;
        }
        TRUSTED_PATH.iter().find_map(|directory| {
            let found = fs::canonicalize(self.real(directory)).ok()?.join(name);
            is_program(&found).then_some(found)
        })
    }

    fn denied(&self, path: &str) -> Result<(), FileRefusal> {
        if path == "/proc/self" || path == "/proc/thread-self" {
            return Err(FileRefusal::OwnProcess);
        }
        match self.deny.denies(path) {
            Some(rule) => Err(FileRefusal::Denied { path: path.into(), rule: rule.to_owned() }),
            None => Ok(()),
        }
    }

    fn walk_tree(&self, top: &Path) -> Result<(), FileRefusal> {
        let mut pending = vec![top.to_path_buf()];
        let mut seen = 0;
        while let Some(directory) = pending.pop() {
            let real = self.real(&directory.to_string_lossy());
            let unexamined = |_: io::Error| FileRefusal::Unexamined { path: directory.clone() };
            for entry in fs::read_dir(real).map_err(unexamined)? {
                let entry = entry.map_err(unexamined)?;
                seen += 1;
                if seen > MAX_TREE_ENTRIES {
                    return Err(FileRefusal::TreeTooLarge { limit: MAX_TREE_ENTRIES });
                }
                let path = directory.join(entry.file_name());
                if let Some(rule) = self.deny.denies(&path.to_string_lossy()) {
                    return Err(FileRefusal::TreeHolds { path, rule: rule.to_owned() });
                }
                if entry.file_type().map_err(unexamined)?.is_dir() {
                    pending.push(path);
                }
            }
        }
        Ok(())
    }
}

impl FileResolver for SystemFiles {
    fn resolve_program(&self, name: &str) -> Option<PathBuf> {
        let found = self.trusted(name.rsplit('/').next()?)?;
        if name.contains('/') {
            let given =
                Path::new(name).is_absolute().then(|| fs::canonicalize(self.real(name)).ok())??;
            (given == fs::canonicalize(&found).ok()?).then_some(found)
        } else {
            Some(found)
        }
    }

    fn locate_program(&self, given: &str) -> Option<PathBuf> {
        if !given.contains('/') {
            return self.trusted(given);
        }
        let path = self.real(given);
        (Path::new(given).is_absolute() && !given.contains('\0') && is_program(&path))
            .then_some(path)
    }

    fn resolve_file(&self, path: &str) -> Result<ResolvedFile, FileRefusal> {
        Walk { files: self, at: Vec::new(), kind: FileKind::Directory, links: 0 }.run(path)
    }

    fn resolve_tree(&self, path: &str) -> Result<ResolvedFile, FileRefusal> {
        let top = self.resolve_file(path)?;
        if top.kind != FileKind::Directory {
            return Ok(top);
        }
        if let Some((below, rule)) = self.deny.reaches_below(&top.path.to_string_lossy()) {
            return Err(FileRefusal::TreeHolds { path: below, rule: rule.to_owned() });
        }
        self.walk_tree(&top.path)?;
        Ok(top)
    }

    fn check_mount_point(&self, path: &str) -> Result<(), FileRefusal> {
        // Octal escapes stand for blanks and the like in this file: such mount points are simply not found.
        let table = self.real("/proc/mounts");
        let mounts =
            fs::read_to_string(&table).map_err(|_| FileRefusal::Unexamined { path: table })?;
        let listed = mounts.lines().any(|line| line.split(' ').nth(1) == Some(path));
        if !listed {
            return Err(FileRefusal::NotAMountPoint);
        }
        if ESSENTIAL_MOUNTS.contains(&path)
            || ESSENTIAL_MOUNT_TREES.iter().any(|tree| path.starts_with(tree))
        {
            return Err(FileRefusal::EssentialMount);
        }
        Ok(())
    }
}

/// One walk from `/` to what a path names.
struct Walk<'a> {
    files: &'a SystemFiles,
    at: Vec<String>,
    kind: FileKind,
    links: usize,
}

impl Walk<'_> {
    fn run(mut self, given: &str) -> Result<ResolvedFile, FileRefusal> {
        if given.is_empty() || given.len() > MAX_PATH_BYTES || given.contains('\0') {
            return Err(FileRefusal::NotAPath);
        }
        let mut pending: Vec<String> = given.rsplit('/').map(str::to_owned).collect();
        while let Some(component) = pending.pop() {
            match component.as_str() {
                "" | "." => {}
                ".." => self.up()?,
                _ => {
                    self.at.push(component);
                    self.step(&mut pending)?;
                }
            }
        }
        Ok(ResolvedFile { path: self.path().into(), kind: self.kind })
    }

    fn path(&self) -> String {
        format!("/{}", self.at.join("/"))
    }

    fn up(&mut self) -> Result<(), FileRefusal> {
        let path = self.path();
        // A step up from a shared link would end in /proc/PID, not where the text says; above nothing there is nothing.
        let from_shared = SHARED_PROC_LINKS.iter().any(|link| Path::new(&path).starts_with(link));
        if from_shared || self.kind == FileKind::Missing {
            return Err(FileRefusal::Links);
        }
        self.at.pop();
        self.kind = FileKind::Directory;
        Ok(())
    }

    fn step(&mut self, pending: &mut Vec<String>) -> Result<(), FileRefusal> {
        let path = self.path();
        if path.len() > MAX_PATH_BYTES {
            return Err(FileRefusal::NotAPath);
        }
        self.files.denied(&path)?;
        if self.kind == FileKind::Missing {
            return Ok(());
        }
        let real = self.files.real(&path);
        let is_shared = SHARED_PROC_LINKS.contains(&path.as_str());
        let found = if is_shared { fs::metadata(&real) } else { fs::symlink_metadata(&real) };
        let file_type = match found {
            Ok(found) => found.file_type(),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                self.kind = FileKind::Missing;
                return Ok(());
            }
            Err(_) => return Err(FileRefusal::Unexamined { path: path.into() }),
        };
        if !file_type.is_symlink() {
            self.kind = kind_of(file_type);
            return Ok(());
        }
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(FileRefusal::Links);
        }
        let target = fs::read_link(&real).map_err(|_| FileRefusal::Links)?;
        let target =
            target.to_str().filter(|target| !target.is_empty()).ok_or(FileRefusal::Links)?;
        if target.starts_with('/') {
            self.at.clear();
        } else {
            self.at.pop();
        }
        self.kind = FileKind::Directory;
        pending.extend(target.rsplit('/').map(str::to_owned));
        Ok(())
    }
}

fn kind_of(file_type: fs::FileType) -> FileKind {
    if file_type.is_dir() {
        FileKind::Directory
    } else if file_type.is_file() {
        FileKind::Regular
    } else if file_type.is_fifo() {
        FileKind::Pipe
    } else if file_type.is_socket() {
        FileKind::Socket
    } else {
        FileKind::Device
    }
}

/// A regular executable file that not everybody may write.
fn is_program(path: &Path) -> bool {
    path.file_name() != Some(OsStr::new(""))
        && fs::metadata(path).is_ok_and(|found| {
            let mode = found.permissions().mode();
            found.is_file() && mode & 0o111 != 0 && mode & 0o002 == 0
        })
}
