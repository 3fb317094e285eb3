//! A site: root, bus, issuer, journal and one gateway on a free port.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nkeys::KeyPair;
use pact_bus::server::{Authority, ServerConfig, ServerTls, TestServer};
use pact_bus::{Bus, BusConfig, Credentials};
use pact_identity::nats_jwt::{self, User, UserClaims};
use pact_identity::uri::SigningRole;
use pact_identity::x509::SiteRoot;
use pact_identity::{InstanceName, ServiceInstance, ServiceRole};
use pact_runtime::config::Loader;
use pact_runtime::service::ServiceError;
use pact_runtime::{Clock, ExitReason, Supervisor};
use pact_schemas::v1::pact_client::PactClient;
use pact_schemas::{ErrorCode, NodeId, SiteName, v1};
use pact_svc_gateway::config::{Config, SCHEMA, Settings};
use pact_svc_gateway::door::listener;
use pact_svc_gateway::door::service::{SERVICE, serve};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

use crate::journal::Journal;
use crate::tokens::Issuer;

/// Long enough for a busy machine; a test that needs it all has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const YEAR_SECONDS: u64 = 365 * 24 * 3600;

pub(crate) struct World {
    pub(crate) journal: Journal,
    pub(crate) issuer: Issuer,
    pub(crate) address: SocketAddr,
    pub(crate) supervisor: Supervisor,
    pub(crate) ca_pem: String,
    folder: TempDir,
    server: TestServer,
    account: KeyPair,
    agents: KeyPair,
    /// Held: a service ends with the last handle of its connection.
    journal_bus: Option<Bus>,
    ended: JoinHandle<Result<ExitReason, ServiceError>>,
}

/// Waits on a condition, with a bound.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let clock = Clock::system();
    let reached = clock.timeout(PATIENCE, async {
        while !holds() {
            clock.sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(reached.await.is_ok(), "{what} did not come about");
}

fn unix_now() -> u64 {
    u64::try_from(Clock::system().now().unix_seconds()).unwrap()
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// As configured by `change`; the journal serves nothing until told to.
    pub(crate) async fn without_journal(change: impl FnOnce(&mut Settings)) -> Self {
        pact_runtime::install_crypto_provider();
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let root = SiteRoot::generate(&SiteName::new("test").unwrap(), &clock).unwrap();
        let at = |name: &str| folder.path().join(name);
        let ca_pem = root.certificate_pem().to_owned();
        std::fs::write(at("ca.crt"), &ca_pem).unwrap();
        let tls = root.issue_server(&["localhost", "127.0.0.1"], 2).unwrap();
        let role = SigningRole::Gateway(InstanceName::new("1").unwrap());
        let signing = root.issue_signing(&role).unwrap();
        for (name, issued) in [("tls", &tls), ("signing", &signing)] {
            std::fs::write(at(&format!("{name}.crt")), &issued.certificate_pem).unwrap();
            private(&at(&format!("{name}.key")), issued.key_pem.expose());
        }
        let issuer = Issuer::new(&at("jwks.json"));
        let (account, agents) = (KeyPair::new_account(), KeyPair::new_account());
        let server = bus_server(folder.path(), &account, &agents).await;
        let instance = ServiceInstance::new(ServiceRole::Gateway, "1").unwrap();
        service_creds(&at("gateway.creds"), &instance, &account);

        let mut settings = settings(folder.path(), &server.url());
        change(&mut settings);
        let socket = listener::bind(settings.listen).await.unwrap();
        let address = socket.local_addr().unwrap();
        let (sender, supervisor) = tokio::sync::oneshot::channel();
        let running = pact_runtime::service::run(&SERVICE, None, move |context| {
            let _told = sender.send(context.supervisor.clone());
            serve(settings, context, socket)
        });
        let ended = tokio::spawn(running);
        let supervisor = supervisor.await.unwrap();
        let journal = Journal::new(&ca_pem);
        Self {
            journal,
            issuer,
            address,
            supervisor,
            ca_pem,
            folder,
            server,
            account,
            agents,
            journal_bus: None,
            ended,
        }
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut world = Self::without_journal(change).await;
        let bus = world.service(ServiceRole::Journal, "1").await;
        world.journal.serve(&bus).await;
        world.journal_bus = Some(bus);
        world.journal.with(|s| s.add_vcluster("ml"));
        world.journal.add_node("n1", Some("ml"));
        world.journal.add_node("n2", Some("ml"));
        world.journal.add_node("n3", Some("other"));
        world.journal.with(|s| s.add_vcluster("other"));
        world
    }

    /// How the service ended, which it is about to do.
    pub(crate) async fn end(self) -> Result<ExitReason, ServiceError> {
        tokio::time::timeout(PATIENCE, self.ended).await.expect("the service ends").unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn bus_config(&self, creds: &Path, prefix: String) -> BusConfig {
        BusConfig {
            urls: vec![self.server.url()],
            credentials: Credentials::file(creds),
            tls_ca: Some(self.path("ca.crt")),
            name: prefix.clone(),
            inbox_prefix: prefix,
            allow_plaintext_loopback: false,
        }
    }

    /// A service's connection, with its rights.
    pub(crate) async fn service(&self, role: ServiceRole, name: &str) -> Bus {
        let instance = ServiceInstance::new(role, name).unwrap();
        let creds = self.path(&format!("{instance}.creds"));
        service_creds(&creds, &instance, &self.account);
        connect(self.bus_config(&creds, nats_jwt::service_inbox_prefix(&instance))).await
    }

    /// An agent's connection, with its rights.
    pub(crate) async fn agent(&self, node: &str) -> Bus {
        let node = NodeId::new(node).unwrap();
        let user = KeyPair::new_user();
        let now = unix_now();
        let claims = nats_jwt::agent_user(
            &node,
            &user.public_key(),
            &self.account.public_key(),
            now,
            now + YEAR_SECONDS,
        );
        let creds = self.path(&format!("{node}.creds"));
        write_creds(&creds, &claims, &user, &self.agents);
        connect(self.bus_config(&creds, nats_jwt::agent_inbox_prefix(&node))).await
    }

    /// A client over TLS that believes the site root alone.
    pub(crate) async fn client(&self) -> PactClient<Channel> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.ca_pem))
            .domain_name("localhost");
        let endpoint =
            Endpoint::from_shared(format!("https://127.0.0.1:{}", self.address.port())).unwrap();
        PactClient::new(endpoint.tls_config(tls).unwrap().connect().await.unwrap())
    }

    /// A request with a token for these roles.
    pub(crate) fn by<T>(&self, roles: &[&str], message: T) -> Request<T> {
        with_token(&self.issuer.token(roles), message)
    }
}

