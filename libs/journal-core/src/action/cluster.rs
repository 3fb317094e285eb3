//! `cluster.add`, `cluster.remove`: a change of the journal's members begins. The leader carries it
//! out.

use pact_schemas::v1::{
    ChangeMembers, MemberAddress, MemberChange, MembershipChanged, change_members, member_change,
};
use pact_schemas::{MemberId, convert};

use super::{Asked, Origin, Rules, Terms};
use crate::members::{MAX_MEMBERS, described, is_address, stage};
use crate::refusal::{MembersRefusal, Refusal};
use crate::rights::is_platform_admin;
use crate::working::Working;

/// Members that were removed; all of them stand in each entry about members.
const MAX_REMOVED: usize = 1_000;

impl Rules for ChangeMembers {
    fn origin(&self) -> Origin {
        Origin::Gateway(match &self.change {
            Some(change_members::Change::Add(_)) => &["cluster.add"],
            Some(change_members::Change::Remove(_)) => &["cluster.remove"],
            None => &[],
        })
    }

    fn apply(&self, work: &mut Working<'_>, asked: &Asked<'_>) -> Result<Terms, Refusal> {
        if !is_platform_admin(asked.command) {
            return refused(MembersRefusal::NotPlatformAdmin);
        }
        begin(work, self)?;
        Ok(Terms::NONE)
    }
}

fn refused<T>(refusal: MembersRefusal) -> Result<T, Refusal> {
    Err(Refusal::Members(refusal))
}

/// Begins a change of the members.
fn begin(work: &mut Working<'_>, change: &ChangeMembers) -> Result<(), Refusal> {
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
        return refused(MembersRefusal::TooMany { limit: MAX_MEMBERS });
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
        return refused(MembersRefusal::TooManyRemoved { limit: MAX_REMOVED });
    }
    Ok(())
}
