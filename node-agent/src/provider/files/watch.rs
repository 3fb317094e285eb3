//! Notifications of the kernel: one inotify watch for each folder under watch, and one for each file that may be written by
//! a name that is in none of them.
//!
//! A watch is put on an open folder (through its descriptor, not its path), before the folder is listed: what changes
//! after the listing is notified. A folder that moves loses its watches and gets new ones where it shows up.

use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::order;

/// Everything that can change what a file is; not what only reads it.
const EVENTS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::EXCL_UNLINK);

/// What changes a file, whichever of its names it is done by.
const FILE_EVENTS: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DONT_FOLLOW);

/// Events are read in pieces of this size: some hundreds.
const BUFFER_BYTES: usize = 64 * 1024;
/// Events in one go. The kernel's queue has 16,384 places: who writes faster than they are read gets a scan instead.
const MAX_EVENTS: usize = 64 * 1024;

/// A folder that is watched.
#[derive(Debug)]
struct Folder {
    path: Box<[u8]>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// To a name in a folder, or to a folder that is watched itself.
    Name {
        path: Vec<u8>,
        /// A folder appeared, went or was renamed: everything in it did.
        is_tree: bool,
        /// A folder's mode or owner changed, which may show or withhold what is in it.
        is_folder_mode: bool,
    },
    /// To a file that is watched itself, by any of its names.
    Inode(u64),
}

/// The watches.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: OwnedFd,
    folders: HashMap<i32, Folder>,
    /// Further paths of folders that are watched already: bind mounts.
    twins: Vec<(i32, Folder)>,
    /// Inodes of files that are watched themselves.
    files: HashMap<i32, u64>,
    buffer: Vec<MaybeUninit<u8>>,
    /// Folders could not be watched: the kernel's limit is reached.
    is_partial: bool,
}

