//! Questions for the tests.

use std::collections::BTreeMap;

use pact_policy::{Asker, AskerKind, Bundle, Decision, Limits, Question, Target, VclusterRules};
use pact_runtime::Timestamp;
use pact_schemas::operation::Operation;
use pact_schemas::v1::VclusterPolicy;
use pact_schemas::{NodeId, NodeState, VclusterId};

pub(crate) fn vc(name: &str) -> VclusterId {
    VclusterId::new(name).unwrap()
}

pub(crate) fn node(name: &str, vcluster: Option<&str>) -> Target {
    Target {
        node: NodeId::new(name).unwrap(),
        vcluster: vcluster.map(vc),
        state: NodeState::Active,
    }
}

pub(crate) fn human(roles: &[&str]) -> Asker {
    asker(AskerKind::Human, roles)
}

pub(crate) fn asker(kind: AskerKind, roles: &[&str]) -> Asker {
    Asker {
        subject: "someone".into(),
        issuer: "https://idp".into(),
        kind,
        roles: roles.iter().map(ToString::to_string).collect(),
    }
}

/// By everyone on nothing: change what matters.
pub(crate) fn question(operation: &str, asker: Asker) -> Question {
    let defaults = VclusterRules::from(&VclusterPolicy::default());
    Question {
        asker,
        operation: Operation::find(operation).unwrap(),
        targets: vec![],
        vclusters: vec![],
        argv: vec![],
        rules: BTreeMap::from([(vc("a"), defaults.clone()), (vc("b"), defaults)]),
        time: Timestamp::from_unix_nanos(1_770_000_000_000_000_000),
    }
}

pub(crate) fn by_default(question: &Question) -> Decision {
    // A loaded machine must not make a refusal of what is right.
    let limits = Limits { evaluation: std::time::Duration::from_secs(30), ..Limits::default() };
    thread_local! {
        static BUNDLE: std::cell::OnceCell<Bundle> = const { std::cell::OnceCell::new() };
    }
    BUNDLE.with(|bundle| {
        bundle.get_or_init(|| Bundle::default_only(limits).unwrap()).decide(&question.input())
    })
}
