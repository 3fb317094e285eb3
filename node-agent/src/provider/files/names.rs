//! Names of users and groups, and the numbers behind them.

use std::collections::BTreeMap;

use nix::unistd::{Gid, Group, Uid, User};

/// Names that are remembered; a node's files belong to few.
const REMEMBERED: usize = 1_024;

/// Looks names up in the node's user database, and remembers until [`Names::forget`].
#[derive(Debug, Default)]
pub(super) struct Names {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl Names {
    /// The user's name, or the number as text where the database has none.
    pub(super) fn user(&mut self, uid: u32) -> String {
        let found = || User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
        remember(&mut self.users, uid, found)
    }

    /// The group's name, or the number as text where the database has none.
    pub(super) fn group(&mut self, gid: u32) -> String {
        let found = || Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name);
        remember(&mut self.groups, gid, found)
    }

    /// Users may have been renamed.
    pub(super) fn forget(&mut self) {
        self.users.clear();
        self.groups.clear();
    }
}

fn remember(
    names: &mut BTreeMap<u32, String>,
    number: u32,
    find: impl FnOnce() -> Option<String>,
) -> String {
    if let Some(name) = names.get(&number) {
        return name.clone();
    }
    let name = find().unwrap_or_else(|| number.to_string());
    if names.len() >= REMEMBERED {
        names.clear();
    }
    names.insert(number, name.clone());
    name
}

/// The number of a user; `None` where the node knows no such user.
pub(super) fn uid(name: &str) -> Option<u32> {
    let found = User::from_name(name).ok().flatten().map(|user| user.uid.as_raw());
    found.or_else(|| number(name))
}

/// The number of a group; `None` where the node knows no such group.
pub(super) fn gid(name: &str) -> Option<u32> {
    let found = Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw());
    found.or_else(|| number(name))
}

/// A number in its one spelling. The largest means "unchanged" to the kernel and is nobody's.
fn number(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number != u32::MAX && number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_and_plain_numbers_go_both_ways() {
        let mut names = Names::default();
        assert_eq!((names.user(0).as_str(), names.group(0).as_str()), ("root", "root"));
        assert_eq!((uid("root"), gid("root")), (Some(0), Some(0)));
        assert_eq!(names.user(4_123_456_789), "4123456789");
        assert_eq!(uid("4123456789"), Some(4_123_456_789));
        assert_eq!(uid("no such user"), None);
        for other in ["4294967295", "+1", "01", "-0"] {
            assert_eq!(gid(other), None, "{other}");
        }
    }
}
