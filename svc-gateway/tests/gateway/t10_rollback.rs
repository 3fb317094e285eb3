//! A rollback does what its plan said, on all nodes or on none.

use pact_schemas::ErrorCode;
use pact_schemas::resource::Value;
use pact_schemas::v1::{
    self, CommitRequest, RollbackScopeReply, RollbackScopeRequest, action::Action,
};

use crate::declared::{self, node_scope, text};
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
    let now = world.journal.with(|s| declared::keys(s, &node_scope("n1")));
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
    assert_eq!(node.with(|m| m.calls.clone()), ["diff", "settle"], "no grant is needed");
    assert_eq!(reply.errors[0].node, "n2", "active, but it does not answer");
}

/// Overlays of ml: `vm.a` is 10 after entry 1 and 20 after entry 2, `vm.b` comes with entry 2.
async fn applied_twice(world: &World) {
    for keys in ["\"vm.a\" = \"10\"", "\"vm.a\" = \"20\"\n\"vm.b\" = \"1\""] {
        let request = v1::ApplyRequest {
            request_id: request_id(),
            spec: format!("[vcluster.ml.sysctl]\n{keys}\n"),
            no_wait: true,
            ..v1::ApplyRequest::default()
        };
        world.client().await.apply(world.by(OPS, request)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t10_holders_on_the_nodes_of_a_vcluster_leave_everything_as_it_is() {
    let world = World::start().await;
    let held = Node::start(&world, "n1", Vec::new()).await;
    let free = Node::start(&world, "n2", Vec::new()).await;
    held.with(|m| (m.mode, m.holders) = ("enforce", vec![holder()]));
    free.with(|m| m.mode = "enforce");
    applied_twice(&world).await;
    let reply = roll_back(&world, to(1)).await;
    assert_eq!((rollbacks(&world), reply.plans[0].seq), (0, 0));
    let error = &reply.errors[0];
    assert_eq!((error.known_code().exit_code(), error.node.as_str()), (10, "n1"));
    assert!(error.message.ends_with("nothing was changed"), "{error}");
    assert_eq!(reply.nodes[0].holders, [holder()]);
    assert_eq!(free.with(|m| m.calls.clone()), ["diff", "rollback_check"]);
    assert_eq!(free.with(|m| m.checked.clone()), ["sysctl/vm.a", "sysctl/vm.b"]);

    // What a node declares itself does not change there, and nothing changes on one that only observes.
    let own = world.journal.with(|s| declared::commit(s, "n1", keys(["sysctl/vm.a"], "5")));
    assert_eq!(own, 3);
    free.with(|m| (m.mode, m.holders) = ("observe", vec![holder()]));
    let reply = roll_back(&world, to(1)).await;
    assert_eq!((rollbacks(&world), reply.errors[0].node.as_str()), (0, "n1"));
    assert_eq!(held.with(|m| m.checked.clone()), ["sysctl/vm.b"]);
    held.with(|m| m.holders.clear());
    let reply = roll_back(&world, to(1)).await;
    assert_eq!((reply.plans[0].seq, reply.errors.len()), (4, 0), "{reply:?}");
    assert_eq!(reply.nodes.len(), 2);

    // A node that is away is in nobody's way.
    drop(held);
    let reply = roll_back(&world, RollbackScopeRequest { vcluster: Some("ml".into()), ..to(2) });
    let reply = reply.await;
    assert_eq!((reply.plans[0].seq, reply.errors.len()), (5, 1), "{reply:?}");
    assert_eq!(reply.errors[0].known_code(), ErrorCode::Unreachable, "it has not settled");
}

const MANY: usize = 10_000;

fn many() -> impl Iterator<Item = String> {
    (0..MANY).map(|i| format!("sysctl/a.{i:05}"))
}

/// Keys of one value.
fn keys(
    keys: impl IntoIterator<Item = impl Into<String>>,
    value: &str,
) -> impl Iterator<Item = (String, Value)> {
    keys.into_iter().map(move |key| (key.into(), Value::Text(value.to_owned())))
}

#[tokio::test(flavor = "multi_thread")]
async fn t10_ten_thousand_keys_of_one_node_go_back() {
    let world = World::start().await;
    let node = Node::start(&world, "n1", Vec::new()).await;
    world.journal.with(|s| {
        for value in ["a", "b"] {
            declared::commit(s, "n1", keys(many(), &value.repeat(60)));
        }
    });
    let plan = roll_back(&world, RollbackScopeRequest { plan_only: true, ..to(1) }).await;
    let shown = &plan.plans[0];
    assert_eq!(shown.changes.len() + shown.omitted_changes as usize, MANY);
    let done = roll_back(&world, to(1)).await;
    assert_eq!((done.nodes[0].restored_keys, done.errors.len()), (MANY as u32, 0), "{done:?}");
    assert_eq!(done.plans[0].seq, 3);
    assert_eq!(node.with(|m| m.checked.len()), MANY);
    let chunks = node.with(|m| m.calls.iter().filter(|call| **call == "rollback_chunk").count());
    assert!(chunks > 5, "{chunks}");
}

#[tokio::test(flavor = "multi_thread")]
async fn t10_ten_thousand_keys_of_a_vcluster_go_back_but_those_that_a_node_has_itself() {
    let world = World::start().await;
    let node = Node::start(&world, "n1", Vec::new()).await;
    node.with(|m| m.mode = "enforce");
    world.journal.with(|s| {
        declared::apply(s, keys(many(), &"c".repeat(60)));
        declared::apply(s, keys(many(), &"d".repeat(60)));
        declared::commit(s, "n1", keys(["sysctl/a.00000"], "own"));
    });
    let request = RollbackScopeRequest { vcluster: Some("ml".into()), ..to(1) };
    let done = roll_back(&world, request).await;
    assert_eq!(
        (done.plans[0].seq, node.with(|m| m.checked.len())),
        (4, MANY - 1),
        "{:?}",
        done.errors
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn t10_a_retry_finishes_what_a_gateway_that_died_began() {
    let world = World::start().await;
    let drift = || vec![item("file//etc/motd", "a", "b")];
    let node = Node::start(&world, "n1", drift()).await;
    node.with(|m| m.is_cut_off = true);
    let request = head("n1");
    let first = roll_back(&world, request.clone()).await;
    assert_eq!(first.errors[0].known_code(), ErrorCode::Unreachable, "{first:?}");
    assert_eq!(node.with(|m| m.drift.len()), 1, "recorded, and not done");
    // Whoever asks again has it done; the entry is the same.
    let again = roll_back(&world, request.clone()).await;
    assert_eq!((again.errors.len(), again.nodes[0].restored_keys), (0, 1), "{again:?}");
    assert_eq!((rollbacks(&world), again.plans[0].seq), (1, 1));
    assert!(node.with(|m| m.drift.is_empty()));
    // It is done: nothing is asked of the node but how it is.
    node.with(|m| m.calls.clear());
    let again = roll_back(&world, request.clone()).await;
    assert_eq!((again.errors.len(), again.nodes[0].settled.as_ref().unwrap().drift_keys), (0, 0));
    assert_eq!(node.with(|m| m.calls.clone()), ["diff"]);
    // What came later is not what was to go: it stays, and is said to be there.
    node.with(|m| m.drift = vec![item("sysctl/vm.later", "1", "2")]);
    let again = roll_back(&world, request).await;
    assert_eq!((again.errors.len(), again.nodes[0].settled.as_ref().unwrap().drift_keys), (0, 1));
    assert_eq!(node.with(|m| m.drift.len()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn t10_a_retry_never_says_done_of_what_is_not() {
    let world = World::start().await;
    let drift = || vec![item("file//etc/motd", "a", "b")];
    let node = Node::start(&world, "n1", drift()).await;
    // The node took the grant, and died before it did anything.
    node.with(|m| m.dies = true);
    let request = head("n1");
    roll_back(&world, request.clone()).await;
    let again = roll_back(&world, request).await;
    assert_eq!(again.errors[0].known_code(), ErrorCode::GrantExpired, "{again:?}");
    assert!(again.errors[0].message.contains("entry 1 is recorded, and the drift of n1 is still"));
    // Nobody asked in time.
    node.with(|m| m.is_cut_off = true);
    let request = head("n1");
    roll_back(&world, request.clone()).await;
    world.journal.with(|s| s.has_expired_grants = true);
    let again = roll_back(&world, request.clone()).await;
    assert!(again.errors[0].message.contains("entry 2 is recorded, and the drift of n1 is still"));
    node.with(|m| m.drift.push(item("sysctl/vm.later", "1", "2")));
    let again = roll_back(&world, request.clone()).await;
    assert!(again.errors[0].message.contains("not known whether entry 2"), "{again:?}");
    node.with(|m| m.drift.clear());
    let again = roll_back(&world, request.clone()).await;
    assert_eq!((again.errors.len(), again.nodes.len()), (0, 1));
    drop(node);
    let again = roll_back(&world, request).await;
    assert_eq!(again.errors[0].known_code(), ErrorCode::Unreachable);
    assert!(again.errors[0].next_step.contains("entry 2 is recorded"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn t10_what_has_no_state_or_is_not_there_is_refused() {
    let world = World::start().await;
    assert_eq!(refused(&world, to(9)).await, ErrorCode::NotFound);
    assert_eq!(refused(&world, head("")).await, ErrorCode::NoNode);
    let accessed = v1::Accessed {
        operation: "node.inspect".into(),
        minute: Some(pact_schemas::convert::timestamp(0)),
        count: 1,
        ..v1::Accessed::default()
    };
    let read = v1::RecordAccess {
        scope: Some(node_scope("n1")),
        accessed: Some(accessed),
        vclusters: Vec::new(),
    };
    assert_eq!(world.journal.with(|s| s.commit(None, Action::RecordAccess(read))), 1);
    assert_eq!(refused(&world, to(1)).await, ErrorCode::InvalidArgument);
    let both = RollbackScopeRequest { targets: "n1".into(), vcluster: Some("ml".into()), ..to(1) };
    assert_eq!(refused(&world, both).await, ErrorCode::InvalidArgument);
    let request =
        world.by(&["pact-viewer-ml"], RollbackScopeRequest { targets: "n1".into(), ..to(1) });
    let status = world.client().await.rollback(request).await.unwrap_err();
    assert_eq!(code(&status), ErrorCode::NotAuthorised);
    assert_eq!(rollbacks(&world), 0);
}
