//! Declared state through three members: large specifications, configurations of nodes, plans, grants.

use std::collections::BTreeMap;

use pact_identity::{ConfigHead, GrantedAction};
use pact_runtime::Timestamp;
use pact_schemas::convert::Scope;
use pact_schemas::resource::{Change, FileKind, FileValue, Kind, ResourceKey, Value, change_set};
use pact_schemas::v1::config_reply::Reply;
use pact_schemas::v1::config_request::Request;
use ring::digest::{SHA256, digest};

use super::cluster::*;
use pact_identity::{DegradedGrants, Grant, Verifier};
use pact_schemas::v1::{self, action::Action};
use pact_schemas::{ErrorCode, NodeId};
use pact_svc_journal::context::Context;
use pact_svc_journal::handlers;
use prost::Message as _;

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().unwrap()
}

fn put(plain: &[u8]) -> Action {
    Action::PutBlob(v1::PutBlob {
        sha256: sha256(plain).to_vec(),
        compressed: zstd::bulk::compress(plain, 1).unwrap(),
        size_bytes: u32::try_from(plain.len()).unwrap(),
    })
}

fn sysctls(count: usize, value: &str) -> Vec<Change> {
    let key = |i| ResourceKey::new(Kind::Sysctl, &format!("a.{i:05}")).unwrap();
    let new = Some(Value::Text(value.to_owned()));
    (0..count).map(|i| Change { key: key(i), old: None, new: new.clone() }).collect()
}

fn motd(contents: &[u8]) -> Change {
    let file = FileValue {
        kind: FileKind::Regular,
        sha256: Some(sha256(contents)),
        size_bytes: contents.len() as u64,
        mode: 0o644,
        owner: "root".to_owned(),
        group: "root".to_owned(),
        link_target: None,
        content_kept: true,
    };
    Change { key: "file//etc/motd".parse().unwrap(), old: None, new: Some(Value::File(file)) }
}

fn vcluster(name: &str) -> Scope {
    Scope::Vcluster(name.parse().unwrap())
}

impl Cluster {
    async fn commit(&self, operation: &str, action: Action) -> v1::Committed {
        committed(&self.propose(self.proposal(operation, action, self.id())).await)
    }

    /// A specification of a vCluster, in chunks where it is large.
    async fn specify(&self, vcluster: &str, changes: &[Change]) -> v1::Committed {
        let (set, chunks) = change_set::pack(changes);
        for chunk in &chunks {
            self.commit("apply", put(chunk)).await;
        }
        let update = v1::OverlayUpdate {
            vcluster: vcluster.to_owned(),
            changes: Some(set),
            ..v1::OverlayUpdate::default()
        };
        let spec = v1::ApplySpec {
            overlays: vec![update],
            policies: Vec::new(),
            on_conflict: v1::OnConflict::Refuse.into(),
        };
        self.commit("apply", Action::ApplySpec(spec)).await
    }

    fn any(&self) -> &Context {
        &self.running.values().next().unwrap().context
    }

    async fn declared(&self, scope: &Scope, at_seq: Option<u64>) -> Vec<v1::DeclaredKey> {
        let (mut keys, mut after) = (Vec::new(), String::new());
        loop {
            let request = v1::DeclaredRequest {
                scope: Some(scope.into()),
                at_seq,
                after: after.clone(),
                ..v1::DeclaredRequest::default()
            };
            let reply = handlers::declared(self.any(), request).await.unwrap();
            keys.extend(reply.keys);
            if !reply.more {
                return keys;
            }
            after.clone_from(&keys.last().unwrap().key);
        }
    }

    async fn ask(&self, id: u64, name: &str, request: Request) -> Result<Reply, v1::Error> {
        let request = v1::ConfigRequest { request: Some(request) };
        let context = &self.running[&id].context;
        Ok(handlers::config(context, &node(name), request).await?.reply.unwrap())
    }

