//! `/healthz`, `/readyz` and `/metrics` on the configured address.
//!
//! `/healthz` answers 200 as long as the process can answer at all. `/readyz` answers 200 when every registered
//! check is ready and no drain has begun, else 503; its JSON body names each check with its reason. Reasons are seen
//! by whoever reaches the port: they hold no secrets.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";
/// The reason of a check until it says otherwise.
const STARTING: &str = "starting";

/// The readiness checks of a process. Cheap to clone; all clones are one registry.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    inner: Arc<Registry>,
}

#[derive(Debug, Default)]
struct Registry {
    draining: CancellationToken,
    /// By name; `None` is ready, else the reason why not.
    checks: Mutex<BTreeMap<Cow<'static, str>, Option<String>>>,
}

/// One thing that must hold before the service takes work.
#[derive(Clone, Debug)]
pub struct Check {
    name: Cow<'static, str>,
    inner: Arc<Registry>,
}

impl Readiness {
    /// No checks yet; not ready from the moment `draining` is cancelled.
    pub fn new(draining: CancellationToken) -> Self {
        Self { inner: Arc::new(Registry { draining, checks: Mutex::default() }) }
    }

    /// Registers a check, not ready (`starting`) until it says so. The same name gives the same check.
    pub fn check(&self, name: impl Into<Cow<'static, str>>) -> Check {
        let name = name.into();
        self.inner.lock().entry(name.clone()).or_insert_with(|| Some(STARTING.to_owned()));
        Check { name, inner: Arc::clone(&self.inner) }
    }

    /// Whether every check is ready and no drain has begun.
    pub fn is_ready(&self) -> bool {
        !self.inner.draining.is_cancelled() && self.inner.lock().values().all(Option::is_none)
    }

    fn report(&self) -> serde_json::Value {
        let checks: Vec<_> = self
            .inner
            .lock()
            .iter()
            .map(
                |(name, reason)| json!({"name": name, "ready": reason.is_none(), "reason": reason}),
            )
            .collect();
        json!({
            "ready": self.is_ready(),
            "draining": self.inner.draining.is_cancelled(),
            "checks": checks,
        })
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Cow<'static, str>, Option<String>>> {
        // Nothing under this lock can panic half-way through a change.
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Check {
    /// It holds.
    pub fn set_ready(&self) {
        self.set(None);
    }

    /// It does not hold, and why, in a few words without secrets.
    pub fn set_not_ready(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    fn set(&self, state: Option<String>) {
        let before = self.inner.lock().insert(self.name.clone(), state.clone());
        // Logged on change only: callers repeat themselves.
        if before.as_ref() == Some(&state) {
            return;
        }
        match state {
            None => tracing::info!(check = %self.name, "ready"),
            Some(reason) => tracing::warn!(check = %self.name, reason, "not ready"),
        }
    }
}

/// Why the port cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// Somebody else has the port.
    #[error(
        "the metrics address {address} is taken; stop what listens there (`ss -ltnp 'sport = :{}'` names it) \
         or set `{key}` to another address",
        address.port()
    )]
    AddressTaken {
        /// The configured address.
        address: SocketAddr,
        /// The configuration key that sets it.
        key: String,
    },
    /// The address cannot be listened on for another reason.
    #[error("cannot listen on {address} for metrics; check `{key}`")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// The configuration key that sets it.
        key: String,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
}

/// Metrics and health over HTTP, bound and not yet served.
#[derive(Debug)]
pub struct HealthServer {
    listener: TcpListener,
    router: Router,
}

#[derive(Clone)]
struct Served {
    readiness: Readiness,
    metrics: Metrics,
}

impl HealthServer {
    /// Takes the port. `key` is the configuration key that holds the address, for the error.
    pub async fn bind(
        address: SocketAddr,
        key: &str,
        readiness: Readiness,
        metrics: Metrics,
    ) -> Result<Self, HealthError> {
        let key = key.to_owned();
        let listener = TcpListener::bind(address).await.map_err(|source| {
            if source.kind() == io::ErrorKind::AddrInUse {
                HealthError::AddressTaken { address, key }
            } else {
                HealthError::Listen { address, key, source }
            }
        })?;
        let router = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics_text))
            .with_state(Served { readiness, metrics });
        Ok(Self { listener, router })
    }

    /// The address that is listened on; differs from the configured one when that had port 0.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until dropped. Runs outside the drain, so that a draining service can still be watched.
    pub async fn serve(self) -> io::Result<()> {
        axum::serve(self.listener, self.router).await
    }
}

async fn readyz(State(served): State<Served>) -> Response {
    let report = served.readiness.report();
    let status = if report.get("ready") == Some(&serde_json::Value::Bool(true)) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, [(header::CONTENT_TYPE, JSON)], format!("{report}\n")).into_response()
}

async fn metrics_text(State(served): State<Served>) -> Response {
    let text = served.metrics.render();
    ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], text).into_response()
}
