//! The bus of the test site, and the services that listen on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nkeys::KeyPair;
use pact_bus::server::{Authority, ServerConfig, ServerTls, TestServer};
use pact_bus::{Bus, BusConfig, Credentials, Service};
use pact_identity::nats_jwt::{self, SigningKey, User, UserClaims};
use pact_identity::signing::Signer;
use pact_identity::{ServiceInstance, ServiceRole, sign_time};
use pact_runtime::Clock;
use pact_schemas::rpc;
use pact_schemas::v1;

use crate::enroller::Enroller;
use crate::plane::{PATIENCE, until};
use crate::told::Told;

pub(crate) struct Keys {
    pub(crate) account: KeyPair,
    pub(crate) agents: KeyPair,
    services: KeyPair,
}

pub(crate) async fn start_bus(clock: &Clock, tls: ServerTls) -> (TestServer, Keys) {
    let now = u64::try_from(clock.now().unix_seconds()).unwrap();
    let (operator, signing) = (KeyPair::new_operator(), KeyPair::new_operator());
    let (system, account) = (KeyPair::new_account(), KeyPair::new_account());
    let (agents, services) = (KeyPair::new_account(), KeyPair::new_account());
    let claims = nats_jwt::operator_claims(
        "test",
        &operator.public_key(),
        &system.public_key(),
        &signing.public_key(),
        now,
    );
    let operator_jwt = nats_jwt::encode_operator(&claims, &operator).unwrap();
    let claims = nats_jwt::system_account_claims(&system.public_key(), now);
    let system_jwt = nats_jwt::encode_account(&claims, &signing).unwrap();
    let key = account.public_key();
    let mut claims = nats_jwt::account_claims("PACT", &key, &agents.public_key(), now);
    claims.body.signing_keys.push(SigningKey::Plain(services.public_key()));
    let account_jwt = nats_jwt::encode_account(&claims, &signing).unwrap();
    let config = ServerConfig {
        server_name: "test".to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: Some(tls),
        authority: Authority {
            operator_jwt,
            system_account: system.public_key(),
            accounts: BTreeMap::from([(system.public_key(), system_jwt), (key, account_jwt)]),
        },
        resolver_dir: PathBuf::new(),
        jetstream: None,
        monitoring: None,
        log_file: None,
    };
    let nats = TestServer::start(config).await.unwrap();
    (nats, Keys { account, agents, services })
}

pub(crate) async fn service_bus(
    nats: &TestServer,
    keys: &Keys,
    ca: &Path,
    role: ServiceRole,
    clock: &Clock,
) -> Bus {
    let instance = ServiceInstance::new(role, "1").unwrap();
    let user = Arc::new(KeyPair::new_user());
    let rights = nats_jwt::service_user(&instance);
    let claims = UserClaims {
        subject: user.public_key(),
        name: instance.to_string(),
        issued_at: u64::try_from(clock.now().unix_seconds()).unwrap(),
        expires_at: None,
        body: User::with_limits(&keys.account.public_key(), rights),
    };
    let jwt = nats_jwt::encode_user(&claims, &keys.services).unwrap();
    let config = BusConfig {
        urls: vec![nats.url()],
        credentials: Credentials::jwt(jwt, user),
        tls_ca: Some(ca.to_owned()),
        inbox_prefix: nats_jwt::service_inbox_prefix(&instance),
        name: instance.to_string(),
        allow_plaintext_loopback: false,
    };
    let bus = Bus::connect(config, clock.clone(), None).await.unwrap();
    bus.wait_connected(PATIENCE).await.unwrap();
    bus
}

pub(crate) async fn listen(journal: &Bus, told: &Arc<Mutex<Told>>, signer: Signer, clock: &Clock) {
    let (events, blobs) = (Arc::clone(told), Arc::clone(told));
    let (configs, times) = (Arc::clone(told), Arc::clone(told));
    let (signer, clock) = (Arc::new(signer), clock.clone());
    let (heads, heads_clock) = (Arc::clone(&signer), clock.clone());
    let service = Service::new("journal", "0.1.0", "1")
        .on_events(move |(), context, event: v1::NodeEvent| {
            assert_eq!(context.node.unwrap().as_str(), event.node);
            std::future::ready(events.lock().unwrap().event(event))
        })
        .on_up(rpc::up::Recording, move |(), context, blob: v1::PutBlob| {
            let node = context.node.unwrap();
            std::future::ready(blobs.lock().unwrap().recording(&node, blob))
        })
        .on_up(rpc::up::Config, move |(), context, request| {
            let mut told = configs.lock().unwrap();
            let answer =
                told.declared.answer(&heads, &context.node.unwrap(), request, heads_clock.now());
            std::future::ready(answer)
        })
        .on_up(rpc::up::Time, move |(), context, request: v1::TimeRequest| {
            let challenge = request.challenge.as_slice().try_into().unwrap();
            let node = context.node.unwrap();
            let (signer, clock, told) = (Arc::clone(&signer), clock.clone(), Arc::clone(&times));
            async move {
                until("time is told", || !told.lock().unwrap().holds_time).await;
                Ok(sign_time(&signer, &node, &challenge, clock.now()))
            }
        });
    journal.serve(service).await.unwrap();
}

pub(crate) async fn listen_for_nodes(
    enroll: &Bus,
    told: &Arc<Mutex<Told>>,
    enroller: &Arc<Enroller>,
) {
    let (told, enroller) = (Arc::clone(told), Arc::clone(enroller));
    let service = Service::new("enroll", "0.1.0", "1")
        .on_up(rpc::up::Hello, move |(), _, hello| {
            told.lock().unwrap().hellos.push(hello);
            std::future::ready(Ok(v1::HelloReply {}))
        })
        .on_up(rpc::up::Renew, move |(), context, request: v1::RenewRequest| {
            let node = context.node.unwrap();
            std::future::ready(Ok(enroller.issue(&node, &request.csr, &request.bus_user)))
        });
    enroll.serve(service).await.unwrap();
}
