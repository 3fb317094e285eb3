//! Contents that are kept on the node, by digest: what restoring needs, also where the contents may not leave the node.
//!
//! One file, `kept` (0600): frames of `digest 32 | raw length u32 | packed length u32 | CRC-32 of these u32 | zstd`,
//! big-endian, appended. One file and not one per digest: a hundred thousand small files cost four times the room and
//! ten times the time. In memory: half of each digest and where it lies. Who reads checks the contents against the
//! digest, so bytes that rot are the same as none.
//!
//! Before anybody is told that something is kept it is synced ([`Keep::sync`]): a baseline that is put in place, a capture
//! that is answered, the bases of declared keys. What a crash cuts off before that was promised to nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::bytes::Reader;
use crate::durable::{self, crc32};

/// All kept contents together, packed: far more than any configuration has, little beside a node's disk.
const MAX_KEPT_BYTES: u64 = 1024 * 1024 * 1024;
/// Before the packed bytes of each.
const HEAD_BYTES: usize = 32 + 4 + 4 + 4;
/// Largest contents, before packing: those of a file, and what is written before them of a withheld one.
const MAX_RAW_BYTES: usize = 256 * 1024 + 8 * 1024;
/// Room is made only where that gives at least this part of the bound.
const LEAST_GAIN: u64 = 8;
/// Fast; the store is read once in a while and written all the time.
const LEVEL: i32 = 1;

/// Enough of a digest to find it: what is found is checked against the whole.
pub(super) type Short = [u8; 16];

/// The first half of a digest.
pub(super) fn short(digest: &[u8; 32]) -> Short {
    let mut short = [0; 16];
    short.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
    short
}

/// The store.
pub(super) struct Keep {
    path: PathBuf,
    file: File,
    length: u64,
    limit: u64,
    places: BTreeMap<Short, u64>,
    /// The bytes of the store that are on disk, and whether its name is.
    synced: Option<u64>,
    packer: zstd::bulk::Compressor<'static>,
}

