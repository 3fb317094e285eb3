//! `log`, `log show`: entries, as far as the caller may see them.

use std::time::Duration;

use pact_journal_client::Journal;
use pact_schemas::convert::{self, Scope};
use pact_schemas::rpc;
use pact_schemas::v1::{
    self, EntriesReply, EntriesRequest, Entry, EntryRecord, EntryReply, EntryRequest,
};
use pact_schemas::{ErrorCode, NodeId};
use prost::Message as _;

use crate::ask::changes::MAX_CHUNKS;
use crate::ask::read;
use crate::context::Gateway;
use crate::door::tokens::{Caller, Sight, sight};
use crate::error::{Answer, bad_reply};
use crate::rights::authorise::{Asked, operation};

/// Most entries of one `log` (gateway.proto).
const MAX_ENTRIES: u32 = 10_000;

/// Where none is asked for (contracts §3).
const DEFAULT_ENTRIES: u32 = 20;

/// What one answer carries: well under the 4 MiB that gRPC clients take.
const MAX_REPLY_BYTES: usize = 3 * 1024 * 1024;

/// How long older entries are looked for: few of many may be wanted.
const SEARCH: Duration = Duration::from_secs(8);

/// Changes that `log show` carries beside its entries: ten thousand of ordinary size, and with them still under 4 MiB.
const MAX_SHOWN_CHANGE_BYTES: u64 = 2 * 1024 * 1024;

pub(super) async fn log(
    gateway: &Gateway,
    caller: Caller,
    request: v1::LogRequest,
) -> Answer<v1::LogReply> {
    gateway.rights.authorise_scope(&caller, "log", request.scope.as_ref()).await?;
    let wanted = match request.count {
        0 => DEFAULT_ENTRIES,
        count if count <= MAX_ENTRIES => count,
        count => {
            return Err(ErrorCode::InvalidArgument.error(format!(
                "{count} entries were asked for; at most {MAX_ENTRIES} are sent at once"
            )));
        }
    };
    let first = EntriesRequest {
        scope: request.scope,
        visible: sight(&caller.principal).filter(),
        filter: Some(request.filter.unwrap_or_default()),
        ..EntriesRequest::default()
    };
    let until = gateway.clock.monotonic() + SEARCH;
    let mut log = v1::LogReply::default();
    let mut before = 0;
    loop {
        // Never none: the loop ends with as many as are wanted.
        let last = Some(wanted.saturating_sub(u32::try_from(log.entries.len()).unwrap_or(wanted)));
        let older = EntriesRequest { last, before, ..first.clone() };
        let reply: EntriesReply = gateway.journal.read::<rpc::journal::Entries>(&older).await?;
        if before == 0 {
            log.head_seq = reply.head_seq;
        }
        log.entries.splice(0..0, reply.entries);
        if log.entries.len() >= wanted as usize || reply.looked_from <= 1 {
            return Ok(log);
        }
        let is_stuck = before != 0 && reply.looked_from >= before;
        let is_late = gateway.clock.monotonic() >= until;
        if is_stuck || is_late || size(&log.entries) >= MAX_REPLY_BYTES {
            log.is_cut = true;
            return Ok(log);
        }
        before = reply.looked_from;
    }
}

pub(super) async fn show_entry(
    gateway: &Gateway,
    caller: Caller,
    request: v1::ShowEntryRequest,
) -> Answer<v1::ShowEntryReply> {
    gateway.rights.authorise(&caller, Asked::of(operation("log.show")?)).await?;
    let mut shown = visible_entry(&gateway.journal, &sight(&caller.principal), request.seq).await?;
    if let Some(record) = &shown.entry {
        shown.change_chunks = change_chunks(&gateway.journal, decode(record)?).await?;
    }
    Ok(shown)
}

/// The chunks that an entry's changes are in; none where they are more than an answer carries, which the client says.
async fn change_chunks(journal: &Journal, entry: Entry) -> Answer<Vec<Vec<u8>>> {
    let size: u64 = entry.change_chunks.iter().map(|chunk| u64::from(chunk.size_bytes)).sum();
    if size > MAX_SHOWN_CHANGE_BYTES || entry.change_chunks.len() > MAX_CHUNKS {
        return Ok(Vec::new());
    }
    let mut chunks = Vec::with_capacity(entry.change_chunks.len());
    for chunk in &entry.change_chunks {
        chunks.push(read::chunk(journal, chunk).await?);
    }
    Ok(chunks)
}

/// An entry and its outcomes, as far as they are seen. What is not seen is not found.
pub(super) async fn visible_entry(
    journal: &Journal,
    sight: &Sight,
    seq: u64,
) -> Answer<v1::ShowEntryReply> {
    if seq == 0 {
        return Err(ErrorCode::InvalidArgument.error("sequence numbers start at 1"));
    }
    let request = EntryRequest { seq, stale: false, visible: sight.filter() };
    let reply = journal.read::<rpc::journal::Entry>(&request).await;
    let reply: EntryReply = reply.map_err(|error| match error.known_code() {
        ErrorCode::NotFound => no_entry(seq),
        _ => error,
    })?;
    let entry = reply.entry.ok_or_else(|| no_entry(seq))?;
    let outcomes = reply.outcomes;
    Ok(v1::ShowEntryReply { entry: Some(entry), outcomes, change_chunks: Vec::new() })
}

/// The node of an entry, where it has one.
pub(super) fn node_of(entry: &Entry) -> Option<NodeId> {
    match entry.scope.as_ref().map(Scope::try_from) {
        Some(Ok(Scope::Node(node))) => Some(node),
        _ => None,
    }
}

/// An entry's bytes, read. They are handed on as they are.
pub(crate) fn decode(record: &EntryRecord) -> Answer<Entry> {
    Entry::decode(record.entry.as_slice())
        .map_err(|_| bad_reply("pact-journal", convert::WireError::Decode { what: "Entry" }))
}

pub(super) fn no_entry(seq: u64) -> v1::Error {
    ErrorCode::NotFound
        .error(format!("no entry {seq}"))
        .because("it does not exist, or none of your roles may see it")
        .next("list entries with `pact log`")
}

fn size(entries: &[EntryRecord]) -> usize {
    entries.iter().map(|record| record.entry.len() + record.hash.len()).sum()
}
