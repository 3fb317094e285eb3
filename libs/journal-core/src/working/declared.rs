//! Declared state as the next command sees it, and how it is changed.

use pact_schemas::convert::Scope;
use pact_schemas::resource::{Change, ResourceKey, change_set};
use pact_schemas::v1::{BlobRef, VclusterRecord};
use pact_schemas::{NodeId, VclusterId};

use super::{Draft, Working};
use crate::declared::{
    Declared, DeclaredScope, Expiry, Held, HeldKeys, MAX_SCOPE_BYTES, MAX_SCOPE_KEYS, ScopeMark,
    size_of,
};
use crate::record::{Blob, MAX_CHUNK_BYTES, sha256};
use crate::refusal::Refusal;
use crate::view::Changes;

/// Keys that are read from the state at once.
const PAGE: usize = 1_024;
/// zstd's level for what `apply` itself stores: fast.
const CHUNK_LEVEL: i32 = 1;

/// The newest change of a scope that these changes hold.
fn mark_in(changes: &Changes, scope: &DeclaredScope, at_seq: u64) -> Option<ScopeMark> {
    let marks = changes.scope_marks.get(scope)?;
    marks.range(..=at_seq).next_back().map(|(_, mark)| *mark)
}

impl Working<'_> {
    /// The newest row of a key, at or before an entry.
    pub(crate) fn declared_at(
        &self,
        scope: &DeclaredScope,
        key: &ResourceKey,
        at_seq: u64,
    ) -> Option<(u64, Declared)> {
        let place = (scope.clone(), key.clone());
        for changes in [&self.staged, &self.kept] {
            let rows = changes.declared.get(&place);
            let newest = rows.and_then(|rows| rows.range(..=at_seq).next_back());
            if let Some((seq, row)) = newest {
                return Some((*seq, row.clone()));
            }
        }
        self.base.declared(scope, key, at_seq)
    }

    fn newest_row(&self, scope: &DeclaredScope, key: &ResourceKey) -> Option<(u64, Declared)> {
        self.declared_at(scope, key, u64::MAX)
    }

    /// The entry that spoke of a key last; 0: none.
    pub(crate) fn declared_seq(&self, scope: &DeclaredScope, key: &ResourceKey) -> u64 {
        self.newest_row(scope, key).map_or(0, |(seq, _)| seq)
    }

    /// A key as it is declared now.
    pub(crate) fn held(&self, scope: &DeclaredScope, key: &ResourceKey) -> Option<Held> {
        let (seq, row) = self.newest_row(scope, key)?;
        Held::of(seq, row)
    }

    /// Everything that a scope declared right after an entry.
    pub(crate) fn held_at(&self, scope: &DeclaredScope, at_seq: u64) -> HeldKeys {
        let mut held = HeldKeys::new();
        let mut after = None;
        loop {
            let page = self.base.declared_after(scope, at_seq, after.as_ref(), PAGE);
            let is_last = page.len() < PAGE;
            after = page.last().map(|(key, _)| key.clone());
            held.extend(page);
            if is_last {
                break;
            }
        }
        for changes in [&self.kept, &self.staged] {
            for ((_, key), rows) in changes.declared.iter().filter(|((s, _), _)| s == scope) {
                let Some((seq, row)) = rows.range(..=at_seq).next_back() else { continue };
                match Held::of(*seq, row.clone()) {
                    Some(live) => drop(held.insert(key.clone(), live)),
                    None => drop(held.remove(key)),
                }
            }
        }
        held
    }

    /// Where a scope stands.
    pub(crate) fn scope_mark(&self, scope: &DeclaredScope) -> ScopeMark {
        mark_in(&self.staged, scope, u64::MAX)
            .or_else(|| mark_in(&self.kept, scope, u64::MAX))
            .or_else(|| self.base.scope_mark(scope, u64::MAX))
            .unwrap_or_default()
    }

    /// Nodes whose deltas in a vCluster declare this key, in order.
    pub(crate) fn delta_nodes(&self, vcluster: &VclusterId, key: &ResourceKey) -> Vec<NodeId> {
        let mut nodes = self.base.delta_nodes(vcluster, key);
        let place = (vcluster.clone(), key.clone());
        for changes in [&self.kept, &self.staged] {
            for (node, declares) in changes.delta_nodes.get(&place).into_iter().flatten() {
                match (nodes.binary_search(node), declares) {
                    (Err(at), true) => nodes.insert(at, node.clone()),
                    (Ok(at), false) => drop(nodes.remove(at)),
                    (Ok(_), true) | (Err(_), false) => {}
                }
            }
        }
        nodes
    }

    /// Keys whose time is over, earliest first.
    pub(crate) fn expired(&self, until_nanos: i64, limit: usize) -> Vec<Expiry> {
        let changed = [&self.kept, &self.staged];
        let more: usize = changed.iter().map(|changes| changes.expiries.len()).sum();
        let mut due = self.base.expiring(until_nanos, limit.saturating_add(more));
        for changes in changed {
            due.retain(|expiry| changes.expiries.get(expiry) != Some(&false));
            let added = changes.expiries.iter().filter(|(_, stays)| **stays);
            due.extend(added.map(|(at, _)| at.clone()).filter(|(at, _, _)| *at <= until_nanos));
        }
        due.sort();
        due.dedup();
        due.truncate(limit);
        due
    }

    /// A chunk's bytes.
    pub(crate) fn chunk(&self, reference: &BlobRef) -> Option<Vec<u8>> {
        let hash: [u8; 32] = reference.sha256.as_slice().try_into().ok()?;
        let kept = self.staged.blobs.get(&hash).or_else(|| self.kept.blobs.get(&hash)).cloned();
        let blob = kept.or_else(|| self.base.blob(&hash))?;
        let room = usize::try_from(blob.size_bytes.min(MAX_CHUNK_BYTES)).ok()?;
        zstd::bulk::decompress(&blob.compressed, room).ok()
    }

    /// Puts changes into an entry: inline, or as chunks that are stored with it.
    pub(crate) fn attach(&mut self, draft: &mut Draft, changes: &[Change]) -> Result<(), Refusal> {
        let (set, chunks) = change_set::pack(changes);
        for chunk in chunks {
            let hash = sha256(&[&chunk]);
            if !self.has_blob(&hash) {
                let compressed = zstd::bulk::compress(&chunk, CHUNK_LEVEL);
                let compressed = compressed.map_err(|_| Refusal::BlobMismatch)?;
                let size_bytes = u32::try_from(chunk.len()).map_err(|_| Refusal::BlobMismatch)?;
                self.staged.blobs.insert(hash, Blob { compressed, size_bytes });
            }
        }
        draft.changes = set;
        Ok(())
    }

    /// Stages rows of a scope under an entry, and everything that follows from them. Refused when
    /// the scope would be larger than a node takes.
    pub(crate) fn declare(
        &mut self,
        scope: &DeclaredScope,
        seq: u64,
        rows: Vec<(ResourceKey, Declared)>,
    ) -> Result<(), Refusal> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut mark = self.scope_mark(scope);
        mark.seq = seq;
        for (key, row) in rows {
            if let Some(before) = self.held(scope, &key) {
                mark.keys = mark.keys.saturating_sub(1);
                mark.size_bytes = mark.size_bytes.saturating_sub(size_of(&key, &before.value));
                if let Some(end) = before.expires_nanos {
                    self.staged.expiries.insert((end, scope.clone(), key.clone()), false);
                }
            }
            if let Some(value) = &row.value {
                mark.keys = mark.keys.saturating_add(1);
                mark.size_bytes = mark.size_bytes.saturating_add(size_of(&key, value));
            }
            self.stage_row(scope, seq, key, row);
        }
        checked_mark(scope, mark)?;
        self.stage_mark(scope, mark);
        Ok(())
    }

    fn stage_row(&mut self, scope: &DeclaredScope, seq: u64, key: ResourceKey, row: Declared) {
        if let Some(end) = row.expires_nanos {
            self.staged.expiries.insert((end, scope.clone(), key.clone()), true);
        }
        if let DeclaredScope::Delta(vcluster, node) = scope {
            let nodes = self.staged.delta_nodes.entry((vcluster.clone(), key.clone())).or_default();
            nodes.insert(node.clone(), row.value.is_some());
        }
        self.staged.declared.entry((scope.clone(), key)).or_default().insert(seq, row);
    }

    /// The scope is another since this entry: its own row, and the record that shows it.
    fn stage_mark(&mut self, scope: &DeclaredScope, mark: ScopeMark) {
        self.staged.scope_marks.entry(scope.clone()).or_default().insert(mark.seq, mark);
        self.staged.configured.insert(scope.to_scope(), mark.seq);
        match scope {
            DeclaredScope::Overlay(vcluster) => {
                if let Some(record) = self.vcluster(vcluster) {
                    let record =
                        VclusterRecord { overlay_seq: mark.seq, overlay_keys: mark.keys, ..record };
                    self.staged.vclusters.insert(vcluster.clone(), record);
                }
            }
            DeclaredScope::Delta(vcluster, node) => {
                // Deltas of a vCluster that the node has left wait there, and its record does not
                // show them.
                if let Some(mut record) = self.node(node)
                    && record.vcluster.as_deref() == Some(vcluster.as_str())
                {
                    record.delta_seq = mark.seq;
                    self.staged.nodes.insert(node.clone(), record);
                }
            }
        }
    }

    /// A node comes into a vCluster with this entry, or leaves. Returns what its record shows of
    /// its deltas. Deltas that wait there count from now: who looked at others before cannot change
    /// these.
    pub(crate) fn arrive(&mut self, node: &NodeId, to: Option<&VclusterId>, seq: u64) -> u64 {
        self.staged.configured.insert(Scope::Node(node.clone()), seq);
        let Some(vcluster) = to else { return 0 };
        let scope = DeclaredScope::Delta(vcluster.clone(), node.clone());
        let mark = self.scope_mark(&scope);
        if mark.seq == 0 {
            return 0;
        }
        let marks = self.staged.scope_marks.entry(scope).or_default();
        marks.insert(seq, ScopeMark { seq, ..mark });
        seq
    }
}

/// A mark within its bounds.
fn checked_mark(scope: &DeclaredScope, mark: ScopeMark) -> Result<(), Refusal> {
    if mark.keys > MAX_SCOPE_KEYS || mark.size_bytes > MAX_SCOPE_BYTES {
        return Err(Refusal::ScopeTooLarge {
            scope: scope.to_scope(),
            keys: mark.keys,
            size_bytes: mark.size_bytes,
        });
    }
    Ok(())
}