pub(crate) fn with_token<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// The pact error in a status.
pub(crate) fn code(status: &Status) -> ErrorCode {
    v1::Error::from_status(status)
        .unwrap_or_else(|| panic!("{status:?} has no pact error"))
        .known_code()
}

pub(crate) fn request_id() -> String {
    Clock::system().new_uuid_v7().hyphenated().to_string()
}

async fn connect(config: BusConfig) -> Bus {
    let bus = Bus::connect(config, Clock::system(), None).await.unwrap();
    bus.wait_connected(PATIENCE).await.unwrap();
    bus
}

async fn bus_server(folder: &Path, account: &KeyPair, agents: &KeyPair) -> TestServer {
    let (operator, signing, system) =
        (KeyPair::new_operator(), KeyPair::new_operator(), KeyPair::new_account());
    let now = unix_now();
    let claims = nats_jwt::operator_claims(
        "pact",
        &operator.public_key(),
        &system.public_key(),
        &signing.public_key(),
        now,
    );
    let system_claims = nats_jwt::system_account_claims(&system.public_key(), now);
    let pact_claims =
        nats_jwt::account_claims("PACT", &account.public_key(), &agents.public_key(), now);
    let accounts = BTreeMap::from([
        (system.public_key(), nats_jwt::encode_account(&system_claims, &operator).unwrap()),
        (account.public_key(), nats_jwt::encode_account(&pact_claims, &operator).unwrap()),
    ]);
    let config = ServerConfig {
        server_name: "test".into(),
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: Some(ServerTls {
            cert_file: folder.join("tls.crt"),
            key_file: folder.join("tls.key"),
        }),
        authority: Authority {
            operator_jwt: nats_jwt::encode_operator(&claims, &operator).unwrap(),
            system_account: system.public_key(),
            accounts,
        },
        resolver_dir: PathBuf::new(),
        jetstream: None,
        monitoring: None,
        log_file: None,
    };
    TestServer::start(config).await.unwrap()
}

fn service_creds(path: &Path, instance: &ServiceInstance, account: &KeyPair) {
    let user = KeyPair::new_user();
    let claims = UserClaims {
        subject: user.public_key(),
        name: instance.to_string(),
        issued_at: unix_now(),
        expires_at: None,
        body: User::with_limits(&account.public_key(), nats_jwt::service_user(instance)),
    };
    write_creds(path, &claims, &user, account);
}

fn write_creds(path: &Path, claims: &UserClaims, user: &KeyPair, signer: &KeyPair) {
    let jwt = nats_jwt::encode_user(claims, signer).unwrap();
    private(path, &nats_jwt::creds_file(&jwt, &user.seed().unwrap()));
}

fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

fn settings(folder: &Path, bus_url: &str) -> Settings {
    let at = |name: &str| folder.join(name).display().to_string();
    let flags = [
        ("gateway.site", "test".to_owned()),
        ("gateway.name", "gateway-1".to_owned()),
        ("gateway.listen", "127.0.0.1:0".to_owned()),
        ("gateway.tls.cert", at("tls.crt")),
        ("gateway.tls.key", at("tls.key")),
        ("gateway.signing.cert", at("signing.crt")),
        ("gateway.signing.key", at("signing.key")),
        ("gateway.bus.urls", format!("[\"{bus_url}\"]")),
        ("gateway.bus.creds", at("gateway.creds")),
        ("gateway.bus.tls_ca", at("ca.crt")),
        ("gateway.oidc.issuer", "test-issuer".to_owned()),
        ("gateway.oidc.audience", "pact".to_owned()),
        ("gateway.oidc.jwks_file", at("jwks.json")),
    ];
    let loader =
        flags.iter().fold(Loader::new(&SCHEMA), |loader, (key, value)| loader.flag(*key, value));
    loader.load().unwrap().parse::<Config>().unwrap().gateway
}
