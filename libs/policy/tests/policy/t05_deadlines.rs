//! Runaway rules and oversized requests end in a refusal, in time.

use std::time::Duration;

use pact_policy::question::MAX_INPUT_BYTES;
use pact_policy::{Decision, DenyKind, Evaluator, Limits};
use pact_runtime::Clock;

use crate::ask::{by_default, human, node, question};

#[tokio::test]
async fn t05_a_runaway_rule_is_stopped_and_the_engine_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let rules = "package pact.site\nimport rego.v1\ndeny contains \"x\" if {\n\tcount(input.command) > 100\n\tsome a in input.command\n\tsome b in input.command\n\tsome c in input.command\n\tconcat(\"\", [a, b, c]) == \"never\"\n}\n";
    std::fs::write(folder.path().join("slow.rego"), rules).unwrap();
    let clock = Clock::system();
    let policy =
        Evaluator::start(Some(folder.path().to_owned()), Limits::default(), clock.clone()).unwrap();
    let mut slow = question("exec", human(&["pact-ops-a"]));
    slow.targets = vec![node("n1", Some("a"))];
    slow.argv = (0..1000).map(|i| i.to_string()).collect();

    let started = clock.monotonic();
    let decisions = futures(&policy, &slow, 16).await;
    let took = clock.monotonic() - started;
    for decision in decisions {
        match decision {
            Decision::Deny { kind: DenyKind::Undecided, reasons, .. } => {
                assert!(
                    reasons[0].contains("50 ms") || reasons[0].contains("250 ms"),
                    "{reasons:?}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    // Unstopped it is 10^9 steps; the bound only tells minutes from moments.
    assert!(took < Duration::from_secs(20), "{took:?}");

    slow.argv.clear();
    let mut last = policy.decide(&slow).await;
    for _ in 0..50 {
        if matches!(last, Decision::Allow { .. }) {
            return;
        }
        last = policy.decide(&slow).await;
    }
    panic!("the engine did not recover: {last:?}");
}

async fn futures(
    policy: &Evaluator,
    question: &pact_policy::Question,
    count: usize,
) -> Vec<Decision> {
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let (policy, question) = (policy.clone(), question.clone());
            tokio::spawn(async move { policy.decide(&question).await })
        })
        .collect();
    let mut decisions = Vec::new();
    for task in tasks {
        decisions.push(task.await.unwrap());
    }
    decisions
}

#[test]
fn t05_an_oversized_request_is_refused_whole() {
    let mut q = question("exec", human(&["pact-platform-admin"]));
    q.targets = vec![node("n1", Some("a"))];
    q.argv = vec!["x".repeat(MAX_INPUT_BYTES)];
    match by_default(&q) {
        Decision::Deny { kind: DenyKind::Undecided, reasons, .. } => {
            assert!(reasons[0].contains("at most"), "{reasons:?}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn t05_ten_thousand_targets_are_decided_at_once() {
    let mut q = question("exec", human(&["pact-ops-a"]));
    q.targets = (0..10_000).map(|i| node(&format!("x1000c0s{i}b0n0"), Some("a"))).collect();
    assert!(matches!(by_default(&q), Decision::Allow { .. }));
    q.targets.push(node("n2", Some("b")));
    assert!(matches!(by_default(&q), Decision::Deny { kind: DenyKind::NoRole, .. }));
}
