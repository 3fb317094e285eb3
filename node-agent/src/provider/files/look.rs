//! Looking at one file: what it is, its digest, and whether users of the node could read it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::BorrowedFd;

use pact_runtime::Clock;
use pact_schemas::resource::{FileKind, KeyPatterns, MAX_CONTENT_BYTES, ResourceKey};
use ring::digest::{Context, SHA256};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::record::{PERMISSIONS, Print, Record, kind_number, kind_of_stat};
use crate::provider::secret::NodeKey;
use crate::readers::Readers;

/// Read at once; larger would only take memory.
const READ_BYTES: usize = 64 * 1024;
/// Larger files are not hashed: they are known by size and time of change, and shown as withheld.
const MAX_HASHED_BYTES: u64 = 1024 * 1024 * 1024;
/// A file that changes while it is read is read again this often; then its next change will tell.
const ATTEMPTS: usize = 3;
/// A file that changed this shortly before it was read may change again within one tick of its file system's clock.
pub(super) const RACY_NS: i64 = 2_000_000_000;
/// Of a file from this size on, the digest is remembered: an undo looks several times at the same one.
const REMEMBERED_BYTES: u64 = 1024 * 1024;
/// Digests that are remembered.
const MAX_REMEMBERED: usize = 256;
/// A file of this size that changes while it is read is not read again at once.
const LARGE_BYTES: u64 = 8 * 1024 * 1024;
/// Domain of the keyed digests, with its NUL.
const DOMAIN: &[u8] = b"pact.v1.withheld\0";

/// A file as it was found.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) record: Record,
    /// Of the contents, whether or not they are withheld; zero for what has none or is not hashed.
    pub(super) sha256: [u8; 32],
    /// Which inode it was, and when it was changed; unknown: it changed while it was read.
    pub(super) found: Print,
    /// Of a regular file that fits, when they were asked for.
    pub(super) contents: Option<Vec<u8>>,
    /// Names that the inode has.
    pub(super) links: u64,
    /// So fresh that a later change might not show: look again.
    pub(super) is_racy: bool,
}

/// Where to look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Where<'a> {
    pub(super) folder: BorrowedFd<'a>,
    pub(super) name: &'a std::ffi::CStr,
    pub(super) is_open: bool,
    pub(super) key: &'a ResourceKey,
}

/// Looks at files.
pub(super) struct Looker {
    key: NodeKey,
    readers: Readers,
    clock: Clock,
    buffer: Vec<u8>,
    /// Digests of large files, by device and print.
    remembered: HashMap<(u64, Print), [u8; 32]>,
}

/// Contents of a regular file as they were read.
struct Hashed {
    sha256: [u8; 32],
    size: u64,
    contents: Option<Vec<u8>>,
    stat: Stat,
    is_stable: bool,
}

impl Looker {
    pub(super) fn new(key: NodeKey, secret: KeyPatterns, clock: Clock) -> Self {
        let (readers, buffer) = (Readers::new(secret), vec![0; READ_BYTES]);
        Self { key, readers, clock, buffer, remembered: HashMap::new() }
    }

    /// Whether users of the node cannot read what this is, were it hashed.
    pub(super) fn withholds(&self, at: &Where<'_>, stat: &Stat) -> bool {
        let is_shut = kind_of_stat(stat) == FileKind::Regular
            && !self.readers.may_read(stat.st_mode, stat.st_gid);
        is_shut || !at.is_open || self.readers.is_secret(at.key)
    }

    /// Looks; `None`: nothing is there any more. `with_contents`: they are wanted as well.
    pub(super) fn look(&mut self, at: &Where<'_>, with_contents: bool) -> io::Result<Option<Seen>> {
        for _ in 0..ATTEMPTS {
            let Some(stat) = super::place::stat(at.folder, at.name)? else { return Ok(None) };
            let seen = match kind_of_stat(&stat) {
                FileKind::Regular => self.look_inside(at, &stat, with_contents)?,
                FileKind::Symlink => match rustix::fs::readlinkat(at.folder, at.name, Vec::new()) {
                    Ok(target) => Some(self.outside(at, &stat, target.into_bytes())),
                    Err(Errno::NOENT | Errno::INVAL) => None,
                    Err(errno) => return Err(errno.into()),
                },
                FileKind::Directory | FileKind::Special => {
                    Some(self.outside(at, &stat, Vec::new()))
                }
            };
            // Otherwise it became something else in between.
            if seen.is_some() {
                return Ok(seen);
            }
        }
        Err(io::Error::from(io::ErrorKind::ResourceBusy))
    }

