//! Whether a member that starts without a log may take part.
//!
//! A member whose data is gone has forgotten its votes and what it acknowledged. If it voted again under its old number, a
//! majority could be made of members that do not have a committed entry, and the entry would be lost (reliability §3b). So a
//! member without a log votes and follows only after the others have told that nothing depends on it:
//!
//! - One says that this number has joined before: it never takes part, and the process ends with the repair in its message.
//!   The leader writes down who has joined, in the journal, as soon as it has replicated something to them.
//! - One that has a log says that it has not joined, and its leader has confirmed that this is all that is committed: it may
//!   follow. It begins no journal of its own: it is a member once the membership that it is told names it, which for a new
//!   number needs `pact cluster add`.
//! - As many others as a majority has say that they have no log either, and the same list of members: they begin together. In a
//!   journal of 2f+1 members an entry that
//!   is committed is on at least f others beside this one; f+1 of the 2f others without a log leave no room for them. That is a
//!   new journal, whose members come up together: a journal of three begins when all three are there, one of five with four.
//!   Less is not safe. With three members, one that is empty and one that never started are a majority, and know nothing of
//!   what the third has committed with the lost log.
//! - Else it asks again. Nothing is lost by waiting.
//!
//! A number that was removed is refused by every member that has applied the removal, see [`crate::peer`].
//!
//! What this does not see: a member that is wiped in the second between its first acknowledgement and the entry in which the
//! leader writes it down.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pact_runtime::{CancellationToken, Clock};
use pact_schemas::v1::{LogStateReply, LogStateRequest};

use super::peers::Peers;

/// Longest answer: the other member asks its leader meanwhile, for up to 3 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// Between two rounds of questions.
const ROUND: Duration = Duration::from_millis(500);
/// How often it is said in the log that nobody has answered yet.
const REMINDER: Duration = Duration::from_secs(30);

/// Whether this member takes part. Clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admission {
    is_admitted: Arc<AtomicBool>,
}

impl Admission {
    /// From now on it does.
    pub(crate) fn admit(&self) {
        self.is_admitted.store(true, Ordering::Release);
    }

    /// Whether it does.
    pub(crate) fn is_admitted(&self) -> bool {
        self.is_admitted.load(Ordering::Acquire)
    }
}

/// Why a member without a log never takes part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "member {own} has been part of this journal before, says member {told_by}, but {data_dir} holds no log: with an empty one it \
     would vote as if it had never acknowledged anything, and committed entries could be lost; stop it, restore the whole \
     data folder or remove the member from the journal, wipe its data and add it again under a new id"
)]
pub(crate) struct JoinedBefore {
    /// This member.
    pub(crate) own: u64,
    /// Who remembers it.
    pub(crate) told_by: u64,
    /// Where its log should be.
    pub(crate) data_dir: PathBuf,
}

/// How a member without a log takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// With others that have none either, it begins a journal.
    Founder,
    /// There is a journal, which it has never been part of: it follows.
    Newcomer,
}

/// What the answers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Admitted(Part),
    JoinedBefore { told_by: u64 },
    Wait,
}

/// Members without a log that do not have our list would begin another journal. Versions before members could be changed
/// answer only those who have theirs, and do not repeat it.
fn is_founder(answer: &LogStateReply, founders: &[u8]) -> bool {
    answer.last_index == 0 && (answer.founders.is_empty() || answer.founders == founders)
}

fn judge(
    own: u64,
    founders: &[u8],
    answers: &BTreeMap<u64, LogStateReply>,
    members: usize,
) -> Verdict {
    let told_by = answers.iter().find(|(_, answer)| answer.joined_members.contains(&own));
    if let Some((told_by, _)) = told_by {
        return Verdict::JoinedBefore { told_by: *told_by };
    }
    let knows = answers.values().any(|answer| answer.last_index > 0 && answer.confirmed);
    let empty = answers.values().filter(|answer| is_founder(answer, founders)).count();
    match (knows, empty > members / 2) {
        (true, _) => Verdict::Admitted(Part::Newcomer),
        (false, true) => Verdict::Admitted(Part::Founder),
        (false, false) => Verdict::Wait,
    }
}

/// A member that starts without a log.
pub(crate) struct Newcomer {
    pub(crate) own: u64,
    pub(crate) members: usize,
    pub(crate) data_dir: PathBuf,
    pub(crate) peers: Peers,
    pub(crate) clock: Clock,
}

