//! Which processes use files: have them open, mapped, as program, or as working or root directory.
//!
//! One search of `/proc` for all files that are asked for. It runs on a thread of its own with a deadline: a process
//! that hangs with its memory map locked, or has something open on a file system that does not answer, must not stop
//! whoever watches the node. Of what is open on another machine's file system only the name is looked at, unless a file
//! that is asked for is there. A search that hangs is left alone, and no other one begins beside it.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use pact_schemas::resource::FileKind;
use rustix::fs::Stat;

use super::mounts::Table;
use super::record::kind_of_stat;
use crate::provider::{Hold, Holder};

/// Twenty times what a node with a thousand processes takes. A check of a rollback has 10 s for all its keys.
pub(super) const MAX_SEARCH: Duration = Duration::from_secs(2);
/// More of one file are not of interest: one is enough to wait.
const MAX_HOLDERS: usize = 32;
/// Of a process' map: the largest have some ten thousand lines.
const MAX_MAPS_BYTES: u64 = 16 * 1024 * 1024;

/// What is looked for.
#[derive(Debug)]
pub(super) struct Target {
    device: u64,
    inode: u64,
    is_mappable: bool,
    /// Layered file systems show another device in a map.
    path: Vec<u8>,
}

impl Target {
    pub(super) fn new(path: Vec<u8>, stat: &Stat) -> Self {
        let is_mappable = kind_of_stat(stat) == FileKind::Regular;
        Self { device: stat.st_dev, inode: stat.st_ino, is_mappable, path }
    }
}

/// Searches, one at a time.
#[derive(Debug)]
pub(super) struct Search {
    proc: PathBuf,
    limit: Duration,
    /// One that did not end in time.
    hanging: Option<JoinHandle<()>>,
}

impl Search {
    /// In this `/proc`.
    pub(super) fn new(proc: &Path, limit: Duration) -> Self {
        Self { proc: proc.to_owned(), limit, hanging: None }
    }

    /// The processes, but for this one, that use each of the files; in the order of the files. `TimedOut`: nobody knows.
    pub(super) fn find(
        &mut self,
        targets: Vec<Target>,
        table: Arc<Table>,
    ) -> io::Result<Vec<Vec<Holder>>> {
        if self.hanging.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.hanging = None;
        let is_over = Arc::new(AtomicBool::new(false));
        let (answer, answered) = sync_channel(1);
        let (proc, stop) = (self.proc.clone(), Arc::clone(&is_over));
        let thread = std::thread::Builder::new().name("holders".to_owned()).spawn(move || {
            // Nobody waits any more when this fails.
            let _late = answer.send(Targets::new(targets, table).search(&proc, &stop));
        })?;
        match answered.recv_timeout(self.limit) {
            Ok(found) => found,
            Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::Interrupted.into()),
            Err(RecvTimeoutError::Timeout) => {
                is_over.store(true, Ordering::Relaxed);
                tracing::warn!(
                    seconds = self.limit.as_secs(),
                    "the search for holders has not ended in time"
                );
                self.hanging = Some(thread);
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }
}

/// Everything that is looked for, by what it is found by.
struct Targets {
    list: Vec<Target>,
    by_file: HashMap<(u64, u64), Vec<usize>>,
    by_inode: HashMap<u64, Vec<usize>>,
    /// File systems of other machines that a target is on.
    remote: Vec<u64>,
    table: Arc<Table>,
    namespace: Option<PathBuf>,
}

/// How one process uses what is looked for.
type Uses = BTreeMap<usize, Hold>;

impl Targets {
    fn new(list: Vec<Target>, table: Arc<Table>) -> Self {
        let mut by_file: HashMap<_, Vec<usize>> = HashMap::new();
        let mut by_inode: HashMap<_, Vec<usize>> = HashMap::new();
        let mut remote = Vec::new();
        for (index, target) in list.iter().enumerate() {
            by_file.entry((target.device, target.inode)).or_default().push(index);
            if target.is_mappable {
                by_inode.entry(target.inode).or_default().push(index);
            }
            remote.extend(table.remote_at(&target.path));
        }
        remote.sort_unstable();
        remote.dedup();
        Self { list, by_file, by_inode, remote, table, namespace: None }
    }

