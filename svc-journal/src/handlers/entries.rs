//! `entries` and `entry`: the log, read by scope, from a sequence or from its end, and followed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pact_journal_core::record::{Posting, StoredEntry};
use pact_schemas::convert::{Scope, id};
use pact_schemas::v1::{self, EntriesReply, EntriesRequest, EntryRecord, EntryReply, EntryRequest};
use pact_schemas::{ErrorCode, VclusterId};

use super::{MAX_REPLY_BYTES, reading};
use crate::context::Context;
use crate::store::query::read_head;
use crate::store::query::{self, EntryReader};
use crate::store::state::StateDb;

/// `last` at most.
const MAX_LAST: u32 = 10_000;
/// Longest wait for new entries.
const MAX_WAIT: Duration = Duration::from_secs(20);
/// Sequences of a scope that one reply looks at.
const MAX_CANDIDATES: usize = 10_000;
/// vClusters in a filter.
const MAX_VISIBLE: usize = 1_024;
/// Outcomes of one entry in a reply.
const MAX_OUTCOMES: usize = 4_096;
/// What a record costs beside its bytes.
const RECORD_OVERHEAD_BYTES: usize = 16;

/// A checked request.
#[derive(Debug, Clone)]
struct Reading {
    after: u64,
    scope: Option<Posting>,
    last: Option<usize>,
    visible: Visible,
}

/// Who reads: members of these vClusters, or somebody who sees everything.
#[derive(Debug, Clone)]
struct Visible(Option<BTreeSet<VclusterId>>);

impl Visible {
    fn read(filter: Option<&v1::VclusterFilter>) -> Result<Self, v1::Error> {
        let Some(filter) = filter else { return Ok(Self(None)) };
        if filter.vclusters.len() > MAX_VISIBLE {
            return Err(ErrorCode::TooLarge.error("a filter may name 1,024 vClusters"));
        }
        let names = filter.vclusters.iter().map(|name| id(name, "VclusterFilter.vclusters"));
        Ok(Self(Some(names.collect::<Result<_, _>>()?)))
    }

    fn shows(&self, entry: &StoredEntry) -> bool {
        let Some(visible) = &self.0 else { return true };
        entry.global
            || entry.vclusters.iter().any(|name| visible.iter().any(|v| v.as_str() == name))
    }
}

impl TryFrom<&EntriesRequest> for Reading {
    type Error = v1::Error;

    fn try_from(request: &EntriesRequest) -> Result<Self, v1::Error> {
        if request.last.is_some_and(|last| !(1..=MAX_LAST).contains(&last)) {
            return Err(ErrorCode::InvalidArgument
                .error("EntriesRequest.last must be between 1 and 10,000"));
        }
        let scope =
            request.scope.as_ref().map(Scope::try_from).transpose()?.map(|scope| match scope {
                Scope::Node(node) => Posting::Node(node),
                Scope::Vcluster(vcluster) => Posting::Vcluster(vcluster),
                Scope::Global => Posting::Global,
            });
        let visible = Visible::read(request.visible.as_ref())?;
        let last = request.last.map(|last| usize::try_from(last).unwrap_or(usize::MAX));
        Ok(Self { after: request.after, scope, last, visible })
    }
}

impl Reading {
    /// The indexes that hold what is asked for; `None`: everything is.
    fn postings(&self) -> Option<Vec<Posting>> {
        match (&self.scope, &self.visible.0) {
            (Some(scope), _) => Some(vec![scope.clone()]),
            (None, Some(visible)) => Some(
                visible.iter().cloned().map(Posting::Vcluster).chain([Posting::Global]).collect(),
            ),
            (None, None) => None,
        }
    }

    fn shows(&self, entry: &StoredEntry) -> bool {
        self.visible.shows(entry)
    }
}

/// Entries of a scope, after a sequence or the newest, of what the caller may see; waits for new ones when asked to.
///
/// # Errors
/// For arguments out of bounds, and `PACT_NO_LEADER` unless the caller takes what is here.
pub async fn entries(
    context: &Context,
    request: EntriesRequest,
) -> Result<EntriesReply, v1::Error> {
    let reading = Reading::try_from(&request)?;
    context.current(request.stale).await?;
    let wait = Duration::from_millis(u64::from(request.wait_milliseconds)).min(MAX_WAIT);
    let clock = &context.inner.clock;
    let until = clock.monotonic().saturating_add(wait);
    let mut head = context.member().head_seq();
    let mut after = reading.after;
    loop {
        head.mark_unchanged();
        let reply = read(context, Reading { after, ..reading.clone() }).await?;
        let left = until.saturating_sub(clock.monotonic());
        if !reply.entries.is_empty() || reading.last.is_some() || left.is_zero() {
            return Ok(reply);
        }
        after = reply.next_after;
        if reply.next_after >= reply.head_seq && clock.timeout(left, head.changed()).await.is_err()
        {
            return Ok(reply);
        }
    }
}

