//! The service as a process, on a real nats-server with a bootstrapped site. The journal is the one part that is played here: it
//! speaks the contract of `journal_rpc.proto` and checks signatures and compare-and-set as the real one does.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use pact_bus::{Bus, BusConfig, CallError, ConnectionState, Credentials, Responder, Service};
use pact_identity::attestation::{Attestation, Statement};
use pact_identity::nats_jwt::{self, KeyPair};
use pact_identity::x509::{PrivateKey, SecretPem, SiteRoot, make_csr};
use pact_identity::{Principal, Signer, SignerRole, Verifier, uri_of_certificate};
use pact_runtime::Clock;
use pact_schemas::convert;
use pact_schemas::operation::Operation;
use pact_schemas::v1::action::Action;
use pact_schemas::{ErrorCode, NodeId, RequestId, Subject, v1};
use pact_svc_enroll::bootstrap::{self, BootstrapArgs};
use prost::Message as _;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);
const MAC: &str = "0c:42:a1:00:00:01";
const LEADER: u64 = 2;

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    bootstrap: BootstrapArgs,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _dead = self.0.kill();
        let _dead = self.0.wait();
    }
}

/// The journal's nodes, and what was proposed to it.
#[derive(Default)]
struct Ledger {
    nodes: BTreeMap<String, v1::NodeRecord>,
    actions: Vec<(SignerRole, Action)>,
    seq: u64,
    asked_follower: bool,
}

type Shared = Arc<Mutex<Ledger>>;

impl Ledger {
    fn add(&mut self, node: &str, state: v1::NodeState) {
        self.seq += 1;
        let identity = v1::HardwareIdentity { macs: vec![MAC.to_owned()], ..Default::default() };
        let record = v1::NodeRecord {
            node: node.to_owned(),
            state: state.into(),
            identity: Some(identity),
            state_seq: self.seq,
            state_since: now(),
            ..Default::default()
        };
        self.nodes.insert(node.to_owned(), record);
    }

    fn state(&self, node: &str) -> v1::NodeState {
        v1::NodeState::try_from(self.nodes[node].state).unwrap()
    }

    fn apply(&mut self, signer: SignerRole, action: Action) -> Result<v1::Committed, v1::Error> {
        let seq = self.seq + 1;
        match &action {
            Action::EnrolNode(enrol) => {
                assert_eq!(signer, SignerRole::Enroll);
                let record = self.nodes.get_mut(&enrol.node).unwrap();
                if record.state_seq != enrol.expected_state_seq {
                    return Err(ErrorCode::Conflict.error("stale"));
                }
                record.bus_user = Some(enrol.bus_user.clone());
                record.certificate_not_after = enrol.certificate_not_after;
                record.agent_version.clone_from(&enrol.agent_version);
                if !enrol.renewal {
                    record.state = v1::NodeState::Active.into();
                    record.state_seq = seq;
                    record.state_since = now();
                }
            }
            Action::SetLiveness(set) => {
                assert_eq!(signer, SignerRole::Enroll);
                let record = self.nodes.get_mut(&set.node).unwrap();
                if record.state_seq != set.expected_state_seq {
                    return Err(ErrorCode::Conflict.error("stale"));
                }
                record.state = set.state;
                record.state_seq = seq;
            }
            Action::RegisterNode(register) => {
                assert_eq!(signer, SignerRole::Gateway);
                self.add(&register.node, v1::NodeState::Registered);
            }
            Action::RejectEnrolment(_) => assert_eq!(signer, SignerRole::Enroll),
            other => panic!("not expected: {other:?}"),
        }
        self.seq = seq;
        self.actions.push((signer, action));
        Ok(v1::Committed { first_seq: seq, last_seq: seq, ..Default::default() })
    }

    fn rejections(&self) -> Vec<String> {
        let rejected = |(_, action): &(SignerRole, Action)| match action {
            Action::RejectEnrolment(reject) => Some(reject.rejected.clone().unwrap().code),
            _ => None,
        };
        self.actions.iter().filter_map(rejected).collect()
    }
}

