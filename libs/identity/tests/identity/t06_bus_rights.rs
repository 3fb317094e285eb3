//! The rights of decisions §1, as a real nats-server enforces them (S4, S5).

use async_nats::service::ServiceExt;
use futures_util::StreamExt;
use pact_identity::nats_jwt::{KeyPair, User, UserClaims, UserLimits, creds_file, encode_user};
use pact_identity::{ServiceInstance, ServiceRole};
use pact_schemas::NodeId;

use super::bus_server::{Bus, PATIENCE, now};

fn instance(role: ServiceRole) -> ServiceInstance {
    ServiceInstance::new(role, "1").unwrap()
}

#[tokio::test]
async fn an_agent_speaks_and_hears_as_itself_alone() {
    let bus = Bus::start().await;
    let mut agent = bus.agent("node-a").await;
    for subject in [
        "pact.v1.node.node-a.up.event.exec_ended",
        "pact.v1.node.node-a.up.hello",
        "pact.v1.node.node-a.stream.0123.out",
    ] {
        assert!(agent.may_publish(subject).await, "{subject}");
    }
    for subject in [
        "pact.v1.node.node-b.up.hello",
        "pact.v1.node.node-a.rpc.exec",
        "pact.v1.node.node-b.rpc.exec",
        "pact.v1.node.node-a.stream.0123.in",
        "pact.v1.rpc.journal.entries",
        "pact.v1.config.global.x",
        "pact.v1.audit._._.x",
        "_INBOX_n.node-b.x",
        "_INBOX_s.gateway-1.x",
        "$SRV.PING",
        "$JS.API.INFO",
        "$SYS.REQ.CLAIMS.UPDATE",
    ] {
        assert!(!agent.may_publish(subject).await, "{subject}");
    }
    for subject in [
        "pact.v1.node.node-a.rpc.>",
        "pact.v1.node.node-a.stream.*.in",
        "pact.v1.config.>",
        "_INBOX_n.node-a.>",
    ] {
        assert!(agent.may_subscribe(subject).await, "{subject}");
    }
    for subject in [
        "pact.v1.node.node-b.rpc.>",
        "pact.v1.node.*.rpc.>",
        "pact.v1.node.>",
        "pact.v1.node.node-b.stream.*.in",
        "pact.v1.node.node-a.up.>",
        "pact.v1.rpc.>",
        "pact.v1.audit.>",
        "_INBOX_n.node-b.>",
        "_INBOX_n.>",
        "_INBOX_s.>",
        "$SRV.>",
        ">",
    ] {
        assert!(!agent.may_subscribe(subject).await, "{subject}");
    }
}

#[tokio::test]
async fn an_agent_answers_a_request_once() {
    let bus = Bus::start().await;
    let mut agent = bus.agent("node-a").await;
    let mut gateway = bus.service(&instance(ServiceRole::Gateway)).await;
    let mut requests = agent.client.subscribe("pact.v1.node.node-a.rpc.>").await.unwrap();
    assert!(agent.refusals().await.is_empty());
    let asking = gateway.client.clone();
    let asked =
        tokio::spawn(
            async move { asking.request("pact.v1.node.node-a.rpc.ping", "?".into()).await },
        );
    let request = tokio::time::timeout(PATIENCE, requests.next()).await.unwrap().unwrap();
    let reply_to = request.reply.unwrap();
    agent.client.publish(reply_to.clone(), "once".into()).await.unwrap();
    assert_eq!(asked.await.unwrap().unwrap().payload, "once");
    assert!(agent.refusals().await.is_empty());
    assert!(!agent.may_publish(&reply_to).await);
    assert!(gateway.refusals().await.is_empty());
}

