//! Drift is shown, committed node by node, once for each request; windows are extended; patterns are listed.

use pact_schemas::v1::{self, CommitRequest, EntryKind, WindowState, action::Action};
use prost::Message as _;

use pact_schemas::resource::Value;
use pact_schemas::{ErrorCode, RequestId};

use crate::declared::{apply, node_scope};
use crate::node::{Node, item};
use crate::world::{World, code, request_id};

const OPS: &[&str] = &["pact-ops-ml"];

fn commit(targets: &str) -> CommitRequest {
    CommitRequest {
        request_id: request_id(),
        targets: targets.into(),
        message: "tuned".into(),
        ..CommitRequest::default()
    }
}

fn two() -> Vec<v1::DriftItem> {
    vec![item("sysctl/vm.a", "1", "2"), item("sysctl/vm.b", "3", "4")]
}

fn commits(world: &World) -> usize {
    world.journal.with(|s| {
        s.proposed.iter().filter(|(_, act)| matches!(act, Action::CommitDelta(_))).count()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn t09_drift_comes_in_pages_and_dead_nodes_are_errors() {
    let world = World::start().await;
    let drift = [two(), vec![item("sysctl/vm.c", "5", "6")]].concat();
    let _node = Node::start(&world, "n1", drift).await;
    let request = v1::DiffNodesRequest { targets: "n[1-2]".into(), ..Default::default() };
    let mut client = world.client().await;
    let reply = client.diff(world.by(&["pact-viewer-ml"], request)).await.unwrap().into_inner();
    let diff = &reply.nodes[0];
    assert_eq!((diff.items.len(), diff.total, diff.omitted_items), (3, 3, 0));
    assert_eq!(diff.digest.len(), 32);
    assert_eq!(reply.errors[0].node, "n2");
    assert_eq!(reply.errors[0].known_code(), ErrorCode::Unreachable);
    let at = v1::DiffNodesRequest { targets: "n1".into(), at_seq: Some(1), ..Default::default() };
    let status = client.diff(world.by(OPS, at)).await.unwrap_err();
    assert_eq!(code(&status), ErrorCode::Unimplemented);
}

#[tokio::test(flavor = "multi_thread")]
async fn t09_a_commit_makes_an_entry_and_the_node_has_it() {
    let world = World::start().await;
    let node = Node::start(&world, "n1", two()).await;
    let mut client = world.client().await;
    let request = CommitRequest { ttl_seconds: Some(900), ..commit("n1") };
    let reply = client.commit(world.by(OPS, request)).await.unwrap().into_inner();
    let done = &reply.nodes[0];
    assert_eq!((done.seq, done.changes.len(), reply.errors.len()), (1, 2, 0));
    let settled = done.settled.as_ref().unwrap();
    assert_eq!((settled.config_seq, settled.drift_keys), (1, 0));
    assert_eq!(node.with(|m| m.calls.clone()), ["diff", "capture", "settle"]);
    let delta = world.journal.with(|s| match &s.proposed.last().unwrap().1 {
        Action::CommitDelta(delta) => delta.clone(),
        other => panic!("{other:?}"),
    });
    assert_eq!((delta.vcluster.as_str(), delta.ttl_seconds), ("ml", Some(900)));
    assert_eq!(delta.message, "tuned");

    let committed = v1::DiffNodesRequest {
        targets: "n1".into(),
        committed: true,
        ..v1::DiffNodesRequest::default()
    };
    let reply = client.diff(world.by(OPS, committed)).await.unwrap().into_inner();
    let keys: Vec<&str> = reply.nodes[0].deltas.iter().map(|d| d.key.as_str()).collect();
    assert_eq!(keys, ["sysctl/vm.a", "sysctl/vm.b"]);

    let again = client.commit(world.by(OPS, commit("n1"))).await.unwrap().into_inner();
    assert_eq!((again.nodes[0].seq, again.errors.len()), (0, 0), "nothing to commit is no failure");
    assert_eq!(commits(&world), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn t09_a_retry_finds_the_first_attempt() {
    let world = World::start().await;
    let node = Node::start(&world, "n1", two()).await;
    let other = Node::start(&world, "n2", two()).await;
    let mut client = world.client().await;
    let request = commit("n[1-2]");
    let first = client.commit(world.by(OPS, request.clone())).await.unwrap().into_inner();
    assert_eq!(first.nodes.len(), 2);
    node.with(|m| m.drift = vec![item("sysctl/vm.new", "1", "2")]);
    let second = client.commit(world.by(OPS, request)).await.unwrap().into_inner();
    assert_eq!((second.nodes.len(), second.errors.len()), (2, 0));
    for (first, second) in first.nodes.iter().zip(&second.nodes) {
        assert_eq!((first.seq, &first.changes), (second.seq, &second.changes));
    }
    assert_eq!(commits(&world), 2, "one for each node, once");
    assert_eq!(other.with(|m| m.drift.len()), 0);
    assert_eq!(node.with(|m| m.drift.len()), 1, "what came later is still drift");
}

#[tokio::test(flavor = "multi_thread")]
async fn t09_a_retry_finds_the_first_attempt_however_much_came_since() {
    let world = World::start().await;
    let node = Node::start(&world, "n1", two()).await;
    let mut client = world.client().await;
    let request = commit("n1");
    let first = client.commit(world.by(OPS, request.clone())).await.unwrap().into_inner();
    world.journal.with(|s| {
        for number in 0..200 {
            let key = (format!("sysctl/net.other{number}"), Value::Integer(number));
            apply(s, std::iter::once(key));
        }
    });
    node.with(|m| m.drift = vec![item("sysctl/vm.new", "1", "2")]);
    let second = client.commit(world.by(OPS, request.clone())).await.unwrap().into_inner();
    assert_eq!((second.nodes[0].seq, &second.nodes[0].changes), (1, &first.nodes[0].changes));
    assert_eq!(commits(&world), 1, "what came later is still drift");

    // Nobody can say what became of a request that may be forgotten: nothing is done.
    let made = request.request_id.parse::<RequestId>().unwrap().unix_milliseconds();
    world.journal.with(|s| s.journal.horizon.unix_milliseconds = made + 3_600_000);
    let reply = client.commit(world.by(OPS, commit("n1"))).await.unwrap().into_inner();
    assert_eq!(reply.errors[0].known_code(), ErrorCode::RequestIdRefused);
    assert_eq!((commits(&world), node.with(|m| m.drift.len())), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn t09_a_retry_says_what_it_could_not_find_out() {
    let world = World::start().await;
    let node = Node::start(&world, "n1", two()).await;
    let mut client = world.client().await;
    let request = commit("n1");
    let first = client.commit(world.by(OPS, request.clone())).await.unwrap().into_inner();
    assert!(first.errors.is_empty());
    // The node has not got that far (it lost its state), and the changes are in chunks that are not there.
    node.with(|m| (m.is_stuck, m.config_seq) = (true, 0));
    world.journal.with(|s| {
        let mut entry = s.journal.decoded().remove(0);
        entry.changes.clear();
        entry.change_chunks = vec![v1::BlobRef { sha256: vec![1; 32], size_bytes: 1 }];
        s.journal.entries[0].entry = entry.encode_to_vec().into();
    });
    let second = client.commit(world.by(OPS, request)).await.unwrap().into_inner();
    assert_eq!((second.nodes[0].seq, second.nodes[0].settled.is_none()), (1, true));
    let codes: Vec<ErrorCode> = second.errors.iter().map(v1::Error::known_code).collect();
    assert_eq!(codes, [ErrorCode::Timeout, ErrorCode::NotFound]);
    for error in &second.errors {
        assert!(error.node == "n1" && error.cause.contains("committed, as entry 1"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t09_what_was_not_seen_is_not_committed() {
    let world = World::start().await;
    let node = Node::start(&world, "n1", two()).await;
    let mut client = world.client().await;
    let seen = CommitRequest { expect_digest: vec![7; 32], ..commit("n1") };
    let status = client.commit(world.by(OPS, seen)).await.unwrap().into_inner();
    assert_eq!(status.errors[0].known_code(), ErrorCode::Conflict);
    node.with(|m| m.drifts_on = true);
    let raced = client.commit(world.by(OPS, commit("n1"))).await.unwrap().into_inner();
    assert_eq!(raced.errors[0].known_code(), ErrorCode::Conflict);
    let elsewhere = CommitRequest { vcluster: Some("other".into()), ..commit("n1") };
    let status = client.commit(world.by(OPS, elsewhere)).await.unwrap_err();
    assert_eq!((code(&status), code(&status).exit_code()), (ErrorCode::Conflict, 4));
    for bad in [
        CommitRequest { message: " ".into(), ..commit("n1") },
        CommitRequest { message: "two\nlines".into(), ..commit("n1") },
        CommitRequest { ttl_seconds: Some(899), ..commit("n1") },
        CommitRequest { expect_digest: vec![1], ..commit("n1") },
        CommitRequest { expect_digest: vec![1; 32], ..commit("n[1-2]") },
        CommitRequest { request_id: String::new(), ..commit("n1") },
    ] {
        let status = client.commit(world.by(OPS, bad)).await.unwrap_err();
        assert_eq!(code(&status), ErrorCode::InvalidArgument, "{status:?}");
    }
    let status = client.commit(world.by(&["pact-viewer-ml"], commit("n1"))).await.unwrap_err();
    assert_eq!(code(&status), ErrorCode::NotAuthorised);
    assert_eq!(commits(&world), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn t09_some_nodes_may_fail_and_some_may_be_slow_to_take_it() {
    let world = World::start().await;
    let node = Node::start(&world, "n1", two()).await;
    node.with(|m| m.is_stuck = true);
    let mut client = world.client().await;
    let reply = client.commit(world.by(OPS, commit("n[1-2]"))).await.unwrap().into_inner();
    assert_eq!(reply.nodes.len(), 1);
    assert!(reply.nodes[0].seq > 0 && reply.nodes[0].settled.is_none(), "committed, not settled");
    assert_eq!(reply.errors[0].node, "n2");
}

#[tokio::test(flavor = "multi_thread")]
async fn t09_windows_are_extended_where_there_are_any() {
    let world = World::start().await;
    let node = Node::start(&world, "n1", two()).await;
    node.with(|m| m.window = WindowState::Expired);
    let _idle = Node::start(&world, "n2", Vec::new()).await;
    let extend = |targets: &str| v1::ExtendWindowRequest {
        request_id: request_id(),
        targets: targets.into(),
        exclude: String::new(),
        minutes: 15,
    };
    let mut client = world.client().await;
    let request = extend("n[1-2]");
    for _ in 0..2 {
        let reply = client.extend(world.by(OPS, request.clone())).await.unwrap().into_inner();
        assert_eq!((reply.first_seq, reply.nodes.len()), (1, 1), "a retry is the same extension");
        assert_eq!(reply.nodes[0].window.as_ref().unwrap().state(), WindowState::Open);
        assert_eq!(reply.errors[0].known_code(), ErrorCode::NotFound);
    }
    let reply = client.extend(world.by(OPS, extend("n2"))).await.unwrap().into_inner();
    assert_eq!((reply.first_seq, reply.errors.len()), (0, 1), "nothing is written down");
    let kinds = world.journal.with(|s| s.journal.decoded());
    let kinds: Vec<EntryKind> = kinds.iter().map(v1::Entry::kind).collect();
    assert_eq!(kinds, [EntryKind::WindowExtended]);
    let long = v1::ExtendWindowRequest { minutes: 1_441, ..extend("n1") };
    let status = client.extend(world.by(OPS, long)).await.unwrap_err();
    assert_eq!(code(&status), ErrorCode::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn t09_a_retry_after_a_window_has_closed_is_the_same_extension() {
    let world = World::start().await;
    let _open = Node::start(&world, "n1", two()).await;
    let closes = Node::start(&world, "n2", two()).await;
    let mut client = world.client().await;
    let request = v1::ExtendWindowRequest {
        request_id: request_id(),
        targets: "n[1-2]".into(),
        exclude: String::new(),
        minutes: 15,
    };
    let first = client.extend(world.by(OPS, request.clone())).await.unwrap().into_inner();
    assert_eq!((first.first_seq, first.nodes.len()), (1, 2));
    closes.with(|m| m.window = WindowState::Idle);
    for has_expired_grants in [false, true] {
        world.journal.with(|s| s.has_expired_grants = has_expired_grants);
        let again = client.extend(world.by(OPS, request.clone())).await.unwrap().into_inner();
        assert_eq!((again.first_seq, again.nodes.len(), again.errors.len()), (1, 2, 0));
    }
    for other in [
        v1::ExtendWindowRequest { minutes: 30, ..request.clone() },
        v1::ExtendWindowRequest { targets: "n1".into(), ..request.clone() },
    ] {
        let status = client.extend(world.by(OPS, other)).await.unwrap_err();
        assert_eq!((code(&status), code(&status).exit_code()), (ErrorCode::Conflict, 4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t09_a_request_id_is_of_one_whole_request() {
    let world = World::start().await;
    let _node = Node::start(&world, "n1", two()).await;
    let mut client = world.client().await;
    let request = commit("n1");
    client.commit(world.by(OPS, request.clone())).await.unwrap();
    for other in [
        CommitRequest { message: "another reason".into(), ..request.clone() },
        CommitRequest { ttl_seconds: Some(900), ..request.clone() },
        CommitRequest { expect_digest: vec![7; 32], ..request.clone() },
    ] {
        let reply = client.commit(world.by(OPS, other)).await.unwrap().into_inner();
        assert_eq!(reply.errors[0].known_code(), ErrorCode::Conflict, "{reply:?}");
        assert!(reply.nodes.is_empty(), "nothing is told of the first request");
    }
    let extend = v1::ExtendWindowRequest {
        request_id: request.request_id,
        targets: "n1".into(),
        exclude: String::new(),
        minutes: 15,
    };
    let status = client.extend(world.by(OPS, extend)).await.unwrap_err();
    assert_eq!(code(&status), ErrorCode::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn t09_blacklists_are_listed_and_changed() {
    let world = World::start().await;
    let mut client = world.client().await;
    let change = |pattern: &str| v1::BlacklistChangeRequest {
        request_id: request_id(),
        scope: Some(node_scope("n1")),
        pattern: pattern.into(),
    };
    let added = client.blacklist_add(world.by(OPS, change("/var/cache/**"))).await.unwrap();
    let added = added.into_inner();
    assert_eq!((added.seq, added.patterns), (1, vec!["/var/cache/**".to_owned()]));
    let again = client.blacklist_add(world.by(OPS, change("/var/cache/**"))).await.unwrap();
    assert_eq!(again.into_inner().seq, 0, "it was so already");
    let list = v1::BlacklistListRequest { scope: Some(node_scope("n1")) };
    let listed = client.blacklist_list(world.by(&["pact-viewer-ml"], list)).await.unwrap();
    assert_eq!(listed.into_inner().patterns, ["/var/cache/**"]);
    let removed = client.blacklist_remove(world.by(OPS, change("/var/cache/**"))).await.unwrap();
    assert_eq!(removed.into_inner().patterns, Vec::<String>::new());
    let status = client.blacklist_add(world.by(OPS, change("/a/[b"))).await.unwrap_err();
    assert_eq!(code(&status), ErrorCode::InvalidArgument);
    let refused = client.blacklist_add(world.by(&["pact-viewer-ml"], change("/x"))).await;
    assert_eq!(code(&refused.unwrap_err()), ErrorCode::NotAuthorised);
    let global = v1::Scope { scope: Some(v1::scope::Scope::Global(v1::Global {})) };
    let list = v1::BlacklistListRequest { scope: Some(global) };
    let status = client.blacklist_list(world.by(OPS, list)).await.unwrap_err();
    assert_eq!(code(&status), ErrorCode::InvalidArgument);
}