fn now() -> Option<prost_types::Timestamp> {
    Some(convert::timestamp(Clock::system().now().unix_nanos()))
}

fn propose(
    ledger: &Shared,
    verifier: &Verifier,
    request: v1::ProposeRequest,
) -> Result<v1::ProposeReply, v1::Error> {
    let results = request.proposals.into_iter().map(|proposal| {
        let signed = proposal.attestation.unwrap();
        let now = Clock::system().now();
        let attested = Attestation::verify(&signed, verifier, &proposal.action, now).unwrap();
        let action = v1::Action::decode(proposal.action.as_slice()).unwrap().action.unwrap();
        let outcome = match ledger.lock().unwrap().apply(attested.signer().role(), action) {
            Ok(committed) => v1::outcome::Outcome::Committed(committed),
            Err(error) => v1::outcome::Outcome::Rejected(error),
        };
        v1::ProposalResult { outcome: Some(v1::Outcome { outcome: Some(outcome) }), grant: None }
    });
    Ok(v1::ProposeReply { results: results.collect() })
}

async fn serve_journal(bus: &Bus, site: &Path, ledger: &Shared) {
    let ca = std::fs::read_to_string(site.join("ca.crt")).unwrap();
    let verifier = Arc::new(Verifier::from_pem(&ca).unwrap());
    let (for_nodes, follower, leader) =
        (Arc::clone(ledger), Arc::clone(ledger), Arc::clone(ledger));
    let service = Service::new("journal", "0.1.0", "journal-1")
        .method("cluster", |_, _: v1::ClusterRequest| async {
            // Out of date on purpose: the named member answers with a hint.
            Ok(v1::ClusterReply { leader: Some(1), ..Default::default() })
        })
        .method("nodes", move |_, request: v1::NodesRequest| {
            let ledger = Arc::clone(&for_nodes);
            async move {
                let fits = |record: &&v1::NodeRecord| {
                    let is_named = request.nodes.is_empty() || request.nodes.contains(&record.node);
                    is_named
                        && request.state.is_none_or(|state| state == record.state)
                        && record.node > request.after
                };
                let found: Vec<_> =
                    ledger.lock().unwrap().nodes.values().filter(fits).cloned().collect();
                // Pages of one, so that paging is seen to work.
                Ok(v1::NodesReply {
                    more: found.len() > 1,
                    nodes: found.into_iter().take(1).collect(),
                })
            }
        })
        .member_method("1".parse().unwrap(), "propose", move |_, _: v1::ProposeRequest| {
            follower.lock().unwrap().asked_follower = true;
            let mut hint = ErrorCode::NotLeader.error("another member leads");
            hint.leader = Some(LEADER);
            async move { Err::<v1::ProposeReply, _>(hint) }
        })
        .member_method("2".parse().unwrap(), "propose", move |_, request| {
            let answer = propose(&leader, &verifier, request);
            async move { answer }
        });
    bus.serve(service).await.unwrap();
}

