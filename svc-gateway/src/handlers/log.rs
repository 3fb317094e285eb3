//! `log`, `log show`: entries, as far as the caller may see them.

use pact_schemas::convert::{self, Scope};
use pact_schemas::v1::{
    self, EntriesReply, EntriesRequest, Entry, EntryRecord, EntryReply, EntryRequest,
};
use pact_schemas::{ErrorCode, NodeId, VclusterId};
use prost::Message as _;

use crate::authorise::{Asked, operation};
use crate::changes::MAX_CHUNKS;
use crate::context::Gateway;
use crate::door::tokens::{Caller, Sight, sight};
use crate::error::{Answer, bad_reply, bad_request};
use crate::targets::Targets;

/// Most entries of one `log` (gateway.proto).
const MAX_ENTRIES: u32 = 10_000;

/// Where none is asked for (contracts §3).
const DEFAULT_ENTRIES: u32 = 20;

/// What one answer carries: well under the 4 MiB that gRPC clients take.
const MAX_REPLY_BYTES: usize = 3 * 1024 * 1024;

/// Changes that `log show` carries beside its entries: ten thousand of ordinary size, and with them still under 4 MiB.
const MAX_SHOWN_CHANGE_BYTES: u64 = 2 * 1024 * 1024;

/// A scope that the caller named, with its node looked up.
pub(super) enum Named {
    Nothing,
    Node(Targets),
    Vcluster(VclusterId),
}

impl Gateway {
    /// Looks a scope up and asks whether the caller may read it.
    pub(super) async fn authorise_scope(
        &self,
        caller: &Caller,
        name: &'static str,
        scope: Option<&v1::Scope>,
    ) -> Answer<()> {
        let named = match scope.map(Scope::try_from).transpose().map_err(bad_request)? {
            None | Some(Scope::Global) => Named::Nothing,
            Some(Scope::Node(node)) => Named::Node(self.one_node(node.as_str()).await?),
            Some(Scope::Vcluster(vcluster)) => Named::Vcluster(vcluster),
        };
        let asked = Asked::of(operation(name)?);
        let asked = match &named {
            Named::Nothing => asked,
            Named::Node(targets) => asked.on(targets),
            Named::Vcluster(vcluster) => asked.within([vcluster.clone()]),
        };
        self.authorise(caller, asked).await.map(drop)
    }

    pub(super) async fn log(
        &self,
        caller: Caller,
        request: v1::LogRequest,
    ) -> Answer<v1::LogReply> {
        self.authorise_scope(&caller, "log", request.scope.as_ref()).await?;
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
            last: Some(wanted),
            visible: sight(&caller.principal).filter(),
            ..EntriesRequest::default()
        };
        let reply: EntriesReply = self.journal.read("entries", &first).await?;
        let mut entries = reply.entries;
        let (mut after, head) = (reply.next_after, reply.head_seq);
        // A page is cut at half a megabyte; what is left follows it.
        while entries.len() < wanted as usize
            && after < head
            && size(&entries) < MAX_REPLY_BYTES
            && !entries.is_empty()
        {
            let next = EntriesRequest { after, last: None, ..first.clone() };
            let reply: EntriesReply = self.journal.read("entries", &next).await?;
            if reply.next_after <= after {
                break;
            }
            after = reply.next_after;
            entries.extend(reply.entries);
        }
        // Entries that came meanwhile are newer than what was asked for.
        entries.truncate(wanted as usize);
        Ok(v1::LogReply { entries })
    }

    pub(super) async fn show_entry(
        &self,
        caller: Caller,
        request: v1::ShowEntryRequest,
    ) -> Answer<v1::ShowEntryReply> {
        self.authorise(&caller, Asked::of(operation("log.show")?)).await?;
        let mut shown = self.visible_entry(&sight(&caller.principal), request.seq).await?;
        if let Some(record) = &shown.entry {
            shown.change_chunks = self.change_chunks(decode(record)?).await?;
        }
        Ok(shown)
    }

    /// The chunks that an entry's changes are in; none where they are more than an answer carries, which the client says.
    async fn change_chunks(&self, entry: Entry) -> Answer<Vec<Vec<u8>>> {
        let size: u64 = entry.change_chunks.iter().map(|chunk| u64::from(chunk.size_bytes)).sum();
        if size > MAX_SHOWN_CHANGE_BYTES || entry.change_chunks.len() > MAX_CHUNKS {
            return Ok(Vec::new());
        }
        let mut chunks = Vec::with_capacity(entry.change_chunks.len());
        for chunk in &entry.change_chunks {
            chunks.push(self.chunk(chunk).await?);
        }
        Ok(chunks)
    }

    /// An entry and its outcomes, as far as they are seen. What is not seen is not found.
    pub(super) async fn visible_entry(
        &self,
        sight: &Sight,
        seq: u64,
    ) -> Answer<v1::ShowEntryReply> {
        if seq == 0 {
            return Err(ErrorCode::InvalidArgument.error("sequence numbers start at 1"));
        }
        // Who sees an entry and its outcomes is the journal's to know.
        let request = EntryRequest { seq, stale: false, visible: sight.filter() };
        let reply: Answer<EntryReply> = self.journal.read("entry", &request).await;
        let reply = reply.map_err(|error| match error.known_code() {
            ErrorCode::NotFound => no_entry(seq),
            _ => error,
        })?;
        let entry = Some(reply.entry.ok_or_else(|| no_entry(seq))?);
        Ok(v1::ShowEntryReply { entry, outcomes: reply.outcomes, change_chunks: Vec::new() })
    }
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
