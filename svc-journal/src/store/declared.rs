//! Rows of declared state, which are never overwritten.
//!
//! ```text
//! <scope> = 'v' vCluster | 'd' vCluster 00 node
//!
//! <scope> 00 key 00 sequence (8)          → DeclaredRow: what this entry said about the key
//! 'n' <scope> 00 sequence (8)             → ScopeRow: where the scope stands since this entry
//! 'k' vCluster 00 key 00 node             → (empty): the node's delta declares the key now
//! 'x' end, Unix nanoseconds (8) <scope> 00 key → (empty): the key is declared now and ends then
//! ```
//!
//! Resource keys and ids hold no zero byte, so byte order is the order of scope, key and sequence.

#[cfg(test)]
mod tests;

use pact_journal_core::declared::{Declared, DeclaredScope, Expiry, Held, ScopeMark};
use pact_journal_core::view::Changes;
use pact_runtime::Timestamp;
use pact_schemas::resource::{ResourceKey, Value};
use pact_schemas::{NodeId, VclusterId, v1};
use prost::Message;
use rocksdb::{Direction, IteratorMode, Snapshot, WriteBatch};

use super::fatal::OrFatal;
use super::key::decoded;
use super::state::{Family, StateDb};

/// Longer than any sequence: everything of a key lies before it.
const AFTER_SEQUENCES: [u8; 9] = [0xff; 9];

#[derive(Clone, PartialEq, Message)]
struct DeclaredRow {
    /// Absent: declared no longer.
    #[prost(message, optional, tag = "1")]
    value: Option<v1::Value>,
    /// Unix nanoseconds; absent: until something else is declared.
    #[prost(int64, optional, tag = "2")]
    expires_nanos: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeRow {
    #[prost(uint32, tag = "1")]
    keys: u32,
    #[prost(uint64, tag = "2")]
    size_bytes: u64,
}

type Row = (Box<[u8]>, Box<[u8]>);

/// Where rows are read: the state as it moves, or as it was at one moment.
pub(crate) trait Rows {
    /// A row.
    fn row(&self, family: Family, key: &[u8]) -> Option<Vec<u8>>;
    /// Rows from a key on.
    fn rows<'s>(
        &'s self,
        family: Family,
        from: &[u8],
        direction: Direction,
    ) -> Box<dyn Iterator<Item = Row> + 's>;
}

impl Rows for StateDb {
    fn row(&self, family: Family, key: &[u8]) -> Option<Vec<u8>> {
        self.get(family, key)
    }

    fn rows<'s>(
        &'s self,
        family: Family,
        from: &[u8],
        direction: Direction,
    ) -> Box<dyn Iterator<Item = Row> + 's> {
        let rows = self.db().iterator_cf(self.family(family), IteratorMode::From(from, direction));
        Box::new(rows.map(|row| row.or_fatal("the state cannot be read")))
    }
}

/// The state at one moment: what is applied meanwhile is not seen.
pub(crate) struct Frozen<'a> {
    state: &'a StateDb,
    snapshot: Snapshot<'a>,
}

impl<'a> Frozen<'a> {
    /// The state as it is now.
    pub(crate) fn of(state: &'a StateDb) -> Self {
        Self { state, snapshot: state.db().snapshot() }
    }
}

impl Rows for Frozen<'_> {
    fn row(&self, family: Family, key: &[u8]) -> Option<Vec<u8>> {
        let row = self.snapshot.get_cf(self.state.family(family), key);
        row.or_fatal("the state cannot be read")
    }

    fn rows<'s>(
        &'s self,
        family: Family,
        from: &[u8],
        direction: Direction,
    ) -> Box<dyn Iterator<Item = Row> + 's> {
        let family = self.state.family(family);
        let rows = self.snapshot.iterator_cf(family, IteratorMode::From(from, direction));
        Box::new(rows.map(|row| row.or_fatal("the state cannot be read")))
    }
}

/// The name of a scope in keys, with the zero byte behind it.
fn scope_prefix(scope: &DeclaredScope) -> Vec<u8> {
    match scope {
        DeclaredScope::Overlay(vcluster) => [b"v", vcluster.as_str().as_bytes(), &[0]].concat(),
        DeclaredScope::Delta(vcluster, node) => {
            [b"d", vcluster.as_str().as_bytes(), &[0], node.as_str().as_bytes(), &[0]].concat()
        }
    }
}

