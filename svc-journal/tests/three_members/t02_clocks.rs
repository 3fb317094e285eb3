//! A member whose clock is wrong neither stamps nor signs.

use std::time::Duration;

use pact_runtime::{Clock, ManualClock, Timestamp};
use pact_schemas::v1;
use pact_schemas::{ErrorCode, NodeId, convert};
use pact_svc_journal::handlers;
use prost::Message as _;

use super::cluster::{Cluster, committed, exec, register};

/// A clock that runs like the machine's and can be set.
pub(crate) fn settable() -> (Clock, ManualClock) {
    let system = Clock::system();
    let (clock, hand) = Clock::manual(system.now());
    let driven = hand.clone();
    tokio::spawn(async move {
        let mut before = system.monotonic();
        loop {
            system.sleep(Duration::from_millis(5)).await;
            let now = system.monotonic();
            driven.advance(now - before);
            before = now;
        }
    });
    (clock, hand)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_clock_jumps_stamps_nothing_signs_nothing_and_is_replaced() {
    let (clocks, hands): (Vec<Clock>, Vec<ManualClock>) = (0..3).map(|_| settable()).unzip();
    let hand = |id: u64| &hands[usize::try_from(id - 1).unwrap()];
    let clock = |id: u64| &clocks[usize::try_from(id - 1).unwrap()];
    let [a, b, c] = [1, 2, 3].map(|id| clock(id).clone());
    let cluster = Box::pin(Cluster::start_with([a, b, c])).await;
    let (node, system) = (NodeId::new("node-1").unwrap(), Clock::system());
    let proposal = cluster.proposal("node.enroll", register("node-1", 1), cluster.id());
    committed(&cluster.propose(proposal).await);
    let ask_time = |id: u64| {
        let request = v1::TimeRequest { challenge: vec![7; 32] };
        handlers::time(&cluster.running[&id].context, &node, &request)
    };
    let old = cluster.leader().await;
    ask_time(old).unwrap();
    let ask_head = async |id: u64| {
        let head = v1::config_request::Request::Head(v1::ConfigHead {});
        let request = v1::ConfigRequest { request: Some(head) };
        let reply = handlers::config(&cluster.running[&id].context, &node, request).await?;
        let Some(v1::config_reply::Reply::Head(head)) = reply.reply else { panic!("{reply:?}") };
        let payload = v1::ConfigPayload::decode(head.payload.as_slice()).unwrap();
        let issued = convert::unix_nanos(payload.issued.as_ref(), "issued").unwrap();
        Ok::<Timestamp, v1::Error>(Timestamp::from_unix_nanos(issued))
    };
    // Issued when it is asked for, each time: nodes take none that is old.
    for _ in 0..2 {
        let before = clock(old).now();
        let issued = ask_head(old).await.unwrap();
        assert!((before..=clock(old).now()).contains(&issued));
        let moved_on = async || (clock(old).now() > issued).then_some(());
        cluster.until("the clock moves on", moved_on).await;
    }

    let ahead = Duration::from_secs(3_600);
    hand(old).set_wall(clock(old).now().checked_add(ahead).unwrap());
    let refused = ask_time(old).unwrap_err();
    assert_eq!(refused.known_code(), ErrorCode::ClockUnknown);
    assert!(refused.next_step.contains("NTP"), "{refused:?}");
    assert_eq!(ask_head(old).await.unwrap_err().known_code(), ErrorCode::ClockUnknown);
    let request = v1::ProposeRequest {
        proposals: vec![cluster.proposal("exec", exec("node-1"), cluster.id())],
    };
    let refused = handlers::propose(&cluster.running[&old].context, request).await.unwrap_err();
    assert!(refused.message.contains("clock"), "{refused:?}");

    // The others do not wait for somebody to correct it.
    let new = cluster
        .until("another member leads", async || {
            Some(cluster.leader().await).filter(|leader| *leader != old)
        })
        .await;
    ask_time(new).unwrap();
    let result = cluster.propose(cluster.proposal("exec", exec("node-1"), cluster.id())).await;
    let time = committed(&result).time.unwrap().seconds;
    assert!(time < system.now().unix_seconds() + 60, "the jump is not in the journal's time");
    let linearizable = handlers::entry(
        &cluster.running[&old].context,
        v1::EntryRequest { seq: committed(&result).first_seq, stale: false, visible: None },
    );
    linearizable.await.unwrap();

    hand(old).set_wall(system.now());
    ask_time(old).unwrap();
    // Everybody has heard of everybody.
    for running in cluster.running.values() {
        let reply = handlers::cluster(&running.context, v1::ClusterRequest {}).await.unwrap();
        assert!(reply.members.iter().all(|member| member.last_contact_milliseconds.is_some()));
    }
}