    /// Goes through the processes.
    fn search(mut self, proc: &Path, stop: &AtomicBool) -> io::Result<Vec<Vec<Holder>>> {
        self.namespace = std::fs::read_link(proc.join("self/ns/mnt")).ok();
        let mut found: Vec<Vec<Holder>> = self.list.iter().map(|_| Vec::new()).collect();
        for entry in std::fs::read_dir(proc)? {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let entry = entry?;
            let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            let Some(pid) = pid.filter(|pid| *pid != std::process::id()) else { continue };
            // A process that ends meanwhile holds nothing.
            let uses = self.uses_of(&entry.path());
            if uses.is_empty() {
                continue;
            }
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            for (index, how) in uses {
                let name = name.trim_end().to_owned();
                if let Some(holders) = found.get_mut(index).filter(|h| h.len() < MAX_HOLDERS) {
                    holders.push(Holder { pid, name, how });
                }
            }
        }
        Ok(found)
    }

    /// How the process of this folder uses them; the strongest way where there are several.
    fn uses_of(&self, process: &Path) -> Uses {
        let mut uses = Uses::new();
        let namespace = std::fs::read_link(process.join("ns/mnt")).ok();
        let is_ours = namespace.is_some() && namespace == self.namespace;
        for (name, how) in
            [("exe", Hold::Program), ("cwd", Hold::WorkingDirectory), ("root", Hold::Root)]
        {
            self.use_of(&process.join(name), how, is_ours, &mut uses);
        }
        let descriptors = std::fs::read_dir(process.join("fd")).into_iter().flatten();
        for descriptor in descriptors.flatten() {
            self.use_of(&descriptor.path(), Hold::Open, is_ours, &mut uses);
        }
        if !self.by_inode.is_empty() {
            self.mapped(&process.join("maps"), &mut uses);
        }
        uses
    }

    /// What a link of a process leads to. Following it may ask another machine, reading it does not.
    fn use_of(&self, link: &Path, how: Hold, is_ours: bool, uses: &mut Uses) {
        let Ok(text) = std::fs::read_link(link) else { return };
        let text = text.as_os_str().as_bytes();
        if !text.starts_with(b"/") && !text.starts_with(b"(unreachable)") {
            // A socket, a pipe.
            return;
        }
        let is_far = is_ours
            && self.table.remote_at(text).is_some_and(|device| !self.remote.contains(&device));
        if is_far {
            return;
        }
        let Ok(found) = std::fs::metadata(link) else { return };
        for index in self.by_file.get(&(found.dev(), found.ino())).into_iter().flatten() {
            uses.entry(*index).or_insert(how);
        }
    }

    fn mapped(&self, maps: &Path, uses: &mut Uses) {
        let Ok(file) = std::fs::File::open(maps) else { return };
        let mut lines = BufReader::new(file.take(MAX_MAPS_BYTES));
        let mut line = Vec::new();
        loop {
            line.clear();
            match lines.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    for index in self.on_line(&line) {
                        uses.entry(index).or_insert(Hold::Mapped);
                    }
                }
            }
        }
    }

    /// `start-end perms offset major:minor inode path`.
    fn on_line(&self, line: &[u8]) -> Vec<usize> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
        let (Some(device), Some(inode)) = (fields.nth(3), fields.next()) else { return Vec::new() };
        let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse::<u64>().ok();
        let Some(found) = number(inode).and_then(|inode| self.by_inode.get(&inode)) else {
            return Vec::new();
        };
        let at = line.iter().position(|byte| *byte == b'/');
        let path = at.and_then(|at| line.get(at..)).unwrap_or_default();
        let device = device_of(device);
        let is_it = |index: &usize| {
            let target = self.list.get(*index);
            target.is_some_and(|target| device == Some(target.device) || path == target.path)
        };
        found.iter().copied().filter(is_it).collect()
    }
}

fn device_of(field: &[u8]) -> Option<u64> {
    let (major, minor) = std::str::from_utf8(field).ok()?.split_once(':')?;
    let hex = |text| u32::from_str_radix(text, 16).ok();
    Some(rustix::fs::makedev(hex(major)?, hex(minor)?))
}

#[cfg(test)]
mod tests;