    /// What has no contents.
    fn outside(&self, at: &Where<'_>, stat: &Stat, link: Vec<u8>) -> Seen {
        let record = Record { link, ..bare(stat) };
        self.seen(at, stat, record, [0; 32], None)
    }

    fn look_inside(
        &mut self,
        at: &Where<'_>,
        stat: &Stat,
        with_contents: bool,
    ) -> io::Result<Option<Seen>> {
        if size_of(stat) > MAX_HASHED_BYTES {
            return Ok(Some(self.unhashed(stat)));
        }
        if let Some(sha256) = self.remembered.get(&(stat.st_dev, Print::of(stat))) {
            return Ok(Some(self.unread(at, *stat, *sha256)));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let quiet = rustix::fs::openat(at.folder, at.name, flags | OFlags::NOATIME, Mode::empty());
        let opened = match quiet {
            // Only the owner and root may leave the time of access alone.
            Err(Errno::PERM) => rustix::fs::openat(at.folder, at.name, flags, Mode::empty()),
            other => other,
        };
        let file = match opened {
            Ok(fd) => File::from(fd),
            // Gone, or a link by now.
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
            // A file system that shuts out even root: what it is can be told, what is in it cannot.
            Err(Errno::ACCESS | Errno::PERM) => return Ok(Some(self.unhashed(stat))),
            Err(errno) => return Err(errno.into()),
        };
        for attempt in 1..=ATTEMPTS {
            let Some(hashed) = self.hash(&file, with_contents)? else { return Ok(None) };
            if hashed.is_stable || attempt == ATTEMPTS || hashed.size > LARGE_BYTES {
                self.remember(&hashed);
                return Ok(Some(self.inside(at, hashed)));
            }
        }
        Ok(None)
    }

    /// A file whose contents are known without being read.
    pub(super) fn unread(&self, at: &Where<'_>, stat: Stat, sha256: [u8; 32]) -> Seen {
        let size = size_of(&stat);
        self.inside(at, Hashed { sha256, size, contents: None, stat, is_stable: true })
    }

    /// Remembers the digest of a large file that has not changed for a while: its print tells of the next change.
    fn remember(&mut self, hashed: &Hashed) {
        let print = Print::of(&hashed.stat);
        if !hashed.is_stable || hashed.size < REMEMBERED_BYTES || self.is_fresh(&print) {
            return;
        }
        if self.remembered.len() >= MAX_REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.insert((hashed.stat.st_dev, print), hashed.sha256);
    }

    /// Whether it changed so shortly ago that its next change might not show.
    fn is_fresh(&self, print: &Print) -> bool {
        let latest = print.modified_ns.max(print.changed_ns);
        self.clock.now().unix_nanos().saturating_sub(latest) < RACY_NS
    }

    fn inside(&self, at: &Where<'_>, hashed: Hashed) -> Seen {
        let Hashed { sha256, size, contents, stat, is_stable } = hashed;
        let record = Record { size, digest: sha256, ..bare(&stat) };
        let mut seen = self.seen(at, &stat, record, sha256, contents);
        if !is_stable {
            seen.is_racy = true;
            seen.found = Print::UNKNOWN;
            seen.record.print = Print::UNKNOWN;
        }
        seen
    }

    /// A file that nobody hashes: everything that a write changes stands for its contents.
    fn unhashed(&self, stat: &Stat) -> Seen {
        let mut record = Record { size: size_of(stat), withheld: true, ..bare(stat) };
        let mut contents = [0; 32];
        let changed = record.print.modified_ns.to_be_bytes();
        contents.iter_mut().zip(changed).for_each(|(to, from)| *to = from);
        record.digest = self.keyed(&record, &contents);
        let (found, links) = (Print::of(stat), links_of(stat));
        Seen { record, sha256: [0; 32], found, contents: None, links, is_racy: false }.aged(self)
    }

    fn seen(
        &self,
        at: &Where<'_>,
        stat: &Stat,
        mut record: Record,
        sha256: [u8; 32],
        contents: Option<Vec<u8>>,
    ) -> Seen {
        if self.withholds(at, stat) {
            record.withheld = true;
            record.digest = self.keyed(&record, &sha256);
        }
        let (found, links) = (Print::of(stat), links_of(stat));
        Seen { record, sha256, found, contents, links, is_racy: false }.aged(self)
    }

    /// The keyed digest of everything that restoring needs, with the SHA-256 of the contents (zero without any).
    pub(super) fn keyed(&self, record: &Record, contents: &[u8; 32]) -> [u8; 32] {
        let link_bytes = u32::try_from(record.link.len()).unwrap_or(u32::MAX);
        self.key.digest(
            DOMAIN,
            &[
                &[kind_number(record.kind)],
                &record.mode.to_be_bytes(),
                &record.uid.to_be_bytes(),
                &record.gid.to_be_bytes(),
                &record.size.to_be_bytes(),
                contents,
                &link_bytes.to_be_bytes(),
                &record.link,
            ],
        )
    }

    /// Whether both are the same state, also where only one of them is withheld: a folder on the way was opened or shut.
    pub(super) fn is_same(&self, left: &Record, right: &Record) -> bool {
        match (left.withheld, right.withheld) {
            (true, false) => self.keyed(right, &right.digest) == left.digest,
            (false, true) => self.keyed(left, &left.digest) == right.digest,
            _ => left.is_same(right),
        }
    }

    /// Reads the file to its end; `None`: it is no regular file.
    fn hash(&mut self, file: &File, with_contents: bool) -> io::Result<Option<Hashed>> {
        let before = rustix::fs::fstat(file)?;
        if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let mut file = file;
        io::Seek::rewind(&mut file)?;
        let mut context = Context::new(&SHA256);
        let wanted = with_contents && size_of(&before) <= MAX_CONTENT_BYTES;
        let mut contents = wanted.then(Vec::new);
        let mut size = 0;
        // A file that grows as fast as it is read ends here.
        let mut bounded = file.take(MAX_HASHED_BYTES + 1);
        loop {
            let count = match bounded.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let read = self.buffer.get(..count).unwrap_or_default();
            if read.is_empty() {
                break;
            }
            size += read.len() as u64;
            context.update(read);
            contents = contents.filter(|_| size <= MAX_CONTENT_BYTES);
            if let Some(contents) = &mut contents {
                contents.extend_from_slice(read);
            }
        }
        let stat = rustix::fs::fstat(file)?;
        let is_stable = Print::of(&before) == Print::of(&stat);
        let mut sha256 = [0; 32];
        sha256.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Ok(Some(Hashed { sha256, size, contents, stat, is_stable }))
    }
}

impl Seen {
    /// Marks what changed too shortly ago to trust its print.
    fn aged(mut self, looker: &Looker) -> Self {
        let is_regular = self.record.kind == FileKind::Regular;
        if is_regular && looker.is_fresh(&self.record.print) {
            self.is_racy = true;
            self.record.print = Print::UNKNOWN;
        }
        self
    }
}

/// A record of what `stat` alone tells.
fn bare(stat: &Stat) -> Record {
    Record {
        kind: kind_of_stat(stat),
        withheld: false,
        mode: stat.st_mode & PERMISSIONS,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: 0,
        digest: [0; 32],
        link: Vec::new(),
        print: Print::of(stat),
    }
}

fn size_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

#[allow(clippy::useless_conversion, reason = "narrower on other processors")]
pub(super) fn links_of(stat: &Stat) -> u64 {
    u64::from(stat.st_nlink)
}

/// The SHA-256 of an open file from its beginning, a piece at a time; `to` gets what was read.
pub(super) fn content_digest(mut file: &File, mut to: Option<&File>) -> io::Result<[u8; 32]> {
    io::Seek::rewind(&mut file)?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let read = buffer.get(..count).unwrap_or_default();
        if read.is_empty() {
            break;
        }
        context.update(read);
        if let Some(to) = &mut to {
            io::Write::write_all(to, read)?;
        }
    }
    let mut sha256 = [0; 32];
    sha256.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    Ok(sha256)
}

/// The SHA-256 of bytes in memory.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    let computed = ring::digest::digest(&SHA256, bytes);
    digest.iter_mut().zip(computed.as_ref()).for_each(|(to, from)| *to = *from);
    digest
}
