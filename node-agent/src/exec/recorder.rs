//! What a command prints, cut at its limit and kept as chunks in the order in which it was read.

use bytes::Bytes;
use pact_schemas::v1::{OutputSegment, OutputStream};

use super::process::Chunk;
use crate::blobs::{BlobError, Blobs, CHUNK_BYTES};

/// Up to so many segments, each change between the two streams begins a new one, so that their order is exact. Beyond,
/// each stream fills its own chunks: a command that alternates with every line must not make a blob of every line.
const EXACT_SEGMENTS: usize = 256;

/// The recording of one command.
#[derive(Debug)]
pub(crate) struct Recorder {
    blobs: Blobs,
    limit_bytes: u64,
    taken_bytes: u64,
    total_bytes: u64,
    segments: Vec<OutputSegment>,
    /// Not yet a chunk: one piece, or one for each stream.
    open: Vec<(OutputStream, Vec<u8>)>,
}

/// A finished recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recording {
    pub(crate) segments: Vec<OutputSegment>,
    /// What the command wrote in all.
    pub(crate) total_bytes: u64,
    /// What was beyond the limit.
    pub(crate) discarded_bytes: u64,
}

impl Recorder {
    /// A recording of at most this many bytes.
    pub(crate) fn new(blobs: Blobs, limit_bytes: u64) -> Self {
        Self {
            blobs,
            limit_bytes,
            taken_bytes: 0,
            total_bytes: 0,
            segments: Vec::new(),
            open: Vec::new(),
        }
    }

    /// Records a piece; returns what of it is within the limit, to be shown to the caller too.
    pub(crate) async fn take(&mut self, chunk: Chunk) -> Result<Option<Chunk>, BlobError> {
        let Chunk { stream, mut bytes } = chunk;
        self.total_bytes += bytes.len() as u64;
        let room = self.limit_bytes - self.taken_bytes;
        if (bytes.len() as u64) > room {
            bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        self.taken_bytes += bytes.len() as u64;
        self.record(stream, &bytes).await?;
        Ok(Some(Chunk { stream, bytes }))
    }

    /// Counts a piece that is not recorded.
    pub(crate) fn discard(&mut self, chunk: &Chunk) {
        self.total_bytes += chunk.bytes.len() as u64;
    }

    /// Keeps what is left and ends the recording.
    pub(crate) async fn finish(mut self) -> Result<Recording, BlobError> {
        for (stream, bytes) in std::mem::take(&mut self.open) {
            self.keep(stream, bytes).await?;
        }
        Ok(self.so_far())
    }

    /// What was kept until now; after an error, all that can be said.
    pub(crate) fn so_far(&self) -> Recording {
        Recording {
            segments: self.segments.clone(),
            total_bytes: self.total_bytes,
            discarded_bytes: self.total_bytes - self.taken_bytes,
        }
    }

    async fn record(&mut self, stream: OutputStream, bytes: &Bytes) -> Result<(), BlobError> {
        if self.segments.len() < EXACT_SEGMENTS {
            let others: Vec<_> = self.open.extract_if(.., |(open, _)| *open != stream).collect();
            for (other, bytes) in others {
                self.keep(other, bytes).await?;
            }
        }
        let mut rest: &[u8] = bytes;
        while !rest.is_empty() {
            let mut open = match self.open.iter().position(|(open, _)| *open == stream) {
                Some(at) => self.open.remove(at).1,
                None => Vec::new(),
            };
            let (now, later) = rest.split_at(rest.len().min(CHUNK_BYTES - open.len()));
            open.extend_from_slice(now);
            rest = later;
            if open.len() == CHUNK_BYTES {
                self.keep(stream, open).await?;
            } else {
                self.open.push((stream, open));
            }
        }
        Ok(())
    }

    /// Compresses and syncs away from the asynchronous threads.
    async fn keep(&mut self, stream: OutputStream, bytes: Vec<u8>) -> Result<(), BlobError> {
        let blobs = self.blobs.clone();
        let kept = tokio::task::spawn_blocking(move || blobs.keep(&bytes)).await;
        let blob = kept.map_err(|_| BlobError::Interrupted)??;
        self.segments.push(OutputSegment { stream: stream.into(), blob: Some(blob) });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(stream: OutputStream, text: &[u8]) -> Chunk {
        Chunk { stream, bytes: Bytes::copy_from_slice(text) }
    }

    fn contents(blobs: &Blobs, recording: &Recording) -> Vec<(OutputStream, Vec<u8>)> {
        let read = |segment: &OutputSegment| {
            let upload = blobs.upload(segment.blob.as_ref().unwrap()).unwrap().unwrap();
            let bytes = zstd::bulk::decompress(&upload.compressed, CHUNK_BYTES).unwrap();
            assert_eq!(bytes.len(), upload.size_bytes as usize);
            (segment.stream(), bytes)
        };
        recording.segments.iter().map(read).collect()
    }

    #[tokio::test]
    async fn the_order_of_both_streams_is_kept_and_the_rest_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path()).unwrap();
        let mut recorder = Recorder::new(blobs.clone(), 10);
        let (out, err) = (OutputStream::Stdout, OutputStream::Stderr);
        for (stream, text) in [(out, &b"ab"[..]), (out, b"cd"), (err, b"ef"), (out, b"gh")] {
            let shown = recorder.take(chunk(stream, text)).await.unwrap().unwrap();
            assert_eq!(shown.bytes, text);
        }
        assert_eq!(recorder.take(chunk(err, b"ijkl")).await.unwrap().unwrap().bytes, &b"ij"[..]);
        assert_eq!(recorder.take(chunk(err, b"mn")).await.unwrap(), None);
        let recording = recorder.finish().await.unwrap();
        assert_eq!((recording.total_bytes, recording.discarded_bytes), (14, 4));
        let expected = [(out, "abcd"), (err, "ef"), (out, "gh"), (err, "ij")];
        let expected: Vec<_> = expected.map(|(s, text)| (s, text.as_bytes().to_vec())).into();
        assert_eq!(contents(&blobs, &recording), expected);
    }

    #[tokio::test]
    async fn long_output_fills_chunks_and_alternating_lines_do_not_make_one_each() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path()).unwrap();
        let mut recorder = Recorder::new(blobs.clone(), u64::MAX);
        let (out, err) = (OutputStream::Stdout, OutputStream::Stderr);
        let long = vec![7; CHUNK_BYTES + 1];
        recorder.take(chunk(out, &long)).await.unwrap();
        for _ in 0..2_000 {
            recorder.take(chunk(err, b"warning\n")).await.unwrap();
            recorder.take(chunk(out, b"line\n")).await.unwrap();
        }
        let recording = recorder.finish().await.unwrap();
        assert!(recording.segments.len() <= EXACT_SEGMENTS + 3, "{}", recording.segments.len());
        let found = contents(&blobs, &recording);
        assert_eq!(found[0], (out, vec![7; CHUNK_BYTES]));
        let of = |wanted| {
            found.iter().filter(|(s, _)| *s == wanted).map(|(_, b)| b.len()).sum::<usize>()
        };
        assert_eq!((of(out), of(err)), (CHUNK_BYTES + 1 + 10_000, 16_000));
    }
}
