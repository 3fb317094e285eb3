//! A bootstrapped site on a real nats-server, with svc-enroll as a process.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use pact_bus::{Bus, BusConfig, CallError, Credentials, Responder};
use pact_identity::nats_jwt::{self, KeyPair};
use pact_identity::x509::{PrivateKey, make_csr};
use pact_runtime::Clock;
use pact_schemas::rpc;
use pact_schemas::{NodeId, Subject, v1};
use pact_svc_enroll::bootstrap::{self, BootstrapArgs};
use tempfile::TempDir;

use super::ledger::{Shared, serve_journal};

/// Longest wait for anything.
pub(crate) const SOON: Duration = Duration::from_secs(20);

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    bootstrap: BootstrapArgs,
}

pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _dead = self.0.kill();
        let _dead = self.0.wait();
    }
}

/// A site with everything but the agents.
pub(crate) struct Site {
    _enroll: Process,
    _server: Process,
    gateway: Bus,
    _journal: Bus,
    pub(crate) ledger: Shared,
    dir: TempDir,
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) fn quiet(command: &mut Command) -> Process {
    Process(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
}

pub(crate) fn make_site(dir: &Path, port: u16) {
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

pub(crate) fn write_config(dir: &Path, port: u16, grace_seconds: u32) -> std::path::PathBuf {
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
    pub(crate) async fn start(grace_seconds: u32) -> Self {
        pact_runtime::install_crypto_provider();
        let dir = TempDir::new().unwrap();
        let (site, port) = (dir.path().join("site"), free_port());
        make_site(&site, port);
        let mut server = Command::new(pact_runtime::nats_server());
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

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("site")
    }

    /// As if the node had been enrolled a minute ago.
    pub(crate) fn settle(&self, node: &str) {
        let mut ledger = self.ledger.lock().unwrap();
        ledger.node_mut(node).state_since.as_mut().unwrap().seconds -= 60;
    }

    pub(crate) async fn ask<Req, Rep>(&self, method: &str, request: Req) -> Result<Rep, CallError>
    where
        Req: prost::Message,
        Rep: prost::Message + Default,
    {
        let subject: Subject = format!("pact.v1.rpc.enroll.{method}").parse().unwrap();
        self.gateway.request(&subject, &request, SOON).await
    }

    pub(crate) async fn enroll(
        &self,
        node: &str,
        mac: &str,
        key: &KeyPair,
    ) -> Result<v1::EnrollReply, v1::Error> {
        self.ask("enroll", contact(node, mac, &key.public_key())).await.map_err(v1::Error::from)
    }

    pub(crate) async fn agent(
        &self,
        node: &str,
        reply: &v1::EnrollReply,
        key: &Arc<KeyPair>,
    ) -> Bus {
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
        let ping = |(), _, _: v1::PingRequest| async { Ok(v1::PingReply::default()) };
        bus.respond(Responder::node(&node).on(rpc::node::Ping, ping)).await.unwrap();
        bus
    }
}

pub(crate) fn contact(node: &str, mac: &str, bus_user: &str) -> v1::EnrollRequest {
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

pub(crate) async fn connect(config: BusConfig) -> Bus {
    let bus = Bus::connect(config, Clock::system(), None).await.unwrap();
    let connected = bus.wait_connected(SOON).await;
    connected.unwrap_or_else(|error| panic!("{error}: {:?}", bus.last_problem()));
    bus
}

pub(crate) async fn service(site: &Path, port: u16, name: &str) -> Bus {
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
pub(crate) async fn until<T, E: std::fmt::Debug, F, Fut>(what: &str, mut look: F) -> T
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

pub(crate) async fn until_state(site: &Site, node: &str, wanted: v1::NodeState) {
    until(&format!("{node} is {wanted:?}"), || async {
        let found = site.ledger.lock().unwrap().state(node);
        if found == wanted { Ok(()) } else { Err(found) }
    })
    .await;
}
