//! The members of the journal: who they are, and how they are changed.
//!
//! A change is asked for by a platform admin (`ChangeMembers`), which is an entry, and carried out by whoever leads; the entry
//! that ends it is its outcome. There is one at a time. The number of a member that was removed is never given again: a member
//! that comes back under its old number with an empty log would vote as if it had never acknowledged anything.

use pact_schemas::v1::{
    self, AnnounceMembers, ChangeMembers, Command, EntryKind, MemberAddress, MemberChange,
    MembershipChanged, RemovedMember, change_members, entry, member_change,
};
use pact_schemas::{ErrorCode, MemberId, convert};

use super::declared;
use super::refusal::Refusal;
use super::working::{Draft, Working};

/// Members of a journal, the one that is being added included: each write waits for more than half of the voters.
pub const MAX_MEMBERS: usize = 7;
/// Members that were removed; all of them stand in each entry about members.
const MAX_REMOVED: usize = 1_000;
/// Longest host and port: a DNS name, a colon and five digits.
const MAX_ADDRESS_BYTES: usize = 253 + 6;
/// Longest reason for which a change was given up.
const MAX_FAILURE_BYTES: usize = 1_024;

/// Why a change of the members is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MembersRefusal {
    #[error("the members of the journal are changed by a platform admin")]
    NotPlatformAdmin,
    #[error("the journal has not written down yet who its members are")]
    Unknown,
    #[error("another change of the members is under way: {what}, entry {seq}")]
    UnderWay { what: String, seq: u64 },
    #[error("{address:?} is no host and port")]
    Address { address: String },
    #[error("member {id} exists, at {address}")]
    Exists { id: u64, address: String },
    #[error("member {id} was removed by entry {seq}, and its number is never used again")]
    NumberUsed { id: u64, seq: u64 },
    #[error("{address} is the address of member {id}")]
    AddressTaken { id: u64, address: String },
    #[error("a journal has at most {MAX_MEMBERS} members")]
    TooMany,
    #[error("{MAX_REMOVED} members have been removed from this journal, and no more can be")]
    TooManyRemoved,
    #[error("there is no member {id}")]
    NoMember { id: u64 },
    #[error("member {id} has been removed by entry {seq} already")]
    Removed { id: u64, seq: u64 },
    #[error("member {id} is the last one")]
    Last { id: u64 },
}

impl MembersRefusal {
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::NotPlatformAdmin => ErrorCode::NotAuthorised,
            Self::Address { .. } => ErrorCode::InvalidArgument,
            Self::NoMember { .. } | Self::Removed { .. } => ErrorCode::NotFound,
            Self::TooMany | Self::TooManyRemoved => ErrorCode::TooLarge,
            Self::Unknown
            | Self::UnderWay { .. }
            | Self::Exists { .. }
            | Self::NumberUsed { .. }
            | Self::AddressTaken { .. }
            | Self::Last { .. } => ErrorCode::Conflict,
        }
    }

    pub(crate) fn next_step(&self) -> &'static str {
        match self {
            Self::NotPlatformAdmin => "ask a platform admin",
            Self::Unknown => "try again in a few seconds",
            Self::UnderWay { .. } => "look at `pact cluster` and try again when it has ended",
            Self::Address { .. } => "give host and port, as in journal-4.mgmt:9444",
            Self::Exists { .. } | Self::NumberUsed { .. } => {
                "give the new member a number that no member has had, with certificates for it from \
                 `pact-enroll bootstrap --add-member`"
            }
            Self::AddressTaken { .. } => "remove that member first, or give another address",
            Self::TooMany => "remove a member first",
            Self::NoMember { .. } | Self::Removed { .. } => "look at `pact cluster`",
            Self::Last { .. } => "add another member first",
            Self::TooManyRemoved => "",
        }
    }
}

fn refused<T>(refusal: MembersRefusal) -> Result<T, Refusal> {
    Err(Refusal::Members(refusal))
}

/// Whether a text is a host (or an IP address, IPv6 in brackets) and a port.
pub fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_host = !host.is_empty()
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
    is_host && text.len() <= MAX_ADDRESS_BYTES && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// Begins a change of the members.
pub(crate) fn change(
    work: &mut Working<'_>,
    command: &Command,
    change: &ChangeMembers,
) -> Result<(), Refusal> {
    if !declared::is_platform_admin(command) {
        return refused(MembersRefusal::NotPlatformAdmin);
    }
    let mut state = work.membership();
    if state.members.is_empty() {
        return refused(MembersRefusal::Unknown);
    }
    if let Some(under_way) = &state.change {
        let (what, seq) = (described(under_way), under_way.seq);
        return refused(MembersRefusal::UnderWay { what, seq });
    }
    let asked = match convert::required(change.change.as_ref(), "ChangeMembers.change")? {
        change_members::Change::Add(new) => member_change::Change::Add(addable(&state, new)?),
        change_members::Change::Remove(id) => {
            removable(&state, *id)?;
            member_change::Change::Remove(*id)
        }
    };
    let under_way = MemberChange { change: Some(asked), seq: work.next_seq() };
    let message = format!("asked for: {}", described(&under_way));
    state.change = Some(under_way);
    stage(work, state, message, None);
    Ok(())
}