#[tokio::test]
async fn services_have_their_own_subjects_and_no_more() {
    let bus = Bus::start().await;
    let rights: &[(ServiceRole, &[&str], &[&str])] = &[
        (
            ServiceRole::Gateway,
            &["pact.v1.node.n.rpc.exec", "pact.v1.node.n.rpc.ping", "pact.v1.node.n.stream.1.in"],
            &["pact.v1.node.*.stream.*.out"],
        ),
        (
            ServiceRole::Journal,
            &["pact.v1.config.global.x", "pact.v1.audit._._.x", "_INBOX_n.n.x", "$JS.API.INFO"],
            &[
                "pact.v1.node.*.up.event.>",
                "pact.v1.node.*.up.config",
                "pact.v1.node.*.up.time",
                "pact.v1.node.*.up.recording",
            ],
        ),
        (
            ServiceRole::Enroll,
            &["_INBOX_n.n.x", "pact.v1.node.n.rpc.ping"],
            &["pact.v1.node.*.up.hello", "pact.v1.node.*.up.renew"],
        ),
        (ServiceRole::Approval, &[], &[]),
        (ServiceRole::Bridge, &[], &[]),
    ];
    let nobodys = ["pact.v1.node.n.up.hello", "$SYS.REQ.CLAIMS.UPDATE"];
    let publishable: Vec<&str> =
        rights.iter().flat_map(|row| row.1).copied().chain(nobodys).collect();
    let subscribable: Vec<&str> =
        rights.iter().flat_map(|row| row.2).copied().chain(["pact.v1.node.>", ">"]).collect();
    for (role, publishes, subscribes) in rights {
        let mut service = bus.service(&instance(*role)).await;
        for subject in
            ["pact.v1.rpc.journal.entries", "pact.v1.rpc.bridge.x", "_INBOX_s.gateway-1.x"]
        {
            assert!(service.may_publish(subject).await, "{role} publishes {subject}");
        }
        for subject in [
            format!("pact.v1.rpc.{role}.>"),
            format!("_INBOX_s.{role}-1.>"),
            "$SRV.PING".into(),
            "$SRV.>".into(),
        ] {
            assert!(service.may_subscribe(&subject).await, "{role} subscribes {subject}");
        }
        for other in ServiceRole::ALL.into_iter().filter(|other| other != role) {
            for subject in [
                format!("pact.v1.rpc.{other}.>"),
                format!("_INBOX_s.{other}-1.>"),
                "pact.v1.rpc.>".into(),
            ] {
                assert!(!service.may_subscribe(&subject).await, "{role} subscribes {subject}");
            }
        }
        for subject in &publishable {
            assert_eq!(
                service.may_publish(subject).await,
                publishes.contains(subject),
                "{role} publishes {subject}"
            );
        }
        for subject in &subscribable {
            assert_eq!(
                service.may_subscribe(subject).await,
                subscribes.contains(subject),
                "{role} subscribes {subject}"
            );
        }
    }
}

#[tokio::test]
async fn a_service_registers_and_answers_whoever_lists_services() {
    let bus = Bus::start().await;
    let mut bridge = bus.service(&instance(ServiceRole::Bridge)).await;
    let _service = bridge.client.service_builder().start("pact-bridge", "0.1.0").await.unwrap();
    assert!(bridge.refusals().await.is_empty());
    let admin = bus.admin().await;
    let info = admin.client.request("$SRV.INFO.pact-bridge", "".into()).await.unwrap();
    assert!(String::from_utf8_lossy(&info.payload).contains("pact-bridge"));
    assert!(bridge.refusals().await.is_empty());
}

#[tokio::test]
async fn the_journal_makes_streams_and_the_bridge_does_not() {
    let bus = Bus::start().await;
    let stream = || async_nats::jetstream::stream::Config {
        name: "PACT_AUDIT".into(),
        subjects: vec!["pact.v1.audit.>".into()],
        ..Default::default()
    };
    let journal = bus.service(&instance(ServiceRole::Journal)).await;
    let context = async_nats::jetstream::new(journal.client.clone());
    context.create_stream(stream()).await.unwrap();
    context.publish("pact.v1.audit._._.x", "entry".into()).await.unwrap().await.unwrap();
    let mut bridge = bus.service(&instance(ServiceRole::Bridge)).await;
    assert!(!bridge.may_publish("$JS.API.STREAM.DELETE.PACT_AUDIT").await);
}

#[tokio::test]
async fn the_scoped_key_mints_no_other_users() {
    let bus = Bus::start().await;
    assert!("*".parse::<NodeId>().is_err(), "a user named * would get everybody's subjects");
    let user = KeyPair::new_user();
    let wide = UserClaims {
        subject: user.public_key(),
        name: "node-a".into(),
        issued_at: now(),
        expires_at: None,
        body: User::with_limits(
            &bus.account.public_key(),
            UserLimits { subs: -1, data: -1, payload: -1, ..UserLimits::default() },
        ),
    };
    let creds = creds_file(&encode_user(&wide, &bus.agents).unwrap(), &user.seed().unwrap());
    assert!(bus.connect(&creds, "_INBOX").await.is_err());
    let stranger = KeyPair::new_account();
    let scoped = UserClaims { body: User::scoped(&bus.account.public_key()), ..wide };
    let creds = creds_file(&encode_user(&scoped, &stranger).unwrap(), &user.seed().unwrap());
    assert!(bus.connect(&creds, "_INBOX").await.is_err());
}
