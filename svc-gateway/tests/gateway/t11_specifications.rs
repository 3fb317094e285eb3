//! Specifications are planned, applied all or nothing, and taken by the nodes; deltas are promoted.

use pact_journal_core::record::Uploader;
use pact_schemas::resource::{FileKind, FileValue, Value};
use pact_schemas::v1::{
    self, ApplyReply, ApplyRequest, CommitRequest, NodeState, OnConflict, PromoteRequest,
    action::Action,
};
use pact_schemas::{ErrorCode, v1::ConflictChoice};

use crate::declared::{self, node_scope, text, vc_scope};
use crate::node::{Node, item};
use crate::world::{World, code, request_id};

const OPS: &[&str] = &["pact-ops-ml"];
const ADMIN: &[&str] = &["pact-platform-admin"];

const SWAP: &str = "[vcluster.ml.sysctl]\n\"vm.swappiness\" = \"10\"\n";

fn apply(spec: &str) -> ApplyRequest {
    ApplyRequest {
        request_id: request_id(),
        spec: spec.into(),
        file_name: "s.toml".into(),
        ..ApplyRequest::default()
    }
}

async fn applied(world: &World, request: ApplyRequest) -> ApplyReply {
    world.client().await.apply(world.by(OPS, request)).await.unwrap().into_inner()
}

async fn refused(world: &World, roles: &[&str], request: ApplyRequest) -> v1::Error {
    let status = world.client().await.apply(world.by(roles, request)).await.unwrap_err();
    v1::Error::from_status(&status).unwrap()
}

fn specs(world: &World) -> usize {
    world
        .journal
        .with(|s| s.proposed.iter().filter(|(_, act)| matches!(act, Action::ApplySpec(_))).count())
}