    /// What a node does: the head of one member, pages of each in turn.
    async fn documents(&self, name: &str) -> (ConfigHead, BTreeMap<Scope, v1::DeclaredDocument>) {
        let Reply::Head(signed) =
            self.ask(1, name, Request::Head(v1::ConfigHead {})).await.unwrap()
        else {
            panic!()
        };
        let verifier = Verifier::from_pem(self.root.certificate_pem()).unwrap();
        let head = ConfigHead::verify(&signed, &verifier, &node(name), self.clock.now()).unwrap();
        let mut documents = BTreeMap::new();
        for reference in head.documents() {
            let mut compressed: Vec<u8> = Vec::new();
            for member in (1..=3).cycle() {
                let page = v1::ConfigPage {
                    sha256: reference.sha256.to_vec(),
                    scope: Some((&reference.scope).into()),
                    offset: compressed.len() as u64,
                };
                let Reply::Page(page) = self.ask(member, name, Request::Page(page)).await.unwrap()
                else {
                    panic!()
                };
                compressed.extend(page);
                if compressed.len() as u64 == reference.compressed_bytes {
                    break;
                }
            }
            let size = usize::try_from(reference.size_bytes).unwrap();
            let plain = zstd::bulk::decompress(&compressed, size).unwrap();
            assert_eq!(pact_schemas::Digest::of(&plain), reference.sha256);
            let document = v1::DeclaredDocument::decode(plain.as_slice()).unwrap();
            assert_eq!(document.seq, reference.seq.map_or(0, pact_schemas::Seq::get));
            documents.insert(reference.scope.clone(), document);
        }
        (head, documents)
    }
}

async fn with_nodes() -> Cluster {
    let cluster = Box::pin(Cluster::start()).await;
    for (mac, name) in [(1, "node-1"), (2, "node-2")] {
        cluster.commit("node.enroll", register(name, mac)).await;
    }
    cluster
}

fn assign(targets: &str) -> Action {
    Action::AssignNode(v1::AssignNode {
        targets: targets.to_owned(),
        vcluster: Some("ml".to_owned()),
        mode: v1::AssignMode::Assign.into(),
        judged: judged(None, targets),
    })
}

