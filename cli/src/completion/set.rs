//! Node sets that are not finished yet, and lists of names that are too long.

use std::collections::BTreeSet;

use pact_schemas::NodeId;
use pact_schemas::nodeset::NodeSet;

/// States of nodes.
pub(super) const STATES: &[&str] = &["active", "inactive", "registered", "revoked"];
/// States that lattice gives to nodes.
pub(super) const LATTICE_STATES: &[&str] =
    &["unknown", "booting", "ready", "degraded", "down", "draining", "drained", "failed"];
/// What can stand in a set beside names.
pub(super) const SELECTORS: &[&str] = &["@file:", "@lattice:", "@state:", "@vc:"];

/// Splits a set before its last member; `None` inside brackets, where there are numbers, not names.
pub(super) fn split_last(text: &str) -> Option<(&str, &str)> {
    let (mut is_inside, mut start) = (false, 0);
    for (index, c) in text.char_indices() {
        match c {
            '[' => is_inside = true,
            ']' => is_inside = false,
            ',' if !is_inside => start = index + 1,
            _ => {}
        }
    }
    if is_inside { None } else { text.split_at_checked(start) }
}

/// The names that the members before do not contain already.
pub(super) fn without(names: Vec<String>, before: &str) -> Vec<String> {
    let Ok(said) = NodeSet::parse(before) else { return names };
    let is_new = |name: &String| NodeId::new(name).is_ok_and(|node| !said.contains(&node));
    names.into_iter().filter(is_new).collect()
}

/// What is offered of names that match.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offered {
    pub(super) words: Vec<String>,
    /// They stand for longer names.
    pub(super) are_beginnings: bool,
}

/// All names up to `most`; of more, the beginnings that go one character beyond what they share. A list that is cut
/// anywhere else would make a shell complete to a beginning that not all of them have.
pub(super) fn offered(mut names: Vec<String>, most: usize) -> Offered {
    names.sort_unstable();
    names.dedup();
    let (Some(first), Some(last), true) = (names.first(), names.last(), names.len() > most) else {
        return Offered { words: names, are_beginnings: false };
    };
    // In order, what the first and the last share is what all of them share.
    let shared = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
    let beginnings: BTreeSet<String> =
        names.iter().map(|name| name.chars().take(shared + 1).collect()).collect();
    Offered { words: beginnings.into_iter().collect(), are_beginnings: true }
}

#[cfg(test)]
mod tests {
    use pact_schemas::nodeset::Expression;

    use super::*;

    #[test]
    fn the_last_member_is_completed_and_numbers_are_not() {
        assert_eq!(split_last(""), Some(("", "")));
        assert_eq!(split_last("no"), Some(("", "no")));
        assert_eq!(split_last("n[1-3],no"), Some(("n[1-3],", "no")));
        assert_eq!(split_last("n[1,3],@vc:m"), Some(("n[1,3],", "@vc:m")));
        assert_eq!(split_last("n[1,"), None);
        assert_eq!(split_last("a,n[1]x"), Some(("a,", "n[1]x")));
    }

    #[test]
    fn members_that_were_named_are_not_offered_again() {
        let names = || ["n1", "n2", "n4"].map(str::to_owned).to_vec();
        assert_eq!(without(names(), "n[1-3],"), ["n4"]);
        assert_eq!(without(names(), ""), names());
        assert_eq!(without(names(), "@vc:x,"), names());
    }

    #[test]
    fn of_too_many_names_the_beginnings_are_offered() {
        let names: Vec<String> = (0..1000).map(|n| format!("node-{n:04}")).collect();
        let all = offered(names.clone(), 1000);
        assert_eq!((all.words.len(), all.are_beginnings), (1000, false));
        let some = offered(names.clone(), 999);
        let tens: Vec<String> = (0..10).map(|n| format!("node-0{n}")).collect();
        assert_eq!(some, Offered { words: tens, are_beginnings: true });
        for name in names {
            assert!(some.words.iter().any(|word| name.starts_with(word)));
        }
        let short = ["n", "n1", "n2"].map(str::to_owned).to_vec();
        assert_eq!(offered(short, 2).words, ["n", "n1", "n2"]);
    }

    #[test]
    fn every_selector_and_state_parses() {
        for state in STATES {
            Expression::parse(&format!("@state:{state}")).unwrap();
        }
        for state in LATTICE_STATES {
            Expression::parse(&format!("@lattice:{state}")).unwrap();
        }
        assert!(Expression::parse("@state:ready").is_err());
    }
}
