//! A journal that leads elsewhere, does not lead, or is not there.

use pact_schemas::ErrorCode;
use pact_schemas::v1::{self, action::Action};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::t03_rights::begin;
use crate::world::{World, code, request_id};

fn apply() -> v1::ApplyRequest {
    v1::ApplyRequest {
        request_id: request_id(),
        spec: "[vcluster.ml.policy]\nregulated = false\n".into(),
        file_name: "s.toml".into(),
        ..v1::ApplyRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t05_the_leader_is_found_again_wherever_it_is() {
    let world = World::start().await;
    let mut client = world.client().await;
    for leader in [1, 2, 1] {
        world.journal.with(|s| s.leader = Some(leader));
        client.apply(world.by(&["pact-platform-admin"], apply())).await.unwrap();
    }
    let set = world
        .journal
        .with(|s| s.proposed.iter().filter(|(_, act)| matches!(act, Action::ApplySpec(_))).count());
    assert_eq!(set, 3, "each was proposed to the leader once");
}

#[tokio::test(flavor = "multi_thread")]
async fn t05_without_a_leader_the_exit_code_is_5() {
    let world = World::start().await;
    world.journal.with(|s| s.leader = None);
    let status =
        world.client().await.apply(world.by(&["pact-platform-admin"], apply())).await.unwrap_err();
    assert_eq!((code(&status), code(&status).exit_code()), (ErrorCode::NoLeader, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn t05_without_a_journal_the_exit_code_is_5() {
    let world = World::without_journal(|_| {}).await;
    let mut client = world.client().await;
    let input = tokio_stream::iter([begin("n1", &["true"])]);
    let status = client.exec(world.by(&["pact-platform-admin"], input)).await.unwrap_err();
    assert_eq!((code(&status), code(&status).exit_code()), (ErrorCode::Timeout, 5));
    // What needs no journal still answers, and says what is down.
    let health = client
        .health(world.by(&["pact-viewer-ml"], v1::HealthRequest {}))
        .await
        .unwrap()
        .into_inner();
    let states: Vec<(&str, i32)> =
        health.items.iter().map(|i| (i.name.as_str(), i.state)).collect();
    assert_eq!(states.len(), 7);
    assert_eq!(states[0], ("pact-journal Raft quorum", v1::HealthState::Down.into()));
    assert_eq!(states[4].1, i32::from(v1::HealthState::Healthy), "{states:?}");
}

/// `pact` asks this after a second, for people who wait.
#[tokio::test(flavor = "multi_thread")]
async fn t05_that_nobody_leads_is_said_to_who_waits_without_a_token() {
    let world = World::start_with(|s| s.allow_plaintext_loopback = true).await;
    let endpoint = format!("http://{}", world.address);
    let channel = tonic::transport::Endpoint::from_shared(endpoint).unwrap().connect().await;
    let health = HealthClient::new(channel.unwrap());
    let says = async |wanted: ServingStatus| {
        let mut health = health.clone();
        loop {
            let asked = HealthCheckRequest { service: "pact.v1.Journal".into() };
            let reply = health.check(asked).await;
            if reply.is_ok_and(|reply| reply.get_ref().status() == wanted) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    says(ServingStatus::Serving).await;
    let mut client = world.client().await;
    world.journal.with(|s| s.leader = None);
    client.apply(world.by(&["pact-platform-admin"], apply())).await.unwrap_err();
    says(ServingStatus::NotServing).await;
    world.journal.with(|s| s.leader = Some(1));
    client.apply(world.by(&["pact-platform-admin"], apply())).await.unwrap();
    says(ServingStatus::Serving).await;
}

/// Who sees an entry sees its outcomes, whoever has the node by now.
#[tokio::test(flavor = "multi_thread")]
async fn t05_a_move_takes_no_entry_with_it() {
    let world = World::start().await;
    let request = world.journal.with(|s| {
        let judged = |targets: &str| {
            let (vcluster, targets) = (Some("ml".to_owned()), targets.to_owned());
            vec![v1::JudgedScope { vcluster, targets }]
        };
        let exec = Action::ExecRequest(v1::ExecRequest {
            targets: "n1".into(),
            argv: vec!["id".into()],
            timeout_seconds: 60,
            output_limit_bytes: 1,
            judged: judged("n1"),
            ..v1::ExecRequest::default()
        });
        let request = s.commit(None, exec);
        s.commit(
            None,
            Action::AssignNode(v1::AssignNode {
                targets: "n1".into(),
                vcluster: Some("other".into()),
                mode: v1::AssignMode::Move.into(),
                judged: judged("n1"),
            }),
        );
        let finished = v1::ExecFinished {
            outcome: v1::ExecOutcome::Exited.into(),
            exit_status: Some(0),
            ..v1::ExecFinished::default()
        };
        s.commit(
            Some("n1"),
            Action::NodeEvent(v1::NodeEvent {
                node: "n1".into(),
                spool_id: "a".repeat(32),
                number: 1,
                recorded: Some(pact_schemas::convert::timestamp(1)),
                body: Some(v1::node_event::Body::ExecEnded(v1::ExecEnded {
                    grant_seq: request,
                    finished: Some(finished),
                })),
            }),
        );
        request
    });
    let mut client = world.client().await;
    let mut show = async |role: &str| {
        let request = v1::ShowEntryRequest { seq: request };
        let shown = client.show_entry(world.by(&[role], request)).await;
        shown.map(|reply| reply.into_inner().outcomes.len()).map_err(|status| code(&status))
    };
    assert_eq!(show("pact-viewer-ml").await, Ok(1));
    assert_eq!(show("pact-viewer-other").await, Err(ErrorCode::NotFound));
    assert_eq!(show("pact-platform-admin").await, Ok(1));
}
