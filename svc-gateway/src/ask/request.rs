//! Request ids of writing calls: one for each entry that a call makes, and what became of them.
//!
//! A call on several nodes makes an entry for each. Each has a request id of its own, derived from the client's, so that
//! a retry meets the same ids. The drift of a node is gone once it is committed; so a retry first looks whether its
//! entry is there.

use pact_journal_client::Journal;
use pact_schemas::convert::{self, Scope};
use pact_schemas::v1::{self, Entry};
use pact_schemas::{Digest, ErrorCode, NodeId, RequestId};

use crate::error::{Answer, bad_request};
use crate::rights::permit::Permit;

/// What the digest of a derived id begins with.
const DOMAIN: &[u8] = b"pact.v1.derived-request\0";

/// What the digest of a client's request begins with.
const ASKED: &[u8] = b"pact.v1.asked\0";

/// A client's request as the journal remembers it: its id, and a digest of all that it asks for. A retry has both, while
/// the action that is made of it may be another: a node was moved, a commit window has closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestKey {
    pub(crate) id: RequestId,
    pub(crate) asked: Digest,
}

impl RequestKey {
    /// The key of a request for this operation.
    ///
    /// # Errors
    /// For an id that is none.
    pub(crate) fn of(operation: &str, id: &str, request: &impl prost::Message) -> Answer<Self> {
        let request = request.encode_to_vec();
        let asked =
            Digest::of_parts([ASKED, operation.as_bytes(), [0].as_slice(), request.as_slice()]);
        Ok(Self { id: request_id(id)?, asked })
    }

    /// The key under which a node's entry is proposed: with the client's own id when it named that node alone.
    pub(crate) fn for_node(self, targets: &str, node: &NodeId) -> Answer<Self> {
        let is_alone = targets == node.as_str();
        let id = if is_alone { self.id } else { derived(self.id, node.as_str())? };
        Ok(Self { id, ..self })
    }
}

/// The client's id of a request.
pub(crate) fn request_id(text: &str) -> Answer<RequestId> {
    convert::id(text, "request_id").map_err(bad_request)
}

/// The id of one part of a request: its time, and a digest of both in place of what was random.
pub(crate) fn derived(id: RequestId, part: &str) -> Answer<RequestId> {
    let digest = Digest::of_parts([DOMAIN, id.as_bytes().as_slice(), part.as_bytes()]);
    let hex = |bytes: &mut dyn Iterator<Item = &u8>| -> String {
        bytes.map(|byte| format!("{byte:02x}")).collect()
    };
    let time = hex(&mut id.as_bytes().iter().take(6));
    let noise = hex(&mut digest.as_bytes().iter().take(10));
    let part = |from: usize, to: usize| noise.get(from..to).unwrap_or_default();
    // Version 7, variant 10xx: `8` leaves the variant's free bits zero.
    let text = format!(
        "{}-{}-7{}-8{}-{}",
        time.get(..8).unwrap_or_default(),
        time.get(8..).unwrap_or_default(),
        part(0, 3),
        part(3, 6),
        part(6, 18),
    );
    text.parse().map_err(|e: pact_schemas::id::IdError| ErrorCode::Internal.error(e.to_string()))
}

/// The entry that this request made in this scope already.
///
/// # Errors
/// `PACT_REQUEST_ID_REFUSED` when the request is longer ago than the journal remembers; `PACT_CONFLICT` when its id is that of
/// another request, or of somebody else's.
pub(crate) async fn entry_of(
    journal: &Journal,
    permit: &Permit,
    scope: &Scope,
    key: RequestKey,
) -> Answer<Option<Entry>> {
    let scope = Some(v1::Scope::from(scope));
    let entries = entries_of(journal, permit, key).await?;
    Ok(entries.into_iter().find(|entry| entry.scope == scope))
}

/// All entries that this request made already; none where it was not committed.
///
/// # Errors
/// As [`entry_of`].
pub(crate) async fn entries_of(
    journal: &Journal,
    permit: &Permit,
    key: RequestKey,
) -> Answer<Vec<Entry>> {
    let recalled = journal.recall(key.id, permit.principal.to_wire(), key.asked).await?;
    Ok(recalled.map(|recalled| recalled.entries).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_id_is_always_the_same_and_of_the_same_time() {
        let id: RequestId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let other: RequestId = "01890a5d-ac96-774b-bcce-b302099a8058".parse().unwrap();
        let one = derived(id, "n1").unwrap();
        assert_eq!(one, derived(id, "n1").unwrap());
        assert_eq!(one.unix_milliseconds(), id.unix_milliseconds());
        assert!(one != id && one != derived(id, "n2").unwrap());
        assert_ne!(one, derived(other, "n1").unwrap());
        let node = NodeId::new("n1").unwrap();
        let request = v1::CommitRequest { targets: "n1".into(), ..v1::CommitRequest::default() };
        let key = RequestKey::of("commit", &id.to_string(), &request).unwrap();
        assert_eq!(key.for_node("n1", &node).unwrap(), key);
        assert_eq!(key.for_node("n[1-2]", &node).unwrap(), RequestKey { id: one, ..key });
        let other = v1::CommitRequest { message: "why".into(), ..request };
        assert_ne!(RequestKey::of("commit", &id.to_string(), &other).unwrap(), key);
    }
}
