//! `recall`: what became of a request, by its id.

use std::sync::Arc;

use pact_journal_core::record::RequestMemory;
use pact_journal_core::requests;
use pact_journal_core::tree::Tree;
use pact_schemas::v1::{self, Action, Committed, RecallReply, RecallRequest};
use pact_schemas::{RequestId, convert};

use super::entries::{cost, record};
use super::{MAX_REPLY_BYTES, reading};
use crate::context::Context;
use crate::store::query::{EntryReader, read_head, read_horizon};
use crate::store::state::StateDb;
use crate::store::view::RocksView;

/// The outcome of the request with this id, and the entries that it made; empty: nothing was committed under it.
///
/// # Errors
/// `PACT_REQUEST_ID_REFUSED` for an id that may have been forgotten; `PACT_CONFLICT` when somebody else, or something else, was
/// asked under it; `PACT_NO_LEADER`.
pub async fn recall(context: &Context, request: RecallRequest) -> Result<RecallReply, v1::Error> {
    let id: RequestId = convert::id(&request.request_id, "RecallRequest.request_id")?;
    let asker = convert::required(request.asker.as_ref(), "RecallRequest.asker")?;
    let asked = Action { action: None, asked_sha256: request.asked_sha256.clone() };
    let digest = requests::digest(asker, &asked)?;
    context.current(false).await?;
    let state = context.member().state();
    reading(move || {
        let (head, horizon, tree) = (read_head(&state), read_horizon(&state), Tree::default());
        let view = RocksView { state: &state, head, tree: &tree, horizon };
        match requests::recall(&view, id, digest)? {
            Some(memory) => Ok(page(&state, &memory, request.after)),
            None => Ok(RecallReply::default()),
        }
    })
    .await?
}

/// The entries after a sequence, as many as fit, at least one.
fn page(state: &Arc<StateDb>, memory: &RequestMemory, after: u64) -> RecallReply {
    let committed = Committed {
        first_seq: memory.first_seq,
        last_seq: memory.last_seq,
        time: Some(convert::timestamp(memory.time_nanos)),
        repeated_request: true,
    };
    let mut reply = RecallReply { committed: Some(committed), ..RecallReply::default() };
    let (mut reader, mut bytes) = (EntryReader::new(state), 0);
    // A request that made no entry has 0 for both.
    let first = memory.first_seq.max(after.saturating_add(1)).max(1);
    for entry in (first..=memory.last_seq).map_while(|seq| reader.get(seq)) {
        bytes += cost(&entry);
        if bytes > MAX_REPLY_BYTES && !reply.entries.is_empty() {
            reply.more = true;
            break;
        }
        reply.entries.push(record(entry));
    }
    reply
}
