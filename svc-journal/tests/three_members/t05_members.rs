//! Members are added and removed; nothing that was acknowledged is lost on the way.

use std::time::Duration;

use pact_schemas::v1::{
    self, action::Action, change_members::Change, entry::Payload, outcome::Outcome,
};
use pact_schemas::{ErrorCode, RequestId};
use pact_svc_journal::handlers;
use prost::Message as _;

use super::cluster::{Cluster, all_entries, committed, exec, free_addresses, last_words, register};
use super::t02_clocks::settable;

fn change(cluster: &Cluster, change: Change, id: RequestId) -> v1::Proposal {
    let operation = match change {
        Change::Add(_) => "cluster.add",
        Change::Remove(_) => "cluster.remove",
    };
    let action = Action::ChangeMembers(v1::ChangeMembers { change: Some(change) });
    cluster.proposal(operation, action, id)
}

fn add(cluster: &Cluster, id: u64, address: &str) -> v1::Proposal {
    let new = v1::MemberAddress { id, address: address.to_owned(), ..Default::default() };
    change(cluster, Change::Add(new), cluster.id())
}

fn remove(cluster: &Cluster, id: u64) -> v1::Proposal {
    change(cluster, Change::Remove(id), cluster.id())
}

async fn seen_by(cluster: &Cluster, id: u64) -> v1::ClusterReply {
    handlers::cluster(&cluster.running[&id].context, v1::ClusterRequest {}).await.unwrap()
}

/// How a change ended: empty when it is done.
async fn ended(cluster: &Cluster, result: &v1::ProposalResult) -> String {
    let seq = committed(result).first_seq;
    let leader_says = async || {
        let leader = cluster.leader().await;
        let ended = seen_by(cluster, leader).await.ended?;
        (ended.seq == seq).then_some(ended.failure)
    };
    cluster.until("the change has ended", leader_says).await
}

async fn voters(cluster: &Cluster) -> Vec<u64> {
    let leader = cluster.leader().await;
    seen_by(cluster, leader).await.members.iter().filter(|m| m.voter).map(|m| m.id).collect()
}

async fn write(cluster: &Cluster, count: usize, acknowledged: &mut Vec<u64>) {
    for _ in 0..count {
        let proposal = cluster.proposal("exec", exec("node-1"), cluster.id());
        acknowledged.push(committed(&cluster.propose(proposal).await).first_seq);
    }
}

async fn with_a_node() -> Cluster {
    let cluster = Box::pin(Cluster::start()).await;
    let proposal = cluster.proposal("node.enroll", register("node-1", 1), cluster.id());
    committed(&cluster.propose(proposal).await);
    joined(&cluster).await;
    cluster
}

async fn joined(cluster: &Cluster) {
    let leader = cluster.leader().await;
    let all_joined = async || {
        let entries = all_entries(&cluster.running[&leader].context).await;
        let announced = entries.iter().rev().find_map(|record| {
            match v1::Entry::decode(record.entry.as_slice()).unwrap().payload {
                Some(Payload::MembershipChanged(changed)) => Some(changed.members),
                _ => None,
            }
        });
        announced.is_some_and(|members| members.iter().all(|m| m.joined)).then_some(())
    };
    cluster.until("all have joined", all_joined).await;
}

