//! The bus users of a node that can still connect. Each was handed out with a token that lives as
//! long as its certificate, so what is not revoked on the bus stays good until then, whichever of
//! them the node uses now.
//!
//! A first contact ends those before it: another machine, or the same one after a repair, has the
//! identity. A renewal leaves them alive, because the agent moves from the old connection to the
//! new one (make-before-break). svc-enroll pushes the revocation of every user that has ended.

use pact_schemas::convert;
use pact_schemas::v1::{EnrolNode, LiveBusUser};

/// Users of one node that are alive: an agent renews after two days of three, so it has two. What
/// is beyond is ended, the oldest first.
const MAX_LIVE: usize = 8;
/// Users of one node that are remembered. A diskless node in a reboot loop ends one with each boot;
/// the oldest of so many was pushed to the bus long ago, whose own list keeps it until it expires.
const MAX_REMEMBERED: usize = 64;

/// Adds the user of an enrolment.
pub(super) fn enrolled(
    users: &mut Vec<LiveBusUser>,
    enrol: &EnrolNode,
    not_after_nanos: i64,
    time_nanos: i64,
) {
    forget_expired(users, time_nanos);
    users.retain(|user| user.key != enrol.bus_user);
    if !enrol.renewal {
        end(users);
    }
    users.push(LiveBusUser {
        key: enrol.bus_user.clone(),
        not_after: Some(convert::timestamp(not_after_nanos)),
        ended: false,
    });
    let live = users.iter().filter(|user| !user.ended).count();
    let surplus = live.saturating_sub(MAX_LIVE);
    users.iter_mut().filter(|user| !user.ended).take(surplus).for_each(|user| user.ended = true);
    if let Some(surplus) = users.len().checked_sub(MAX_REMEMBERED) {
        // Older ones come first, and the live ones are among the last.
        users.drain(..surplus);
    }
}

/// Ends all.
pub(super) fn revoked(users: &mut Vec<LiveBusUser>, time_nanos: i64) {
    forget_expired(users, time_nanos);
    end(users);
}

fn end(users: &mut [LiveBusUser]) {
    users.iter_mut().for_each(|user| user.ended = true);
}

fn forget_expired(users: &mut Vec<LiveBusUser>, time_nanos: i64) {
    users.retain(|user| {
        let not_after = convert::unix_nanos(user.not_after.as_ref(), "LiveBusUser.not_after");
        // Kept when it cannot be read, which what was stored excludes: to revoke too much is the
        // safe side.
        not_after.map_or(true, |not_after| not_after > time_nanos)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000_000;

    fn enrol(users: &mut Vec<LiveBusUser>, key: &str, renewal: bool, now_hours: i64) {
        let enrol = EnrolNode { bus_user: key.to_owned(), renewal, ..EnrolNode::default() };
        enrolled(users, &enrol, (now_hours + 72) * HOUR, now_hours * HOUR);
    }

    fn shown(users: &[LiveBusUser]) -> Vec<(&str, bool)> {
        users.iter().map(|user| (user.key.as_str(), user.ended)).collect()
    }

    #[test]
    fn a_renewal_keeps_the_one_before_until_it_expires_and_a_first_contact_ends_it() {
        let mut users = Vec::new();
        enrol(&mut users, "A", false, 0);
        enrol(&mut users, "B", true, 48);
        assert_eq!(shown(&users), [("A", false), ("B", false)]);
        enrol(&mut users, "C", true, 72);
        assert_eq!(shown(&users), [("B", false), ("C", false)], "A has expired");
        enrol(&mut users, "D", false, 73);
        assert_eq!(shown(&users), [("B", true), ("C", true), ("D", false)]);
        // The same key again is alive again, with its later end.
        enrol(&mut users, "B", false, 74);
        assert_eq!(shown(&users), [("C", true), ("D", true), ("B", false)]);
        revoked(&mut users, 75 * HOUR);
        assert_eq!(shown(&users), [("C", true), ("D", true), ("B", true)]);
        revoked(&mut users, 145 * HOUR);
        assert_eq!(shown(&users), [("B", true)], "kept until it expires");
    }

    #[test]
    fn of_too_many_the_oldest_end_and_are_forgotten() {
        let mut users = Vec::new();
        for n in 0..10 {
            enrol(&mut users, &format!("R{n}"), true, 0);
        }
        let live: Vec<_> = users.iter().filter(|u| !u.ended).map(|u| u.key.as_str()).collect();
        assert_eq!(live, ["R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9"]);
        assert_eq!(users.len(), 10);
        for n in 0..1_000 {
            enrol(&mut users, &format!("B{n}"), false, 0);
        }
        assert_eq!(users.len(), MAX_REMEMBERED);
        assert_eq!(shown(&users).last(), Some(&("B999", false)));
    }
}
