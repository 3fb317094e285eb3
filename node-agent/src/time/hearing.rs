//! Whom to believe about the time: the rule by which answers of journal members move the plane clock.
//!
//! An answer that agrees with the clock (to [`TOLERANCE`]) sets it. One that contradicts it, and any answer while there is no
//! clock yet, is only heard: the clock moves when
//! - two different members agree with each other, or
//! - one member, alone, has given [`ALONE_ANSWERS`] consecutive answers that agree: a journal of one member, or one that is all
//!   that is left. To move a clock that runs they must span at least [`ALONE_SPAN`]; for the first fix of a boot they need not,
//!   since answers come from members at random and a node that has no time can do nothing.
//!
//! Until then the clock stays. So one member with a wrong clock does not move it, neither forward nor back, as long as another
//! one is heard. Offsets against CLOCK_BOOTTIME are compared, so it does not matter when an answer came.
//!
//! What an earlier boot saw is a hint, not a wall: a machine whose members were wrong once must not be locked out for ever. Two
//! members may set the clock back behind it; one alone at most by [`ALONE_BACK`], so that an old certificate is worth little.
//!
//! Nothing here reads a clock, asks anybody or keeps a file.

use std::collections::VecDeque;
use std::time::Duration;

use pact_identity::SignerName;

/// Members agree to this (decisions §3), and crystals drift less within an hour.
pub(crate) const TOLERANCE: Duration = Duration::from_secs(2);

/// Consecutive answers after which one member is believed by itself.
const ALONE_ANSWERS: usize = 8;

/// And, where a clock runs already, over at least this time.
const ALONE_SPAN: Duration = Duration::from_secs(2);

/// How far one member alone may set the clock back behind what was seen before: a member that was a day wrong was noticed.
const ALONE_BACK: Duration = Duration::from_secs(24 * 3600);

/// Answers that are remembered; more of them without agreement only push out the oldest.
const MAX_HEARD: usize = 32;

/// One member's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) signer: SignerName,
    /// Plane time minus CLOCK_BOOTTIME, nanoseconds.
    pub(crate) offset: i64,
    /// CLOCK_BOOTTIME of the answer, nanoseconds.
    pub(crate) at: i64,
}

/// What an answer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It agrees with the clock, which follows it.
    Follow,
    /// Enough agree on it: the clock is set.
    Set,
    /// Ask again.
    Wait,
}

/// What was heard and not believed yet.
#[derive(Debug, Default)]
pub(crate) struct Hearing {
    heard: VecDeque<Answer>,
}

impl Hearing {
    /// Takes an answer. `clock` is the present offset; `seen` is the greatest offset that an earlier boot's time allows to be
    /// exceeded from below, i.e. the time that has surely passed minus CLOCK_BOOTTIME.
    pub(crate) fn hear(
        &mut self,
        answer: Answer,
        clock: Option<i64>,
        seen: Option<i64>,
    ) -> Verdict {
        if self.heard.is_empty() && clock.is_some_and(|offset| agree(offset, answer.offset)) {
            return Verdict::Follow;
        }
        let seconded = self
            .heard
            .iter()
            .any(|other| other.signer != answer.signer && agree(other.offset, answer.offset));
        if seconded || self.is_enough_alone(&answer, clock.is_some(), seen) {
            self.heard.clear();
            return Verdict::Set;
        }
        if self.heard.len() == MAX_HEARD {
            self.heard.pop_front();
        }
        self.heard.push_back(answer);
        Verdict::Wait
    }

    fn is_enough_alone(&self, answer: &Answer, is_running: bool, seen: Option<i64>) -> bool {
        let back = seen.map_or(0, |seen| seen.saturating_sub(answer.offset));
        if back > nanos(ALONE_BACK) {
            return false;
        }
        let same =
            |other: &&Answer| other.signer == answer.signer && agree(other.offset, answer.offset);
        let mut before = 0;
        let mut first = answer.at;
        for other in self.heard.iter().rev().take_while(same) {
            before += 1;
            first = other.at;
        }
        let spans = answer.at.saturating_sub(first) >= nanos(ALONE_SPAN);
        before + 1 >= ALONE_ANSWERS && (spans || !is_running)
    }
}

