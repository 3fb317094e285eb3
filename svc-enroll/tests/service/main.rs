//! The service as a process, on a real nats-server with a bootstrapped site. The
//! journal is the one part that is played here: it speaks the contract of `journal_rpc.proto`,
//! checks signatures, and applies commands by the journal's own rules to a state in maps.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod ledger;
mod site;

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::sync::Arc;

use pact_bus::{Bus, ConnectionState};
use pact_identity::nats_jwt::KeyPair;
use pact_identity::x509::{PrivateKey, SiteRoot, make_csr};
use pact_identity::{SignerRole, uri_of_certificate};
use pact_runtime::Clock;
use pact_schemas::v1::action::Action;
use pact_schemas::{Subject, v1};
use tempfile::TempDir;

use ledger::mac_of;
use site::{SOON, Site, contact, make_site, until, until_state, write_config};

fn code<T: std::fmt::Debug>(result: Result<T, v1::Error>) -> String {
    result.unwrap_err().code
}

fn up(node: &str, method: &str) -> Subject {
    format!("pact.v1.node.{node}.up.{method}").parse().unwrap()
}

#[tokio::test]
async fn a_registered_machine_becomes_the_node_and_no_other_does() {
    let site = Site::start(300).await;
    site.ledger.lock().unwrap().register("n1");

    let key = Arc::new(KeyPair::new_user());
    assert_eq!(code(site.enroll("n2", &mac_of("n1"), &key).await), "PACT_NODE_NOT_ENROLLED");
    let error = site.enroll("n1", "0c:42:a1:00:00:02", &key).await.unwrap_err();
    assert_eq!(error.code, "PACT_HARDWARE_IDENTITY_CONFLICT");
    assert!(error.message.starts_with("enrollment: hardware mismatch"), "{}", error.message);
    assert!(!format!("{error:?}").contains(&mac_of("n1")), "a stranger is not told what would fit");
    for bad in [
        contact("*", &mac_of("n1"), &key.public_key()),
        contact("n1", &mac_of("n1"), &KeyPair::new_account().public_key()),
        contact("n1", &mac_of("n1"), "U"),
        v1::EnrollRequest { csr: vec![1, 2, 3], ..contact("n1", &mac_of("n1"), &key.public_key()) },
        v1::EnrollRequest { identity: None, ..contact("n1", &mac_of("n1"), &key.public_key()) },
    ] {
        let refused = site.ask::<_, v1::EnrollReply>("enroll", bad).await.map_err(v1::Error::from);
        assert!(["PACT_MALFORMED", "PACT_INVALID_ARGUMENT"].contains(&code(refused).as_str()));
    }
    assert_eq!(site.ledger.lock().unwrap().state("n1"), v1::NodeState::Registered);

    let reply = site.enroll("n1", &mac_of("n1"), &key).await.unwrap();
    assert_eq!((reply.site.as_str(), reply.bus_urls.len()), ("alps", 1));
    assert!(site.ledger.lock().unwrap().asked_follower, "the hint was needed");
    check_chain(&site, &reply.certificate_chain);
    let agent = site.agent("n1", &reply, &key).await;
    agent
        .request::<_, v1::HelloReply>(&up("n1", "hello"), &v1::Hello::default(), SOON)
        .await
        .unwrap();

    // Again with the same key, as after a repair; with another while the first one answers, and once it is gone.
    site.enroll("n1", &mac_of("n1"), &key).await.unwrap();
    let other = Arc::new(KeyPair::new_user());
    assert_eq!(code(site.enroll("n1", &mac_of("n1"), &other).await), "PACT_CONFLICT");
    site.settle("n1");
    assert_eq!(code(site.enroll("n1", &mac_of("n1"), &other).await), "PACT_ALREADY_ACTIVE");
    agent.drain().await;
    site.enroll("n1", &mac_of("n1"), &other).await.unwrap();
    let ledger = site.ledger.lock().unwrap();
    assert_eq!(ledger.node("n1").bus_user, Some(other.public_key()));
    assert_eq!(
        ledger.rejections(),
        [
            "PACT_NODE_NOT_ENROLLED",
            "PACT_HARDWARE_IDENTITY_CONFLICT",
            "PACT_CONFLICT",
            "PACT_ALREADY_ACTIVE"
        ]
    );
}

