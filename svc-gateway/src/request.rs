//! Request ids of writing calls: one for each entry that a call makes, and what became of them.
//!
//! A call on several nodes makes an entry for each. Each has a request id of its own, derived from the client's, so that
//! a retry meets the same ids. The drift of a node is gone once it is committed; so a retry first looks whether its
//! entry is there.

use pact_schemas::convert::Scope;
use pact_schemas::v1::{self, EntriesReply, EntriesRequest, Entry};
use pact_schemas::{ErrorCode, NodeId, RequestId};
use ring::digest::{Context, SHA256};

use crate::context::Gateway;
use crate::error::Answer;
use crate::handlers::decode;

/// Newest entries of a scope among which a retry finds its own: more than a node makes within a client's patience.
const LOOK_BACK: u32 = 64;

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

impl Gateway {
    /// The entry that this request made in this scope already.
    pub(crate) async fn entry_of(&self, scope: &Scope, id: RequestId) -> Answer<Option<Entry>> {
        let request = EntriesRequest {
            scope: Some(v1::Scope::from(scope)),
            last: Some(LOOK_BACK),
            ..EntriesRequest::default()
        };
        let reply: EntriesReply = self.journal.read("entries", &request).await?;
        let id = id.to_string();
        for record in reply.entries.iter().rev() {
            let entry = decode(record)?;
            if entry.request_id.as_deref() == Some(id.as_str()) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }
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
