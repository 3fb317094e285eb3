//! Append-only files of checked records: `length (u32, big-endian) | CRC-32 (u32, big-endian) | body`.
//!
//! What was appended and synced is read back whole. A crash can only leave an unfinished last record, which is cut off
//! on opening: nobody was told that it is there. A bad record *before* the last one is damage, and is reported instead of
//! skipped: what follows it could not be trusted to be in order.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::durable::{PRIVATE, crc32};

/// Bytes before each body.
pub(crate) const HEADER_BYTES: u64 = 8;

/// Largest body: no event may exceed the bus's message of 1 MiB.
pub(crate) const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Why a file of records cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The system refuses to read or write it.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A bad record that is not the last one.
    #[error(
        "{} is damaged at byte {offset}, before its last record; the agent does not skip records. Keep the file for \
         inspection, move it away and start the agent again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the bad record begins.
        offset: u64,
    },
    /// The body is empty or too large.
    #[error("a record of {bytes} bytes cannot be written; 1 to {MAX_BODY_BYTES} are accepted")]
    Size {
        /// Its size.
        bytes: usize,
    },
}

impl RecordsError {
    /// Whether the disk has no room for it.
    pub(crate) fn is_out_of_space(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }
}

/// One open file of records, positioned at its end.
#[derive(Debug)]
pub(crate) struct Records {
    file: File,
    path: PathBuf,
    bytes: u64,
}

/// What a look at the bytes of a file found.
enum Found {
    /// A whole record; the next begins here.
    Record { body: Vec<u8>, next: u64 },
    /// Nothing but an unfinished record, or the end.
    Torn,
    /// A bad record with more behind it.
    Bad,
}

impl Records {
    /// Opens or makes the file, cuts an unfinished last record off, and shows every body with its offset, in order.
    /// With `whole`, an unfinished last record is damage too: other files follow this one.
    pub(crate) fn open(
        path: &Path,
        whole: bool,
        mut seen: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<Self, RecordsError> {
        let io = |source| RecordsError::Io { path: path.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(PRIVATE)
            .open(path)
            .map_err(io)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let mut offset = 0;
        let damaged = |offset| RecordsError::Damaged { path: path.to_owned(), offset };
        loop {
            match record_at(&bytes, offset) {
                Found::Record { body, next } => {
                    if !seen(offset, &body) {
                        return Err(damaged(offset));
                    }
                    offset = next;
                }
                Found::Torn => break,
                Found::Bad => return Err(damaged(offset)),
            }
        }
        let end = bytes.len() as u64;
        if offset < end {
            if whole {
                return Err(damaged(offset));
            }
            tracing::warn!(
                path = %path.display(), offset, cut_bytes = end - offset,
                "the last record was not finished before a crash; it is cut off"
            );
            file.set_len(offset).map_err(io)?;
            file.sync_all().map_err(io)?;
        }
        file.seek(SeekFrom::Start(offset)).map_err(io)?;
        Ok(Self { file, path: path.to_owned(), bytes: offset })
    }

    /// Appends one record and syncs it; returns its offset. After an error of the sync the file must not be used any
    /// more: what the disk holds is unknown. After an error of the write the file is as before.
    pub(crate) fn append(&mut self, body: &[u8]) -> Result<u64, RecordsError> {
        let offset = self.bytes;
        let record = encode(body)?;
        if let Err(source) = self.file.write_all(&record) {
            self.file.set_len(offset).map_err(|source| self.io(source))?;
            self.file.seek(SeekFrom::Start(offset)).map_err(|source| self.io(source))?;
            return Err(self.io(source));
        }
        self.file.sync_data().map_err(|source| self.io(source))?;
        self.bytes = offset + record.len() as u64;
        Ok(offset)
    }

    /// The body at an offset that [`Records::open`] or [`Records::append`] gave, and where the next record begins;
    /// `None` at the end.
    pub(crate) fn read(&self, offset: u64) -> Result<Option<(Vec<u8>, u64)>, RecordsError> {
        if offset >= self.bytes {
            return Ok(None);
        }
        let damaged = || RecordsError::Damaged { path: self.path.clone(), offset };
        let mut header = [0; HEADER_BYTES as usize];
        self.file.read_exact_at(&mut header, offset).map_err(|source| self.io(source))?;
        let (length, crc) = parse_header(header);
        if length == 0 || length > MAX_BODY_BYTES {
            return Err(damaged());
        }
        let mut body = vec![0; length];
        self.file
            .read_exact_at(&mut body, offset + HEADER_BYTES)
            .map_err(|source| self.io(source))?;
        if crc32(&[&body]) != crc {
            return Err(damaged());
        }
        Ok(Some((body, offset + HEADER_BYTES + length as u64)))
    }

    /// Size of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn io(&self, source: io::Error) -> RecordsError {
        RecordsError::Io { path: self.path.clone(), source }
    }
}

/// A record's bytes.
pub(crate) fn encode(body: &[u8]) -> Result<Vec<u8>, RecordsError> {
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_BODY_BYTES);
    let Some(length) = length.filter(|length| *length > 0) else {
        return Err(RecordsError::Size { bytes: body.len() });
    };
    let mut record = Vec::with_capacity(body.len() + HEADER_BYTES as usize);
    record.extend_from_slice(&length.to_be_bytes());
    record.extend_from_slice(&crc32(&[body]).to_be_bytes());
    record.extend_from_slice(body);
    Ok(record)
}