/// A leaf for the node under an intermediate, in this order.
fn check_chain(site: &Site, chain: &str) {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
    assert_eq!(chain.len(), 2);
    assert_eq!(uri_of_certificate(&chain[0]).unwrap().to_string(), "pact://alps/node/n1");
    let ca = std::fs::read_to_string(site.path().join("ca.crt")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let now = rustls::pki_types::UnixTime::now();
    verifier.verify_client_cert(&chain[0], &chain[1..], now).unwrap();
}

#[tokio::test]
async fn of_many_machines_that_come_at_once_one_is_enrolled() {
    let site = Site::start(300).await;
    site.ledger.lock().unwrap().register("n1");
    let keys: Vec<KeyPair> = (0..16).map(|_| KeyPair::new_user()).collect();
    let mac = mac_of("n1");
    let contacts = keys.iter().map(|key| site.enroll("n1", &mac, key));
    let answers = futures_util::future::join_all(contacts).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for refused in answers.into_iter().filter_map(Result::err) {
        assert_eq!(refused.code, "PACT_CONFLICT");
    }
    let ledger = site.ledger.lock().unwrap();
    let enrolled = |(_, action): &&(SignerRole, Action)| matches!(action, Action::EnrolNode(_));
    assert_eq!(ledger.actions.iter().filter(enrolled).count(), 1);
}

#[tokio::test]
async fn a_flood_from_one_address_keeps_nobody_else_out() {
    let site = Site::start(300).await;
    site.ledger.lock().unwrap().register("n1");
    let (wrong, key) = ("0c:42:a1:00:00:02", KeyPair::new_user());
    let from = |source: &str, mac: &str| v1::EnrollRequest {
        source_address: source.to_owned(),
        ..contact("n1", mac, &key.public_key())
    };
    let ask = |request| site.ask::<_, v1::EnrollReply>("enroll", request);
    let flood = futures_util::future::join_all((0..300).map(|_| ask(from("10.0.0.66", wrong))));
    for answer in flood.await {
        let code = code(answer.map_err(v1::Error::from));
        let refusals = ["PACT_HARDWARE_IDENTITY_CONFLICT", "PACT_RATE_LIMITED", "PACT_BUSY"];
        assert!(refusals.contains(&code.as_str()), "{code}");
    }
    // The right hardware does not help there: an answer would tell which of many guesses was right.
    let limited = ask(from("10.0.0.66", &mac_of("n1"))).await.map_err(v1::Error::from);
    assert_eq!(code(limited), "PACT_RATE_LIMITED");
    ask(from("10.0.0.7", &mac_of("n1"))).await.unwrap();
    assert_eq!(site.ledger.lock().unwrap().state("n1"), v1::NodeState::Active);
}

#[tokio::test]
async fn silence_makes_inactive_a_hello_active_and_a_revocation_cuts_off() {
    let site = Site::start(1).await;
    for node in ["n0", "n1", "n2"] {
        site.ledger.lock().unwrap().register(node);
    }
    let keys = [Arc::new(KeyPair::new_user()), Arc::new(KeyPair::new_user())];
    let replies = [
        site.enroll("n1", &mac_of("n1"), &keys[0]).await.unwrap(),
        site.enroll("n2", &mac_of("n2"), &keys[1]).await.unwrap(),
    ];
    let hello =
        v1::Hello { boot_id: "b1".into(), whitelist_mode: "strict".into(), ..Default::default() };

    // Silent but there: n2's agent answers when asked. n1 is not on the bus at all.
    let agent = site.agent("n2", &replies[1], &keys[1]).await;
    until_state(&site, "n1", v1::NodeState::Inactive).await;
    assert_eq!(site.ledger.lock().unwrap().state("n2"), v1::NodeState::Active);
    assert_eq!(site.ledger.lock().unwrap().state("n0"), v1::NodeState::Registered);

    let returned = site.agent("n1", &replies[0], &keys[0]).await;
    returned.request::<_, v1::HelloReply>(&up("n1", "hello"), &hello, SOON).await.unwrap();
    until_state(&site, "n1", v1::NodeState::Active).await;
    let report: v1::LivenessReply =
        site.ask("liveness", v1::LivenessRequest { nodes: vec![] }).await.unwrap();
    assert_eq!(report.nodes.len(), 1, "n2 never said hello");
    assert_eq!((report.nodes[0].node.as_str(), report.nodes[0].boot_id.as_str()), ("n1", "b1"));

    site.ledger.lock().unwrap().revoke("n2");
    until_cut_off(&agent).await;
    assert_eq!(code(site.enroll("n2", &mac_of("n2"), &keys[1]).await), "PACT_NODE_REVOKED");
    assert_eq!(returned.state(), ConnectionState::Connected, "nobody else was");
    returned.request::<_, v1::HelloReply>(&up("n1", "hello"), &hello, SOON).await.unwrap();
}

async fn until_cut_off(agent: &Bus) {
    until("the agent is cut off", || async {
        match agent.state() {
            ConnectionState::Connected => Err(()),
            _ => Ok(()),
        }
    })
    .await;
}

#[tokio::test]
async fn every_user_of_a_node_is_cut_off_with_it_and_with_its_successor() {
    let site = Site::start(1).await;
    site.ledger.lock().unwrap().register("n1");
    let keys = [(); 3].map(|()| Arc::new(KeyPair::new_user()));
    let [first, renewed, second] = &keys;
    let reply = site.enroll("n1", &mac_of("n1"), first).await.unwrap();
    let before = site.agent("n1", &reply, first).await;
    let csr = make_csr(&PrivateKey::generate_p256().unwrap()).unwrap();
    let request = v1::RenewRequest { csr, bus_user: renewed.public_key() };
    let reply: v1::EnrollReply = before.request(&up("n1", "renew"), &request, SOON).await.unwrap();
    let after = site.agent("n1", &reply, renewed).await;
    site.ledger.lock().unwrap().revoke("n1");
    // The user that the renewal replaced is still good for days: a copy of its key must not outlive the node.
    until_cut_off(&before).await;
    until_cut_off(&after).await;

    // The node comes back as another machine, twice; nothing of the first time survives the second.
    site.ledger.lock().unwrap().register("n1");
    let reply = site.enroll("n1", &mac_of("n1"), second).await.unwrap();
    let old = site.agent("n1", &reply, second).await;
    let third = Arc::new(KeyPair::new_user());
    // As if the old one had not answered the probe.
    site.ledger.lock().unwrap().node_mut("n1").state = v1::NodeState::Registered.into();
    let reply = site.enroll("n1", &mac_of("n1"), &third).await.unwrap();
    until_cut_off(&old).await;
    let new = site.agent("n1", &reply, &third).await;
    new.request::<_, v1::HelloReply>(&up("n1", "hello"), &v1::Hello::default(), SOON)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_live_node_renews_and_what_is_not_built_says_so() {
    let site = Site::start(300).await;
    for node in ["n1", "n2"] {
        site.ledger.lock().unwrap().register(node);
    }
    let (key, next) = (Arc::new(KeyPair::new_user()), Arc::new(KeyPair::new_user()));
    let reply = site.enroll("n1", &mac_of("n1"), &key).await.unwrap();
    let agent = site.agent("n1", &reply, &key).await;
    let csr = make_csr(&PrivateKey::generate_p256().unwrap()).unwrap();
    let request = v1::RenewRequest { csr, bus_user: next.public_key() };
    let renewed: v1::EnrollReply = agent.request(&up("n1", "renew"), &request, SOON).await.unwrap();
    check_chain(&site, &renewed.certificate_chain);
    assert_ne!(renewed.certificate_chain, reply.certificate_chain);
    let second = site.agent("n1", &renewed, &next).await;
    second
        .request::<_, v1::HelloReply>(&up("n1", "hello"), &v1::Hello::default(), SOON)
        .await
        .unwrap();
    let last = site.ledger.lock().unwrap().actions.last().cloned().unwrap();
    assert!(
        matches!(last.1, Action::EnrolNode(enrol) if enrol.renewal && enrol.agent_version == "0.1.0")
    );

    // What the journal decides is the gateway's to ask of it: registrations, assignments and reads of nodes.
    for method in
        ["decommission", "ca_status", "ca_rotate", "register", "assign", "nodes", "no_such_method"]
    {
        let answer = site.ask::<_, v1::InvokeReply>(method, v1::InvokeRequest::default()).await;
        assert_eq!(code(answer.map_err(v1::Error::from)), "PACT_UNIMPLEMENTED", "{method}");
    }
    let health: v1::HealthReply = site.ask("health", v1::HealthRequest {}).await.unwrap();
    assert_eq!(health.items[0].state, i32::from(v1::HealthState::Healthy), "{health:?}");
}

#[test]
fn without_each_of_its_keys_the_service_does_not_start() {
    let dir = TempDir::new().unwrap();
    let site = dir.path().join("site");
    make_site(&site, 4222);
    let config = write_config(&site, 4222, 300);
    let whole = std::fs::read_to_string(&config).unwrap();
    let run = |text: &str| -> Output {
        std::fs::write(&config, text).unwrap();
        Command::new(env!("CARGO_BIN_EXE_pact-enroll"))
            .arg("--config")
            .arg(&config)
            .output()
            .unwrap()
    };
    for line in whole
        .lines()
        .filter(|line| line.contains("{site}") || line.contains(site.to_str().unwrap()))
    {
        let key = line.split('=').next().unwrap().trim();
        let output = run(&whole.replace(line, ""));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{key}: {stderr}");
        assert!(stderr.contains(key), "{key}: {stderr}");
    }
    let other = SiteRoot::generate(&"jura".parse().unwrap(), &Clock::system()).unwrap();
    let secrets =
        ["root.key", "bus/pact-agents.nk", "bus/operator-signing.nk", "signing/enroll-1.key"];
    for name in secrets {
        let set = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(site.join(name), mode).unwrap();
        };
        set(0o640);
        let output = run(&whole);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(name) && stderr.contains("chmod 0600"), "{name}: {stderr}");
        set(0o600);
    }
    for (name, text) in [
        ("ca.crt", other.certificate_pem().to_owned()),
        ("root.key", other.key_pem().expose().to_owned()),
    ] {
        std::fs::write(site.join(name), text).unwrap();
    }
    let output = run(&whole);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("jura") && !stderr.contains("PRIVATE"), "{stderr}");
    let output = run(&whole.replace("\"enroll-1\"", "\"gateway-1\""));
    assert!(String::from_utf8_lossy(&output.stderr).contains("enroll-<instance>"));
}
