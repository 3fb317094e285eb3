//! How handlers read the state.

use std::collections::BTreeSet;

use pact_journal_core::record::{
    Blob, Head, Posting, RequestHorizon, RequestMemory, StoredBatch, StoredEntry, Uploader,
};
use pact_journal_core::requests::forgets;
use pact_schemas::v1::{MembershipChanged, NodeRecord, VclusterRecord};
use pact_schemas::{NodeId, RequestId, SpoolId, VclusterId};
use rocksdb::{Direction, IteratorMode};

use super::declared::Rows;
use super::fatal::OrFatal;
use super::key::{self, HeadRow, HorizonRow, decoded};
use super::state::{Family, StateDb, meta};

/// The last entry of a state.
pub(crate) fn read_head(state: &StateDb) -> Head {
    read_head_in(state)
}

/// As [`read_head`], of the state at one moment.
pub(crate) fn read_head_in(rows: &dyn Rows) -> Head {
    let Some(row) = rows.row(Family::Meta, meta::HEAD) else { return Head::default() };
    let row: HeadRow = decoded(&row, "the head of the journal");
    let hash = row.hash.as_slice().try_into().or_fatal("the head of the journal");
    Head { seq: row.seq, hash, time_nanos: row.time_nanos }
}

/// A node, in the state at one moment.
pub(crate) fn node_in(rows: &dyn Rows, node: &str) -> Option<NodeRecord> {
    rows.row(Family::Nodes, &key::node(node)).map(|row| decoded(&row, "a node"))
}

/// A vCluster, in the state at one moment.
pub(crate) fn vcluster_in(rows: &dyn Rows, vcluster: &str) -> Option<VclusterRecord> {
    rows.row(Family::Vclusters, vcluster.as_bytes()).map(|row| decoded(&row, "a vCluster"))
}

/// The horizon of request ids of a state.
pub(crate) fn read_horizon(state: &StateDb) -> RequestHorizon {
    let row = state.get(Family::Meta, meta::HORIZON);
    let row: HorizonRow =
        row.map(|row| decoded(&row, "the horizon of request ids")).unwrap_or_default();
    RequestHorizon { unix_milliseconds: row.unix_milliseconds, remembered: row.remembered }
}

/// A node.
pub(crate) fn node(state: &StateDb, node: &str) -> Option<NodeRecord> {
    node_in(state, node)
}

/// Last committed event of a node's spool.
pub(crate) fn spool_mark(state: &StateDb, node: &NodeId, spool: &SpoolId) -> Option<u64> {
    let row = state.get(Family::Nodes, &key::spool(node, spool))?;
    Some(u64::from_be_bytes(row.as_slice().try_into().or_fatal("the mark of a spool")))
}

/// Nodes with ids after this one, in order.
pub(crate) fn nodes_after<'a>(
    state: &'a StateDb,
    after: &str,
) -> impl Iterator<Item = NodeRecord> + 'a {
    // The zero byte sorts right after the id itself and before every longer one.
    let start =
        if after.is_empty() { b"r".to_vec() } else { [key::node(after).as_slice(), &[0]].concat() };
    let mode = IteratorMode::From(&start, Direction::Forward);
    let rows = state.db().iterator_cf(state.family(Family::Nodes), mode);
    rows.map(|row| row.or_fatal("the nodes cannot be read"))
        .take_while(|(key, _)| key.first() == Some(&b'r'))
        .map(|(_, row)| decoded(&row, "a node"))
}

/// A vCluster.
pub(crate) fn vcluster(state: &StateDb, vcluster: &str) -> Option<VclusterRecord> {
    vcluster_in(state, vcluster)
}

/// vClusters with names after this one, in order.
pub(crate) fn vclusters_after<'a>(
    state: &'a StateDb,
    after: Option<&VclusterId>,
) -> impl Iterator<Item = VclusterRecord> + 'a {
    // The zero byte sorts right after the name itself and before every longer one.
    let start = after.map_or_else(Vec::new, |name| [name.as_str().as_bytes(), &[0]].concat());
    let mode = IteratorMode::From(&start, Direction::Forward);
    let rows = state.db().iterator_cf(state.family(Family::Vclusters), mode);
    rows.map(|row| decoded(&row.or_fatal("the vClusters cannot be read").1, "a vCluster"))
}

