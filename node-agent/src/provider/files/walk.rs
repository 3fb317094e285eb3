//! A walk of one root: every entry once, in the order of [`super::order`], links not followed, one file system.
//!
//! Memory: the names of the folders that are open, one open descriptor for each. What vanishes between being listed and
//! being looked at is passed over: whoever watches is told of it another way.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use super::linked::Named;
use super::order;
use super::place::{self, Place, Unreached};
use crate::provider::ProviderError;
use crate::readers::others_pass;

/// Folders within folders: each holds a descriptor. Deeper ones are told to be unreadable.
const MAX_DEPTH: usize = 200;
/// Directory entries are read in pieces of this size.
const LISTING_BYTES: usize = 32 * 1024;

/// One entry as it was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) path: &'a [u8],
    pub(super) folder: BorrowedFd<'a>,
    pub(super) name: &'a CStr,
    pub(super) stat: &'a Stat,
    /// Every user of the node may enter every folder on the way.
    pub(super) is_open: bool,
}

impl Entry<'_> {
    /// As a name of a file.
    pub(super) const fn named(&self) -> Named<'_> {
        Named { path: self.path, folder: self.folder, name: self.name, stat: self.stat }
    }
}

/// Who is told of what is found.
pub(super) trait Visitor {
    /// An entry. The answer counts for folders: whether to go in.
    fn entry(&mut self, entry: &Entry<'_>) -> Result<bool, ProviderError>;
    /// A folder that is about to be listed: the moment to begin to watch it.
    fn entering(&mut self, path: &[u8], folder: BorrowedFd<'_>);
    /// Nothing can be said about what is in this folder.
    fn unreadable(&mut self, path: &[u8], why: io::Error);
    /// A folder that another file system is mounted on: whether to go in. If not, nothing can be said about what it
    /// hides.
    fn crosses(&mut self, path: &[u8]) -> bool;
}

/// A folder that is being gone through.
struct Level {
    folder: OwnedFd,
    path: Vec<u8>,
    names: Names,
    next: usize,
    device: u64,
    is_open: bool,
}

/// Sorted names in one stretch of memory.
#[derive(Default)]
pub(super) struct Names {
    /// Each with its final zero.
    bytes: Vec<u8>,
    starts: Vec<u32>,
}

impl Names {
    pub(super) fn get(&self, index: usize) -> Option<&CStr> {
        self.starts.get(index).and_then(|start| self.at(*start))
    }

    fn at(&self, start: u32) -> Option<&CStr> {
        let from = self.bytes.get(usize::try_from(start).ok()?..)?;
        CStr::from_bytes_until_nul(from).ok()
    }

    fn sort(&mut self) {
        let mut starts = std::mem::take(&mut self.starts);
        starts.sort_unstable_by(|left, right| self.at(*left).cmp(&self.at(*right)));
        self.starts = starts;
    }
}

/// Goes through a folder and everything in it, the folder itself first. Nothing at the path: nothing is told, and the
/// answer is `false`.
pub(super) fn walk(path: &[u8], visitor: &mut dyn Visitor) -> Result<bool, ProviderError> {
    let place = match Place::find(path) {
        Ok(place) => place,
        Err(Unreached::Missing(_) | Unreached::NotFolder(_)) => return Ok(false),
        Err(Unreached::Failed(why)) => {
            visitor.unreadable(path, why);
            return Ok(true);
        }
    };
    let stat = match place.stat() {
        Ok(Some(stat)) => stat,
        Ok(None) => return Ok(false),
        Err(why) => {
            visitor.unreadable(path, why);
            return Ok(true);
        }
    };
    let (folder, name) = (place.folder.as_fd(), place.name.as_c_str());
    let entry = Entry { path, folder, name, stat: &stat, is_open: place.is_open };
    let mut levels = Vec::new();
    if visitor.entry(&entry)? && is_folder(&stat) {
        levels.extend(enter(&entry, visitor));
    }
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.names.get(level.next) else {
            levels.pop();
            continue;
        };
        level.next += 1;
        let deeper = step(level, name.to_owned().as_c_str(), visitor)?;
        if let Some(deeper) = deeper {
            if levels.len() < MAX_DEPTH {
                levels.push(deeper);
            } else {
                visitor.unreadable(&deeper.path, Errno::LOOP.into());
            }
        }
    }
    Ok(true)
}

/// Looks at one name of a folder; the answer is the next level, if it is a folder to go into.
fn step(
    level: &Level,
    name: &CStr,
    visitor: &mut dyn Visitor,
) -> Result<Option<Level>, ProviderError> {
    let path = order::join(&level.path, name.to_bytes());
    let stat = match place::stat(&level.folder, name) {
        Ok(Some(stat)) => stat,
        Ok(None) => return Ok(None),
        Err(why) => {
            visitor.unreadable(&path, why);
            return Ok(None);
        }
    };
    let (folder, is_open) = (level.folder.as_fd(), level.is_open);
    let entry = Entry { path: &path, folder, name, stat: &stat, is_open };
    let goes_in = visitor.entry(&entry)? && is_folder(&stat);
    if !goes_in || (stat.st_dev != level.device && !visitor.crosses(&path)) {
        return Ok(None);
    }
    Ok(enter(&entry, visitor))
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Opens a folder, lets it be watched, then lists it: what changes after that is told by the watch.
fn enter(entry: &Entry<'_>, visitor: &mut dyn Visitor) -> Option<Level> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(entry.folder, entry.name, flags, Mode::empty());
    let listed = opened.and_then(|folder| {
        let stat = rustix::fs::fstat(&folder)?;
        let is_open = entry.is_open && others_pass(stat.st_mode);
        visitor.entering(entry.path, folder.as_fd());
        let names = list(folder.as_fd())?;
        let (path, device) = (entry.path.to_vec(), stat.st_dev);
        Ok(Level { folder, path, names, next: 0, device, is_open })
    });
    match listed {
        Ok(level) => Some(level),
        // Gone, or something else by now.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
        Err(errno) => {
            visitor.unreadable(entry.path, errno.into());
            None
        }
    }
}

/// The names in a folder that is opened to read, but for `.` and `..`.
pub(super) fn list(folder: BorrowedFd<'_>) -> Result<Names, Errno> {
    let mut buffer = vec![MaybeUninit::uninit(); LISTING_BYTES];
    let mut entries = RawDir::new(folder, &mut buffer);
    let mut names = Names::default();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        // 4 GiB of names in one folder: no file system has that.
        let start = u32::try_from(names.bytes.len()).map_err(|_| Errno::OVERFLOW)?;
        names.starts.push(start);
        names.bytes.extend_from_slice(name.to_bytes_with_nul());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[derive(Default)]
    struct Seen {
        entries: Vec<(String, bool)>,
        unreadable: Vec<String>,
        avoided: Option<&'static str>,
    }

    impl Visitor for Seen {
        fn entry(&mut self, entry: &Entry<'_>) -> Result<bool, ProviderError> {
            let path = String::from_utf8_lossy(entry.path).into_owned();
            let goes_in = self.avoided.is_none_or(|end| !path.ends_with(end));
            self.entries.push((path, entry.is_open));
            Ok(goes_in)
        }
        fn entering(&mut self, _: &[u8], _: BorrowedFd<'_>) {}
        fn unreadable(&mut self, path: &[u8], _: io::Error) {
            self.unreadable.push(String::from_utf8_lossy(path).into_owned());
        }
        fn crosses(&mut self, _: &[u8]) -> bool {
            false
        }
    }

    fn walked(top: &std::path::Path, mut seen: Seen) -> Seen {
        assert!(walk(top.as_os_str().as_bytes(), &mut seen).unwrap());
        let cut = format!("{}/", top.display());
        for (path, _) in &mut seen.entries {
            *path = path.strip_prefix(&cut).unwrap_or("").to_owned();
        }
        seen
    }

    #[test]
    fn everything_is_met_once_in_order_and_loops_are_not_entered() {
        let top = tempfile::tempdir().unwrap();
        std::fs::set_permissions(top.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["a/x", "a-b", "closed/in"] {
            std::fs::create_dir_all(top.path().join(folder)).unwrap();
        }
        symlink("..", top.path().join("a/x/up")).unwrap();
        symlink("/", top.path().join("out")).unwrap();
        let closed = std::fs::Permissions::from_mode(0o750);
        std::fs::set_permissions(top.path().join("closed"), closed).unwrap();
        let seen = walked(top.path(), Seen::default());
        let names: Vec<&str> = seen.entries.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(names, ["", "a", "a/x", "a/x/up", "a-b", "closed", "closed/in", "out"]);
        let shut: Vec<_> = seen.entries.iter().filter(|(_, is_open)| !is_open).collect();
        assert_eq!(shut, [&("closed/in".to_owned(), false)]);

        let seen = walked(top.path(), Seen { avoided: Some("/a"), ..Seen::default() });
        assert_eq!(seen.entries.len(), 6, "what the visitor does not enter stays unseen");
    }

    #[test]
    fn a_folder_that_cannot_be_read_is_named() {
        let top = tempfile::tempdir().unwrap();
        std::fs::set_permissions(top.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let shut = top.path().join("shut");
        std::fs::create_dir(&shut).unwrap();
        std::fs::set_permissions(&shut, std::fs::Permissions::from_mode(0o700)).unwrap();
        // As another user, on this thread alone.
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
        let seen = walked(top.path(), Seen::default());
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(0));
        assert_eq!(seen.unreadable, [shut.display().to_string()]);
        assert_eq!(seen.entries.len(), 2);
    }

    #[test]
    fn too_deep_a_tree_ends() {
        let top = tempfile::tempdir().unwrap();
        let mut path = top.path().to_owned();
        for _ in 0..MAX_DEPTH + 20 {
            path.push("d");
        }
        std::fs::create_dir_all(&path).unwrap();
        let seen = walked(top.path(), Seen::default());
        assert_eq!(seen.unreadable.len(), 1);
        assert_eq!(seen.entries.len(), MAX_DEPTH + 1);
        assert!(!walk(b"/no such folder", &mut Seen::default()).unwrap());
    }
}