fn key_prefix(scope: &DeclaredScope, key: &ResourceKey) -> Vec<u8> {
    [scope_prefix(scope).as_slice(), key.as_str().as_bytes(), &[0]].concat()
}

fn mark_prefix(scope: &DeclaredScope) -> Vec<u8> {
    [b"n".as_slice(), &scope_prefix(scope)].concat()
}

fn holder_prefix(vcluster: &VclusterId, key: &ResourceKey) -> Vec<u8> {
    [b"k", vcluster.as_str().as_bytes(), &[0], key.as_str().as_bytes(), &[0]].concat()
}

fn expiry_key((end, scope, key): &Expiry) -> Vec<u8> {
    // Entry time plus a bounded life: never before 1970.
    let end = u64::try_from(*end).unwrap_or(0).to_be_bytes();
    [b"x", end.as_slice(), &scope_prefix(scope), key.as_str().as_bytes()].concat()
}

fn parsed<T: std::str::FromStr>(bytes: &[u8], what: &str) -> T {
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).or_fatal(what)
}

fn expiry_of(key: &[u8]) -> Expiry {
    let what = "the end of a declared key";
    let (end, rest) =
        key.strip_prefix(b"x").and_then(<[u8]>::split_first_chunk::<8>).or_fatal(what);
    let end = i64::try_from(u64::from_be_bytes(*end)).or_fatal(what);
    let (kind, rest) = rest.split_first().or_fatal(what);
    let mut parts = rest.split(|byte| *byte == 0);
    let mut next = || parts.next().or_fatal(what);
    let vcluster = parsed(next(), what);
    let scope = match kind {
        b'v' => DeclaredScope::Overlay(vcluster),
        b'd' => DeclaredScope::Delta(vcluster, parsed(next(), what)),
        _ => None.or_fatal(what),
    };
    (end, scope, parsed(next(), what))
}

/// The resource key and the sequence behind the scope in a row's key.
fn split_row_key<'k>(prefix: &[u8], key: &'k [u8]) -> Option<(&'k [u8], u64)> {
    let (name, seq) = key.strip_prefix(prefix)?.split_last_chunk::<8>()?;
    Some((name.strip_suffix(&[0])?, u64::from_be_bytes(*seq)))
}

fn read_row(row: &[u8]) -> Declared {
    let what = "a declared key";
    let row: DeclaredRow = decoded(row, what);
    let value = row.value.map(|value| Value::try_from(value).or_fatal(what));
    Declared { value, expires_nanos: row.expires_nanos }
}

/// The newest row of a key at or before a sequence.
pub(crate) fn newest(
    rows: &dyn Rows,
    scope: &DeclaredScope,
    key: &ResourceKey,
    at_seq: u64,
) -> Option<(u64, Declared)> {
    let prefix = key_prefix(scope, key);
    let from = [prefix.as_slice(), &at_seq.to_be_bytes()].concat();
    let (found, row) = rows.rows(Family::Declared, &from, Direction::Reverse).next()?;
    let seq = found.strip_prefix(prefix.as_slice())?;
    let seq = u64::from_be_bytes(seq.try_into().or_fatal("the key of a declared key"));
    Some((seq, read_row(&row)))
}

/// What a scope declared right after a sequence, in key order, after this key.
pub(crate) fn held_after<'r>(
    rows: &'r dyn Rows,
    scope: &DeclaredScope,
    at_seq: u64,
    after: Option<&ResourceKey>,
) -> impl Iterator<Item = (ResourceKey, Held)> + 'r {
    let from = match after {
        Some(key) => [key_prefix(scope, key).as_slice(), &AFTER_SEQUENCES].concat(),
        None => scope_prefix(scope),
    };
    from_key(rows, scope, at_seq, from)
}

/// As [`held_after`], from the first key with this beginning on.
pub(crate) fn held_from<'r>(
    rows: &'r dyn Rows,
    scope: &DeclaredScope,
    at_seq: u64,
    beginning: &str,
) -> impl Iterator<Item = (ResourceKey, Held)> + 'r {
    let from = [scope_prefix(scope).as_slice(), beginning.as_bytes()].concat();
    from_key(rows, scope, at_seq, from)
}

