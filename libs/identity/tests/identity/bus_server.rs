//! A throw-away nats-server in operator mode on a free port, with the accounts that the bootstrap makes.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, ServerError};
use pact_identity::ServiceInstance;
use pact_identity::nats_jwt::{
    AccountClaims, KeyPair, User, UserClaims, UserLimits, account_claims, agent_inbox_prefix,
    agent_user, creds_file, encode_account, encode_operator, encode_user, enroll_system_user,
    operator_claims, service_inbox_prefix, service_user, system_account_claims,
};
use pact_runtime::Clock;
use pact_schemas::NodeId;
use tokio::sync::mpsc;

/// Waiting longer than this for the server is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The server, and every key of its operator.
pub(crate) struct Bus {
    server: Child,
    url: String,
    pub(crate) operator_signing: KeyPair,
    pub(crate) account: KeyPair,
    pub(crate) agents: KeyPair,
    system: KeyPair,
    _folder: tempfile::TempDir,
}

/// A connection and what the server said about it.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) events: mpsc::Receiver<Event>,
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _gone = self.server.kill();
        let _reaped = self.server.wait();
    }
}

pub(crate) fn now() -> u64 {
    u64::try_from(Clock::system().now().unix_seconds()).unwrap()
}

impl Bus {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (operator, operator_signing) = (KeyPair::new_operator(), KeyPair::new_operator());
        let (system, account, agents) =
            (KeyPair::new_account(), KeyPair::new_account(), KeyPair::new_account());
        let claims = operator_claims(
            "test",
            &operator.public_key(),
            &system.public_key(),
            &operator_signing.public_key(),
            now(),
        );
        let operator_jwt = encode_operator(&claims, &operator).unwrap();
        let account_jwt =
            encode_account(&Self::claims(&account, &agents), &operator_signing).unwrap();
        let system_jwt =
            encode_account(&system_account_claims(&system.public_key(), now()), &operator_signing)
                .unwrap();
        let config = format!(
            "host: 127.0.0.1\nport: -1\nports_file_dir: {dir:?}\nserver_name: test\n\
             operator: {operator_jwt}\nsystem_account: {sys}\n\
             resolver: {{ type: full, dir: {dir:?}/jwt, allow_delete: false, interval: \"2m\" }}\n\
             resolver_preload: {{ {acc}: {account_jwt}, {sys}: {system_jwt} }}\n\
             jetstream: {{ store_dir: {dir:?}/js, max_mem: 16M, max_file: 64M }}\n",
            dir = folder.path(),
            sys = system.public_key(),
            acc = account.public_key(),
        )
        .replace("\"/jwt", "/jwt\"")
        .replace("\"/js", "/js\"");
        std::fs::write(folder.path().join("nats.conf"), config).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let server = Command::new(pact_runtime::nats_server())
            .arg("-c")
            .arg(folder.path().join("nats.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nats-server is installed, and where PACT_NATS_SERVER says");
        let mut bus = Self {
            server,
            url: String::new(),
            operator_signing,
            account,
            agents,
            system,
            _folder: folder,
        };
        bus.url = bus.wait_for_port().await;
        bus
    }

    pub(crate) fn claims(account: &KeyPair, agents: &KeyPair) -> AccountClaims {
        account_claims("PACT", &account.public_key(), &agents.public_key(), now())
    }

