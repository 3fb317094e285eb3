//! A nats-server, and services on it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nkeys::KeyPair;
use pact_bus::server::{Authority, ServerConfig, TestServer};
use pact_bus::{Bus, BusConfig, Credentials};
use pact_identity::nats_jwt::{self, User, UserClaims};
use pact_identity::{InstanceName, ServiceInstance, ServiceRole};
use pact_journal_client::{Journal, Patience};
use pact_runtime::Clock;

/// Long enough for a busy machine; a test that needs it all has failed.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// What a client of these tests has, where nothing else is said.
pub(crate) const PATIENCE: Patience = Patience { read: LONG, propose: LONG, nobody: LONG };

pub(crate) struct Site {
    server: TestServer,
    account: KeyPair,
}

fn unix_now() -> u64 {
    u64::try_from(Clock::system().now().unix_seconds()).unwrap()
}

impl Site {
    pub(crate) async fn start() -> Self {
        let (operator, signing) = (KeyPair::new_operator(), KeyPair::new_operator());
        let (system, account, agents) =
            (KeyPair::new_account(), KeyPair::new_account(), KeyPair::new_account());
        let now = unix_now();
        let claims = nats_jwt::operator_claims(
            "pact",
            &operator.public_key(),
            &system.public_key(),
            &signing.public_key(),
            now,
        );
        let of_system = nats_jwt::system_account_claims(&system.public_key(), now);
        let of_pact =
            nats_jwt::account_claims("PACT", &account.public_key(), &agents.public_key(), now);
        let accounts = BTreeMap::from([
            (system.public_key(), nats_jwt::encode_account(&of_system, &operator).unwrap()),
            (account.public_key(), nats_jwt::encode_account(&of_pact, &operator).unwrap()),
        ]);
        let config = ServerConfig {
            server_name: "test".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            tls: None,
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
        Self { server: TestServer::start(config).await.unwrap(), account }
    }

    async fn service(&self, role: ServiceRole, name: &str) -> Bus {
        let instance = ServiceInstance { role, name: InstanceName::new(name).unwrap() };
        let user = Arc::new(KeyPair::new_user());
        let claims = UserClaims {
            subject: user.public_key(),
            name: instance.to_string(),
            issued_at: unix_now(),
            expires_at: None,
            body: User::with_limits(&self.account.public_key(), nats_jwt::service_user(&instance)),
        };
        let jwt = nats_jwt::encode_user(&claims, &self.account).unwrap();
        let config = BusConfig {
            urls: vec![self.server.url()],
            credentials: Credentials::jwt(jwt, user),
            tls_ca: None,
            inbox_prefix: nats_jwt::service_inbox_prefix(&instance),
            name: instance.to_string(),
            allow_plaintext_loopback: true,
        };
        let bus = Bus::connect(config, Clock::system(), None).await.unwrap();
        bus.wait_connected(LONG).await.unwrap();
        bus
    }

    /// The connection of a member of the journal.
    pub(crate) async fn member(&self, id: u64) -> Bus {
        self.service(ServiceRole::Journal, &id.to_string()).await
    }

    /// A client.
    pub(crate) async fn client(&self, patience: Patience) -> Journal {
        Journal::new(self.service(ServiceRole::Gateway, "1").await, Clock::system(), patience)
    }
}
