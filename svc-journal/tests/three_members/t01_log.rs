//! What is acknowledged is there, once, on every member.

use pact_identity::{DegradedGrants, Grant, Principal, Verifier};
use pact_runtime::Supervisor;
use pact_schemas::v1::{self, action::Action, outcome::Outcome};
use pact_schemas::{ErrorCode, NodeId, RequestId};
use pact_svc_journal::{Member, MemberConfig, handlers};
use prost::Message as _;

use super::cluster::{
    Cluster, all_entries, asked, capability, committed, exec, register, report_chunk,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_through_every_member_and_survive_each() {
    let mut cluster = Box::pin(Cluster::start()).await;
    let node = NodeId::new("node-1").unwrap();
    committed(
        &cluster
            .propose(cluster.proposal("node.enroll", register("node-1", 1), cluster.id()))
            .await,
    );

    // Only the leader takes proposals; the others name it.
    let leader = cluster.leader().await;
    let follower = cluster.running.keys().copied().find(|id| *id != leader).unwrap();
    let request = v1::ProposeRequest {
        proposals: vec![cluster.proposal("exec", exec("node-1"), cluster.id())],
    };
    let hint = handlers::propose(&cluster.running[&follower].context, request).await.unwrap_err();
    assert_eq!((hint.known_code(), hint.leader), (ErrorCode::NotLeader, Some(leader)));

    // Nodes may ask anyone, and are who the subject says.
    let chunk = report_chunk();
    for running in cluster.running.values() {
        handlers::recording(&running.context, &node, chunk.clone()).await.unwrap();
    }
    for (number, running) in (1..).zip(cluster.running.values()) {
        let ack = handlers::event(&running.context, &node, capability(number)).await.unwrap();
        assert_eq!(ack.committed_number, number);
    }
    let any = &cluster.running[&follower].context;
    assert_eq!(handlers::event(any, &node, capability(3)).await.unwrap().committed_number, 3);
    let gap = handlers::event(any, &node, capability(9)).await.unwrap_err();
    assert_eq!((gap.known_code(), gap.expected_number), (ErrorCode::SpoolGap, Some(4)));

    // Each member is stopped in turn, the leader among them; what was acknowledged is there afterwards.
    let mut acknowledged = Vec::new();
    for id in 1..=3 {
        cluster.stop_member(id).await;
        for _ in 0..5 {
            let result =
                cluster.propose(cluster.proposal("exec", exec("node-1"), cluster.id())).await;
            acknowledged.push(committed(&result).first_seq);
        }
        cluster.start_member(id).await;
        // A linearizable read of the member that was away sees all of it.
        let entries = all_entries(&cluster.running[&id].context).await;
        let seqs: Vec<u64> =
            entries.iter().map(|r| v1::Entry::decode(r.entry.as_slice()).unwrap().seq).collect();
        assert!(acknowledged.iter().all(|seq| seqs.contains(seq)), "{acknowledged:?} in {seqs:?}");
    }
    let (head, _) = cluster.same_head().await;
    let logs: Vec<_> = {
        let mut logs = Vec::new();
        for running in cluster.running.values() {
            logs.push(all_entries(&running.context).await);
        }
        logs
    };
    assert_eq!(u64::try_from(logs[0].len()).unwrap(), head);
    assert!(logs.iter().all(|log| *log == logs[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_of_an_exec_gets_the_same_grant_which_a_node_believes() {
    let cluster = Box::pin(Cluster::start()).await;
    let node = NodeId::new("node-1").unwrap();
    committed(
        &cluster
            .propose(cluster.proposal("node.enroll", register("node-1", 1), cluster.id()))
            .await,
    );
    let id = cluster.id();
    let first = cluster.propose(cluster.proposal("exec", exec("node-1"), id)).await;
    let again = cluster.propose(cluster.proposal("exec", exec("node-1"), id)).await;
    assert_eq!(committed(&first).first_seq, committed(&again).first_seq);
    assert!(!committed(&first).repeated_request && committed(&again).repeated_request);
    let grant = first.grant.clone().unwrap();
    assert_eq!(grant.payload, again.grant.unwrap().payload);

    // Any member says what became of it, to whoever asked for it.
    let recall = |id: RequestId, action: &Action| v1::RecallRequest {
        request_id: id.to_string(),
        after: 0,
        asker: Some(Principal::of_signer(&cluster.gateway).to_wire()),
        asked_sha256: asked(action).to_vec(),
    };
    let wanted = exec("node-1");
    for running in cluster.running.values() {
        let reply = handlers::recall(&running.context, recall(id, &wanted)).await.unwrap();
        assert_eq!(reply.committed.unwrap().first_seq, committed(&first).first_seq);
        let entry = v1::Entry::decode(reply.entries[0].entry.as_slice()).unwrap();
        assert_eq!((entry.request_id, reply.entries.len()), (Some(id.to_string()), 1));
    }
    let context = &cluster.running[&1].context;
    let reply = handlers::recall(context, recall(cluster.id(), &wanted)).await.unwrap();
    assert_eq!(reply, v1::RecallReply::default());
    let other = handlers::recall(context, recall(id, &exec("node-2"))).await.unwrap_err();
    assert_eq!(other.known_code(), ErrorCode::Conflict);
    let mallory = v1::Principal { subject: "mallory".into(), ..v1::Principal::default() };
    let stolen = v1::RecallRequest { asker: Some(mallory), ..recall(id, &wanted) };
    let stolen = handlers::recall(context, stolen).await.unwrap_err();
    assert_eq!(stolen.known_code(), ErrorCode::Conflict);

    let verifier = Verifier::from_pem(cluster.root.certificate_pem()).unwrap();
    let issued = v1::GrantPayload::decode(grant.payload.as_slice()).unwrap().issued.unwrap();
    let issued = pact_schemas::convert::unix_nanos(Some(&issued), "issued").unwrap();
    let issued = pact_runtime::Timestamp::from_unix_nanos(issued);
    let granted =
        Grant::verify(&grant, &verifier, &node, issued, issued, DegradedGrants::Refuse).unwrap();
    assert_eq!(granted.seq().get(), committed(&first).first_seq);

    // An attestation for one thing carries no other, and what only nodes report is nobody's to propose.
    let result = cluster.propose(cluster.proposal("status", exec("node-1"), cluster.id())).await;
    assert!(
        matches!(result.outcome.unwrap().outcome, Some(Outcome::Rejected(e)) if e.known_code() == ErrorCode::NotAuthorised)
    );
    let mut altered = cluster.proposal("exec", exec("node-1"), cluster.id());
    altered.action = v1::Action::from(exec("node-2")).encode_to_vec();
    let result = cluster.propose(altered).await;
    assert!(
        matches!(result.outcome.unwrap().outcome, Some(Outcome::Rejected(e)) if e.known_code() == ErrorCode::BadSignature)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_away_for_too_long_gets_a_snapshot() {
    let mut cluster = Box::pin(Cluster::start()).await;
    committed(
        &cluster
            .propose(cluster.proposal("node.enroll", register("node-1", 1), cluster.id()))
            .await,
    );
    let leader = cluster.leader().await;
    let away = cluster.running.keys().copied().find(|id| *id != leader).unwrap();
    cluster.stop_member(away).await;
    for _ in 0..20 {
        committed(&cluster.propose(cluster.proposal("exec", exec("node-1"), cluster.id())).await);
    }
    for running in cluster.running.values() {
        running.member.compact().await.unwrap();
    }
    committed(&cluster.propose(cluster.proposal("exec", exec("node-1"), cluster.id())).await);
    cluster.start_member(away).await;
    let (head, _) = cluster.same_head().await;
    assert!(head >= 22);
    let state = cluster.data_dir(away).join("state");
    assert_eq!(
        std::fs::read_to_string(state.join("CURRENT")).unwrap(),
        "2\n",
        "the state came as a snapshot"
    );
    // It starts from what it was given, and goes on.
    cluster.stop_member(away).await;
    cluster.start_member(away).await;
    committed(&cluster.propose(cluster.proposal("exec", exec("node-1"), cluster.id())).await);
    assert!(cluster.same_head().await.0 > head);
    let entries = all_entries(&cluster.running[&away].context).await;
    assert_eq!(u64::try_from(entries.len()).unwrap(), cluster.same_head().await.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_members_folder_is_refused_and_left_alone() {
    let mut cluster = Box::pin(Cluster::start()).await;
    cluster.stop_member(1).await;
    let before = std::fs::read(cluster.data_dir(1).join("IDENTITY")).unwrap();
    cluster.stop_member(2).await;
    let config = MemberConfig { data_dir: cluster.data_dir(1), ..cluster.config(2) };
    let supervisor = Supervisor::new(cluster.clock.clone());
    let error =
        Box::pin(Member::start(config, cluster.clock.clone(), &supervisor)).await.err().unwrap();
    assert!(matches!(error, pact_svc_journal::StartError::Identity(_)), "{error}");
    assert_eq!(std::fs::read(cluster.data_dir(1).join("IDENTITY")).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_of_what_is_wanted_come_in_pages() {
    let cluster = Box::pin(Cluster::start()).await;
    let scope = Some(v1::Scope { scope: Some(v1::scope::Scope::Node("node-1".to_owned())) });
    let reading = Action::RecordAccess(v1::RecordAccess {
        scope: scope.clone(),
        accessed: Some(v1::Accessed {
            operation: "status".to_owned(),
            count: 1,
            minute: Some(pact_schemas::convert::timestamp(1)),
            ..v1::Accessed::default()
        }),
        audience: None,
    });
    let mut seqs = Vec::new();
    for (operation, action) in [
        ("node.enroll", register("node-1", 1)),
        ("status", reading.clone()),
        ("exec", exec("node-1")),
        ("status", reading.clone()),
        ("status", reading),
    ] {
        let done = cluster.propose(cluster.proposal(operation, action, cluster.id())).await;
        seqs.push(committed(&done).first_seq);
    }
    let leader = cluster.leader().await;
    let newest = async |request: v1::EntriesRequest| {
        let context = &cluster.running[&leader].context;
        let reply = handlers::entries(context, request).await.unwrap();
        let seq =
            |record: &v1::EntryRecord| v1::Entry::decode(record.entry.as_slice()).unwrap().seq;
        (reply.entries.iter().map(seq).collect::<Vec<_>>(), reply.looked_from)
    };
    let ml = v1::VclusterFilter { vclusters: vec!["ml".to_owned()] };
    for scope in [scope, None] {
        let changes = v1::EntriesRequest {
            scope,
            last: Some(1),
            filter: Some(v1::EntryFilter::default()),
            ..v1::EntriesRequest::default()
        };
        let (found, looked_from) = newest(changes.clone()).await;
        assert_eq!(found, [seqs[2]]);
        let older = v1::EntriesRequest { before: looked_from, ..changes.clone() };
        assert_eq!(newest(older).await.0, [seqs[0]]);
        let two = v1::EntriesRequest { last: Some(2), ..changes.clone() };
        assert_eq!(newest(two).await.0, [seqs[0], seqs[2]]);
        let unfiltered = v1::EntriesRequest { filter: None, ..changes.clone() };
        assert_eq!(newest(unfiltered).await.0, [seqs[4]]);
        let seen = v1::EntriesRequest { visible: Some(ml.clone()), ..changes };
        assert!(newest(seen).await.0.iter().all(|seq| !seqs.contains(seq)));
    }
    // In the future there is nothing, and nothing older is looked for.
    let since = Some(pact_schemas::convert::timestamp(4_000_000_000_000_000_000));
    let future = v1::EntriesRequest {
        last: Some(9),
        filter: Some(v1::EntryFilter { since, ..v1::EntryFilter::default() }),
        ..v1::EntriesRequest::default()
    };
    assert_eq!(newest(future).await, (Vec::new(), 0));
    let odd = v1::EntriesRequest {
        filter: Some(v1::EntryFilter { kinds: vec![9_999], ..v1::EntryFilter::default() }),
        ..v1::EntriesRequest::default()
    };
    let context = &cluster.running[&leader].context;
    assert_eq!(
        handlers::entries(context, odd).await.unwrap_err().known_code(),
        ErrorCode::Malformed
    );
}
