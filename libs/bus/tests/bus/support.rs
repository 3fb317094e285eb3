//! A server, its JWTs, and connections to it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use pact_bus::server::{Authority, JetStream, ServerConfig, ServerTls, TestServer};
use pact_bus::{Bus, BusConfig, Credentials};
use pact_runtime::Clock;
use pact_schemas::rpc::{Rpc, ServiceRpc};
use pact_schemas::v1::{PingReply, PingRequest};
use pact_schemas::{NodeId, Subject};
use serde_json::json;

/// Long enough for a busy machine; a test that needs it all has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Calls that only these tests know: a ping each.
macro_rules! pings {
    ($($name:ident = $service:literal, $method:literal;)*) => {$(
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $name;

        impl Rpc for $name {
            type To = ();
            type Request = PingRequest;
            type Reply = PingReply;

            fn subject(&(): &()) -> Subject {
                concat!("pact.v1.rpc.", $service, ".", $method).parse().unwrap()
            }
        }

        impl ServiceRpc for $name {
            const SERVICE: &'static str = $service;
            const METHOD: &'static str = $method;
        }
    )*};
}

pings! {
    Run = "journal", "run";
    Slow = "journal", "slow";
    Register = "enroll", "register";
    Listed = "bridge", "ping";
}

pub(crate) struct World {
    pub(crate) server: TestServer,
    account: KeyPair,
    ca: Option<PathBuf>,
}

/// Signs claims as nats-server wants them.
fn jwt(
    kind: &str,
    name: &str,
    subject: &KeyPair,
    signer: &KeyPair,
    body: serde_json::Value,
) -> String {
    let mut nats = body;
    nats["type"] = json!(kind);
    nats["version"] = json!(2);
    let iat = Clock::system().now().unix_seconds();
    let claims = json!({
        "jti": format!("{kind}-{name}"), "iat": iat, "iss": signer.public_key(),
        "name": name, "sub": subject.public_key(), "nats": nats,
    });
    let part = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let header = part(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let signed = format!("{header}.{}", part(claims.to_string().as_bytes()));
    format!("{signed}.{}", part(&signer.sign(signed.as_bytes()).unwrap()))
}

fn account_limits() -> serde_json::Value {
    json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    })
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(None, None).await
    }

    pub(crate) async fn start_with(tls: Option<ServerTls>, ca: Option<PathBuf>) -> Self {
        let (operator, system) = (KeyPair::new_operator(), KeyPair::new_account());
        let account = KeyPair::new_account();
        let account_body =
            || json!({ "limits": account_limits(), "default_permissions": {"pub": {}, "sub": {}} });
        let operator_body = json!({ "system_account": system.public_key() });
        let accounts = BTreeMap::from([
            (system.public_key(), jwt("account", "SYS", &system, &operator, json!({}))),
            (account.public_key(), jwt("account", "PACT", &account, &operator, account_body())),
        ]);
        let config = ServerConfig {
            server_name: "test".to_owned(),
            listen: "127.0.0.1:0".parse().unwrap(),
            tls,
            authority: Authority {
                operator_jwt: jwt("operator", "pact", &operator, &operator, operator_body),
                system_account: system.public_key(),
                accounts,
            },
            resolver_dir: PathBuf::new(),
            jetstream: Some(JetStream { store_dir: PathBuf::new(), max_file_bytes: Some(1 << 26) }),
            monitoring: None,
            log_file: None,
        };
        Self { server: TestServer::start(config).await.unwrap(), account, ca }
    }

    /// A configuration of a user who may do everything, or only what `rights` says.
    pub(crate) fn config(&self, prefix: &str, rights: Option<serde_json::Value>) -> BusConfig {
        let user = Arc::new(KeyPair::new_user());
        let mut body = json!({ "subs": -1, "data": -1, "payload": -1 });
        for (key, value) in
            rights.as_ref().and_then(|rights| rights.as_object()).into_iter().flatten()
        {
            body[key] = value.clone();
        }
        BusConfig {
            urls: vec![self.server.url()],
            credentials: Credentials::jwt(jwt("user", prefix, &user, &self.account, body), user),
            tls_ca: self.ca.clone(),
            inbox_prefix: prefix.to_owned(),
            name: prefix.to_owned(),
            allow_plaintext_loopback: true,
        }
    }

    pub(crate) async fn service(&self, name: &str) -> Bus {
        connect(self.config(&format!("_INBOX_s.{name}"), None)).await
    }

    /// An agent with the rights of decisions §1.
    pub(crate) async fn agent(&self, node: &NodeId) -> Bus {
        let own = format!("pact.v1.node.{node}");
        let rights = json!({
            "pub": {"allow": [format!("{own}.up.>"), format!("{own}.stream.*.out")]},
            "sub": {"allow": [format!("{own}.rpc.>"), format!("{own}.stream.*.in"), "pact.v1.config.>",
                format!("_INBOX_n.{node}.>")]},
            "resp": {"max": 1, "ttl": 120_000_000_000_u64},
            "subs": 64,
        });
        connect(self.config(&format!("_INBOX_n.{node}"), Some(rights))).await
    }
}

pub(crate) async fn connect(config: BusConfig) -> Bus {
    let bus = Bus::connect(config, Clock::system(), None).await.unwrap();
    bus.wait_connected(PATIENCE)
        .await
        .unwrap_or_else(|error| panic!("{error}: {:?}", bus.last_problem()));
    bus
}

pub(crate) fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}