impl Keep {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        Self::with_limit(folder, MAX_KEPT_BYTES)
    }

    pub(super) fn with_limit(folder: &Path, limit: u64) -> io::Result<Self> {
        let path = folder.join("kept");
        let file = open_file(&path)?;
        let mut keep = Self {
            path,
            file,
            length: 0,
            limit,
            places: BTreeMap::new(),
            synced: None,
            packer: zstd::bulk::Compressor::new(LEVEL)?,
        };
        keep.index()?;
        Ok(keep)
    }

    /// Goes through the heads; what follows the last whole frame is cut off.
    fn index(&mut self) -> io::Result<()> {
        let end = self.file.metadata()?.len();
        while let Some(head) = self.head(self.length)? {
            let next = self.length + head.frame_bytes();
            if next > end {
                break;
            }
            self.places.insert(short(&head.digest), self.length);
            self.length = next;
        }
        if self.length < end {
            self.file.set_len(self.length)?;
        }
        Ok(())
    }

    /// Whether contents with this digest are kept.
    pub(super) fn has(&self, digest: &[u8; 32]) -> bool {
        self.places.contains_key(&short(digest))
    }

    /// How many bytes the store has.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Whether there is no room for another file of the largest size.
    pub(super) const fn is_full(&self) -> bool {
        self.length + MAX_RAW_BYTES as u64 > self.limit
    }

    /// Keeps the concatenation of `parts`; `false`: there is no room.
    pub(super) fn put(&mut self, digest: &[u8; 32], parts: &[&[u8]]) -> io::Result<bool> {
        if self.has(digest) {
            return Ok(true);
        }
        let raw = parts.concat();
        if raw.len() > MAX_RAW_BYTES {
            return Ok(false);
        }
        let packed = self.packer.compress(&raw)?;
        let frame = frame(digest, raw.len(), &packed);
        if self.length + frame.len() as u64 > self.limit {
            return Ok(false);
        }
        match self.file.write_all_at(&frame, self.length) {
            Ok(()) => {
                self.places.insert(short(digest), self.length);
                self.length += frame.len() as u64;
                Ok(true)
            }
            Err(error) => {
                let _best = self.file.set_len(self.length);
                match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Ok(false),
                    _ => Err(error),
                }
            }
        }
    }

    /// Makes everything that was put last. Cheap when nothing was since the last time.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.synced == Some(self.length) {
            return Ok(());
        }
        self.file.sync_all()?;
        if self.synced.is_none() {
            self.path.parent().map_or(Ok(()), durable::sync_folder)?;
        }
        self.synced = Some(self.length);
        Ok(())
    }

    /// Forgets what turned out not to be what its digest says: it can be put again.
    pub(super) fn forget(&mut self, digest: &[u8; 32]) {
        self.places.remove(&short(digest));
    }

    /// The contents with this digest, to be checked against it; `None`: not kept, or not readable any more.
    pub(super) fn get(&self, digest: &[u8; 32]) -> Option<Vec<u8>> {
        let offset = *self.places.get(&short(digest))?;
        let head = self.head(offset).ok().flatten().filter(|head| head.digest == *digest)?;
        let mut packed = vec![0; head.packed];
        self.file.read_exact_at(&mut packed, offset + HEAD_BYTES as u64).ok()?;
        zstd::bulk::decompress(&packed, head.raw).ok().filter(|raw| raw.len() == head.raw)
    }

    /// Makes room: keeps what `needed` names, and of the rest what is newest, up to half of the bound.
    pub(super) fn shrink(&mut self, needed: &BTreeSet<Short>) -> io::Result<()> {
        let mut frames = Vec::new();
        let mut offset = 0;
        while let Some(head) = self.head(offset)?.filter(|_| offset < self.length) {
            let length = head.frame_bytes();
            let is_current = self.places.get(&short(&head.digest)) == Some(&offset);
            frames.push((offset, length, is_current && needed.contains(&short(&head.digest))));
            offset += length;
        }
        let mut total: u64 = frames.iter().filter(|frame| frame.2).map(|frame| frame.1).sum();
        if total.max(self.limit / 2) > self.length.saturating_sub(self.limit / LEAST_GAIN) {
            // Nearly everything is needed: writing all of it again would make no room.
            return Ok(());
        }
        for (_, length, stays) in frames.iter_mut().rev().filter(|frame| !frame.2) {
            total += *length;
            *stays = total <= self.limit / 2;
        }
        let aside = self.path.with_extension("new");
        let _leftover = std::fs::remove_file(&aside);
        let mut out = io::BufWriter::new(open_file(&aside)?);
        let mut buffer = Vec::new();
        for (offset, length, _) in frames.into_iter().filter(|frame| frame.2) {
            buffer.resize(usize::try_from(length).unwrap_or(0), 0);
            self.file.read_exact_at(&mut buffer, offset)?;
            out.write_all(&buffer)?;
        }
        let out = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        out.sync_all()?;
        std::fs::rename(&aside, &self.path)?;
        self.path.parent().map_or(Ok(()), durable::sync_folder)?;
        self.file = out;
        self.synced = None;
        self.length = 0;
        self.places.clear();
        self.index()
    }

    /// The head of the frame at this offset; `None`: there is none.
    fn head(&self, offset: u64) -> io::Result<Option<Head>> {
        let mut bytes = [0; HEAD_BYTES];
        match self.file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(Head::parse(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

struct Head {
    digest: [u8; 32],
    raw: usize,
    packed: usize,
}

impl Head {
    fn parse(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let (covered, _) = bytes.split_at_checked(HEAD_BYTES - 4)?;
        let mut from = Reader::new(bytes);
        let digest = from.array()?;
        let raw = usize::try_from(from.u32()?).ok()?;
        let packed = usize::try_from(from.u32()?).ok()?;
        let is_whole = from.u32()? == crc32(&[covered]);
        // What does not pack grows by a few bytes.
        let is_bounded = raw <= MAX_RAW_BYTES && packed <= 2 * MAX_RAW_BYTES;
        (is_whole && is_bounded).then_some(Self { digest, raw, packed })
    }

    const fn frame_bytes(&self) -> u64 {
        (HEAD_BYTES + self.packed) as u64
    }
}

fn frame(digest: &[u8; 32], raw: usize, packed: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES + packed.len());
    out.extend_from_slice(digest);
    for length in [raw, packed.len()] {
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    }
    let crc = crc32(&[&out]);
    out.extend_from_slice(&crc.to_be_bytes());
    out.extend_from_slice(packed);
    out
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(durable::PRIVATE)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u8) -> [u8; 32] {
        [number; 32]
    }

    #[test]
    fn kept_contents_come_back_also_after_a_restart_and_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let mut keep = Keep::open(folder.path()).unwrap();
        for number in 0..20 {
            assert!(keep.put(&digest(number), &[&[number; 3000], b"end"]).unwrap());
        }
        let length = keep.length();
        assert!(keep.put(&digest(3), &[b"again"]).unwrap());
        assert_eq!(keep.length(), length, "what is kept is not kept twice");
        drop(keep);
        let file = OpenOptions::new().write(true).open(folder.path().join("kept")).unwrap();
        file.set_len(length - 1).unwrap();
        let mut keep = Keep::open(folder.path()).unwrap();
        assert_eq!(keep.get(&digest(7)), Some([&[7; 3000][..], b"end"].concat()));
        assert!(!keep.has(&digest(19)) && keep.get(&digest(19)).is_none());
        assert!(keep.put(&digest(19), &[b"once more"]).unwrap());
        assert_eq!(Keep::open(folder.path()).unwrap().get(&digest(19)).unwrap(), b"once more");
    }

    #[test]
    fn the_store_is_bounded_and_makes_room_for_what_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let mut keep = Keep::with_limit(folder.path(), 3_000).unwrap();
        let noise: Vec<u8> = pact_runtime::Clock::system().random_bytes::<256>().to_vec();
        let mut kept = 0;
        while keep.put(&digest(kept), &[&noise, &[kept]]).unwrap() {
            kept += 1;
        }
        assert!(keep.length() <= 3_000 && kept >= 8, "{kept}");
        let needed = BTreeSet::from([short(&digest(0)), short(&digest(1))]);
        keep.shrink(&needed).unwrap();
        assert!(keep.length() <= 1_500);
        assert!(keep.has(&digest(0)) && keep.has(&digest(1)), "needed, though oldest");
        assert!(keep.has(&digest(kept - 1)), "the newest of the rest");
        assert!(!keep.has(&digest(2)));
        assert_eq!(keep.get(&digest(1)).unwrap().last(), Some(&1));
        assert!(!keep.put(&digest(200), &[&vec![0; MAX_RAW_BYTES + 1]]).unwrap());
    }

    #[test]
    fn a_damaged_head_ends_the_index() {
        let folder = tempfile::tempdir().unwrap();
        let mut keep = Keep::open(folder.path()).unwrap();
        keep.put(&digest(1), &[b"one"]).unwrap();
        let second = keep.length();
        keep.put(&digest(2), &[b"two"]).unwrap();
        // The lowest byte of its length.
        keep.file.write_all_at(&[1], second + 35).unwrap();
        let keep = Keep::open(folder.path()).unwrap();
        assert!(keep.has(&digest(1)) && !keep.has(&digest(2)));
        assert_eq!(keep.length(), second);
    }

    #[test]
    fn a_store_that_is_needed_as_it_is_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut keep = Keep::with_limit(folder.path(), 3_000).unwrap();
        let noise: Vec<u8> = pact_runtime::Clock::system().random_bytes::<256>().to_vec();
        let mut kept = 0;
        while keep.put(&digest(kept), &[&noise, &[kept]]).unwrap() {
            kept += 1;
        }
        keep.sync().unwrap();
        let (inode, length) = (inode(&keep.path), keep.length());
        let all = (0..kept).map(|number| short(&digest(number))).collect();
        keep.shrink(&all).unwrap();
        assert_eq!((self::inode(&keep.path), keep.length()), (inode, length));
        // Synced all the time: nothing was put since.
        assert_eq!(keep.synced, Some(length));
        keep.shrink(&BTreeSet::new()).unwrap();
        assert_ne!(self::inode(&keep.path), inode);
        assert_eq!(keep.synced, None, "another file");
    }

    fn inode(path: &Path) -> u64 {
        std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap())
    }

    #[test]
    fn what_is_no_more_what_it_was_can_be_put_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut keep = Keep::open(folder.path()).unwrap();
        keep.put(&digest(1), &[b"one"]).unwrap();
        keep.file.write_all_at(b"rotten", HEAD_BYTES as u64).unwrap();
        assert_eq!(keep.get(&digest(1)), None);
        keep.forget(&digest(1));
        assert!(keep.put(&digest(1), &[b"one"]).unwrap());
        assert_eq!(keep.get(&digest(1)).unwrap(), b"one");
        assert_eq!(Keep::open(folder.path()).unwrap().get(&digest(1)).unwrap(), b"one");
    }
}
