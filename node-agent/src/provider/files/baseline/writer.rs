//! Writes a new baseline aside, record by record, and puts it in place.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{Block, END, HEADER, MOUNT, RECORDS, Whole, header, put_path};
use crate::durable;
use crate::provider::ProviderError;
use crate::provider::files::frame;
use crate::provider::files::record::Record;
use crate::provider::files::scope::Scope;
use crate::provider::files::standing::Known;

/// A block ends with the record that passes this: about a hundred records, one read to look one up.
const BLOCK_BYTES: usize = 16 * 1024;

/// A baseline that is being written; dropped unfinished, it leaves a file that the next one overwrites.
pub(in crate::provider::files) struct Writer {
    path: PathBuf,
    out: BufWriter<File>,
    scope: Scope,
    known: Known,
    generation: u64,
    blocks: Vec<Block>,
    /// Records of the block that is not written yet.
    pending: Vec<u8>,
    first: Option<Box<[u8]>>,
    offset: u64,
    count: u64,
}

impl Writer {
    pub(super) fn new(
        folder: &Path,
        scope: &Scope,
        known: Known,
        generation: u64,
    ) -> Result<Self, ProviderError> {
        let path = folder.join("baseline.new");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(durable::PRIVATE)
            .open(&path)
            .map_err(|error| ProviderError::io("write", &path, error))?;
        let mut writer = Self {
            path,
            out: BufWriter::new(file),
            scope: scope.clone(),
            known: Known::default(),
            generation,
            blocks: Vec::new(),
            pending: Vec::new(),
            first: None,
            offset: 0,
            count: 0,
        };
        writer.write_frame(HEADER, &header::encode(generation, scope, known.points.len()))?;
        for (path, identity) in &known.points {
            writer.write_frame(MOUNT, &header::encode_mount(&path.0, identity))?;
        }
        writer.known = known;
        Ok(writer)
    }

    /// Adds a record; paths come in ascending order.
    pub(in crate::provider::files) fn push(
        &mut self,
        path: &[u8],
        record: &Record,
    ) -> Result<(), ProviderError> {
        if self.first.is_none() {
            self.first = Some(path.into());
        }
        put_path(path, &mut self.pending);
        record.encode(&mut self.pending);
        self.count += 1;
        if self.pending.len() >= BLOCK_BYTES { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> Result<(), ProviderError> {
        let Some(first) = self.first.take() else { return Ok(()) };
        let payload = std::mem::take(&mut self.pending);
        let offset = self.offset;
        self.write_frame(RECORDS, &payload)?;
        let length = usize::try_from(self.offset - offset).unwrap_or(usize::MAX);
        self.blocks.push(Block { first, offset, length });
        self.pending = payload;
        self.pending.clear();
        Ok(())
    }

    fn write_frame(&mut self, kind: u8, payload: &[u8]) -> Result<(), ProviderError> {
        let mut bytes = Vec::with_capacity(payload.len() + frame::FRAME_HEAD_BYTES + 1);
        frame::write(kind, payload, &mut bytes);
        self.offset += bytes.len() as u64;
        self.out.write_all(&bytes).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> ProviderError {
        ProviderError::io("write", &self.path, error)
    }

    /// Ends the file and renames it to `place`; it lasts when this returns.
    pub(super) fn finish(mut self, place: &Path) -> Result<Whole, ProviderError> {
        self.end_block()?;
        self.write_frame(END, &self.count.to_be_bytes())?;
        let path = self.path.clone();
        let failed = |error| ProviderError::io("write", &path, error);
        self.out.flush().map_err(failed)?;
        let file = self.out.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        std::fs::rename(&path, place).map_err(failed)?;
        place.parent().map_or(Ok(()), durable::sync_folder).map_err(failed)?;
        let (scope, generation, blocks) = (self.scope, self.generation, self.blocks);
        Ok(Whole { file, scope, known: Some(self.known), generation, blocks })
    }
}