fn delta(name: &str, changes: &[Change]) -> Action {
    Action::CommitDelta(v1::CommitDelta {
        node: name.to_owned(),
        vcluster: "ml".to_owned(),
        changes: Some(change_set::pack(changes).0),
        drift_digest: vec![1; 32],
        base_seq: u64::MAX,
        ttl_seconds: None,
        message: "tuned".to_owned(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_keys_go_through_and_reach_a_node() {
    let cluster = with_nodes().await;
    let contents = b"welcome\n";
    cluster.commit("apply", put(contents)).await;
    let mut large = sysctls(10_000, &"v".repeat(60));
    large.insert(0, motd(contents));
    let first = cluster.specify("ml", &large).await.last_seq;
    cluster.commit("node.assign", assign("node-1")).await;
    let own = cluster.commit("commit", delta("node-1", &sysctls(2, "mine"))).await.last_seq;
    cluster.same_head().await;

    let keys = cluster.declared(&vcluster("ml"), None).await;
    assert_eq!(keys.len(), 10_001);
    assert!(keys.windows(2).all(|pair| pair[0].key < pair[1].key));
    let (head, documents) = cluster.documents("node-1").await;
    assert_eq!(head.vcluster().unwrap().as_str(), "ml");
    let overlay = &documents[&vcluster("ml")];
    assert_eq!((&overlay.keys, overlay.seq), (&keys, first));
    assert!(overlay.policy.is_some());
    let deltas = &documents[&Scope::Node(node("node-1"))];
    assert_eq!((deltas.keys.len(), deltas.seq, deltas.policy.is_none()), (2, own, true));

    // Contents of what is declared for the node, and of nothing else.
    let content = |scope: &Scope, key: &str, hash: [u8; 32]| {
        Request::Content(v1::ConfigContent {
            scope: Some(scope.into()),
            key: key.to_owned(),
            sha256: hash.to_vec(),
        })
    };
    let (ml, hash) = (vcluster("ml"), sha256(contents));
    let Reply::Content(found) =
        cluster.ask(2, "node-1", content(&ml, "file//etc/motd", hash)).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(zstd::bulk::decompress(&found, 100).unwrap(), contents);
    let chunk = sha256(&change_set::pack(&large).1[0]);
    for (name, request) in [
        // A node that is in no vCluster, another key, other contents, another node's scope.
        ("node-2", content(&ml, "file//etc/motd", hash)),
        ("node-1", content(&ml, "file//etc/other", hash)),
        ("node-1", content(&ml, "file//etc/motd", chunk)),
        ("node-1", content(&Scope::Node(node("node-2")), "file//etc/motd", hash)),
    ] {
        let error = cluster.ask(3, name, request).await.unwrap_err();
        assert_eq!(error.known_code(), ErrorCode::Conflict, "{error}");
    }
    let (_, none) = cluster.documents("node-2").await;
    assert_eq!(none.keys().collect::<Vec<_>>(), [&Scope::Node(node("node-2"))]);
    let page = |name: &str, sha256: pact_schemas::Digest| {
        let page = v1::ConfigPage { sha256: sha256.to_vec(), scope: Some((&ml).into()), offset: 0 };
        cluster.ask(1, Box::leak(name.to_owned().into_boxed_str()), Request::Page(page))
    };
    let known = head.documents()[0].sha256;
    assert_eq!(page("node-2", known).await.unwrap_err().known_code(), ErrorCode::Conflict);
    assert_eq!(page("node-1", [0; 32].into()).await.unwrap_err().known_code(), ErrorCode::Conflict);
    assert_eq!(page("nobody", known).await.unwrap_err().known_code(), ErrorCode::NotFound);

    // What was declared before is still there to be read.
    cluster.specify("ml", &[Change { new: None, ..sysctls(1, "").remove(0) }]).await;
    assert_eq!(cluster.declared(&vcluster("ml"), None).await.len(), 10_000);
    assert_eq!(cluster.declared(&vcluster("ml"), Some(first)).await, keys);
    let one = v1::DeclaredRequest {
        scope: Some((&ml).into()),
        prefix: "sysctl/a.0999".to_owned(),
        ..v1::DeclaredRequest::default()
    };
    assert_eq!(handlers::declared(cluster.any(), one.clone()).await.unwrap().keys.len(), 10);
    let after = v1::DeclaredRequest { after: "sysctl/a.09996".to_owned(), ..one.clone() };
    assert_eq!(handlers::declared(cluster.any(), after).await.unwrap().keys.len(), 3);
    for (bad, expected) in [
        (v1::DeclaredRequest { scope: None, ..one.clone() }, ErrorCode::Malformed),
        (
            v1::DeclaredRequest { scope: Some((&Scope::Global).into()), ..one.clone() },
            ErrorCode::InvalidArgument,
        ),
        (v1::DeclaredRequest { at_seq: Some(1_000_000), ..one.clone() }, ErrorCode::NotFound),
        (
            v1::DeclaredRequest { scope: Some((&vcluster("none")).into()), ..one },
            ErrorCode::NotFound,
        ),
    ] {
        let error = handlers::declared(cluster.any(), bad).await.unwrap_err();
        assert_eq!(error.known_code(), expected, "{error}");
    }
}

fn encoded(action: Action) -> v1::PlanRequest {
    v1::PlanRequest {
        action: v1::Action { action: Some(action) }.encode_to_vec(),
        ..v1::PlanRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_and_vclusters_come_in_pages() {
    let cluster = with_nodes().await;
    let seq = cluster.specify("ml", &sysctls(10_000, &"v".repeat(60))).await.last_seq;
    cluster.same_head().await;
    let rollback = encoded(Action::Rollback(v1::Rollback {
        scope: Some((&vcluster("ml")).into()),
        to_seq: Some(seq - 1),
        base_seq: seq,
        ..v1::Rollback::default()
    }));
    let (mut keys, mut pages, mut after) = (Vec::new(), 0, String::new());
    loop {
        let request = v1::PlanRequest { after: after.clone(), ..rollback.clone() };
        let page = handlers::plan(cluster.any(), request).await.unwrap().scopes.remove(0);
        let changes = page.changes.unwrap().changes;
        let left = 10_000 - keys.len() - changes.len();
        assert_eq!(page.omitted_changes as usize, left, "of those that are left");
        keys.extend(changes.into_iter().map(|change| change.key));
        pages += 1;
        if left == 0 {
            break;
        }
        after.clone_from(keys.last().unwrap());
    }
    assert!(pages > 1 && keys.len() == 10_000);
    assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
    for after in ["nonsense", "sysctl/"] {
        let request = v1::PlanRequest { after: after.to_owned(), ..rollback.clone() };
        let error = handlers::plan(cluster.any(), request).await.unwrap_err();
        assert_eq!(error.known_code(), ErrorCode::InvalidArgument);
    }

    // Three with 200 KiB each: two pages.
    for name in ["v1", "v2", "v3"] {
        let list = (0..200).map(|i| format!("{i:0>1000}")).collect();
        let policy = v1::VclusterPolicy { exec_whitelist: list, ..Default::default() };
        let update = v1::PolicyUpdate { vcluster: name.to_owned(), policy: Some(policy) };
        let set = v1::SetPolicy { updates: vec![update] };
        cluster.commit("group.set-policy", Action::SetPolicy(set)).await;
    }
    let ask = async |names: &[&str], after: &str| {
        let vclusters = names.iter().map(|name| (*name).to_owned()).collect();
        let request = v1::VclustersRequest { vclusters, stale: false, after: after.to_owned() };
        let reply = handlers::vclusters(cluster.any(), request).await.unwrap();
        let names: Vec<String> = reply.vclusters.into_iter().map(|v| v.vcluster).collect();
        (names, reply.more)
    };
    let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(ask(&[], "").await, (all(&["ml", "v1", "v2"]), true));
    assert_eq!(ask(&[], "v2").await, (all(&["v3"]), false));
    assert_eq!(ask(&["v3", "v1", "none", "v2", "v1"], "").await, (all(&["v1", "v2"]), true));
    assert_eq!(ask(&["v3", "v1", "none", "v2"], "v2").await, (all(&["v3"]), false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_what_is_then_rolled_back_with_a_grant() {
    let cluster = with_nodes().await;
    cluster.specify("ml", &sysctls(1, "overlay")).await;
    cluster.commit("node.assign", assign("node-1")).await;
    let before = cluster.commit("commit", delta("node-1", &sysctls(1, "first"))).await.last_seq;
    let base = cluster.commit("commit", delta("node-1", &sysctls(2, "second"))).await.last_seq;
    let scope = Scope::Node(node("node-1"));
    let plan_sha256 = vec![3; 32];
    let rollback = Action::Rollback(v1::Rollback {
        scope: Some((&scope).into()),
        to_seq: Some(before),
        base_seq: base,
        plan_sha256: plan_sha256.clone(),
        judged: judged(Some("ml"), "node-1"),
        ..v1::Rollback::default()
    });
    cluster.same_head().await;
    let planned = handlers::plan(cluster.any(), encoded(rollback.clone())).await.unwrap();
    assert!(planned.refused.is_none());
    let changes = planned.scopes[0].changes.clone().unwrap().changes;
    assert_eq!((changes.len(), planned.scopes[0].omitted_changes), (2, 0));

    let id = cluster.id();
    let result = cluster.propose(cluster.proposal("rollback", rollback.clone(), id)).await;
    let seq = committed(&result).last_seq;
    let grant = result.grant.unwrap();
    let again = cluster.propose(cluster.proposal("rollback", rollback.clone(), id)).await;
    assert_eq!(grant.payload, again.grant.unwrap().payload);
    let verifier = Verifier::from_pem(cluster.root.certificate_pem()).unwrap();
    let granted = |grant: &v1::SignedGrant| {
        let issued = v1::GrantPayload::decode(grant.payload.as_slice()).unwrap().issued;
        let issued = pact_schemas::convert::unix_nanos(issued.as_ref(), "issued").unwrap();
        let at = Timestamp::from_unix_nanos(issued);
        Grant::verify(grant, &verifier, &node("node-1"), at, at, DegradedGrants::Refuse).unwrap()
    };
    let plan = granted(&grant);
    assert_eq!((plan.seq().get(), plan.operation().name), (seq, "rollback"));
    assert_eq!(*plan.action(), GrantedAction::Plan { sha256: [3; 32].into() });
    let entry =
        handlers::entry(cluster.any(), v1::EntryRequest { seq, stale: false, visible: None }).await;
    let entry = entry.unwrap().entry.unwrap();
    let entry = v1::Entry::decode(entry.entry.as_slice()).unwrap();
    assert_eq!(entry.changes, changes, "what was planned");

    // Planned again, it would be refused: somebody was faster.
    cluster.same_head().await;
    let planned = handlers::plan(cluster.any(), encoded(rollback)).await.unwrap();
    assert_eq!(planned.refused.unwrap().known_code(), ErrorCode::Conflict);
    let other = handlers::plan(cluster.any(), encoded(exec("node-1"))).await.unwrap();
    assert_eq!(other.refused.unwrap().known_code(), ErrorCode::InvalidArgument);

    // The nodes of a vCluster take their configuration: nobody is granted anything.
    let overlay = cluster.declared(&vcluster("ml"), None).await[0].seq;
    let result = cluster
        .propose(cluster.proposal(
            "rollback",
            Action::Rollback(v1::Rollback {
                scope: Some((&vcluster("ml")).into()),
                to_seq: Some(1),
                base_seq: overlay,
                ..v1::Rollback::default()
            }),
            cluster.id(),
        ))
        .await;
    assert!(committed(&result).last_seq > seq && result.grant.is_none());
    let extend = Action::ExtendWindow(v1::ExtendWindow {
        targets: "node-1".to_owned(),
        minutes: 15,
        judged: judged(Some("ml"), "node-1"),
    });
    let result = cluster.propose(cluster.proposal("extend", extend, cluster.id())).await;
    assert_eq!(
        *granted(&result.grant.unwrap()).action(),
        GrantedAction::Extend { minutes: 15.try_into().unwrap() }
    );
}
