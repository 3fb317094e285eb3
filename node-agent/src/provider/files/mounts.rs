//! The kernel's table of mounts: on which file system a path is, and what tells that file system from others.
//!
//! What identifies a file system, and why not its numbers alone: a mount id and a device number are given anew with each
//! mount of what has no disk (tmpfs, NFS, overlay, btrfs), block devices are numbered anew at each boot, and both are
//! reused. So a file system is told by its type, by where in it the path is, and by its volume (ext and btrfs: the id in
//! the superblock; other disks: what udev says) or, without one, by its source (`server:/export`, `/dev/mapper/x`).
//! What lives in memory has nothing of that: within a boot it is told by its device number, across boots by its type and
//! place, since nothing of it can be left.
//!
//! A mount id is used for one thing: to see that an open folder is on the mount that the table has for its path.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, StatxFlags};

use super::order;

/// The table of this process.
const TABLE: &str = "/proc/self/mountinfo";
/// More than the busiest container host has; what is cut off is not known, so nothing on it is touched.
const MAX_TABLE_BYTES: u64 = 16 * 1024 * 1024;
/// Where udev names disks by the id in their file system.
const BY_UUID: &str = "/dev/disk/by-uuid";
/// File systems whose `f_fsid` is made of the id in the superblock.
const WITH_FSID: [&[u8]; 5] = [b"ext2", b"ext3", b"ext4", b"btrfs", b"f2fs"];
/// File systems that live in memory alone.
const IN_MEMORY: [&[u8]; 2] = [b"tmpfs", b"ramfs"];

/// Beginnings of the types of file systems that ask another machine, or a program.
const REMOTE: [&[u8]; 15] = [
    b"nfs",
    b"cifs",
    b"smb",
    b"lustre",
    b"gpfs",
    b"beegfs",
    b"ceph",
    b"fuse",
    b"9p",
    b"afs",
    b"gluster",
    b"orangefs",
    b"pvfs",
    b"panfs",
    b"autofs",
];

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    id: u64,
    parent: u64,
    device: u64,
    /// Which folder of the file system is mounted.
    root: Vec<u8>,
    point: Vec<u8>,
    kind: Vec<u8>,
    source: Vec<u8>,
}

/// Which file system, and which folder or file in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// Its type.
    pub(super) kind: Vec<u8>,
    pub(super) source: Vec<u8>,
    /// Where in the file system.
    pub(super) place: Vec<u8>,
    /// Of its superblock; empty: it has none, or nobody says.
    pub(super) volume: Vec<u8>,
    /// The boot in which this was seen, and the device number that it had then.
    pub(super) boot: Vec<u8>,
    pub(super) device: u64,
}

impl Identity {
    /// Whether both are the same place of the same file system.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        if (&self.kind, &self.place) != (&other.kind, &other.place) {
            return false;
        }
        if IN_MEMORY.contains(&&*self.kind) && self.boot == other.boot {
            return self.device == other.device;
        }
        if self.volume.is_empty() || other.volume.is_empty() {
            return self.source == other.source;
        }
        self.volume == other.volume
    }

    /// The identity of what is below.
    pub(super) fn below(&self, rest: &[u8]) -> Self {
        Self { place: joined(&self.place, rest), ..self.clone() }
    }

    /// As it is logged.
    pub(super) fn shown(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).escape_default().to_string();
        format!("{} {} {}", text(&self.kind), text(&self.source), text(&self.place))
    }
}

/// The table as it was read.
#[derive(Debug)]
pub(super) struct Table {
    /// Open, to be told of changes.
    file: File,
    mounts: Vec<Mount>,
    /// Mounts on a mount, by its id.
    children: HashMap<u64, Vec<usize>>,
    top: Option<usize>,
    boot: Vec<u8>,
}

impl Table {
    /// Reads it.
    pub(super) fn read(boot: &[u8]) -> io::Result<Self> {
        // Changes are counted from the moment of opening, so that none gets lost while it is read.
        let file = File::open(TABLE)?;
        let mut text = Vec::new();
        (&file).take(MAX_TABLE_BYTES).read_to_end(&mut text)?;
        Ok(Self::of(file, &text, boot))
    }

    fn of(file: File, text: &[u8], boot: &[u8]) -> Self {
        let mounts: Vec<Mount> =
            text.split(|byte| *byte == b'\n').filter_map(Mount::parse).collect();
        let mut children: HashMap<u64, Vec<usize>> = HashMap::new();
        for (index, mount) in mounts.iter().enumerate() {
            children.entry(mount.parent).or_default().push(index);
        }
        let is_top = |mount: &&Mount| {
            mount.point == b"/" && !mounts.iter().any(|other| other.id == mount.parent)
        };
        let top = mounts.iter().find(is_top).or_else(|| mounts.iter().find(|m| m.point == b"/"));
        let top = top.and_then(|top| mounts.iter().position(|mount| mount.id == top.id));
        Self { file, mounts, children, top, boot: boot.to_vec() }
    }

    /// Whether something was mounted or unmounted since it was read.
    pub(super) fn is_outdated(&self) -> bool {
        has_news(&self.file)
    }

