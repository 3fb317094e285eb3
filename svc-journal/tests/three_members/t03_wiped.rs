//! A member that has lost its log does not come back under its number.

use pact_runtime::Supervisor;
use pact_schemas::v1::{self, entry::Payload};
use pact_svc_journal::Member;
use prost::Message as _;

use super::cluster::{Cluster, PATIENCE, all_entries, committed, exec, register};

/// Who has joined, as it was announced last.
async fn joined(cluster: &Cluster, id: u64) -> Vec<u64> {
    let entries = all_entries(&cluster.running[&id].context).await;
    let announced = entries.iter().rev().find_map(|record| {
        match v1::Entry::decode(record.entry.as_slice()).unwrap().payload {
            Some(Payload::MembershipChanged(changed)) => Some(changed.members),
            _ => None,
        }
    });
    announced.unwrap_or_default().iter().filter(|m| m.joined).map(|m| m.id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_member_is_refused_and_the_others_go_on() {
    let mut cluster = Box::pin(Cluster::start()).await;
    let leader = cluster.leader().await;
    cluster
        .until("all have joined", async || {
            (joined(&cluster, leader).await == [1, 2, 3]).then_some(())
        })
        .await;
    let wiped = cluster.running.keys().copied().find(|id| *id != leader).unwrap();
    cluster.stop_member(wiped).await;
    std::fs::remove_dir_all(cluster.data_dir(wiped)).unwrap();

    let supervisor = Supervisor::new(cluster.clock.clone());
    let config = cluster.config(wiped);
    let member = Box::pin(Member::start(config, cluster.clock.clone(), &supervisor)).await.unwrap();
    let ended = supervisor.token();
    cluster.until("the start is refused", async || ended.is_cancelled().then_some(())).await;
    member.halt();
    let error = supervisor.run_until_shutdown(PATIENCE).await.unwrap_err();
    let text = format!("{error}: {}", pact_runtime::causes(&error));
    assert!(
        text.contains(&format!("member {wiped} has been part of this journal before"))
            && text.contains("under a new id"),
        "{text}"
    );
    // The folder of the refused start is as empty as before: the next start is refused as well.
    assert!(member.leader().is_none(), "it followed nobody");

    let proposal = cluster.proposal("node.enroll", register("node-1", 1), cluster.id());
    committed(&cluster.propose(proposal).await);
    committed(&cluster.propose(cluster.proposal("exec", exec("node-1"), cluster.id())).await);
}