impl Newcomer {
    /// Asks the others until it may take part; `None`: `stop` came first.
    ///
    /// # Errors
    /// [`JoinedBefore`].
    pub(crate) async fn ask(self, stop: CancellationToken) -> Result<Option<Part>, JoinedBefore> {
        let (mut answers, founders) = (BTreeMap::new(), self.peers.founders());
        let mut reminded = self.clock.monotonic();
        loop {
            let ids = self.peers.ids();
            let round = futures_util::future::join_all(ids.iter().map(|id| self.ask_one(*id)));
            let round = tokio::select! {
                () = stop.cancelled() => return Ok(None), // cancel-safe
                round = round => round, // dropped half-way: asked again after the next start
            };
            answers.extend(round.into_iter().flatten());
            match judge(self.own, &founders, &answers, self.members) {
                Verdict::Admitted(part) => return Ok(Some(part)),
                Verdict::JoinedBefore { told_by } => {
                    return Err(JoinedBefore { own: self.own, told_by, data_dir: self.data_dir });
                }
                Verdict::Wait => {}
            }
            let now = self.clock.monotonic();
            if now.saturating_sub(reminded) >= REMINDER {
                reminded = now;
                let others = answers
                    .values()
                    .filter(|answer| answer.last_index == 0 && !is_founder(answer, &founders));
                tracing::warn!(
                    heard_of = answers.len(),
                    with_another_list_of_members = others.count(),
                    "this member has no log and waits until enough others have said that it never had one; a new journal \
                     begins when its members are up"
                );
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(None), // cancel-safe
                () = self.clock.sleep(ROUND) => {} // cancel-safe
            }
        }
    }

    async fn ask_one(&self, member: u64) -> Option<(u64, LogStateReply)> {
        let mut client = self.peers.client(member)?;
        let cluster_id = self.peers.cluster_id(member);
        let request = LogStateRequest { cluster_id: cluster_id.clone() };
        let answer = self.clock.timeout(ANSWER_TIMEOUT, client.log_state(request)).await.ok()?;
        self.peers.note(member, &cluster_id, answer.as_ref().err());
        Some((member, answer.ok()?.into_inner()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &[u8] = &[7; 32];
    const FOUNDER: Verdict = Verdict::Admitted(Part::Founder);
    const NEWCOMER: Verdict = Verdict::Admitted(Part::Newcomer);

    fn answers(given: &[(u64, &[u64], bool)]) -> BTreeMap<u64, LogStateReply> {
        let reply = |(last_index, joined, confirmed): &(u64, &[u64], bool)| LogStateReply {
            last_index: *last_index,
            joined_members: joined.to_vec(),
            confirmed: *confirmed,
            founders: OURS.to_vec(),
            first_hash: Vec::new(),
        };
        (2..).zip(given.iter().map(reply)).collect()
    }

    fn judged(given: &[(u64, &[u64], bool)], members: usize) -> Verdict {
        judge(1, OURS, &answers(given), members)
    }

    #[test]
    fn a_new_journal_begins_when_enough_members_are_there() {
        let none: (u64, &[u64], bool) = (0, &[], false);
        assert_eq!(judged(&[], 3), Verdict::Wait);
        assert_eq!(judged(&[none], 3), Verdict::Wait);
        assert_eq!(judged(&[none; 2], 3), FOUNDER);
        assert_eq!(judged(&[none; 2], 5), Verdict::Wait);
        assert_eq!(judged(&[none; 3], 5), FOUNDER);
    }

    #[test]
    fn a_new_journal_begins_among_members_with_one_list() {
        let none: (u64, &[u64], bool) = (0, &[], false);
        let mut given = answers(&[none; 2]);
        given.get_mut(&3).unwrap().founders = vec![8; 32];
        assert_eq!(judge(1, OURS, &given, 3), Verdict::Wait);
        // Of the version before, which does not answer when the list is another.
        given.get_mut(&3).unwrap().founders.clear();
        assert_eq!(judge(1, OURS, &given, 3), FOUNDER);
    }

    #[test]
    fn a_member_that_was_there_before_never_comes_back_empty() {
        let refused = Verdict::JoinedBefore { told_by: 2 };
        assert_eq!(judged(&[(9, &[1, 2, 3], true)], 3), refused);
        assert_eq!(judged(&[(9, &[1, 2, 3], false), (0, &[], false)], 3), refused);
        // Who has a log but no leader may not know everything that is committed; with one it does.
        assert_eq!(judged(&[(9, &[2, 3], false), (0, &[], false)], 3), Verdict::Wait);
        assert_eq!(judged(&[(9, &[2, 3], true)], 3), NEWCOMER);
        // Where there is a journal none begins, however many have no log.
        assert_eq!(judged(&[(9, &[2, 3], true), (0, &[], false), (0, &[], false)], 3), NEWCOMER);
    }
}
