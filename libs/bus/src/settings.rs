//! What the configuration of every service says about itself and the bus: `[<service>]` and `[<service>.bus]`.
//!
//! ```toml
//! [approval]
//! name = "approval-1"
//! metrics_listen = "127.0.0.1:9094"
//! [approval.bus]
//! urls = ["tls://nats-1.mgmt:4222"]
//! creds = "/etc/pact/creds/approval-1.creds"
//! tls_ca = "/etc/pact/ca.crt"
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;

use pact_runtime::config::{Default as When, Key, KeyKind};
use pact_runtime::{CancellationToken, Context};
use serde::Deserialize;

use crate::bus::Bus;
use crate::config::{BusConfig, Credentials};
use crate::error::BusError;
use crate::service::Service;

/// `[<service>.bus]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusSettings {
    /// The servers.
    pub urls: Vec<String>,
    /// Credentials file.
    pub creds: PathBuf,
    /// The site root.
    pub tls_ca: PathBuf,
}

impl BusSettings {
    /// The key `<service>.bus.urls`.
    #[must_use]
    pub const fn urls_key(path: &'static str) -> Key {
        Key::new(path, KeyKind::StringList, When::Required, "The servers of the bus.")
            .example("[\"tls://nats-1.mgmt:4222\"]")
    }

    /// The key `<service>.bus.creds`; the example is a literal of TOML.
    #[must_use]
    pub const fn creds_key(path: &'static str, example: &'static str) -> Key {
        let text = "Bus credentials of this instance, from `pact-enroll bootstrap`; its owner's alone to read.";
        Key::new(path, KeyKind::Path, When::Required, text).example(example)
    }

    /// The key `<service>.bus.tls_ca`.
    #[must_use]
    pub const fn tls_ca_key(path: &'static str) -> Key {
        let text = "The site root; the only authority the bus is believed by.";
        Key::new(path, KeyKind::Path, When::Required, text).example("\"/etc/pact/ca.crt\"")
    }

    /// How an instance of this name connects; answers arrive under `inbox_prefix`.
    #[must_use]
    pub fn config(&self, name: &str, inbox_prefix: String) -> BusConfig {
        BusConfig {
            urls: self.urls.clone(),
            credentials: Credentials::file(&self.creds),
            tls_ca: Some(self.tls_ca.clone()),
            inbox_prefix,
            name: name.to_owned(),
            allow_plaintext_loopback: false,
        }
    }
}

/// `[<service>]` of a service that has nothing else to be told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceSettings {
    /// Name of this instance.
    pub name: String,
    /// Where metrics and health are served.
    pub metrics_listen: SocketAddr,
    /// The bus.
    pub bus: BusSettings,
}

impl InstanceSettings {
    /// The key `<service>.name`; the example is a literal of TOML.
    #[must_use]
    pub const fn name_key(path: &'static str, example: &'static str) -> Key {
        let text = "Name of this instance; its bus credentials are made for it.";
        Key::new(path, KeyKind::String, When::Required, text).example(example)
    }

    /// The key `<service>.metrics_listen`; its default is a literal of TOML.
    #[must_use]
    pub const fn metrics_listen_key(path: &'static str, default: &'static str) -> Key {
        let text = "Where metrics and health are served.";
        Key::new(path, KeyKind::Address, When::Value(default), text)
    }

    /// Connects and serves the methods; the connection is drained when the service is told to stop.
    ///
    /// # Errors
    /// [`BusError`] for what no retry can mend: addresses, the CA, the credentials.
    pub async fn serve<S>(&self, context: &Context, methods: Service<S>) -> Result<(), BusError> {
        let config = self.bus.config(&self.name, format!("_INBOX_s.{}", self.name));
        let check = context.readiness.check("bus");
        let bus = Bus::connect(config, context.clock.clone(), Some(check)).await?;
        bus.serve(methods).await?;
        context.supervisor.spawn_owned("bus", |stop: CancellationToken| async move {
            stop.cancelled().await;
            bus.drain().await;
            Ok::<(), BusError>(())
        });
        Ok(())
    }
}
