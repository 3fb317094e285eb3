//! Every command × every situation × every role, against tables written from the contract.

use std::collections::{BTreeMap, BTreeSet};

use pact_policy::{Asker, AskerKind, Decision, DenyKind, Question};
use pact_schemas::operation::OPERATIONS;

use crate::ask::{asker, by_default, human, node, question, vc};

const COLUMNS: [&str; 8] = ["none", "viewer", "regulated", "ops", "both", "admin", "agent", "ai"];

fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).map(|l| l.split(',').collect())
}

fn who(column: &str) -> Asker {
    match column {
        "none" => human(&[]),
        "viewer" => human(&["pact-viewer-a"]),
        "regulated" => human(&["pact-regulated-a"]),
        "ops" => human(&["pact-ops-a"]),
        "both" => human(&["pact-ops-a", "pact-ops-b"]),
        "admin" => human(&["pact-platform-admin"]),
        "agent" => asker(AskerKind::ServiceAgent, &["pact-service-agent"]),
        "ai" => asker(AskerKind::ServiceAi, &["pact-service-ai"]),
        other => panic!("{other}"),
    }
}

fn situation(name: &str, mut q: Question) -> Question {
    (q.targets, q.vclusters) = match name {
        "own" => (vec![node("n1", Some("a"))], vec![vc("a")]),
        "other" => (vec![node("n2", Some("b"))], vec![vc("b")]),
        "across" => (vec![node("n1", Some("a"))], vec![vc("b")]),
        "set" => (vec![node("n1", Some("a")), node("n2", Some("b"))], vec![]),
        "unassigned" => (vec![node("n0", None)], vec![vc("a")]),
        "unnamed" => (vec![], vec![]),
        other => panic!("{other}"),
    };
    q
}

fn sign(decision: &Decision) -> &'static str {
    match decision {
        Decision::Allow { .. } => "+",
        Decision::Deny { kind: DenyKind::NoRole, reasons, .. } if !reasons.is_empty() => "-",
        Decision::Deny { kind: DenyKind::Rule, .. } => "!",
        Decision::Deny { .. } => "undecided",
        Decision::NeedsApproval { .. } => "?",
    }
}

#[test]
fn t01_the_matrix_holds() {
    let classes: BTreeMap<&str, &str> =
        rows(include_str!("operations.csv")).map(|row| (row[0], row[1])).collect();
    let listed: BTreeSet<&str> = classes.keys().copied().collect();
    let known: BTreeSet<&str> = OPERATIONS.iter().map(|o| o.name).collect();
    assert_eq!(listed, known, "the expectation covers every operation and no other");

    let expected: Vec<Vec<&str>> = rows(include_str!("classes.csv")).collect();
    let mut checked = 0;
    for (operation, class) in &classes {
        let before = checked;
        for row in expected.iter().filter(|row| row[0] == *class) {
            assert_eq!(row.len(), 2 + COLUMNS.len(), "{row:?}");
            for (column, want) in COLUMNS.iter().zip(&row[2..]) {
                let decision = by_default(&situation(row[1], question(operation, who(column))));
                assert_eq!(
                    sign(&decision),
                    *want,
                    "{operation} {} by {column}: {decision:?}",
                    row[1]
                );
                checked += 1;
            }
        }
        assert!(checked > before, "no rows for class {class}");
    }
}

#[test]
fn t01_services_nodes_and_unverified_kinds_have_no_rights() {
    for kind in [AskerKind::Service, AskerKind::Node] {
        for o in OPERATIONS.iter().filter(|o| o.name != "login" && o.name != "logout") {
            let q = situation(
                "own",
                question(o.name, asker(kind, &["pact-platform-admin", "pact-ops-a"])),
            );
            let anyone = o.least.as_str() == "anyone" && o.name != "approve.deny";
            assert_eq!(
                sign(&by_default(&q)),
                if anyone { "+" } else { "-" },
                "{} by {kind:?}",
                o.name
            );
        }
    }
    // A machine's other roles count for nothing, and one machine role is not the other.
    let q = situation(
        "own",
        question("exec", asker(AskerKind::ServiceAi, &["pact-ops-a", "pact-platform-admin"])),
    );
    assert_eq!(sign(&by_default(&q)), "-");
    let q =
        situation("own", question("status", asker(AskerKind::ServiceAgent, &["pact-service-ai"])));
    assert_eq!(sign(&by_default(&q)), "-");
}

#[test]
fn t01_the_acting_role_is_the_least_that_suffices() {
    let acting = |operation: &str, roles: &[&str], at: &str| match by_default(&situation(
        at,
        question(operation, human(roles)),
    )) {
        Decision::Allow { acting_role, .. } => acting_role,
        other => panic!("{other:?}"),
    };
    let all = ["pact-platform-admin", "pact-ops-a", "pact-viewer-a"];
    assert_eq!(acting("status", &all, "own").as_deref(), Some("pact-viewer-a"));
    assert_eq!(acting("exec", &all, "own").as_deref(), Some("pact-ops-a"));
    assert_eq!(acting("exec", &all, "other").as_deref(), Some("pact-platform-admin"));
    assert_eq!(acting("cluster", &all, "unnamed").as_deref(), Some("pact-viewer-a"));
    assert_eq!(acting("whoami", &[], "unnamed"), None);
}