async fn read(context: &Context, reading: Reading) -> Result<EntriesReply, v1::Error> {
    let state = context.member().state();
    self::reading(move || match reading.last {
        Some(last) => newest(&state, &reading, last),
        None => following(&state, &reading),
    })
    .await
}

pub(super) fn record(entry: StoredEntry) -> EntryRecord {
    EntryRecord { entry: entry.entry.to_vec(), hash: entry.hash.to_vec() }
}

pub(super) fn cost(entry: &StoredEntry) -> usize {
    entry.entry.len() + entry.hash.len() + RECORD_OVERHEAD_BYTES
}

/// Entries after a sequence, oldest first, until the reply is full.
fn following(state: &Arc<StateDb>, reading: &Reading) -> EntriesReply {
    let head_seq = read_head(state).seq;
    let mut reply =
        EntriesReply { entries: Vec::new(), head_seq, next_after: head_seq.max(reading.after) };
    let mut bytes = 0;
    let mut take = |seq: u64, entry: StoredEntry| {
        bytes += cost(&entry);
        if bytes > MAX_REPLY_BYTES && !reply.entries.is_empty() {
            reply.next_after = seq - 1;
            return false;
        }
        reply.entries.push(record(entry));
        true
    };
    let Some(postings) = reading.postings() else {
        for (seq, entry) in
            query::entries_after(state, reading.after).take_while(|(seq, _)| *seq <= head_seq)
        {
            if !take(seq, entry) {
                break;
            }
        }
        return reply;
    };
    let found =
        postings.iter().map(|p| query::postings_after(state, p, reading.after, MAX_CANDIDATES));
    let candidates: BTreeSet<u64> = found.flatten().filter(|seq| *seq <= head_seq).collect();
    let is_cut = candidates.len() >= MAX_CANDIDATES;
    let mut reader = EntryReader::new(state);
    let mut looked_at = reading.after;
    for seq in candidates.into_iter().take(MAX_CANDIDATES) {
        if let Some(entry) = reader.get(seq).filter(|entry| reading.shows(entry))
            && !take(seq, entry)
        {
            return reply;
        }
        looked_at = seq;
    }
    if is_cut {
        reply.next_after = looked_at;
    }
    reply
}

/// The newest entries, oldest first, as many as fit.
fn newest(state: &Arc<StateDb>, reading: &Reading, last: usize) -> EntriesReply {
    let head_seq = read_head(state).seq;
    let candidates: BTreeSet<u64> = match reading.postings() {
        None => (head_seq.saturating_sub(last as u64) + 1..=head_seq).collect(),
        Some(postings) => {
            let limit = if reading.scope.is_some() && reading.visible.0.is_some() {
                MAX_CANDIDATES
            } else {
                last
            };
            postings
                .iter()
                .flat_map(|p| query::postings_last(state, p, limit))
                .filter(|seq| *seq <= head_seq)
                .collect()
        }
    };
    let mut reader = EntryReader::new(state);
    let (mut bytes, mut found) = (0, Vec::new());
    for seq in candidates.into_iter().rev().filter(|seq| *seq > reading.after) {
        let Some(entry) = reader.get(seq).filter(|entry| reading.shows(entry)) else { continue };
        bytes += cost(&entry);
        if found.len() >= last || (bytes > MAX_REPLY_BYTES && !found.is_empty()) {
            break;
        }
        found.push(record(entry));
    }
    found.reverse();
    EntriesReply { entries: found, head_seq, next_after: head_seq }
}

/// One entry with its outcomes, of what the caller may see.
///
/// # Errors
/// `PACT_NOT_FOUND`; `PACT_NO_LEADER` unless the caller takes what is here.
pub async fn entry(context: &Context, request: EntryRequest) -> Result<EntryReply, v1::Error> {
    let visible = Visible::read(request.visible.as_ref())?;
    context.current(request.stale).await?;
    let state = context.member().state();
    reading(move || {
        let mut reader = EntryReader::new(&state);
        let missing = || ErrorCode::NotFound.error(format!("there is no entry {}", request.seq));
        let entry = reader.get(request.seq).filter(|entry| visible.shows(entry));
        let entry = entry.ok_or_else(missing)?;
        let mut bytes = cost(&entry);
        let mut outcomes = Vec::new();
        for seq in query::outcomes(&state, request.seq, MAX_OUTCOMES) {
            let shown = reader.get(seq).filter(|entry| visible.shows(entry));
            let Some(outcome) = shown else { continue };
            bytes += cost(&outcome);
            if bytes > MAX_REPLY_BYTES && !outcomes.is_empty() {
                break;
            }
            outcomes.push(record(outcome));
        }
        Ok(EntryReply { entry: Some(record(entry)), outcomes })
    })
    .await?
}
