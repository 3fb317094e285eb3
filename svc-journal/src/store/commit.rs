//! The changes of one Raft entry as one write batch.

use pact_journal_core::apply::Applied;
use pact_journal_core::record::{Head, StoredBatch};
use pact_journal_core::view::Changes;
use pact_schemas::NodeId;
use prost::Message as _;
use rocksdb::WriteBatch;

use super::declared::put_declared;
use super::key::{self, HeadRow, HorizonRow};
use super::state::{Family, StateDb, meta};

/// Puts everything that `applied` changed into the batch.
pub(crate) fn put_changes(state: &StateDb, batch: &mut WriteBatch, applied: &Applied) {
    let changes = &applied.changes;
    put_entries(state, batch, changes, applied.head);
    put_nodes(state, batch, changes);
    put_vclusters(state, batch, changes);
    put_requests(state, batch, changes);
    put_blobs(state, batch, changes);
    put_declared(state, batch, changes);
    let family = state.family(Family::Meta);
    if !changes.entries.is_empty() {
        let Head { seq, hash, time_nanos } = applied.head;
        let row = HeadRow { seq, hash: hash.to_vec(), time_nanos };
        batch.put_cf(family, meta::HEAD, row.encode_to_vec());
    }
    if !changes.tiles.is_empty() {
        batch.put_cf(family, meta::TREE, applied.tree.to_row().encode_to_vec());
    }
    if let Some(members) = &changes.members {
        batch.put_cf(family, meta::MEMBERS, members.encode_to_vec());
    }
}

fn put_entries(state: &StateDb, batch: &mut WriteBatch, changes: &Changes, head: Head) {
    if !changes.entries.is_empty() {
        let first_seq = head.seq + 1 - changes.entries.len() as u64;
        let row = StoredBatch { entries: changes.entries.clone() };
        batch.put_cf(state.family(Family::Entries), first_seq.to_be_bytes(), row.encode_to_vec());
    }
    let postings = state.family(Family::Postings);
    for (posting, seqs) in &changes.postings {
        let first = seqs.first().copied().unwrap_or(0);
        let key = [key::posting(posting).as_slice(), &first.to_be_bytes()].concat();
        // One Raft entry holds far fewer than 2^32 entries.
        let offsets =
            seqs.iter().map(|seq| u32::try_from(seq - first).unwrap_or(u32::MAX).to_be_bytes());
        batch.put_cf(postings, key, offsets.collect::<Vec<_>>().concat());
    }
    for ((parent, node), seq) in &changes.outcomes {
        let key = [key::outcomes(*parent).as_slice(), &seq.to_be_bytes()].concat();
        batch.put_cf(postings, key, []);
        batch.put_cf(postings, key::outcome_of(*parent, node), seq.to_be_bytes());
    }
    let tiles = state.family(Family::Tiles);
    for tile in &changes.tiles {
        batch.put_cf(tiles, key::tile(tile.level, tile.index), &tile.hashes);
    }
}

fn put_nodes(state: &StateDb, batch: &mut WriteBatch, changes: &Changes) {
    let nodes = state.family(Family::Nodes);
    for (node, record) in &changes.nodes {
        batch.put_cf(nodes, key::node(node.as_str()), record.encode_to_vec());
    }
    for (hardware, holder) in &changes.hardware {
        match holder {
            Some(node) => batch.put_cf(nodes, key::hardware(hardware), NodeId::as_str(node)),
            None => batch.delete_cf(nodes, key::hardware(hardware)),
        }
    }
    for ((node, spool), number) in &changes.spools {
        batch.put_cf(nodes, key::spool(node, spool), number.to_be_bytes());
    }
    for (node, unnamed) in &changes.unnamed {
        batch.put_cf(nodes, key::unnamed(node), unnamed.encode_to_vec());
    }
    let certificates = state.family(Family::Certificates);
    for (serial, row) in &changes.certificates {
        batch.put_cf(certificates, serial, row.encode_to_vec());
    }
}

fn put_vclusters(state: &StateDb, batch: &mut WriteBatch, changes: &Changes) {
    let vclusters = state.family(Family::Vclusters);
    for (vcluster, record) in &changes.vclusters {
        batch.put_cf(vclusters, vcluster.as_str(), record.encode_to_vec());
    }
}

fn put_requests(state: &StateDb, batch: &mut WriteBatch, changes: &Changes) {
    let requests = state.family(Family::Requests);
    for (id, memory) in &changes.requests {
        match memory {
            Some(memory) => batch.put_cf(requests, id.as_bytes(), memory.encode_to_vec()),
            None => batch.delete_cf(requests, id.as_bytes()),
        }
    }
    if let Some(horizon) = changes.horizon {
        let row = HorizonRow {
            unix_milliseconds: horizon.unix_milliseconds,
            remembered: horizon.remembered,
        };
        batch.put_cf(state.family(Family::Meta), meta::HORIZON, row.encode_to_vec());
    }
}

fn put_blobs(state: &StateDb, batch: &mut WriteBatch, changes: &Changes) {
    let blobs = state.family(Family::Blobs);
    for (sha256, blob) in &changes.blobs {
        batch.put_cf(
            blobs,
            sha256,
            [blob.size_bytes.to_be_bytes().as_slice(), &blob.compressed].concat(),
        );
    }
    for (sha256, by) in &changes.uploads {
        batch.put_cf(blobs, key::upload(sha256, by), []);
    }
}