async fn commit(world: &World, node: &Node, name: &str, value: &str) {
    node.with(|m| m.drift = vec![item("sysctl/vm.swappiness", "60", value)]);
    let request = CommitRequest {
        request_id: request_id(),
        targets: name.into(),
        message: "local".into(),
        ..CommitRequest::default()
    };
    let reply = world.client().await.commit(world.by(OPS, request)).await.unwrap().into_inner();
    assert!(reply.errors.is_empty(), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn t11_a_specification_reaches_its_nodes_and_says_which_it_did_not() {
    let world = World::start().await;
    let _node = Node::start(&world, "n1", Vec::new()).await;
    world.journal.add_node("n4", Some("ml"));
    world.journal.with(|s| {
        s.journal.nodes.get_mut(&"n4".parse().unwrap()).unwrap().state = NodeState::Inactive.into()
    });
    let dry = applied(&world, ApplyRequest { dry_run: true, ..apply(SWAP) }).await;
    assert_eq!((dry.first_seq, dry.overlays[0].changes.len(), specs(&world)), (0, 1, 0));

    let request = apply(SWAP);
    let done = applied(&world, request.clone()).await;
    assert_eq!((done.first_seq, done.last_seq), (1, 1));
    assert_eq!(done.nodes[0].config_seq, 1);
    assert_eq!((done.errors[0].node.as_str(), done.away.as_str()), ("n2", "n4"));
    let again = applied(&world, request).await;
    assert_eq!((again.first_seq, &again.overlays, specs(&world)), (1, &done.overlays, 1));
    let same = applied(&world, apply(SWAP)).await;
    assert_eq!((same.first_seq, specs(&world)), (0, 1), "what is so already makes no entry");
    let no_wait = "[vcluster.ml.sysctl]\n\"vm.swappiness\" = \"20\"\n";
    let done = applied(&world, ApplyRequest { no_wait: true, ..apply(no_wait) }).await;
    assert!(done.nodes.is_empty() && done.errors.is_empty() && done.first_seq == 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn t11_contents_are_stored_before_anything_refers_to_them() {
    let world = World::start().await;
    let spec = "[vcluster.ml.files]\n\"/etc/motd\" = { content = \"hello\\n\", mode = \"0644\", owner = \"root\", group = \"root\" }\n";
    let done = applied(&world, ApplyRequest { no_wait: true, ..apply(spec) }).await;
    assert_eq!(done.overlays[0].changes[0].key, "file//etc/motd");
    assert_eq!(world.journal.with(|s| s.journal.blobs.len()), 1);
    let many: String =
        (0..2_000).map(|n| format!("\"net.x{n}.y\" = \"{}\"\n", "v".repeat(60))).collect();
    let large = format!("[vcluster.ml.sysctl]\n{many}");
    let request = ApplyRequest { no_wait: true, ..apply(&large) };
    let done = applied(&world, request).await;
    assert_eq!(done.first_seq, 2);
    assert!(world.journal.with(|s| s.journal.blobs.len()) > 1, "its changes are in chunks");
}

#[tokio::test(flavor = "multi_thread")]
async fn t11_removal_is_explicit_and_counted() {
    let world = World::start().await;
    let two = "[vcluster.ml.sysctl]\n\"vm.a\" = \"1\"\n\"vm.b\" = \"2\"\n";
    applied(&world, ApplyRequest { no_wait: true, ..apply(two) }).await;
    let merged = applied(&world, ApplyRequest { no_wait: true, ..apply(SWAP) }).await;
    assert_eq!(merged.overlays[0].removed_keys, 0);
    let remove = "[vcluster.ml]\nremove = [\"sysctl/vm.a\"]\n";
    let removed = applied(&world, ApplyRequest { no_wait: true, ..apply(remove) }).await;
    assert_eq!(removed.overlays[0].removed_keys, 1);
    let request = ApplyRequest { no_wait: true, replace: true, ..apply(two) };
    let replaced = applied(&world, request).await;
    assert_eq!(replaced.overlays[0].removed_keys, 1, "vm.swappiness is not in the section");
    let now = world.journal.with(|s| declared::keys(s, &vc_scope("ml")));
    assert_eq!(now.keys().map(String::as_str).collect::<Vec<_>>(), ["sysctl/vm.a", "sysctl/vm.b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn t11_differing_deltas_are_a_conflict_unless_somebody_decides() {
    let world = World::start().await;
    let node = Node::start(&world, "n1", Vec::new()).await;
    commit(&world, &node, "n1", "77").await;
    let error = refused(&world, OPS, apply(SWAP)).await;
    assert_eq!(error.known_code().exit_code(), 4);
    assert!(error.message.contains("n1"), "{error}");
    let dry = applied(&world, ApplyRequest { dry_run: true, ..apply(SWAP) }).await;
    assert_eq!(dry.errors[0].known_code(), ErrorCode::Conflict);
    assert_eq!(dry.overlays[0].conflicts[0].node, "n1");
    assert_eq!(specs(&world), 0);
    let decided =
        format!("{SWAP}[vcluster.ml.conflicts]\n\"sysctl/vm.swappiness\" = \"keep-local\"\n");
    applied(&world, ApplyRequest { no_wait: true, ..apply(&decided) }).await;
    let own = |world: &World| world.journal.with(|s| declared::keys(s, &node_scope("n1")));
    assert_eq!(own(&world)["sysctl/vm.swappiness"], text("77"));
    let request = ApplyRequest {
        no_wait: true,
        on_conflict: Some(OnConflict::Overwrite.into()),
        ..apply(SWAP)
    };
    applied(&world, request).await;
    assert!(own(&world).is_empty(), "the node's own value ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn t11_a_typo_makes_no_vcluster_and_unbuilt_options_are_not_ignored() {
    let world = World::start().await;
    let typo = "[vcluster.mll.sysctl]\n\"vm.swappiness\" = \"10\"\n";
    let error = refused(&world, &["pact-ops-mll"], apply(typo)).await;
    assert_eq!(error.known_code(), ErrorCode::NotFound);
    let created = world.client().await.apply(world.by(ADMIN, apply(typo))).await.unwrap();
    assert_eq!(created.into_inner().first_seq, 1);
    let error = refused(&world, OPS, apply("[vcluster.ml.sysctl]\n\"vm.x\" = [1]\n")).await;
    assert_eq!(error.known_code(), ErrorCode::InvalidSpec);
    assert!(error.message.starts_with("s.toml:2:"), "{error}");
    let error = refused(&world, OPS, ApplyRequest { canary: Some(1), ..apply(SWAP) }).await;
    assert_eq!(error.known_code(), ErrorCode::Unimplemented);
    let error = refused(&world, &["pact-viewer-ml"], apply(SWAP)).await;
    assert_eq!(error.known_code(), ErrorCode::NotAuthorised);
}

#[tokio::test(flavor = "multi_thread")]
async fn t11_deltas_are_promoted_once_conflicts_are_decided() {
    let world = World::start().await;
    let (one, two) =
        (Node::start(&world, "n1", Vec::new()).await, Node::start(&world, "n2", Vec::new()).await);
    commit(&world, &one, "n1", "10").await;
    let promote = |on_conflict: Option<ConflictChoice>| PromoteRequest {
        node: "n1".into(),
        on_conflict: on_conflict.map(Into::into),
        decisions: Vec::new(),
    };
    let mut client = world.client().await;
    let reply = client.promote(world.by(OPS, promote(None))).await.unwrap().into_inner();
    assert_eq!((reply.vcluster.as_str(), reply.deltas.len()), ("ml", 1));
    assert!(
        reply.toml.contains("[vcluster.ml.sysctl]\n\"vm.swappiness\" = \"10\""),
        "{}",
        reply.toml
    );

    commit(&world, &two, "n2", "20").await;
    let open = client.promote(world.by(OPS, promote(None))).await.unwrap().into_inner();
    assert_eq!((open.toml.as_str(), open.conflicts[0].node.as_str()), ("", "n2"));
    let keep = promote(Some(ConflictChoice::KeepLocal));
    let decided = client.promote(world.by(OPS, keep)).await.unwrap().into_inner();
    assert!(decided.toml.contains("[vcluster.ml.conflicts]"), "{}", decided.toml);
    // What is written is taken back: the node's own delta is absorbed, the other's stays.
    let done = applied(&world, ApplyRequest { no_wait: true, ..apply(&decided.toml) }).await;
    assert_eq!(done.overlays[0].absorbed[0].node, "n1");
    let status = client.promote(world.by(&["pact-viewer-ml"], promote(None))).await.unwrap_err();
    assert_eq!(code(&status), ErrorCode::NotAuthorised);
}

#[tokio::test(flavor = "multi_thread")]
async fn t11_contents_that_a_node_has_sent_are_promoted() {
    let world = World::start().await;
    let sha256 = world.journal.with(|s| {
        let sha256 = declared::put(s, Some("n1"), b"welcome\n");
        let file = Value::File(FileValue {
            kind: FileKind::Regular,
            sha256: Some(sha256.as_slice().try_into().unwrap()),
            size_bytes: 8,
            mode: 0o644,
            owner: "root".into(),
            group: "root".into(),
            link_target: None,
            content_kept: true,
        });
        declared::commit(s, "n1", [("file//etc/motd".to_owned(), file)].into_iter());
        sha256
    });
    let promote = PromoteRequest { node: "n1".into(), ..PromoteRequest::default() };
    let mut client = world.client().await;
    let reply = client.promote(world.by(OPS, promote)).await.unwrap().into_inner();
    assert!(reply.toml.contains("welcome"), "{}", reply.toml);
    let by_gateway = (sha256.as_slice().try_into().unwrap(), Uploader::Gateways);
    assert!(world.journal.with(|s| s.journal.uploads.contains(&by_gateway)));
    let done = applied(&world, ApplyRequest { no_wait: true, ..apply(&reply.toml) }).await;
    assert_eq!(done.overlays[0].absorbed[0].node, "n1");
}

#[tokio::test(flavor = "multi_thread")]
async fn t11_policies_are_set_by_platform_admins_in_vclusters_that_exist() {
    let world = World::start().await;
    let set = |group: &str| v1::SetPolicyRequest {
        request_id: request_id(),
        group: group.into(),
        policy: "drift_sensitivity = 3.0\n".into(),
        file_name: "p.toml".into(),
    };
    let mut client = world.client().await;
    let reply = client.set_policy(world.by(ADMIN, set("ml"))).await.unwrap().into_inner();
    assert!(reply.seq > 0);
    let status = client.set_policy(world.by(OPS, set("ml"))).await.unwrap_err();
    assert_eq!(code(&status), ErrorCode::NotAuthorised);
    let status = client.set_policy(world.by(ADMIN, set("mll"))).await.unwrap_err();
    assert_eq!(code(&status), ErrorCode::NotFound);
}
