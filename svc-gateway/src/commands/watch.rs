//! `watch`: entries as they are committed.

use std::time::Duration;

use pact_journal_client::Journal;
use pact_schemas::rpc;
use pact_schemas::v1::{self, EntriesReply, EntriesRequest, EntryRecord};

use crate::context::Gateway;
use crate::door::tokens::{Caller, sight};
use crate::error::Answer;
use crate::stream::{Drain, Outflow, Outlet};

/// Entries between the journal and the client; a slow client is behind, it is not disconnected.
const QUEUE: usize = 64;

/// How long the journal waits for new entries (journal_rpc.proto allows 20 s).
const POLL: Duration = Duration::from_secs(15);

/// The wait and the way there and back.
const POLL_ATTEMPT: Duration = Duration::from_secs(20);

pub(super) async fn watch(
    gateway: &Gateway,
    caller: Caller,
    request: v1::WatchRequest,
) -> Answer<Outflow<EntryRecord>> {
    gateway.rights.authorise_scope(&caller, "watch", request.scope.as_ref()).await?;
    let session = gateway.streams.open(&caller)?;
    let after = match request.after {
        Some(after) => after,
        None => head(&gateway.journal).await?,
    };
    let first = EntriesRequest {
        after,
        scope: request.scope,
        wait_milliseconds: u32::try_from(POLL.as_millis()).unwrap_or(0),
        visible: sight(&caller.principal).filter(),
        filter: Some(request.filter.unwrap_or_default()),
        ..EntriesRequest::default()
    };
    let journal = gateway.journal.clone();
    Ok(gateway.streams.start((caller, session), QUEUE, Drain::AtOnce, move |entries| async move {
        follow(&journal, first, entries).await
    }))
}

async fn head(journal: &Journal) -> Answer<u64> {
    let request = EntriesRequest { last: Some(1), ..EntriesRequest::default() };
    let reply: EntriesReply = journal.read::<rpc::journal::Entries>(&request).await?;
    Ok(reply.head_seq)
}

async fn follow(
    journal: &Journal,
    mut request: EntriesRequest,
    entries: Outlet<EntryRecord>,
) -> Option<v1::Error> {
    loop {
        let reply: EntriesReply =
            match journal.read_for::<rpc::journal::Entries>(&request, POLL_ATTEMPT).await {
                Ok(reply) => reply,
                Err(error) => return Some(error),
            };
        for entry in reply.entries {
            if entries.send(Ok(entry)).await.is_err() {
                return None;
            }
        }
        request.after = request.after.max(reply.next_after);
    }
}
