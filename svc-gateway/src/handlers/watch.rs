//! `watch`: entries as they are committed.

use std::time::Duration;

use pact_schemas::v1::{self, EntriesReply, EntriesRequest, EntryRecord};

use crate::auth::{Caller, sight};
use crate::context::Gateway;
use crate::error::Answer;
use crate::exec::stopping;
use crate::outlet::{self, LastWord, Outflow};

/// Entries between the journal and the client; a slow client is behind, it is not disconnected.
const QUEUE: usize = 64;

/// How long the journal waits for new entries (journal_rpc.proto allows 20 s).
const POLL: Duration = Duration::from_secs(15);

/// The wait and the way there and back.
const POLL_ATTEMPT: Duration = Duration::from_secs(20);

type Entries = outlet::Outlet<EntryRecord>;

impl Gateway {
    pub(super) async fn watch(
        &self,
        caller: Caller,
        request: v1::WatchRequest,
    ) -> Answer<Outflow<EntryRecord>> {
        self.authorise_scope(&caller, "watch", request.scope.as_ref()).await?;
        let session = self.sessions.open(&caller.principal)?;
        let after = match request.after {
            Some(after) => after,
            None => self.head().await?,
        };
        let first = EntriesRequest {
            after,
            scope: request.scope,
            wait_milliseconds: u32::try_from(POLL.as_millis()).unwrap_or(0),
            visible: sight(&caller.principal).filter(),
            ..EntriesRequest::default()
        };
        let (entries, last, receiver) = outlet::outlet(QUEUE, Some(session));
        let gateway = self.clone();
        // Ends with its client; its failure is said on the stream.
        tokio::spawn(
            async move { Box::pin(gateway.run_watch(caller, first, entries, last)).await },
        );
        Ok(receiver)
    }

    async fn head(&self) -> Answer<u64> {
        let request = EntriesRequest { last: Some(1), ..EntriesRequest::default() };
        let reply: EntriesReply = self.journal.read("entries", &request).await?;
        Ok(reply.head_seq)
    }

    async fn run_watch(
        &self,
        caller: Caller,
        first: EntriesRequest,
        entries: Entries,
        last: LastWord<EntryRecord>,
    ) {
        let work = self.follow(first, entries.clone());
        let stop = async {
            tokio::select! {
                error = self.until_refused(&caller) => error, // holds nothing
                () = self.draining.cancelled() => stopping(), // cancel-safe: a token
            }
        };
        outlet::serve(&self.clock, entries, last, work, stop).await;
    }

    async fn follow(&self, mut request: EntriesRequest, entries: Entries) -> Option<v1::Error> {
        loop {
            let reply: EntriesReply =
                match self.journal.read_for("entries", &request, POLL_ATTEMPT).await {
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
}