    async fn wait_for_port(&mut self) -> String {
        let folder = self._folder.path().to_owned();
        let ports = folder.join(format!("nats-server_{}.ports", self.server.id()));
        for _ in 0..200 {
            if let Some(url) = listening_on(&ports) {
                return url;
            }
            if let Some(status) = self.server.try_wait().unwrap() {
                panic!(
                    "nats-server ended ({status}):\n{}",
                    std::fs::read_to_string(folder.join("log")).unwrap()
                );
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!(
            "nats-server does not listen:\n{}",
            std::fs::read_to_string(folder.join("log")).unwrap()
        );
    }

    /// Credentials of an agent whose user lives until `expires_at`.
    pub(crate) fn agent_creds(&self, node: &str, expires_at: u64) -> (KeyPair, String) {
        let node: NodeId = node.parse().unwrap();
        let user = KeyPair::new_user();
        let claims =
            agent_user(&node, &user.public_key(), &self.account.public_key(), now(), expires_at);
        let jwt = encode_user(&claims, &self.agents).unwrap();
        let creds = creds_file(&jwt, &user.seed().unwrap());
        (user, creds)
    }

    pub(crate) async fn agent(&self, node: &str) -> Connection {
        let creds = self.agent_creds(node, now() + 3600).1;
        self.connect(&creds, &agent_inbox_prefix(&node.parse().unwrap())).await.unwrap()
    }

    pub(crate) async fn service(&self, instance: &ServiceInstance) -> Connection {
        let creds = user_creds(&self.account, &instance.to_string(), service_user(instance));
        self.connect(&creds, &service_inbox_prefix(instance)).await.unwrap()
    }

    /// svc-enroll's user in the system account.
    pub(crate) async fn system(&self, instance: &ServiceInstance) -> Connection {
        let creds = user_creds(&self.system, "enroll", enroll_system_user(instance));
        self.connect(&creds, &service_inbox_prefix(instance)).await.unwrap()
    }

    /// An administrator's user that may do everything in the account.
    pub(crate) async fn admin(&self) -> Connection {
        let unlimited = UserLimits { subs: -1, data: -1, payload: -1, ..any_subject() };
        self.connect(&user_creds(&self.account, "admin", unlimited), "_INBOX").await.unwrap()
    }

    pub(crate) async fn connect(
        &self,
        creds: &str,
        inbox: &str,
    ) -> Result<Connection, async_nats::ConnectError> {
        let (sender, events) = mpsc::channel(256);
        let client = ConnectOptions::with_credentials(creds)
            .unwrap()
            .custom_inbox_prefix(inbox)
            .max_reconnects(3)
            .reconnect_delay_callback(|_| Duration::from_millis(20))
            .event_callback(move |event| {
                let sender = sender.clone();
                async move { sender.send(event).await.unwrap_or(()) }
            })
            .connect(&self.url)
            .await?;
        Ok(Connection { client, events })
    }
}

fn any_subject() -> UserLimits {
    let mut limits = UserLimits::default();
    limits.permissions.r#pub = pact_identity::nats_jwt::SubjectPermission::only([">"]);
    limits.permissions.sub = pact_identity::nats_jwt::SubjectPermission::only([">"]);
    limits
}

fn user_creds(account: &KeyPair, name: &str, limits: UserLimits) -> String {
    let user = KeyPair::new_user();
    let claims = UserClaims {
        subject: user.public_key(),
        name: name.to_owned(),
        issued_at: now(),
        expires_at: None,
        body: User::with_limits(&account.public_key(), limits),
    };
    creds_file(&encode_user(&claims, account).unwrap(), &user.seed().unwrap())
}

fn listening_on(ports: &Path) -> Option<String> {
    let text = std::fs::read_to_string(ports).ok()?;
    let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(ports["nats"].as_array()?.first()?.as_str()?.to_owned())
}

impl Connection {
    /// Waits until everything sent so far has been judged by the server, and returns its refusals.
    pub(crate) async fn refusals(&mut self) -> Vec<String> {
        self.client.flush().await.unwrap();
        // The server answers a PING after the refusals of all that came before it; a refused subscription on a subject that
        // nobody may use marks the place in the stream of events.
        let _marker = self.client.subscribe("marker.nobody.may.use").await.unwrap();
        let mut refused = Vec::new();
        loop {
            let event = tokio::time::timeout(PATIENCE, self.events.recv())
                .await
                .expect("the marker is refused")
                .unwrap();
            match event {
                Event::ServerError(ServerError::Other(text))
                    if text.to_lowercase().contains("marker.nobody.may.use") =>
                {
                    return refused;
                }
                Event::ServerError(error) => refused.push(error.to_string()),
                _ => {}
            }
        }
    }

    /// Whether the server lets this connection publish on `subject`.
    pub(crate) async fn may_publish(&mut self, subject: &str) -> bool {
        self.client.publish(subject.to_owned(), "x".into()).await.unwrap();
        self.refusals().await.is_empty()
    }

    /// Whether the server lets this connection subscribe to `subject`.
    pub(crate) async fn may_subscribe(&mut self, subject: &str) -> bool {
        let _subscription = self.client.subscribe(subject.to_owned()).await.unwrap();
        self.refusals().await.is_empty()
    }
}