impl Watch {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            inotify: inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?,
            folders: HashMap::new(),
            twins: Vec::new(),
            files: HashMap::new(),
            buffer: vec![MaybeUninit::uninit(); BUFFER_BYTES],
            is_partial: false,
        })
    }

    /// A second descriptor of the queue, to wait on.
    pub(super) fn readiness(&self) -> io::Result<OwnedFd> {
        self.inotify.try_clone()
    }

    /// Whether some folders are not watched.
    pub(super) const fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Forgets that folders could not be watched: a scan is about to try again.
    pub(super) fn retry(&mut self) {
        self.is_partial = false;
    }

    /// Watches an open folder. Doing it again, also with a new path, is fine.
    pub(super) fn add(&mut self, path: &[u8], folder: BorrowedFd<'_>) {
        let through = format!("/proc/self/fd/{}", folder.as_raw_fd());
        let number = match inotify::add_watch(&self.inotify, through, EVENTS) {
            Ok(number) => number,
            Err(errno) => {
                if !self.is_partial {
                    let folder = order::shown(path);
                    tracing::warn!(?folder, error = %errno,
                        "a folder cannot be watched: changes in it are found by scans alone; \
                         see fs.inotify.max_user_watches");
                }
                self.is_partial = true;
                return;
            }
        };
        let folder = Folder { path: path.into() };
        match self.folders.get(&number) {
            Some(known) if *known.path == *path => {}
            Some(_) => {
                self.twins.retain(|(twin, at)| *twin != number || *at.path != *path);
                self.twins.push((number, folder));
            }
            None => {
                self.folders.insert(number, folder);
            }
        }
    }

    /// Watches a file itself. Doing it again is fine.
    pub(super) fn add_file(&mut self, folder: BorrowedFd<'_>, name: &CStr, inode: u64) {
        let mut through = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
        through.extend_from_slice(name.to_bytes());
        match inotify::add_watch(&self.inotify, through, FILE_EVENTS) {
            Ok(number) => drop(self.files.insert(number, inode)),
            // It is gone, or the kernel's limit is reached: the next scan sees what is written to it.
            Err(errno) => tracing::debug!(?name, error = %errno, "a file is not watched itself"),
        }
    }

    /// Stops watching files themselves but for these.
    pub(super) fn keep_files(&mut self, is_needed: impl Fn(u64) -> bool) {
        let inotify = self.inotify.as_fd();
        self.files.retain(|number, inode| {
            let stays = is_needed(*inode);
            if !stays {
                let _gone = inotify::remove_watch(inotify, *number);
            }
            stays
        });
    }

    /// Stops watching a folder and everything in it: it is not where it was.
    fn drop_within(&mut self, path: &[u8]) {
        let inotify = self.inotify.as_fd();
        let twins = &mut self.twins;
        twins.retain(|(_, folder)| !order::is_within(&folder.path, path));
        self.folders.retain(|number, folder| {
            if !order::is_within(&folder.path, path) {
                return true;
            }
            if let Some(index) = twins.iter().position(|(twin, _)| twin == number) {
                *folder = twins.swap_remove(index).1;
                return true;
            }
            // It may be gone with its folder.
            let _gone = inotify::remove_watch(inotify, *number);
            false
        });
    }

    /// Takes what the kernel has queued; `false`: events were lost.
    pub(super) fn drain(&mut self, told: &mut dyn FnMut(Event)) -> io::Result<bool> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let inotify = self.inotify.try_clone()?;
        let mut reader = Reader::new(&inotify, &mut buffer);
        let mut is_whole = true;
        let mut result = Ok(());
        for _ in 0..MAX_EVENTS {
            match reader.next() {
                Ok(event) => {
                    let (number, kinds) = (event.wd(), event.events());
                    let name = event.file_name().map(|name| name.to_bytes().to_vec());
                    is_whole &= self.event(number, kinds, name.as_deref(), told);
                }
                Err(Errno::AGAIN) => {
                    self.buffer = buffer;
                    return Ok(is_whole);
                }
                Err(Errno::INTR) => {}
                Err(errno) => {
                    result = Err(errno.into());
                    break;
                }
            }
        }
        self.buffer = buffer;
        result.map(|()| false)
    }

    /// Throws away what the kernel has queued: a scan is about to see it all.
    pub(super) fn discard(&mut self) -> io::Result<()> {
        self.drain(&mut |_| {}).map(|_| ())
    }

    fn event(
        &mut self,
        number: i32,
        kinds: ReadFlags,
        name: Option<&[u8]>,
        told: &mut dyn FnMut(Event),
    ) -> bool {
        if kinds.intersects(ReadFlags::QUEUE_OVERFLOW | ReadFlags::UNMOUNT) {
            return false;
        }
        if kinds.contains(ReadFlags::IGNORED) {
            self.files.remove(&number);
            self.folders.remove(&number);
            self.twins.retain(|(twin, _)| *twin != number);
            return true;
        }
        if let Some(inode) = self.files.get(&number) {
            told(Event::Inode(*inode));
            return true;
        }
        let is_folder = kinds.contains(ReadFlags::ISDIR) || name.is_none();
        let moves = ReadFlags::CREATE
            | ReadFlags::DELETE
            | ReadFlags::MOVED_FROM
            | ReadFlags::MOVED_TO
            | ReadFlags::DELETE_SELF
            | ReadFlags::MOVE_SELF;
        let leaves = ReadFlags::DELETE
            | ReadFlags::MOVED_FROM
            | ReadFlags::DELETE_SELF
            | ReadFlags::MOVE_SELF;
        let is_tree = is_folder && kinds.intersects(moves);
        let paths: Vec<Vec<u8>> = self
            .folders
            .get(&number)
            .into_iter()
            .chain(self.twins.iter().filter(|twin| twin.0 == number).map(|twin| &twin.1))
            .map(|folder| name.map_or(folder.path.to_vec(), |name| order::join(&folder.path, name)))
            .collect();
        for path in paths {
            if is_tree && kinds.intersects(leaves) {
                self.drop_within(&path);
            }
            let is_folder_mode = is_folder && kinds.contains(ReadFlags::ATTRIB);
            told(Event::Name { path, is_tree, is_folder_mode });
        }
        true
    }

    /// How many files are watched themselves.
    #[cfg(test)]
    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    /// How many folders are watched.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.folders.len()
    }
}
