//! A rollback does what its plan said, on all nodes or on none.

use pact_schemas::ErrorCode;
use pact_schemas::v1::{
    self, CommitRequest, RollbackScopeReply, RollbackScopeRequest, action::Action,
};

use crate::declared::{node_scope, text};
use crate::node::{Node, holder, item};
use crate::world::{World, code, request_id};

const OPS: &[&str] = &["pact-ops-ml"];

fn to(seq: u64) -> RollbackScopeRequest {
    RollbackScopeRequest {
        request_id: request_id(),
        to_seq: Some(seq),
        ..RollbackScopeRequest::default()
    }
}

fn head(targets: &str) -> RollbackScopeRequest {
    RollbackScopeRequest {
        request_id: request_id(),
        targets: targets.into(),
        ..RollbackScopeRequest::default()
    }
}

async fn roll_back(world: &World, request: RollbackScopeRequest) -> RollbackScopeReply {
    world.client().await.rollback(world.by(OPS, request)).await.unwrap().into_inner()
}

async fn refused(world: &World, request: RollbackScopeRequest) -> ErrorCode {
    code(&world.client().await.rollback(world.by(OPS, request)).await.unwrap_err())
}

/// Two commits of a node: `vm.a` is 2 after entry 1 and 3 after entry 2.
async fn committed_twice(world: &World, node: &Node, name: &str) {
    for (old, new) in [("1", "2"), ("2", "3")] {
        node.with(|m| m.drift = vec![item("sysctl/vm.a", old, new)]);
        let request = CommitRequest {
            request_id: request_id(),
            targets: name.into(),
            message: "tuned".into(),
            ..CommitRequest::default()
        };
        let reply = world.client().await.commit(world.by(OPS, request)).await.unwrap();
        assert!(reply.into_inner().errors.is_empty());
    }
}

