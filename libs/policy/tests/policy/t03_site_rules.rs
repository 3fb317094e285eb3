//! Site rules: may turn yes into no, never no into yes.

use std::time::Duration;

use pact_policy::{Bundle, Decision, DenyKind, Evaluator, Limits};
use pact_runtime::Clock;
use pact_schemas::operation::OPERATIONS;
use proptest::prelude::*;

use crate::ask::{by_default, human, node, question};

const PATIENT: Limits =
    Limits { evaluation: Duration::from_secs(30), answer: Duration::from_secs(60) };

pub(crate) fn site(rules: &str) -> Result<Bundle, pact_policy::BundleError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("site.rego"),
        format!("package pact.site\nimport rego.v1\n{rules}\n"),
    )
    .unwrap();
    std::fs::write(folder.path().join("README.md"), "Rules of this site.").unwrap();
    Bundle::with_site(folder.path(), PATIENT)
}

const NO_REBOOTS: &str = r#"
deny contains {"reason": sprintf("no %s of %s", [input.operation, t.node])} if {
    forbidden(input.operation)
    some t in input.targets
}
deny contains "command line" if "--force" in input.command
forbidden(name) if name in {"reboot", "reimage"}
"#;

#[test]
fn t03_a_site_rule_denies_with_its_reason() {
    let bundle = site(NO_REBOOTS).unwrap();
    let mut q = question("reboot", human(&["pact-ops-a"]));
    q.targets = vec![node("n1", Some("a"))];
    match bundle.decide(&q.input()) {
        Decision::Deny { kind: DenyKind::Rule, reasons, policy_ref } => {
            assert_eq!(reasons, ["no reboot of n1"]);
            assert!(
                policy_ref.starts_with("default@") && policy_ref.contains("+site@"),
                "{policy_ref}"
            );
        }
        other => panic!("{other:?}"),
    }
    let mut q = question("exec", human(&["pact-ops-a"]));
    q.targets = vec![node("n1", Some("a"))];
    assert!(matches!(bundle.decide(&q.input()), Decision::Allow { .. }));
    q.argv = vec!["x".into(), "--force".into()];
    assert!(matches!(bundle.decide(&q.input()), Decision::Deny { kind: DenyKind::Rule, .. }));
}

#[test]
fn t03_a_site_rule_cannot_reach_the_default_bundle() {
    // Neither defining its package nor reading its data is possible from a site bundle.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("x.rego"),
        "package pact.decision\nimport rego.v1\nresult := {\"effect\": \"allow\"}\n",
    )
    .unwrap();
    assert!(Bundle::with_site(folder.path(), PATIENT).is_err());
    let bundle =
        site("deny contains \"sees it\" if data.operations\ndeny contains \"no\" if false")
            .unwrap();
    let q = question("whoami", human(&[]));
    assert!(matches!(bundle.decide(&q.input()), Decision::Allow { .. }));
}

#[test]
fn t03_odd_answers_still_deny() {
    for rules in [
        "deny contains 7 if input.operation == \"cluster\"",
        "deny contains {\"why\": 1} if input.operation == \"cluster\"",
    ] {
        let q = question("cluster", human(&["pact-viewer-a"]));
        assert!(matches!(
            site(rules).unwrap().decide(&q.input()),
            Decision::Deny { kind: DenyKind::Rule, .. }
        ));
    }
    // A rule that fails while it is evaluated is a refusal, not a silence.
    let q = question("cluster", human(&["pact-viewer-a"]));
    let bundle = site("deny contains \"x\" if {\n\tinput.operation == \"cluster\"\n\tto_number(input.time) > 1\n}").unwrap();
    assert!(matches!(bundle.decide(&q.input()), Decision::Deny { kind: DenyKind::Undecided, .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn t03_no_site_rule_turns_no_into_yes(
        operation in 0..OPERATIONS.len(),
        roles in proptest::sample::subsequence(vec!["pact-platform-admin", "pact-ops-a", "pact-viewer-a", "pact-regulated-b"], 0..4),
        place in proptest::sample::select(vec![None, Some("a"), Some("b")]),
        modulus in 1_usize..4,
    ) {
        let mut q = question(OPERATIONS[operation].name, human(&roles));
        q.targets = vec![node("n1", place)];
        thread_local! {
            static SITES: std::cell::OnceCell<Vec<Bundle>> = const { std::cell::OnceCell::new() };
        }
        let alone = by_default(&q);
        let both = SITES.with(|s| s.get_or_init(|| {
            (0..4).map(|m| site(&format!("deny contains \"odd\" if count(input.operation) % {} == 0\nallow := true\nresult := {{\"effect\": \"allow\"}}", m + 1)).unwrap()).collect()
        })[modulus].decide(&q.input()));
        let said_no = q.operation.name.len().is_multiple_of(modulus + 1);
        match (&alone, &both) {
            (Decision::Deny { kind, reasons, .. }, Decision::Deny { kind: k, reasons: r, .. }) => prop_assert_eq!((kind, reasons), (k, r)),
            (Decision::Allow { .. }, Decision::Deny { kind: DenyKind::Rule, .. }) => prop_assert!(said_no),
            (Decision::Allow { acting_role: x, .. }, Decision::Allow { acting_role: y, .. }) => { prop_assert!(!said_no); prop_assert_eq!(x, y) }
            other => prop_assert!(false, "{other:?}"),
        }
    }
}

#[tokio::test]
async fn t03_a_bad_reload_keeps_the_last_good_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("site.rego");
    std::fs::write(&file, "package pact.site\nimport rego.v1\ndeny contains \"first\" if input.operation == \"cluster\"\n").unwrap();
    let policy =
        Evaluator::start(Some(folder.path().to_owned()), PATIENT, Clock::system()).unwrap();
    let q = question("cluster", human(&["pact-viewer-a"]));
    let first = policy.decide(&q).await;
    assert!(matches!(first, Decision::Deny { kind: DenyKind::Rule, .. }), "{first:?}");

    std::fs::write(&file, "package pact.site\nimport rego.v1\ndeny contains \"x\" if {\n").unwrap();
    let error = policy.reload().unwrap_err().to_string();
    assert!(error.starts_with("site.rego:"), "{error}");
    assert_eq!(policy.decide(&q).await, first);

    std::fs::write(
        &file,
        "package pact.site\nimport rego.v1\ndeny contains \"x\" if input.operation == \"health\"\n",
    )
    .unwrap();
    let policy_ref = policy.reload().unwrap();
    assert_eq!(policy.policy_ref(), policy_ref);
    assert!(matches!(policy.decide(&q).await, Decision::Allow { .. }));
}
