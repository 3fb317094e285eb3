//! What is known of one file, as numbers: the form in which it is compared and kept.
//!
//! Owners are numbers here, so that renaming a user is not drift. Of a file that users of the node cannot read, `digest`
//! is keyed and covers everything; of others it is the SHA-256 of a regular file's contents.

use pact_schemas::resource::{FileKind, FileValue, MAX_CONTENT_BYTES, Value, escape};
use rustix::fs::{FileType, Stat};

use super::bytes::Reader;
use super::names::Names;

/// Which inode it was and when it was last changed. A write changes `changed_ns`, and no program can set that back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Print {
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) modified_ns: i64,
    pub(super) changed_ns: i64,
    /// Mode with the type, so that this alone tells whether anything about the file may have changed.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Print {
    /// Equal to no file's: look at the contents.
    pub(super) const UNKNOWN: Self =
        Self { inode: 0, size: 0, modified_ns: 0, changed_ns: 0, mode: 0, uid: 0, gid: 0 };

    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified_ns: nanos(i128::from(stat.st_mtime), i128::from(stat.st_mtime_nsec)),
            changed_ns: nanos(i128::from(stat.st_ctime), i128::from(stat.st_ctime_nsec)),
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
        }
    }
}

impl Print {
    /// Whether this is the same file, unchanged but for its name: renaming changes the time of change alone.
    pub(super) fn is_unmoved(&self, now: &Stat) -> bool {
        let unmoved = |print: &Self| Self { changed_ns: 0, ..*print };
        *self != Self::UNKNOWN && unmoved(self) == unmoved(&Self::of(now))
    }
}

fn nanos(seconds: i128, nanos: i128) -> i64 {
    i64::try_from(seconds * 1_000_000_000 + nanos).unwrap_or(i64::MAX)
}

/// What a file is, as far as pact restores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: FileKind,
    /// Users of the node cannot read it, or nobody hashes it; `digest` is keyed.
    pub(super) withheld: bool,
    /// Permission bits alone.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Of regular files; 0 for others.
    pub(super) size: u64,
    /// All zero for what has no contents.
    pub(super) digest: [u8; 32],
    /// Of links.
    pub(super) link: Vec<u8>,
    pub(super) print: Print,
}

/// Bits of the flags byte.
const WITHHELD: u8 = 1;
/// Permission bits, with set-user-id, set-group-id and sticky.
pub(super) const PERMISSIONS: u32 = 0o7777;

impl Record {
    /// Whether both are the same state, whenever and in whichever inode; of one kind of digest.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        if self.withheld || other.withheld {
            return self.withheld == other.withheld && self.digest == other.digest;
        }
        (self.kind, self.mode, self.uid, self.gid, self.size, self.digest, &self.link)
            == (other.kind, other.mode, other.uid, other.gid, other.size, other.digest, &other.link)
    }

    /// The value that others see.
    pub(super) fn value(&self, names: &mut Names) -> Value {
        if self.withheld {
            return Value::Withheld(self.digest);
        }
        let is_regular = self.kind == FileKind::Regular;
        Value::File(FileValue {
            kind: self.kind,
            sha256: is_regular.then_some(self.digest),
            size_bytes: self.size,
            mode: self.mode,
            owner: names.user(self.uid),
            group: names.group(self.gid),
            link_target: (self.kind == FileKind::Symlink).then(|| escape(&self.link)),
            content_kept: is_regular && self.size <= MAX_CONTENT_BYTES,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind_number(self.kind));
        out.push(if self.withheld { WITHHELD } else { 0 });
        for number in [self.mode, self.uid, self.gid] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(&self.digest);
        let length = u16::try_from(self.link.len()).unwrap_or(0);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(self.link.get(..usize::from(length)).unwrap_or_default());
        let print = &self.print;
        out.extend_from_slice(&print.inode.to_be_bytes());
        out.extend_from_slice(&print.size.to_be_bytes());
        out.extend_from_slice(&print.modified_ns.to_be_bytes());
        out.extend_from_slice(&print.changed_ns.to_be_bytes());
        for number in [print.mode, print.uid, print.gid] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }

    /// `None`: these are not the bytes of a record.
    pub(super) fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let kind = kind_of(from.byte()?)?;
        let flags = from.byte()?;
        let (mode, uid, gid) = (from.u32()?, from.u32()?, from.u32()?);
        let size = from.u64()?;
        let digest = from.array()?;
        let length = usize::from(from.u16()?);
        let link = from.take(length)?.to_vec();
        let print = Print {
            inode: from.u64()?,
            size: from.u64()?,
            modified_ns: i64::from_be_bytes(from.array()?),
            changed_ns: i64::from_be_bytes(from.array()?),
            mode: from.u32()?,
            uid: from.u32()?,
            gid: from.u32()?,
        };
        let withheld = flags == WITHHELD;
        (flags & !WITHHELD == 0).then_some(())?;
        Some(Self { kind, withheld, mode, uid, gid, size, digest, link, print })
    }
}

/// The kind of what was found.
pub(super) fn kind_of_stat(stat: &Stat) -> FileKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Special,
    }
}

/// The number of a kind in files and keyed digests.
pub(super) const fn kind_number(kind: FileKind) -> u8 {
    match kind {
        FileKind::Regular => 1,
        FileKind::Directory => 2,
        FileKind::Symlink => 3,
        FileKind::Special => 4,
    }
}

const fn kind_of(number: u8) -> Option<FileKind> {
    match number {
        1 => Some(FileKind::Regular),
        2 => Some(FileKind::Directory),
        3 => Some(FileKind::Symlink),
        4 => Some(FileKind::Special),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::provider::files) fn sample(byte: u8) -> Record {
        Record {
            kind: FileKind::Regular,
            withheld: byte.is_multiple_of(2),
            mode: 0o644,
            uid: 0,
            gid: 7,
            size: u64::from(byte),
            digest: [byte; 32],
            link: vec![b'/', 0xff, byte],
            print: Print {
                inode: 9,
                size: 5,
                modified_ns: -3,
                changed_ns: 4,
                mode: 1,
                uid: 2,
                gid: 3,
            },
        }
    }

    #[test]
    fn a_record_comes_back_and_a_cut_one_does_not() {
        let mut bytes = Vec::new();
        sample(7).encode(&mut bytes);
        assert_eq!(Record::decode(&mut Reader::new(&bytes)), Some(sample(7)));
        for cut in 0..bytes.len() {
            assert_eq!(Record::decode(&mut Reader::new(&bytes[..cut])), None);
        }
        bytes[1] = 2;
        assert_eq!(Record::decode(&mut Reader::new(&bytes)), None, "an unknown flag");
    }

    #[test]
    fn the_same_state_in_another_inode_is_the_same() {
        let mut other = sample(7);
        other.print = Print::UNKNOWN;
        assert!(other.is_same(&sample(7)));
        other.mode = 0o600;
        assert!(!other.is_same(&sample(7)));
        assert!(!sample(8).is_same(&sample(7)));
    }
}
