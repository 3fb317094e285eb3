//! The members of the journal: who they are, and how they are changed.
//!
//! A change is asked for by a platform admin (`ChangeMembers`), which is an entry, and carried out
//! by whoever leads; the entry that ends it is its outcome. There is one at a time. The number of a
//! member that was removed is never given again: a member that comes back under its old number with
//! an empty log would vote as if it had never acknowledged anything.

use pact_schemas::convert::Scope;
use pact_schemas::v1::{EntryKind, MemberChange, MembershipChanged, entry, member_change};

use crate::working::{Draft, Working};

/// Members of a journal, the one that is being added included: each write waits for more than half
/// of the voters.
pub const MAX_MEMBERS: usize = 7;
/// Longest host and port: a DNS name, a colon and five digits.
const MAX_ADDRESS_BYTES: usize = 253 + 6;

/// Whether a text is a host (or an IP address, IPv6 in brackets) and a port.
#[must_use]
pub fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_host = !host.is_empty()
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
    is_host && text.len() <= MAX_ADDRESS_BYTES && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// `add member 4 at journal-4:9444`, `remove member 3`.
#[must_use]
pub fn described(change: &MemberChange) -> String {
    match &change.change {
        Some(member_change::Change::Add(new)) => {
            format!("add member {} at {}", new.id, new.address)
        }
        Some(member_change::Change::Remove(id)) => format!("remove member {id}"),
        None => "nothing".to_owned(),
    }
}

/// The members are these from now on, and an entry says so.
pub(crate) fn stage(
    work: &mut Working<'_>,
    state: MembershipChanged,
    message: String,
    parent: Option<u64>,
) {
    work.staged.members = Some(state.clone());
    work.draft(Draft {
        parent,
        ..Draft::new(
            EntryKind::MembershipChanged,
            Scope::Global,
            message,
            entry::Payload::MembershipChanged(state),
        )
    });
}