fn rollbacks(world: &World) -> usize {
    world
        .journal
        .with(|s| s.proposed.iter().filter(|(_, act)| matches!(act, Action::Rollback(_))).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn t10_an_entry_brings_its_own_scope_and_its_plan_is_what_is_done() {
    let world = World::start().await;
    let node = Node::start(&world, "n1", Vec::new()).await;
    committed_twice(&world, &node, "n1").await;
    let plan = roll_back(&world, RollbackScopeRequest { plan_only: true, ..to(1) }).await;
    assert_eq!(rollbacks(&world), 0, "a plan changes nothing");
    assert_eq!(plan.plans[0].scope, Some(node_scope("n1")));
    let change = &plan.plans[0].changes[0];
    assert_eq!((change.old.clone(), change.new.clone()), (Some(text("3")), Some(text("2"))));
    assert_eq!(
        refused(&world, RollbackScopeRequest { expect_plan: vec![1; 32], ..to(1) }).await,
        ErrorCode::Conflict
    );
    let request = RollbackScopeRequest { expect_plan: plan.plan_digest, ..to(1) };
    let done = roll_back(&world, request.clone()).await;
    assert_eq!((done.plans[0].seq, done.nodes[0].restored_keys), (3, 1));
    assert!(done.errors.is_empty() && !done.nodes[0].when_back);
    assert!(node.with(|m| m.calls.ends_with(&["rollback_check", "rollback"])));
    let now = world.journal.with(|s| s.declared.at(&node_scope("n1"), u64::MAX));
    assert_eq!(now["sysctl/vm.a"], text("2"));

    let again = roll_back(&world, request).await;
    assert_eq!((again.plans[0].seq, rollbacks(&world)), (3, 1), "a retry is the same rollback");
    let nothing = roll_back(&world, to(1)).await;
    assert_eq!((nothing.plans[0].seq, rollbacks(&world)), (0, 1), "there is nothing left to do");
}

#[tokio::test(flavor = "multi_thread")]
async fn t10_a_holder_anywhere_leaves_everything_as_it_is() {
    let world = World::start().await;
    let held = Node::start(&world, "n1", vec![item("file//etc/motd", "a", "b")]).await;
    let free = Node::start(&world, "n2", vec![item("file//etc/motd", "a", "b")]).await;
    held.with(|m| m.holders = vec![holder()]);
    let reply = roll_back(&world, head("n[1-2]")).await;
    assert_eq!(rollbacks(&world), 0);
    assert_eq!(reply.errors.len(), 1);
    let error = &reply.errors[0];
    assert_eq!((error.known_code().exit_code(), error.node.as_str()), (10, "n1"));
    assert!(error.cause.contains("pid 4242 (java) holds file//etc/motd: open for writing"));
    assert_eq!(reply.nodes[0].holders, [holder()]);
    assert!(reply.plans.iter().all(|plan| plan.seq == 0));
    assert_eq!(free.with(|m| m.drift.len()), 1);

    held.with(|m| m.holders.clear());
    let reply = roll_back(&world, head("n[1-2]")).await;
    assert_eq!((reply.errors.len(), rollbacks(&world)), (0, 2));
    assert!(held.with(|m| m.drift.is_empty()) && free.with(|m| m.drift.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn t10_a_late_holder_leaves_the_node_deferred() {
    let world = World::start().await;
    let node = Node::start(&world, "n1", vec![item("file//etc/motd", "a", "b")]).await;
    node.with(|m| m.late_holders = vec![holder()]);
    let reply = roll_back(&world, head("n1")).await;
    assert_eq!(reply.errors[0].known_code(), ErrorCode::RollbackFailed);
    assert!(reply.errors[0].message.contains("Deferred"), "{:?}", reply.errors);
    assert!(reply.plans[0].seq > 0, "it is recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn t10_nodes_that_are_away_do_it_when_they_are_back() {
    let world = World::start().await;
    let node = Node::start(&world, "n1", Vec::new()).await;
    committed_twice(&world, &node, "n1").await;
    drop(node);
    let request = RollbackScopeRequest { targets: "n1".into(), ..to(1) };
    let reply = roll_back(&world, request).await;
    assert!(reply.nodes[0].when_back && reply.errors.is_empty(), "{reply:?}");
    assert_eq!(rollbacks(&world), 1);
    let reply = roll_back(&world, head("n1")).await;
    assert_eq!(reply.errors[0].known_code(), ErrorCode::Unreachable, "drift is the node's to say");
}

#[tokio::test(flavor = "multi_thread")]
async fn t10_a_vclusters_overlay_goes_back_and_its_nodes_take_it() {
    let world = World::start().await;
    let node = Node::start(&world, "n1", Vec::new()).await;
    for value in ["10", "20"] {
        let spec = format!("[vcluster.ml.sysctl]\n\"vm.swappiness\" = \"{value}\"\n");
        let request = v1::ApplyRequest {
            request_id: request_id(),
            spec,
            no_wait: true,
            ..v1::ApplyRequest::default()
        };
        world.client().await.apply(world.by(OPS, request)).await.unwrap();
    }
    let reply = roll_back(&world, to(1)).await;
    assert_eq!(reply.plans[0].seq, 3);
    assert_eq!(reply.nodes[0].settled.as_ref().unwrap().config_seq, 3);
    assert_eq!(node.with(|m| m.calls.clone()), ["settle"], "no grant is needed");
    assert_eq!(reply.errors[0].node, "n2", "active, but it does not answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn t10_what_has_no_state_or_is_not_there_is_refused() {
    let world = World::start().await;
    assert_eq!(refused(&world, to(9)).await, ErrorCode::NotFound);
    assert_eq!(refused(&world, head("")).await, ErrorCode::NoNode);
    world.journal.with(|s| {
        s.entries.push(v1::Entry {
            seq: 1,
            kind: v1::EntryKind::Accessed.into(),
            scope: Some(node_scope("n1")),
            ..v1::Entry::default()
        });
    });
    assert_eq!(refused(&world, to(1)).await, ErrorCode::InvalidArgument);
    let both = RollbackScopeRequest { targets: "n1".into(), vcluster: Some("ml".into()), ..to(1) };
    assert_eq!(refused(&world, both).await, ErrorCode::InvalidArgument);
    let request =
        world.by(&["pact-viewer-ml"], RollbackScopeRequest { targets: "n1".into(), ..to(1) });
    let status = world.client().await.rollback(request).await.unwrap_err();
    assert_eq!(code(&status), ErrorCode::NotAuthorised);
    assert_eq!(rollbacks(&world), 0);
}