    /// The mount that a path is on. A mount may lie hidden below a later one: the way goes from the top, as the kernel's.
    fn containing(&self, path: &[u8]) -> Option<&Mount> {
        let mut here = self.mounts.get(self.top?)?;
        // Each round goes to another mount.
        for _ in &self.mounts {
            let next = self.children.get(&here.id).into_iter().flatten();
            let next = next
                .filter_map(|index| self.mounts.get(*index))
                .filter(|mount| mount.id != here.id && order::is_within(path, &mount.point));
            // The shallowest is met first; of several there, the last was put on top.
            match next.min_by_key(|mount| (mount.point.len(), std::cmp::Reverse(mount.id))) {
                Some(next) => here = next,
                None => break,
            }
        }
        Some(here)
    }

    /// What is at a path; `None`: the table does not say.
    pub(super) fn at(&self, path: &[u8]) -> Option<Identity> {
        let mount = self.containing(path)?;
        let rest = path.get(mount.point.len()..).unwrap_or_default();
        let (root, volume) = (mount.root.clone(), self.volume(mount));
        let identity = Identity {
            kind: mount.kind.clone(),
            source: mount.source.clone(),
            place: root,
            volume,
            boot: self.boot.clone(),
            device: mount.device,
        };
        Some(identity.below(rest))
    }

    /// Mount points in a folder, the folder itself among them, that are not hidden.
    pub(super) fn points_within(&self, folder: &[u8]) -> impl Iterator<Item = &[u8]> {
        let is_seen =
            |mount: &Mount| self.containing(&mount.point).is_some_and(|found| found.id == mount.id);
        let within = self.mounts.iter().filter(|mount| order::is_within(&mount.point, folder));
        within.filter(move |mount| is_seen(mount)).map(|mount| &*mount.point)
    }

    /// Whether an open folder is on the mount that the table has for this path.
    pub(super) fn has(&self, folder: impl AsFd, path: &[u8]) -> io::Result<bool> {
        let id = mount_id(folder)?;
        Ok(self.containing(path).is_some_and(|mount| mount.id == id))
    }

    /// The device number of the mount that a path is on, if what it asks may not answer.
    pub(super) fn remote_at(&self, path: &[u8]) -> Option<u64> {
        let mount = self.containing(path)?;
        let is_remote = REMOTE.iter().any(|kind| mount.kind.starts_with(kind));
        is_remote.then_some(mount.device)
    }

    fn volume(&self, mount: &Mount) -> Vec<u8> {
        if WITH_FSID.contains(&&*mount.kind) {
            let id = rustix::fs::statvfs(order::shown(&mount.point)).map_or(0, |stat| stat.f_fsid);
            return if id == 0 { Vec::new() } else { format!("fsid:{id:016x}").into_bytes() };
        }
        let source = order::shown(&mount.source);
        if !source.starts_with("/dev/") {
            return Vec::new();
        }
        let device = std::fs::metadata(source).map(|found| found.rdev()).ok();
        device.and_then(|device| uuid_of(Path::new(BY_UUID), device)).unwrap_or_default()
    }
}

/// The name under which udev has a disk.
fn uuid_of(folder: &Path, device: u64) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt as _;
    let is_it = |entry: &std::fs::DirEntry| {
        std::fs::metadata(entry.path()).is_ok_and(|found| found.rdev() == device)
    };
    let found = std::fs::read_dir(folder).ok()?.flatten().find(is_it)?;
    Some([b"uuid:", found.file_name().as_bytes()].concat())
}

impl Mount {
    /// `id parent major:minor root point options [fields…] - type source options`; `None`: not a mount.
    fn parse(line: &[u8]) -> Option<Self> {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let end = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
        let [id, parent, device, root, point, ..] = &*fields else { return None };
        let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse::<u64>().ok();
        let (major, minor) = std::str::from_utf8(device).ok()?.split_once(':')?;
        Some(Self {
            id: number(id)?,
            parent: number(parent)?,
            device: rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?),
            root: unescaped(root),
            point: unescaped(point),
            kind: unescaped(fields.get(end + 1)?),
            source: unescaped(fields.get(end + 2)?),
        })
    }
}

/// Blanks, tabs, line ends and backslashes are written as three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match escaped.filter(|_| *byte == b'\\') {
            Some(meant) => {
                out.push(meant);
                rest = after.get(3..).unwrap_or_default();
            }
            None => out.push(*byte),
        }
    }
    out
}

/// A folder and what comes after it, which begins with `/` if it is something.
fn joined(folder: &[u8], rest: &[u8]) -> Vec<u8> {
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    if rest.is_empty() { folder.to_vec() } else { order::join(folder, rest) }
}

/// The id of the mount that an open file is on.
fn mount_id(file: impl AsFd) -> io::Result<u64> {
    let asked = rustix::fs::statx(&file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
    if let Ok(told) = asked
        && told.stx_mask & StatxFlags::MNT_ID.bits() != 0
    {
        return Ok(told.stx_mnt_id);
    }
    // Kernels before 5.8 tell it here alone.
    let path = format!("/proc/self/fdinfo/{}", file.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path)?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    id.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

#[allow(unsafe_code, reason = "the kernel tells of a changed table by `poll` alone")]
fn has_news(table: &File) -> bool {
    let mut asked = libc::pollfd { fd: table.as_raw_fd(), events: libc::POLLPRI, revents: 0 };
    // SAFETY: one valid `pollfd` that outlives the call, an open descriptor, no waiting.
    let answered = unsafe { libc::poll(&raw mut asked, 1, 0) };
    // Not being told counts as news: the table is read again.
    answered != 0
}

#[cfg(test)]
mod tests;
