//! Credentials end: by time, and by revocation while connected (S6).

use async_nats::Event;
use pact_identity::nats_jwt::{agent_inbox_prefix, encode_account};
use pact_identity::{ServiceInstance, ServiceRole};

use super::bus_server::{Bus, PATIENCE, now};

#[tokio::test]
async fn an_expired_user_is_refused() {
    let bus = Bus::start().await;
    let (_, creds) = bus.agent_creds("node-a", now() - 1);
    assert!(bus.connect(&creds, "_INBOX_n.node-a").await.is_err());
    let (_, creds) = bus.agent_creds("node-a", now() + 60);
    assert!(bus.connect(&creds, "_INBOX_n.node-a").await.is_ok());
}

#[tokio::test]
async fn a_pushed_revocation_cuts_off_one_agent_and_no_other() {
    let bus = Bus::start().await;
    let enroll = ServiceInstance::new(ServiceRole::Enroll, "1").unwrap();
    let system = bus.system(&enroll).await;
    let (user, creds) = bus.agent_creds("node-a", now() + 3600);
    let inbox = agent_inbox_prefix(&"node-a".parse().unwrap());
    let mut revoked = bus.connect(&creds, &inbox).await.unwrap();
    let mut other = bus.agent("node-b").await;
    assert!(revoked.may_publish("pact.v1.node.node-a.up.hello").await);

    let mut claims = Bus::claims(&bus.account, &bus.agents);
    claims.body.revocations.revoke(&user.public_key(), now()).unwrap();
    let jwt = encode_account(&claims, &bus.operator_signing).unwrap();
    let answer = system.client.request("$SYS.REQ.CLAIMS.UPDATE", jwt.into()).await.unwrap();
    let answer = String::from_utf8_lossy(&answer.payload).into_owned();
    assert!(answer.contains("\"code\":200"), "{answer}");

    let is_cut = async {
        while revoked.events.recv().await.is_some_and(|event| event != Event::Disconnected) {}
    };
    tokio::time::timeout(PATIENCE, is_cut).await.expect("the revoked agent is disconnected");
    assert!(bus.connect(&creds, &inbox).await.is_err());
    assert!(other.may_publish("pact.v1.node.node-b.up.hello").await);
    assert!(
        bus.agent("node-a").await.may_publish("pact.v1.node.node-a.up.hello").await,
        "a new key for the node is welcome"
    );
}