/// Whether two offsets are the same clock.
pub(crate) fn agree(one: i64, other: i64) -> bool {
    one.abs_diff(other) <= TOLERANCE.as_nanos().try_into().unwrap_or(u64::MAX)
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use pact_identity::SigningRole;
    use pact_schemas::MemberId;

    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const DAY: i64 = 86_400 * SECOND;
    const RIGHT: i64 = 1_800_000_000 * SECOND;
    const WRONG: i64 = RIGHT + 365 * DAY;

    /// Says what members answer, one every 300 ms.
    struct Journal {
        hearing: Hearing,
        at: i64,
    }

    impl Journal {
        fn new() -> Self {
            Self { hearing: Hearing::default(), at: 0 }
        }

        fn say(&mut self, member: u64, offset: i64, clock: Option<i64>) -> Verdict {
            self.say_after(member, offset, clock, None)
        }

        fn say_after(
            &mut self,
            member: u64,
            offset: i64,
            clock: Option<i64>,
            seen: Option<i64>,
        ) -> Verdict {
            self.at += 300_000_000;
            let signer = SigningRole::Grant(MemberId::new(member).unwrap());
            self.hearing.hear(Answer { signer, offset, at: self.at }, clock, seen)
        }
    }

    #[test]
    fn what_agrees_is_followed_to_the_tolerance() {
        let mut journal = Journal::new();
        let clock = Some(RIGHT);
        assert_eq!(journal.say(1, RIGHT + 2 * SECOND, clock), Verdict::Follow);
        assert_eq!(journal.say(1, RIGHT - 2 * SECOND, clock), Verdict::Follow);
        assert_eq!(journal.say(1, RIGHT + 2 * SECOND + 1, clock), Verdict::Wait);
    }

    #[test]
    fn one_wrong_member_moves_nothing_while_others_are_heard() {
        for clock in [None, Some(RIGHT)] {
            let mut journal = Journal::new();
            for _round in 0..20 {
                assert_eq!(journal.say(3, WRONG, clock), Verdict::Wait);
                // The two others are right, and the first time that both were heard settles it.
                let set = journal.say(1, RIGHT, clock) == Verdict::Set
                    || journal.say(2, RIGHT + SECOND, clock) == Verdict::Set;
                assert!(set);
            }
        }
    }

    #[test]
    fn two_members_correct_a_clock_that_was_wrong() {
        let mut journal = Journal::new();
        let clock = Some(WRONG);
        assert_eq!(journal.say(1, RIGHT, clock), Verdict::Wait);
        // The wrong one agrees with the wrong clock, and is one voice only.
        assert_eq!(journal.say(3, WRONG, clock), Verdict::Wait);
        assert_eq!(journal.say(2, RIGHT, clock), Verdict::Set);
        assert_eq!(journal.say(2, RIGHT, Some(RIGHT)), Verdict::Follow);
    }

    #[test]
    fn one_member_alone_is_believed_after_eight_answers() {
        let mut journal = Journal::new();
        for _answer in 0..7 {
            assert_eq!(journal.say(1, RIGHT, None), Verdict::Wait);
        }
        assert_eq!(journal.say(1, RIGHT, None), Verdict::Set);
        // Eight in a hurry are enough for a first fix, and do not move a clock that runs.
        let mut hurried = Journal::new();
        let mut running = Journal::new();
        for answer in 0..10 {
            hurried.at -= 200_000_000;
            running.at -= 200_000_000;
            assert_eq!(running.say(1, RIGHT, Some(WRONG)), Verdict::Wait);
            if answer < 8 {
                let wanted = if answer < 7 { Verdict::Wait } else { Verdict::Set };
                assert_eq!(hurried.say(1, RIGHT, None), wanted, "{answer}");
            }
        }
        // Nor are eight that are not consecutive, or do not agree with each other.
        let mut journal = Journal::new();
        for answer in 0..30 {
            let verdict = if answer % 7 == 6 {
                journal.say(2, WRONG + answer * 10 * SECOND, None)
            } else {
                journal.say(1, RIGHT, None)
            };
            assert_eq!(verdict, Verdict::Wait, "{answer}");
        }
        let mut journal = Journal::new();
        for answer in 0..30 {
            assert_eq!(journal.say(1, RIGHT + answer * 3 * SECOND, None), Verdict::Wait);
        }
    }

    #[test]
    fn what_an_earlier_boot_saw_binds_one_member_and_not_two() {
        let seen = Some(WRONG);
        let mut journal = Journal::new();
        for _answer in 0..30 {
            assert_eq!(journal.say_after(1, RIGHT, None, seen), Verdict::Wait);
        }
        assert_eq!(journal.say_after(2, RIGHT, None, seen), Verdict::Set);
        let mut journal = Journal::new();
        let seen = Some(RIGHT + DAY);
        let verdicts: Vec<_> = (0..8).map(|_| journal.say_after(1, RIGHT, None, seen)).collect();
        assert_eq!(verdicts.last(), Some(&Verdict::Set));
    }
}
