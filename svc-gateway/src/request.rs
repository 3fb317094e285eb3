//! Request ids of writing calls: one for each entry that a call makes, and what became of them.
//!
//! A call on several nodes makes an entry for each. Each has a request id of its own, derived from the client's, so that
//! a retry meets the same ids. The drift of a node is gone once it is committed; so a retry first looks whether its
//! entry is there.

use pact_identity::Principal;
use pact_journal_client::Journal;
use pact_schemas::convert::Scope;
use pact_schemas::v1::{self, Entry};
use pact_schemas::{ErrorCode, NodeId, RequestId};
use ring::digest::{Context, SHA256};

use crate::error::Answer;

/// What the digest of a derived id begins with.
const DOMAIN: &[u8] = b"pact.v1.derived-request\0";

/// The id of one part of a request: its time, and a digest of both in place of what was random.
pub(crate) fn derived(id: RequestId, part: &str) -> Answer<RequestId> {
    let mut context = Context::new(&SHA256);
    for bytes in [DOMAIN, id.as_bytes().as_slice(), part.as_bytes()] {
        context.update(bytes);
    }
    let digest = context.finish();
    let hex = |bytes: &mut dyn Iterator<Item = &u8>| -> String {
        bytes.map(|byte| format!("{byte:02x}")).collect()
    };
    let time = hex(&mut id.as_bytes().iter().take(6));
    let noise = hex(&mut digest.as_ref().iter().take(10));
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

/// The id under which a node's entry is proposed: the client's own when it named that node alone.
pub(crate) fn for_node(id: RequestId, targets: &str, node: &NodeId) -> Answer<RequestId> {
    if targets == node.as_str() { Ok(id) } else { derived(id, node.as_str()) }
}

/// The entry that this request made in this scope already, if it says what is asked for now.
///
/// # Errors
/// `PACT_CONFLICT` when the id was used for another request; `PACT_REQUEST_ID_REFUSED` when the request is longer ago than
/// the journal remembers.
pub(crate) async fn entry_of(
    journal: &Journal,
    scope: &Scope,
    id: RequestId,
    is_same: impl Fn(&Entry) -> bool,
) -> Answer<Option<Entry>> {
    let scope = Some(v1::Scope::from(scope));
    let entries = entries_of(journal, id).await?;
    let is_new = entries.is_empty();
    let found = entries.into_iter().find(|entry| entry.scope == scope && is_same(entry));
    if is_new || found.is_some() { Ok(found) } else { Err(reused(id)) }
}

/// Whether this principal made an entry: nobody is told of another's request.
pub(crate) fn is_by(entry: &Entry, principal: &Principal) -> bool {
    let of = |p: &v1::Principal| (p.issuer.clone(), p.subject.clone(), p.kind);
    entry.author.as_ref().map(of) == Some(of(&principal.to_wire()))
}

/// As the journal says it.
pub(crate) fn reused(id: RequestId) -> v1::Error {
    ErrorCode::Conflict
        .error(format!("request id {id} was used for another request"))
        .next("use a new request id for a new request")
}

/// All entries that this request made already; none where it was not committed.
///
/// # Errors
/// As [`entry_of`].
pub(crate) async fn entries_of(journal: &Journal, id: RequestId) -> Answer<Vec<Entry>> {
    let recalled = journal.recall(id).await?;
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
        assert_eq!(for_node(id, "n1", &node).unwrap(), id);
        assert_eq!(for_node(id, "n[1-2]", &node).unwrap(), one);
    }
}
