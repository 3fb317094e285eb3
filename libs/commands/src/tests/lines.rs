//! Command lines that must be accepted, and ones that must not.

use super::argv;
use super::recorded::node;
use crate::{Verdict, Whitelist};

/// Accepted, reading.
pub(super) const READING: &str = include_str!("reading.txt");
/// Accepted, changing the node.
pub(super) const CHANGING: &str = include_str!("changing.txt");
/// Refused in strict mode.
pub(super) const REFUSED: &str = include_str!("refused.txt");

/// A verdict and a command line.
const DAY: &str = include_str!("day.txt");

/// The command lines of a table.
pub(super) fn lines(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[test]
fn accepted_lines_are_accepted() {
    let files = node();
    let list = Whitelist::builtin();
    let reading = lines(READING).map(|line| (line, false));
    for (line, changes) in reading.chain(lines(CHANGING).map(|line| (line, true))) {
        match list.judge(&argv(&line.replace('\'', "")), &files) {
            Verdict::Allowed { changes_state, program, environment } => {
                assert_eq!(changes_state, changes, "{line}");
                assert!(
                    program.is_absolute() && environment.iter().any(|(name, _)| name == "PATH")
                );
            }
            Verdict::Refused(refusal) => panic!("{line}: {refusal}"),
        }
    }
}

#[test]
fn refused_lines_are_refused() {
    let files = node();
    let list = Whitelist::builtin();
    for line in lines(REFUSED) {
        let verdict = list.judge(&argv(line), &files);
        assert!(matches!(verdict, Verdict::Refused(_)), "{line} is allowed");
    }
}

#[test]
fn a_days_lines_meet_what_the_record_says() {
    let (files, list) = (node(), Whitelist::builtin());
    let verdict = |line: &str| match list.judge(&argv(line), &files) {
        Verdict::Allowed { changes_state: false, .. } => ("runs", String::new()),
        Verdict::Allowed { changes_state: true, .. } => ("asks", String::new()),
        Verdict::Refused(refusal) => ("refused", refusal.to_string()),
    };
    let mut wrong = Vec::new();
    for (expected, line) in lines(DAY).map(|row| row.split_once(' ').unwrap()) {
        let (met, why) = verdict(line);
        if met != expected {
            wrong.push(format!("{line}: {met} instead of {expected} {why}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(lines(DAY).count() > 250, "the record has been cut");
}

#[test]
fn a_line_of_a_thousand_words_is_judged_like_a_short_one() {
    let (files, list) = (node(), Whitelist::builtin());
    let judge = |line: &str| list.judge(&argv(&format!("{line}{}", " x".repeat(999))), &files);
    assert!(matches!(judge("echo"), Verdict::Allowed { changes_state: false, .. }));
    assert!(matches!(judge("uname"), Verdict::Refused(_)));
}
