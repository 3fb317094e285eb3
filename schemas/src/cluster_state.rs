//! How the journal's group is, as far as the member knows that answered: one rule for `pact cluster` and `pact health`.

use std::time::Duration;

use crate::v1::{ClusterReply, MemberStatus};

/// The name under which `pact health` shows the group.
pub const JOURNAL_QUORUM: &str = "pact-journal Raft quorum";

/// Members ask each other every 5 s and wait 1 s for the answer: one that missed two rounds is silent.
const SILENT_AFTER: Duration = Duration::from_secs(12);

/// A member, as another one sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// It answered lately.
    Up,
    /// For how long it has not; `None`: it was not heard of since the answering member started.
    Silent(Option<Duration>),
}

impl MemberState {
    /// The state of a member in an answer.
    #[must_use]
    pub fn of(member: &MemberStatus) -> Self {
        match member.last_contact_milliseconds.map(Duration::from_millis) {
            Some(ago) if ago < SILENT_AFTER => Self::Up,
            ago => Self::Silent(ago),
        }
    }

    /// In JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Silent(_) => "silent",
        }
    }
}

/// All members together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupState {
    /// One leads, and all answer.
    Healthy,
    /// It decides, without some of its members.
    Degraded,
    /// Enough answer each other, and none leads: an election.
    NoLeader,
    /// Too few voters answer to decide anything, whoever says that it leads.
    NoQuorum,
}

impl GroupState {
    /// The state that an answer tells.
    #[must_use]
    pub fn of(reply: &ClusterReply) -> Self {
        let is_up = |member: &&MemberStatus| MemberState::of(member) == MemberState::Up;
        let voters = || reply.members.iter().filter(|member| member.voter);
        if voters().filter(is_up).count() <= voters().count() / 2 {
            Self::NoQuorum
        } else if reply.leader.is_none() {
            Self::NoLeader
        } else if reply.members.iter().all(|member| is_up(&member)) {
            Self::Healthy
        } else {
            Self::Degraded
        }
    }

    /// In JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::NoLeader => "no-leader",
            Self::NoQuorum => "no-quorum",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(contacts: &[Option<u64>], leader: Option<u64>) -> ClusterReply {
        let members = contacts.iter().zip(1..).map(|(contact, id)| MemberStatus {
            id,
            last_contact_milliseconds: *contact,
            voter: true,
            ..MemberStatus::default()
        });
        ClusterReply { leader, members: members.collect(), ..ClusterReply::default() }
    }

    #[test]
    fn a_dead_member_degrades_the_group_and_a_majority_decides() {
        let (here, dead) = (Some(0), Some(62_000));
        for (contacts, leader, wanted) in [
            (&[here, Some(5_000), Some(11_999)][..], Some(1), GroupState::Healthy),
            (&[here, Some(5_000), Some(12_000)], Some(1), GroupState::Degraded),
            (&[here, Some(5_000), None], Some(1), GroupState::Degraded),
            (&[here, Some(5_000), dead], None, GroupState::NoLeader),
            // A leader that is cut off does not know it.
            (&[here, dead, dead], Some(1), GroupState::NoQuorum),
            (&[here, Some(5_000), dead, dead], Some(1), GroupState::NoQuorum),
            (&[here], Some(1), GroupState::Healthy),
            (&[], None, GroupState::NoQuorum),
        ] {
            assert_eq!(GroupState::of(&group(contacts, leader)), wanted, "{contacts:?}");
        }
    }

    #[test]
    fn a_learner_that_is_silent_degrades_and_does_not_count() {
        let mut reply = group(&[Some(0), Some(62_000)], Some(1));
        reply.members[1].voter = false;
        assert_eq!(GroupState::of(&reply), GroupState::Degraded);
    }
}
