//! Settings of vClusters.

use pact_policy::{AskerKind, Decision, DenyKind, Question};

use crate::ask::{asker, by_default, human, node, question, vc};

fn on_a(operation: &str, set: impl FnOnce(&mut pact_policy::VclusterRules)) -> Question {
    let mut q = question(operation, human(&["pact-ops-a"]));
    q.targets = vec![node("n1", Some("a"))];
    set(q.rules.get_mut(&vc("a")).unwrap());
    q
}

#[test]
fn t02_exec_needs_approval_only_where_it_says_so() {
    assert!(matches!(
        by_default(&on_a("exec", |r| r.exec_requires_approval = true)),
        Decision::NeedsApproval { .. }
    ));
    assert!(matches!(by_default(&on_a("exec", |r| r.regulated = true)), Decision::Allow { .. }));
    let mut q = on_a("exec", |r| r.exec_requires_approval = true);
    q.asker = human(&["pact-viewer-a"]);
    assert!(
        matches!(by_default(&q), Decision::Deny { kind: DenyKind::NoRole, .. }),
        "no role comes first"
    );
}

#[test]
fn t02_changes_need_two_people_where_regulated() {
    for operation in
        ["commit", "rollback", "apply", "blacklist.add", "blacklist.remove", "node.unassign"]
    {
        for set in [
            |r: &mut pact_policy::VclusterRules| r.regulated = true,
            |r: &mut pact_policy::VclusterRules| r.two_person_approval = true,
        ] {
            assert!(
                matches!(by_default(&on_a(operation, set)), Decision::NeedsApproval { .. }),
                "{operation}"
            );
        }
    }
    assert!(matches!(by_default(&on_a("extend", |r| r.regulated = true)), Decision::Allow { .. }));
    let emergency = by_default(&on_a("emergency.start", |r| r.regulated = true));
    assert!(matches!(emergency, Decision::Allow { .. }), "the way out when nobody can approve");
}

#[test]
fn t02_ai_runs_commands_only_where_every_vcluster_allows_it() {
    let mut q = on_a("exec", |r| r.ai_exec_allowed = true);
    q.asker = asker(AskerKind::ServiceAi, &["pact-service-ai"]);
    assert!(matches!(by_default(&q), Decision::Allow { .. }));
    q.targets.push(node("n2", Some("b")));
    assert!(matches!(by_default(&q), Decision::Deny { kind: DenyKind::Rule, .. }));
    q.targets.pop();
    q.targets.push(node("n0", None));
    assert!(matches!(by_default(&q), Decision::Deny { kind: DenyKind::NoRole, .. }));
}

#[test]
fn t02_unknown_settings_let_no_change_through() {
    let mut q = on_a("exec", |_| {});
    q.rules.clear();
    assert!(matches!(by_default(&q), Decision::Deny { kind: DenyKind::Rule, .. }));
    let emergency = by_default(&on_a("emergency.start", |r| r.emergency_allowed = false));
    assert!(matches!(emergency, Decision::Deny { kind: DenyKind::Rule, .. }));
}