async fn follower(cluster: &Cluster) -> u64 {
    let leader = cluster.leader().await;
    cluster.running.keys().copied().find(|id| *id != leader).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_member_comes_back_under_a_new_number_and_nothing_acknowledged_is_missing() {
    let mut cluster = Box::pin(with_a_node()).await;
    let mut acknowledged = Vec::new();
    write(&cluster, 20, &mut acknowledged).await;
    let wiped = follower(&cluster).await;
    cluster.stop_member(wiped).await;
    std::fs::remove_dir_all(cluster.data_dir(wiped)).unwrap();
    // The new member gets a snapshot and the log behind it.
    for running in cluster.running.values() {
        running.member.compact().await.unwrap();
    }
    write(&cluster, 20, &mut acknowledged).await;

    let asked = remove(&cluster, wiped);
    let begun = cluster.clock.monotonic();
    let removal = cluster.propose(asked.clone()).await;
    assert_eq!(ended(&cluster, &removal).await, "");
    eprintln!("removed after {:?}", cluster.clock.monotonic() - begun);
    let old: Vec<u64> = (1..=3).filter(|id| *id != wiped).collect();
    assert_eq!(voters(&cluster).await, old);
    let again = cluster.propose(asked).await;
    assert!(committed(&again).repeated_request, "a retry asks for nothing new");

    // It runs on the host of the old one, and waits.
    let address = cluster.address(wiped);
    cluster.make_member(4, Some(wiped), &address);
    cluster.aside.insert(4);
    cluster.start_member(4).await;
    cluster.clock.sleep(Duration::from_secs(2)).await;
    let waiting = seen_by(&cluster, 4).await;
    assert!(waiting.members.is_empty() && waiting.leader.is_none(), "{waiting:?}");
    assert_eq!(voters(&cluster).await, old);

    let begun = cluster.clock.monotonic();
    let addition = cluster.propose(add(&cluster, 4, &address)).await;
    assert_eq!(ended(&cluster, &addition).await, "");
    eprintln!("a voter after {:?}", cluster.clock.monotonic() - begun);
    cluster.aside.clear();
    assert_eq!(voters(&cluster).await, [&old[..], &[4]].concat());
    let entry = all_entries(&cluster.running[&4].context).await;
    let asked = committed(&addition).first_seq;
    let asked = entry
        .iter()
        .map(|record| v1::Entry::decode(record.entry.as_slice()).unwrap())
        .find(|entry| entry.seq == asked);
    assert!(asked.unwrap().message.contains(&format!("add member 4 at {address}")));

    // Each of the old members is away in turn: the new one and the other are a majority, with everything.
    for id in old.clone() {
        cluster.stop_member(id).await;
        write(&cluster, 5, &mut acknowledged).await;
        let entries = all_entries(&cluster.running[&4].context).await;
        let seqs: Vec<u64> =
            entries.iter().map(|r| v1::Entry::decode(r.entry.as_slice()).unwrap().seq).collect();
        assert!(acknowledged.iter().all(|seq| seqs.contains(seq)), "{acknowledged:?} in {seqs:?}");
        cluster.start_member(id).await;
    }
    // It starts again as what it is.
    cluster.stop_member(4).await;
    write(&cluster, 1, &mut acknowledged).await;
    cluster.start_member(4).await;
    cluster.same_head().await;
    assert_eq!(voters(&cluster).await, [&old[..], &[4]].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_ends_and_disturbs_nobody_and_the_leader_can_be_removed() {
    let mut cluster = Box::pin(with_a_node()).await;
    let mut acknowledged = Vec::new();
    let away = follower(&cluster).await;
    cluster.stop_member(away).await;
    assert_eq!(ended(&cluster, &cluster.propose(remove(&cluster, away)).await).await, "");
    let leader = cluster.leader().await;
    let term = seen_by(&cluster, leader).await.term;

    // It believes that it is one of three, and stands for election until it is told.
    cluster.aside.insert(away);
    cluster.start_member(away).await;
    let token = cluster.running[&away].supervisor.token();
    cluster.until("the removed member ends", async || token.is_cancelled().then_some(())).await;
    let said = last_words(cluster.running.remove(&away).unwrap()).await;
    assert!(
        said.contains(&format!("member {away} was removed from the journal by entry")),
        "{said}"
    );
    write(&cluster, 3, &mut acknowledged).await;
    let now = seen_by(&cluster, cluster.leader().await).await;
    assert_eq!((now.leader, now.term), (Some(leader), term), "nobody was disturbed");

    // The leader hands on, ends, and the last one goes on alone.
    let result = cluster.propose(remove(&cluster, leader)).await;
    let seq = committed(&result).first_seq;
    let last = cluster.running.keys().copied().find(|id| *id != leader).unwrap();
    let done = async || {
        let ended = seen_by(&cluster, last).await.ended?;
        (ended.seq == seq).then_some(ended.failure)
    };
    assert_eq!(cluster.until("the last member leads", done).await, "");
    let token = cluster.running[&leader].supervisor.token();
    cluster.until("the old leader ends", async || token.is_cancelled().then_some(())).await;
    let said = last_words(cluster.running.remove(&leader).unwrap()).await;
    assert!(said.contains("was removed from the journal"), "{said}");
    assert_eq!(voters(&cluster).await, [last]);
    write(&cluster, 3, &mut acknowledged).await;
    let refused = cluster.propose(remove(&cluster, last)).await;
    let Some(Outcome::Rejected(error)) = refused.outcome.unwrap().outcome else {
        panic!("removed")
    };
    assert_eq!(error.known_code(), ErrorCode::Conflict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_never_starts_is_given_up_and_nobody_is_removed_who_is_needed() {
    // All members have one clock, which the test sets forward.
    let (clock, hand) = settable();
    let all = [clock.clone(), clock.clone(), clock.clone()];
    let mut cluster = Box::pin(Cluster::start_with(all)).await;
    cluster.clock = clock;
    let proposal = cluster.proposal("node.enroll", register("node-1", 1), cluster.id());
    committed(&cluster.propose(proposal).await);
    joined(&cluster).await;
    let address = free_addresses(1).remove(0);
    let addition = cluster.propose(add(&cluster, 4, &address)).await;
    let second = cluster.propose(remove(&cluster, 3)).await;
    let Some(Outcome::Rejected(error)) = second.outcome.unwrap().outcome else {
        panic!("{addition:?}")
    };
    assert_eq!(error.known_code(), ErrorCode::Conflict);
    assert!(error.message.contains("add member 4"), "{error:?}");
    // The leader has asked for the first time.
    cluster.clock.sleep(Duration::from_secs(1)).await;
    hand.advance(Duration::from_secs(31));
    let failure = ended(&cluster, &addition).await;
    assert!(failure.contains(&address) && failure.contains("as member 4"), "{failure}");
    assert_eq!(voters(&cluster).await, [1, 2, 3]);

    // With one member away the other follower is needed.
    let leader = cluster.leader().await;
    let away = follower(&cluster).await;
    let needed = (1..=3).find(|id| *id != leader && *id != away).unwrap();
    cluster.stop_member(away).await;
    hand.advance(Duration::from_secs(10));
    let heard_of = async || {
        let members = seen_by(&cluster, leader).await.members;
        let ago = members.iter().find(|m| m.id == needed)?.last_contact_milliseconds?;
        (ago < 2_000).then_some(())
    };
    cluster.until("the other follower answers", heard_of).await;
    let refused = refusal(&cluster, leader, needed).await;
    assert!(refused.next_step.contains(&format!("start member {away}")), "{refused:?}");
    assert_eq!(voters(&cluster).await, [1, 2, 3]);
}

/// Of the removal of a member, asked of the leader.
async fn refusal(cluster: &Cluster, leader: u64, id: u64) -> v1::Error {
    let now = cluster.running[&leader].context.clone();
    let proposal = remove(cluster, id);
    let request = v1::ProposeRequest { proposals: vec![proposal] };
    let reply = handlers::propose(&now, request).await.unwrap();
    match reply.results[0].outcome.clone().unwrap().outcome.unwrap() {
        Outcome::Rejected(error) => error,
        Outcome::Committed(done) => panic!("{done:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_would_begin_a_journal_of_its_own_takes_no_others_in() {
    let mut cluster = Box::pin(with_a_node()).await;
    for id in 1..=3 {
        cluster.stop_member(id).await;
        cluster.name_alone(id);
    }
    for id in 1..=3 {
        cluster.start_member(id).await;
    }
    let address = free_addresses(1).remove(0);
    let refused = cluster.propose(add(&cluster, 4, &address)).await;
    let Some(Outcome::Rejected(error)) = refused.outcome.unwrap().outcome else { panic!("added") };
    assert_eq!(error.known_code(), ErrorCode::Conflict);
    assert!(error.message.contains("names it alone"), "{error:?}");
    assert_eq!(voters(&cluster).await, [1, 2, 3]);
}
