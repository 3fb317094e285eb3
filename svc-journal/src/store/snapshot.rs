//! Snapshots: a checkpoint of `state/N` on the way out, files into `state/N+1.tmp` on the way in.
//!
//! ```text
//! snapshot/<index>-<term>-<k>/META      crc32c ‖ description (last log id, membership, id)
//! snapshot/<index>-<term>-<k>/state/    the checkpoint: RocksDB's files, hard-linked where they can be
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rocksdb::checkpoint::Checkpoint;

use super::crc::{sealed, unsealed};
use super::identity::{sync_folder, write_synced};
use super::machine::{read_applied, read_membership};
use super::private;
use super::rows::OpenError;
use super::state::StateDb;
use crate::consensus::folder::SnapshotFolder;
use crate::consensus::types::SnapshotMeta;
use crate::consensus::wire;

const META_FILE: &str = "META";
const STATE_FOLDER: &str = "state";

/// A place for files that arrive.
pub(crate) fn incoming(path: PathBuf) -> io::Result<SnapshotFolder> {
    if path.exists() {
        fs::remove_dir_all(&path)?;
    }
    private::make_folder(&path)?;
    Ok(SnapshotFolder::new(path.clone(), path))
}

fn built(folder: PathBuf) -> SnapshotFolder {
    SnapshotFolder::new(folder.join(STATE_FOLDER), folder)
}

/// The newest complete snapshot in `snapshot/`. Removes everything else there.
pub(crate) fn newest(folder: &Path) -> Result<Option<(SnapshotMeta, SnapshotFolder)>, OpenError> {
    let io = |source| OpenError::Io { path: folder.to_owned(), source };
    private::make_folder(folder).map_err(io)?;
    let mut found: Vec<(SnapshotMeta, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        match read_meta(&path)? {
            Some(meta) => found.push((meta, path)),
            None => fs::remove_dir_all(&path).map_err(io)?,
        }
    }
    found.sort_by_key(|(meta, path)| (meta.last_log_id, path.clone()));
    let newest = found.pop();
    for (_, older) in found {
        fs::remove_dir_all(older).map_err(io)?;
    }
    Ok(newest.map(|(meta, path)| (meta, built(path))))
}

fn read_meta(path: &Path) -> Result<Option<SnapshotMeta>, OpenError> {
    // An unfinished snapshot still has its temporary name.
    if path.extension().is_some() {
        return Ok(None);
    }
    let file = path.join(META_FILE);
    let damaged =
        || OpenError::Damaged { path: file.clone(), what: "the snapshot's description".to_owned() };
    let bytes = fs::read(&file).map_err(|source| OpenError::Io { path: file.clone(), source })?;
    let (meta, _) =
        wire::decode_snapshot_meta(unsealed(&bytes).ok_or_else(damaged)?).map_err(|_| damaged())?;
    Ok(Some(meta))
}

/// Why a snapshot was not made or taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("{path} cannot be used")]
    Io { path: PathBuf, source: io::Error },
    #[error("the checkpoint {path} cannot be made")]
    Checkpoint { path: PathBuf, source: rocksdb::Error },
    #[error("the snapshot does not open")]
    Open(#[source] OpenError),
    #[error("the snapshot holds another state than it is said to hold")]
    Other,
}

impl From<SnapshotError> for io::Error {
    fn from(error: SnapshotError) -> Self {
        Self::other(error)
    }
}

/// Makes a checkpoint of a state under `snapshot/`. The description is read from the checkpoint itself: `apply` goes on meanwhile.
pub(crate) fn build(
    state: &StateDb,
    folder: &Path,
    id: Option<&str>,
    counter: u64,
) -> Result<(SnapshotMeta, SnapshotFolder), SnapshotError> {
    let io_at = |path: &Path| {
        let path = path.to_owned();
        move |source| SnapshotError::Io { path, source }
    };
    let temporary = folder.join(format!("{counter}.tmp"));
    if temporary.exists() {
        fs::remove_dir_all(&temporary).map_err(io_at(&temporary))?;
    }
    private::make_folder(&temporary).map_err(io_at(&temporary))?;
    let files = temporary.join(STATE_FOLDER);
    let checkpoint = |source| SnapshotError::Checkpoint { path: files.clone(), source };
    let maker = Checkpoint::new(state.db()).map_err(checkpoint)?;
    maker.create_checkpoint(&files).map_err(checkpoint)?;
    let mut meta = describe(&files)?;
    let at = meta
        .last_log_id
        .map_or_else(|| "0-0".to_owned(), |last| format!("{}-{}", last.index, last.leader_id.term));
    meta.snapshot_id = id.map_or_else(|| format!("{at}-{counter}"), str::to_owned);
    sync_files(&files).map_err(io_at(&files))?;
    write_synced(&temporary, META_FILE, &sealed(&wire::encode_snapshot_meta(&meta, None)))
        .map_err(io_at(&temporary))?;
    let path = folder.join(format!("{at}-{counter}"));
    fs::rename(&temporary, &path).map_err(io_at(&path))?;
    sync_folder(folder).map_err(io_at(folder))?;
    Ok((meta, built(path)))
}

/// What a checkpoint holds.
fn describe(files: &Path) -> Result<SnapshotMeta, SnapshotError> {
    let state = StateDb::open_read_only(files).map_err(SnapshotError::Open)?;
    Ok(SnapshotMeta {
        last_log_id: read_applied(&state),
        last_membership: read_membership(&state),
        snapshot_id: String::new(),
    })
}

/// Makes arrived files the state `number`: checked, synced and renamed, in this order.
pub(crate) fn install(
    meta: &SnapshotMeta,
    arrived: &SnapshotFolder,
    states: &Path,
    number: u64,
) -> Result<StateDb, SnapshotError> {
    let io_at = |path: &Path| {
        let path = path.to_owned();
        move |source| SnapshotError::Io { path, source }
    };
    let temporary = states.join(format!("{number}.tmp"));
    if arrived.files() != temporary {
        copy_files(arrived.files(), &temporary).map_err(io_at(&temporary))?;
    }
    let found = describe(&temporary)?;
    if found.last_log_id != meta.last_log_id || found.last_membership != meta.last_membership {
        return Err(SnapshotError::Other);
    }
    sync_files(&temporary).map_err(io_at(&temporary))?;
    let path = states.join(number.to_string());
    fs::rename(&temporary, &path).map_err(io_at(&path))?;
    super::state::write_current(states, number).map_err(io_at(states))?;
    StateDb::open(&path).map_err(SnapshotError::Open)
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    private::make_folder(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn sync_files(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_folder(folder)
}