fn from_key<'r>(
    rows: &'r dyn Rows,
    scope: &DeclaredScope,
    at_seq: u64,
    from: Vec<u8>,
) -> impl Iterator<Item = (ResourceKey, Held)> + 'r {
    let prefix = scope_prefix(scope);
    let mut rows = rows.rows(Family::Declared, &from, Direction::Forward).peekable();
    std::iter::from_fn(move || {
        loop {
            // All rows of one key: the last one that is not too new counts.
            let (first, _) = rows.peek()?;
            let name = split_row_key(&prefix, first)?.0.to_vec();
            let mut newest: Option<(u64, Box<[u8]>)> = None;
            while let Some((key, row)) = rows.next_if(|(key, _)| {
                split_row_key(&prefix, key).is_some_and(|(of, _)| of == name.as_slice())
            }) {
                let seq = split_row_key(&prefix, &key).map_or(u64::MAX, |(_, seq)| seq);
                if seq <= at_seq {
                    newest = Some((seq, row));
                }
            }
            let held = newest.and_then(|(seq, row)| Held::of(seq, read_row(&row)));
            if let Some(held) = held {
                return Some((parsed(&name, "a resource key"), held));
            }
        }
    })
}

/// Where a scope stood right after a sequence.
pub(crate) fn scope_mark(rows: &dyn Rows, scope: &DeclaredScope, at_seq: u64) -> Option<ScopeMark> {
    let prefix = mark_prefix(scope);
    let from = [prefix.as_slice(), &at_seq.to_be_bytes()].concat();
    let (found, row) = rows.rows(Family::Declared, &from, Direction::Reverse).next()?;
    let seq = found.strip_prefix(prefix.as_slice())?;
    let seq = u64::from_be_bytes(seq.try_into().or_fatal("the key of a scope"));
    let row: ScopeRow = decoded(&row, "a scope of declared keys");
    Some(ScopeMark { seq, keys: row.keys, size_bytes: row.size_bytes })
}

/// Nodes whose deltas in a vCluster declare this key now, in order.
pub(crate) fn delta_nodes(
    rows: &dyn Rows,
    vcluster: &VclusterId,
    key: &ResourceKey,
) -> Vec<NodeId> {
    let prefix = holder_prefix(vcluster, key);
    rows.rows(Family::Declared, &prefix, Direction::Forward)
        .map_while(|(key, _)| Some(parsed(key.strip_prefix(prefix.as_slice())?, "a node's delta")))
        .collect()
}

/// Declared keys that end at or before this time, earliest first.
pub(crate) fn expiring(rows: &dyn Rows, until_nanos: i64, limit: usize) -> Vec<Expiry> {
    rows.rows(Family::Declared, b"x", Direction::Forward)
        .map_while(|(key, _)| key.starts_with(b"x").then(|| expiry_of(&key)))
        .take_while(|(end, _, _)| *end <= until_nanos)
        .take(limit)
        .collect()
}

/// Whether a tick would end a declared key now.
pub(crate) fn is_due(state: &StateDb, now: Timestamp) -> bool {
    !expiring(state, now.unix_nanos(), 1).is_empty()
}

/// Puts what a Raft entry declared into its batch.
pub(crate) fn put_declared(state: &StateDb, batch: &mut WriteBatch, changes: &Changes) {
    let family = state.family(Family::Declared);
    for ((scope, key), rows) in &changes.declared {
        let prefix = key_prefix(scope, key);
        for (seq, declared) in rows {
            let row = DeclaredRow {
                value: declared.value.as_ref().map(v1::Value::from),
                expires_nanos: declared.expires_nanos,
            };
            let at = [prefix.as_slice(), &seq.to_be_bytes()].concat();
            batch.put_cf(family, at, row.encode_to_vec());
        }
    }
    for (scope, marks) in &changes.scope_marks {
        let prefix = mark_prefix(scope);
        for (seq, mark) in marks {
            let row = ScopeRow { keys: mark.keys, size_bytes: mark.size_bytes };
            let at = [prefix.as_slice(), &seq.to_be_bytes()].concat();
            batch.put_cf(family, at, row.encode_to_vec());
        }
    }
    for ((vcluster, key), nodes) in &changes.delta_nodes {
        let prefix = holder_prefix(vcluster, key);
        for (node, declares) in nodes {
            let at = [prefix.as_slice(), node.as_str().as_bytes()].concat();
            if *declares {
                batch.put_cf(family, at, []);
            } else {
                batch.delete_cf(family, at);
            }
        }
    }
    for (expiry, stays) in &changes.expiries {
        if *stays {
            batch.put_cf(family, expiry_key(expiry), []);
        } else {
            batch.delete_cf(family, expiry_key(expiry));
        }
    }
}