/// A site with everything but the agents.
struct Site {
    _enroll: Process,
    _server: Process,
    gateway: Bus,
    _journal: Bus,
    ledger: Shared,
    dir: TempDir,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn quiet(command: &mut Command) -> Process {
    Process(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
}

fn make_site(dir: &Path, port: u16) {
    let listen = format!("127.0.0.1:{port}");
    let words = [
        "x",
        "--dir",
        dir.to_str().unwrap(),
        "--site",
        "alps",
        "--bus-host",
        "localhost",
        "--member",
        "1:journal-1:9444",
        "--gateway",
        "gateway-1:localhost",
        "--bus-listen",
        &listen,
    ];
    bootstrap::run(&Args::parse_from(words).bootstrap, &Clock::system()).unwrap();
}

fn write_config(dir: &Path, port: u16, grace_seconds: u32) -> std::path::PathBuf {
    let site = dir.display();
    let text = format!(
        r#"
        [enroll]
        site = "alps"
        name = "enroll-1"
        metrics_listen = "127.0.0.1:{}"
        [enroll.ca]
        root_cert = "{site}/ca.crt"
        root_key = "{site}/root.key"
        [enroll.bus]
        urls = ["tls://localhost:{port}"]
        creds = "{site}/creds/enroll-1.creds"
        system_creds = "{site}/creds/enroll-sys.creds"
        tls_ca = "{site}/ca.crt"
        [enroll.nats]
        account_jwt = "{site}/bus/pact.jwt"
        agents_key = "{site}/bus/pact-agents.nk"
        operator_signing_key = "{site}/bus/operator-signing.nk"
        [enroll.signing]
        cert = "{site}/signing/enroll-1.crt"
        key = "{site}/signing/enroll-1.key"
        [enroll.liveness]
        grace_seconds = {grace_seconds}
        "#,
        free_port()
    );
    let file = dir.join("../enroll.toml");
    std::fs::write(&file, text).unwrap();
    file
}

impl Site {
    async fn start(grace_seconds: u32) -> Self {
        pact_runtime::install_crypto_provider();
        let dir = TempDir::new().unwrap();
        let (site, port) = (dir.path().join("site"), free_port());
        make_site(&site, port);
        let binary = ["/usr/sbin/nats-server", "/usr/local/bin/nats-server"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .unwrap_or("nats-server");
        let mut server = Command::new(binary);
        server.arg("-c").arg(site.join("bus/nats-server.conf")).stderr(Stdio::null());
        let server = quiet(&mut server);
        let config = write_config(&site, port, grace_seconds);
        let mut enroll = Command::new(env!("CARGO_BIN_EXE_pact-enroll"));
        let enroll = quiet(enroll.arg("--config").arg(config));
        let ledger = Shared::default();
        let journal = service(&site, port, "journal-1").await;
        serve_journal(&journal, &site, &ledger).await;
        let gateway = service(&site, port, "gateway-1").await;
        let this =
            Self { _enroll: enroll, _server: server, gateway, _journal: journal, ledger, dir };
        until("svc-enroll answers", || {
            this.ask::<_, v1::HealthReply>("health", v1::HealthRequest {})
        })
        .await;
        this
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("site")
    }

    /// As if the node had been enrolled a minute ago.
    fn settle(&self, node: &str) {
        let mut ledger = self.ledger.lock().unwrap();
        let record = ledger.nodes.get_mut(node).unwrap();
        record.state_since.as_mut().unwrap().seconds -= 60;
    }

    async fn ask<Req, Rep>(&self, method: &str, request: Req) -> Result<Rep, CallError>
    where
        Req: prost::Message,
        Rep: prost::Message + Default,
    {
        let subject: Subject = format!("pact.v1.rpc.enroll.{method}").parse().unwrap();
        self.gateway.request(&subject, &request, SOON).await
    }

    async fn enroll(
        &self,
        node: &str,
        mac: &str,
        key: &KeyPair,
    ) -> Result<v1::EnrollReply, v1::Error> {
        self.ask("enroll", contact(node, mac, &key.public_key())).await.map_err(v1::Error::from)
    }

    async fn agent(&self, node: &str, reply: &v1::EnrollReply, key: &Arc<KeyPair>) -> Bus {
        let node: NodeId = node.parse().unwrap();
        let config = BusConfig {
            urls: reply.bus_urls.clone(),
            credentials: Credentials::jwt(reply.bus_jwt.clone(), Arc::clone(key)),
            tls_ca: Some(self.path().join("ca.crt")),
            inbox_prefix: nats_jwt::agent_inbox_prefix(&node),
            name: node.to_string(),
            allow_plaintext_loopback: false,
        };
        let bus = connect(config).await;
        let ping = |_, _: v1::PingRequest| async { Ok(v1::PingReply::default()) };
        bus.respond(Responder::node(&node).method("ping", ping)).await.unwrap();
        bus
    }
}

fn contact(node: &str, mac: &str, bus_user: &str) -> v1::EnrollRequest {
    let csr = make_csr(&PrivateKey::generate_p256().unwrap()).unwrap();
    v1::EnrollRequest {
        node: node.to_owned(),
        identity: Some(v1::HardwareIdentity { macs: vec![mac.to_owned()], ..Default::default() }),
        csr,
        bus_user: bus_user.to_owned(),
        agent_version: "0.1.0".to_owned(),
        source_address: "10.0.0.7".to_owned(),
    }
}

async fn connect(config: BusConfig) -> Bus {
    let bus = Bus::connect(config, Clock::system(), None).await.unwrap();
    let connected = bus.wait_connected(SOON).await;
    connected.unwrap_or_else(|error| panic!("{error}: {:?}", bus.last_problem()));
    bus
}

async fn service(site: &Path, port: u16, name: &str) -> Bus {
    let config = BusConfig {
        urls: vec![format!("tls://localhost:{port}")],
        credentials: Credentials::file(site.join(format!("creds/{name}.creds"))),
        tls_ca: Some(site.join("ca.crt")),
        inbox_prefix: format!("_INBOX_s.{name}"),
        name: name.to_owned(),
        allow_plaintext_loopback: false,
    };
    connect(config).await
}

/// Waits until `look` finds something.
async fn until<T, E: std::fmt::Debug, F, Fut>(what: &str, mut look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let clock = Clock::system();
    let start = clock.monotonic();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(error) if clock.monotonic() - start > SOON => panic!("never: {what}: {error:?}"),
            Err(_) => clock.sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn until_state(site: &Site, node: &str, wanted: v1::NodeState) {
    until(&format!("{node} is {wanted:?}"), || async {
        let found = site.ledger.lock().unwrap().state(node);
        if found == wanted { Ok(()) } else { Err(found) }
    })
    .await;
}

fn code<T: std::fmt::Debug>(result: Result<T, v1::Error>) -> String {
    result.unwrap_err().code
}

fn up(node: &str, method: &str) -> Subject {
    format!("pact.v1.node.{node}.up.{method}").parse().unwrap()
}

#[tokio::test]
async fn a_registered_machine_becomes_the_node_and_no_other_does() {
    let site = Site::start(300).await;
    let gateway_key = |end: &str| {
        std::fs::read_to_string(site.path().join(format!("signing/gateway-1.{end}"))).unwrap()
    };
    let signer =
        Signer::from_pem(&gateway_key("crt"), &SecretPem::new(gateway_key("key"))).unwrap();
    let register = v1::RegisterNode {
        node: "n1".to_owned(),
        identity: Some(v1::HardwareIdentity { macs: vec![MAC.to_owned()], ..Default::default() }),
        replace: false,
    };
    let action = v1::Action { action: Some(Action::RegisterNode(register)) }.encode_to_vec();
    let clock = Clock::system();
    let statement = Statement {
        principal: &Principal::of_signer(&signer),
        acting_role: None,
        operation: Operation::find("node.enroll").unwrap(),
        request_id: RequestId::new(clock.new_uuid_v7()).unwrap(),
        action: &action,
        policy_ref: "",
    };
    let signed = Attestation::sign(&signer, &statement, clock.now(), SOON).unwrap();
    let proposal =
        v1::NodeProposal { proposal: Some(v1::Proposal { attestation: Some(signed), action }) };
    let wrong_way = site.ask::<_, v1::ProposalResult>("assign", proposal.clone()).await;
    assert_eq!(code(wrong_way.map_err(v1::Error::from)), "PACT_MALFORMED");
    let result: v1::ProposalResult = site.ask("register", proposal).await.unwrap();
    assert!(matches!(result.outcome.unwrap().outcome, Some(v1::outcome::Outcome::Committed(_))));
    assert!(site.ledger.lock().unwrap().asked_follower, "the hint was needed");

    let key = Arc::new(KeyPair::new_user());
    assert_eq!(code(site.enroll("n2", MAC, &key).await), "PACT_NODE_NOT_ENROLLED");
    let error = site.enroll("n1", "0c:42:a1:00:00:02", &key).await.unwrap_err();
    assert_eq!(error.code, "PACT_HARDWARE_IDENTITY_CONFLICT");
    assert!(error.message.starts_with("enrollment: hardware mismatch"), "{}", error.message);
    assert!(!format!("{error:?}").contains(MAC), "a stranger is not told what would fit");
    for bad in [
        contact("*", MAC, &key.public_key()),
        contact("n1", MAC, &KeyPair::new_account().public_key()),
        contact("n1", MAC, "U"),
        v1::EnrollRequest { csr: vec![1, 2, 3], ..contact("n1", MAC, &key.public_key()) },
        v1::EnrollRequest { identity: None, ..contact("n1", MAC, &key.public_key()) },
    ] {
        let refused = site.ask::<_, v1::EnrollReply>("enroll", bad).await.map_err(v1::Error::from);
        assert!(["PACT_MALFORMED", "PACT_INVALID_ARGUMENT"].contains(&code(refused).as_str()));
    }
    assert_eq!(site.ledger.lock().unwrap().state("n1"), v1::NodeState::Registered);

    let reply = site.enroll("n1", MAC, &key).await.unwrap();
    assert_eq!((reply.site.as_str(), reply.bus_urls.len()), ("alps", 1));
    check_chain(&site, &reply.certificate_chain);
    let agent = site.agent("n1", &reply, &key).await;
    agent
        .request::<_, v1::HelloReply>(&up("n1", "hello"), &v1::Hello::default(), SOON)
        .await
        .unwrap();

    // Again with the same key, as after a repair; with another while the first one answers, and once it is gone.
    site.enroll("n1", MAC, &key).await.unwrap();
    let other = Arc::new(KeyPair::new_user());
    assert_eq!(code(site.enroll("n1", MAC, &other).await), "PACT_CONFLICT");
    site.settle("n1");
    assert_eq!(code(site.enroll("n1", MAC, &other).await), "PACT_ALREADY_ACTIVE");
    agent.drain().await;
    site.enroll("n1", MAC, &other).await.unwrap();
    let ledger = site.ledger.lock().unwrap();
    assert_eq!(ledger.nodes["n1"].bus_user, Some(other.public_key()));
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
    site.ledger.lock().unwrap().add("n1", v1::NodeState::Registered);
    let keys: Vec<KeyPair> = (0..16).map(|_| KeyPair::new_user()).collect();
    let contacts = keys.iter().map(|key| site.enroll("n1", MAC, key));
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
async fn silence_makes_inactive_a_hello_active_and_a_revocation_cuts_off() {
    let site = Site::start(1).await;
    for node in ["n0", "n1", "n2"] {
        site.ledger.lock().unwrap().add(node, v1::NodeState::Registered);
    }
    let keys = [Arc::new(KeyPair::new_user()), Arc::new(KeyPair::new_user())];
    let replies = [
        site.enroll("n1", MAC, &keys[0]).await.unwrap(),
        site.enroll("n2", MAC, &keys[1]).await.unwrap(),
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

    site.ledger.lock().unwrap().nodes.get_mut("n2").unwrap().state = v1::NodeState::Revoked.into();
    until("n2 is cut off", || async {
        match agent.state() {
            ConnectionState::Connected => Err(()),
            _ => Ok(()),
        }
    })
    .await;
    assert_eq!(code(site.enroll("n2", MAC, &keys[1]).await), "PACT_NODE_REVOKED");
    assert_eq!(returned.state(), ConnectionState::Connected, "nobody else was");
    returned.request::<_, v1::HelloReply>(&up("n1", "hello"), &hello, SOON).await.unwrap();
}

#[tokio::test]
async fn a_live_node_renews_and_what_is_not_built_says_so() {
    let site = Site::start(300).await;
    for node in ["n1", "n2"] {
        site.ledger.lock().unwrap().add(node, v1::NodeState::Registered);
    }
    let (key, next) = (Arc::new(KeyPair::new_user()), Arc::new(KeyPair::new_user()));
    let reply = site.enroll("n1", MAC, &key).await.unwrap();
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

    for method in ["decommission", "ca_status", "ca_rotate", "no_such_method"] {
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
