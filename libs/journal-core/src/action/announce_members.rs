//! The members as Raft has them, and the end of a change. The leader says so by itself.

use pact_schemas::v1::{
    AnnounceMembers, MemberChange, MemberChangeEnd, MembershipChanged, RemovedMember, member_change,
};

use super::{Asked, Origin, Rules, Terms};
use crate::members::{MAX_MEMBERS, described, stage};
use crate::refusal::Refusal;
use crate::working::Working;

/// Longest reason for which a change was given up.
const MAX_FAILURE_BYTES: usize = 1_024;

impl Rules for AnnounceMembers {
    fn origin(&self) -> Origin {
        Origin::Unproposed
    }

    fn apply(&self, work: &mut Working<'_>, _asked: &Asked<'_>) -> Result<Terms, Refusal> {
        announce(work, self)?;
        Ok(Terms::NONE)
    }
}

/// Nothing when both are known.
fn announce(work: &mut Working<'_>, announce: &AnnounceMembers) -> Result<(), Refusal> {
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
    ended: &MemberChangeEnd,
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