/// What is remembered of a request.
pub(crate) fn request(state: &StateDb, id: &RequestId) -> Option<RequestMemory> {
    state.get(Family::Requests, id.as_bytes()).map(|row| decoded(&row, "a remembered request"))
}

/// Whether a tick would forget something at this Unix millisecond.
pub(crate) fn requests_to_forget(state: &StateDb, now_milliseconds: u64) -> bool {
    let mut rows = state.db().iterator_cf(state.family(Family::Requests), IteratorMode::Start);
    let oldest =
        rows.next().map(|row| request_id(&row.or_fatal("the request ids cannot be read").0));
    oldest.is_some_and(|oldest| forgets(&oldest, read_horizon(state).remembered, now_milliseconds))
}

/// The members that were announced last, and what becomes of them.
pub(crate) fn membership(state: &StateDb) -> MembershipChanged {
    let row = state.get(Family::Meta, meta::MEMBERS);
    row.map(|row| decoded(&row, "the announced members")).unwrap_or_default()
}

/// The id of a row's key.
pub(crate) fn request_id(key: &[u8]) -> RequestId {
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from, to| hex.get(from..to).unwrap_or("");
    let text = [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-");
    text.parse().or_fatal("a request id")
}

/// Whether a chunk is stored.
pub(crate) fn has_blob(state: &StateDb, sha256: &[u8]) -> bool {
    state.get(Family::Blobs, sha256).is_some()
}

/// Whether this uploader has sent a chunk.
pub(crate) fn has_uploaded(state: &StateDb, sha256: &[u8], by: &Uploader) -> bool {
    state.get(Family::Blobs, &key::upload(sha256, by)).is_some()
}

/// A chunk.
pub(crate) fn blob(state: &StateDb, sha256: &[u8; 32]) -> Option<Blob> {
    let row = state.get(Family::Blobs, sha256)?;
    let (size, compressed) = row.split_first_chunk::<4>().or_fatal("a chunk");
    Some(Blob { compressed: compressed.to_vec(), size_bytes: u32::from_be_bytes(*size) })
}

/// Hash of entry 1, which tells journals apart.
pub(crate) fn first_hash(state: &StateDb) -> Option<Vec<u8>> {
    entry(state, 1).map(|first| first.hash.to_vec())
}

/// One entry.
pub(crate) fn entry(state: &StateDb, seq: u64) -> Option<StoredEntry> {
    EntryReader::new(state).get(seq)
}

/// Reads single entries; neighbours share a row, which is decoded once.
pub(crate) struct EntryReader<'a> {
    state: &'a StateDb,
    row: Option<(u64, StoredBatch)>,
}

impl<'a> EntryReader<'a> {
    /// A reader of this state.
    pub(crate) fn new(state: &'a StateDb) -> Self {
        Self { state, row: None }
    }

    /// The entry with this sequence.
    pub(crate) fn get(&mut self, seq: u64) -> Option<StoredEntry> {
        let held = self.row.as_ref().is_some_and(|(first, batch)| {
            (*first..*first + batch.entries.len() as u64).contains(&seq)
        });
        if !held {
            self.row = entry_row(self.state, seq);
        }
        let (first, batch) = self.row.as_ref()?;
        let offset = usize::try_from(seq.checked_sub(*first)?).ok()?;
        batch.entries.get(offset).cloned()
    }
}

/// The row that holds this sequence, or the last one before it.
fn entry_row(state: &StateDb, seq: u64) -> Option<(u64, StoredBatch)> {
    let key = seq.to_be_bytes();
    let mode = IteratorMode::From(&key, Direction::Reverse);
    let (key, row) = state
        .db()
        .iterator_cf(state.family(Family::Entries), mode)
        .next()?
        .or_fatal("the entries cannot be read");
    Some((first_seq(&key), decoded(&row, "a row of entries")))
}

fn first_seq(key: &[u8]) -> u64 {
    u64::from_be_bytes(key.try_into().or_fatal("the key of a row of entries"))
}