fn parse_header(header: [u8; HEADER_BYTES as usize]) -> (usize, u32) {
    let [a, b, c, d, e, f, g, h] = header;
    let length = u32::from_be_bytes([a, b, c, d]);
    (usize::try_from(length).unwrap_or(usize::MAX), u32::from_be_bytes([e, f, g, h]))
}

fn record_at(bytes: &[u8], offset: u64) -> Found {
    let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
    let Some((header, rest)) = rest.and_then(|rest| rest.split_first_chunk()) else {
        return Found::Torn;
    };
    let (length, crc) = parse_header(*header);
    // A file that grew before its contents were written reads as zeros.
    if length == 0 && crc == 0 && rest.iter().all(|byte| *byte == 0) {
        return Found::Torn;
    }
    if length == 0 || length > MAX_BODY_BYTES {
        return Found::Bad;
    }
    match rest.get(..length) {
        None => Found::Torn,
        Some(body) if crc32(&[body]) == crc => {
            Found::Record { body: body.to_vec(), next: offset + HEADER_BYTES + length as u64 }
        }
        Some(_) if rest.len() == length => Found::Torn,
        Some(_) => Found::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(path: &Path) -> Result<Vec<Vec<u8>>, RecordsError> {
        let mut found = Vec::new();
        Records::open(path, false, |_, body| {
            found.push(body.to_vec());
            true
        })?;
        Ok(found)
    }

    fn written(path: &Path, bodies: &[&[u8]]) -> Vec<u8> {
        let mut records = Records::open(path, false, |_, _| true).unwrap();
        for body in bodies {
            records.append(body).unwrap();
        }
        std::fs::read(path).unwrap()
    }

    #[test]
    fn a_file_cut_at_any_byte_gives_the_longest_valid_prefix_and_takes_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        let whole = written(&path, &[b"first", b"second", b"third"]);
        let ends = [0, 13, 27, 40];
        assert_eq!(whole.len(), 40);
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let kept = ends.iter().filter(|end| **end > 0 && **end <= cut).count();
            let mut records = Records::open(&path, false, |_, _| true).unwrap();
            records.append(b"next").unwrap();
            drop(records);
            let found = bodies(&path).unwrap();
            assert_eq!(found.len(), kept + 1, "cut at {cut}");
            assert_eq!(found[kept], b"next");
        }
    }

    #[test]
    fn damage_before_the_last_record_is_reported_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        let whole = written(&path, &[b"first", b"second"]);
        for byte in 4..13 {
            let mut damaged = whole.clone();
            damaged[byte] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            let error = bodies(&path).unwrap_err();
            assert!(
                matches!(error, RecordsError::Damaged { offset: 0, .. }),
                "byte {byte}: {error}"
            );
            assert_eq!(std::fs::read(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn a_tail_of_zeros_is_an_unfinished_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        let mut bytes = written(&path, &[b"first"]);
        bytes.extend_from_slice(&[0; 100]);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(bodies(&path).unwrap(), [b"first"]);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 13);
        assert!(Records::open(&path, false, |_, _| true).unwrap().append(b"").is_err());
    }
}