fn addable(state: &MembershipChanged, new: &MemberAddress) -> Result<MemberAddress, Refusal> {
    let MemberAddress { id, address, .. } = new.clone();
    if MemberId::new(id).is_err() {
        return Err(Refusal::Argument { field: "ChangeMembers.add.id", rule: "must be from 1" });
    }
    if !is_address(&address) {
        return refused(MembersRefusal::Address { address: address.chars().take(200).collect() });
    }
    if let Some(is) = state.members.iter().find(|member| member.id == id) {
        return refused(MembersRefusal::Exists { id, address: is.address.clone() });
    }
    if let Some(was) = state.removed.iter().find(|member| member.id == id) {
        return refused(MembersRefusal::NumberUsed { id, seq: was.seq });
    }
    if let Some(is) = state.members.iter().find(|member| member.address == address) {
        return refused(MembersRefusal::AddressTaken { id: is.id, address });
    }
    if state.members.len() >= MAX_MEMBERS {
        return refused(MembersRefusal::TooMany);
    }
    Ok(MemberAddress { id, address, joined: false, learner: false })
}

fn removable(state: &MembershipChanged, id: u64) -> Result<(), Refusal> {
    if let Some(was) = state.removed.iter().find(|member| member.id == id) {
        return refused(MembersRefusal::Removed { id, seq: was.seq });
    }
    let Some(member) = state.members.iter().find(|member| member.id == id) else {
        return refused(MembersRefusal::NoMember { id });
    };
    let others = state.members.iter().filter(|other| other.id != id && !other.learner);
    if others.count() == 0 && !member.learner {
        return refused(MembersRefusal::Last { id });
    }
    if state.removed.len() >= MAX_REMOVED {
        return refused(MembersRefusal::TooManyRemoved);
    }
    Ok(())
}

/// The members as Raft has them, and the end of a change. Nothing when both are known.
pub(crate) fn announce(work: &mut Working<'_>, announce: &AnnounceMembers) -> Result<(), Refusal> {
    let argument = |rule| Err(Refusal::Argument { field: "AnnounceMembers", rule });
    if announce.members.is_empty() || announce.members.len() > MAX_MEMBERS {
        return argument("must name 1 to 7 members");
    }
    let before = work.membership();
    let is_removed = |id: u64| before.removed.iter().any(|member| member.id == id);
    if announce.members.iter().any(|member| is_removed(member.id)) {
        return argument("must not name a member that was removed");
    }
    let mut state = MembershipChanged { members: announce.members.clone(), ..before.clone() };
    let mut said = None;
    if let (Some(ended), Some(change)) = (&announce.ended, &before.change)
        && ended.seq == change.seq
    {
        if ended.failure.len() > MAX_FAILURE_BYTES {
            return argument("may give a reason of 1 KiB");
        }
        said = Some(end(&mut state, &before, change, ended, work.next_seq()));
    }
    if state == before {
        return Ok(());
    }
    let parent = said.as_ref().and(before.change.as_ref()).map(|change| change.seq);
    let addresses: Vec<String> =
        state.members.iter().map(|m| format!("{}:{}", m.id, m.address)).collect();
    let message = said.unwrap_or_else(|| format!("members: {}", addresses.join(", ")));
    stage(work, state, message, parent);
    Ok(())
}

/// Takes the change out of the state. Returns what is to be said of it.
fn end(
    state: &mut MembershipChanged,
    before: &MembershipChanged,
    change: &MemberChange,
    ended: &v1::MemberChangeEnd,
    seq: u64,
) -> String {
    state.change = None;
    state.ended = Some(ended.clone());
    let what = described(change);
    if !ended.failure.is_empty() {
        return format!("given up: {what}: {}", ended.failure);
    }
    if let Some(member_change::Change::Remove(id)) = change.change {
        let address = before.members.iter().find(|member| member.id == id);
        let address = address.map(|member| member.address.clone()).unwrap_or_default();
        state.removed.push(RemovedMember { id, address, seq });
    }
    format!("done: {what}")
}

fn stage(work: &mut Working<'_>, state: MembershipChanged, message: String, parent: Option<u64>) {
    work.staged.members = Some(state.clone());
    work.draft(Draft {
        parent,
        ..Draft::new(
            EntryKind::MembershipChanged,
            convert::Scope::Global,
            message,
            entry::Payload::MembershipChanged(state),
        )
    });
}

/// `add member 4 at journal-4:9444`, `remove member 3`.
pub fn described(change: &MemberChange) -> String {
    match &change.change {
        Some(member_change::Change::Add(new)) => {
            format!("add member {} at {}", new.id, new.address)
        }
        Some(member_change::Change::Remove(id)) => format!("remove member {id}"),
        None => "nothing".to_owned(),
    }
}