/// Entries with sequence > `after`, ascending, with their sequences.
pub(crate) fn entries_after(
    state: &StateDb,
    after: u64,
) -> impl Iterator<Item = (u64, StoredEntry)> + '_ {
    let entries = state.family(Family::Entries);
    let wanted = after.saturating_add(1);
    // The row that holds `wanted` may begin before it.
    let before = IteratorMode::From(&wanted.to_be_bytes(), Direction::Reverse);
    let row = state.db().iterator_cf(entries, before).next();
    let start = row.map_or(0, |row| first_seq(&row.or_fatal("the entries cannot be read").0));
    let mode_key = start.to_be_bytes();
    let rows = state.db().iterator_cf(entries, IteratorMode::From(&mode_key, Direction::Forward));
    rows.flat_map(|row| {
        let (key, row) = row.or_fatal("the entries cannot be read");
        let batch: StoredBatch = decoded(&row, "a row of entries");
        (first_seq(&key)..).zip(batch.entries)
    })
    .skip_while(move |(seq, _)| *seq < wanted)
}

/// Sequences of a scope after this one, ascending, at most `limit`.
pub(crate) fn postings_after(
    state: &StateDb,
    posting: &Posting,
    after: u64,
    limit: usize,
) -> BTreeSet<u64> {
    let prefix = key::posting(posting);
    let from = [prefix.as_slice(), &after.saturating_add(1).to_be_bytes()].concat();
    let postings = state.family(Family::Postings);
    // The row before may reach beyond `after`.
    let before =
        state.db().iterator_cf(postings, IteratorMode::From(&from, Direction::Reverse)).next();
    let before = before
        .map(|row| row.or_fatal("the index cannot be read"))
        .filter(|(key, _)| key.starts_with(&prefix));
    let rows = state.db().iterator_cf(postings, IteratorMode::From(&from, Direction::Forward));
    let rows = rows
        .map(|row| row.or_fatal("the index cannot be read"))
        .take_while(|(key, _)| key.starts_with(&prefix));
    let seqs = before.into_iter().chain(rows).flat_map(|(key, row)| posted(&prefix, &key, &row));
    let mut found = BTreeSet::new();
    for seq in seqs.filter(|seq| *seq > after) {
        if found.len() >= limit {
            break;
        }
        found.insert(seq);
    }
    found
}

/// The last `limit` sequences of a scope up to this one.
pub(crate) fn postings_last(
    state: &StateDb,
    posting: &Posting,
    newest: u64,
    limit: usize,
) -> BTreeSet<u64> {
    let prefix = key::posting(posting);
    let end = [prefix.as_slice(), &newest.to_be_bytes()].concat();
    let rows = state
        .db()
        .iterator_cf(state.family(Family::Postings), IteratorMode::From(&end, Direction::Reverse));
    let rows = rows
        .map(|row| row.or_fatal("the index cannot be read"))
        .take_while(|(key, _)| key.starts_with(&prefix));
    let seqs = rows.flat_map(|(key, row)| posted(&prefix, &key, &row).into_iter().rev());
    seqs.filter(|seq| *seq <= newest).take(limit).collect()
}

fn posted(prefix: &[u8], key: &[u8], row: &[u8]) -> Vec<u64> {
    let first =
        key.strip_prefix(prefix).and_then(|rest| rest.try_into().ok()).map(u64::from_be_bytes);
    let first = first.or_fatal("a key of the index");
    let (offsets, rest) = row.as_chunks::<4>();
    if !rest.is_empty() {
        None::<()>.or_fatal("a row of the index");
    }
    offsets.iter().map(|offset| first + u64::from(u32::from_be_bytes(*offset))).collect()
}

/// Sequences of the outcomes of an entry, ascending.
pub(crate) fn outcomes(state: &StateDb, parent: u64, limit: usize) -> Vec<u64> {
    let prefix = key::outcomes(parent);
    let rows = state.db().iterator_cf(
        state.family(Family::Postings),
        IteratorMode::From(&prefix, Direction::Forward),
    );
    let rows = rows
        .map(|row| row.or_fatal("the index cannot be read"))
        .take_while(|(key, _)| key.starts_with(&prefix));
    let seq = |key: &[u8]| {
        key.strip_prefix(prefix.as_slice())
            .and_then(|rest| rest.try_into().ok())
            .map(u64::from_be_bytes)
    };
    rows.take(limit).map(|(key, _)| seq(&key).or_fatal("a key of the index")).collect()
}
