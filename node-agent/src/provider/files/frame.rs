//! Frames of the provider's own files: `u32 length | u32 CRC-32 of type and payload | u8 type | payload`, big-endian;
//! `length` counts type and payload.

use std::io::{self, Read};

use crate::durable::crc32;

/// Longest frame: a block of records and one record beyond its bound, or the header with every root and pattern.
const MAX_FRAME_BYTES: usize = 1024 * 1024;
/// Length and checksum.
pub(super) const FRAME_HEAD_BYTES: usize = 8;

/// What was found where a frame was expected.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole frame: its type and payload.
    Frame(u8, Vec<u8>),
    /// Nothing more.
    End,
    /// The beginning of a frame, as a crash leaves it.
    Torn,
    /// Something else.
    Damaged,
}

/// Appends a frame to `out`.
pub(super) fn write(kind: u8, payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len() + 1).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&crc32(&[&[kind], payload]).to_be_bytes());
    out.push(kind);
    out.extend_from_slice(payload);
}

/// Reads the next frame.
pub(super) fn read(from: &mut impl Read) -> io::Result<Found> {
    let mut head = Vec::with_capacity(FRAME_HEAD_BYTES);
    from.take(FRAME_HEAD_BYTES as u64).read_to_end(&mut head)?;
    if head.is_empty() {
        return Ok(Found::End);
    }
    let mut parts = super::bytes::Reader::new(&head);
    let (Some(length), Some(crc)) = (parts.u32(), parts.u32()) else {
        return Ok(Found::Torn);
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if !(1..=MAX_FRAME_BYTES).contains(&length) {
        return Ok(Found::Damaged);
    }
    let mut body = Vec::with_capacity(length);
    from.take(length as u64).read_to_end(&mut body)?;
    if body.len() < length {
        return Ok(Found::Torn);
    }
    match body.split_first() {
        Some((kind, payload)) if crc32(&[&body]) == crc => {
            Ok(Found::Frame(*kind, payload.to_vec()))
        }
        _ => Ok(Found::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_torn_and_damaged_frames_are_told_apart() {
        let mut bytes = Vec::new();
        write(7, b"payload", &mut bytes);
        assert_eq!(read(&mut &bytes[..]).unwrap(), Found::Frame(7, b"payload".to_vec()));
        assert_eq!(read(&mut &b""[..]).unwrap(), Found::End);
        for cut in 1..bytes.len() {
            assert_eq!(read(&mut &bytes[..cut]).unwrap(), Found::Torn, "{cut}");
        }
        for index in 4..bytes.len() {
            let mut bent = bytes.clone();
            bent[index] ^= 1;
            assert_eq!(read(&mut &bent[..]).unwrap(), Found::Damaged, "{index}");
        }
        assert_eq!(read(&mut &[0xff; 9][..]).unwrap(), Found::Damaged);
    }
}
