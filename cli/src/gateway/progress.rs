//! A sign of life on a terminal while an answer is awaited: after a second, and when something else is waited for.
//!
//! What the gateway waits for is asked of its health service, which needs no token and leaves no entry.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::session::Session;

/// So long nobody needs to be told that pact works.
const QUIET: Duration = Duration::from_secs(1);

/// The health service answers from its memory, or says nothing new.
const HEALTH: Duration = Duration::from_millis(500);

/// Under this name gateways say whether the journal has a leader.
const JOURNAL: &str = "pact.v1.Journal";

/// What is waited for, as far as this side knows.
pub(crate) struct Waiting<'a> {
    session: &'a Session,
    /// Whose answer.
    whom: &'a str,
    connection: Mutex<Option<Channel>>,
}

impl<'a> Waiting<'a> {
    /// For an answer of `whom`, of nobody so far.
    pub(crate) const fn new(session: &'a Session, whom: &'a str) -> Self {
        Self { session, whom, connection: Mutex::new(None) }
    }

    /// From now on the gateway behind this connection is waited for; `None`: it is not connected to.
    pub(super) fn on(&self, connection: Option<Channel>) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    /// Does the work, and says what it waits for where somebody sees it.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        if !self.session.screen.shows_progress() {
            return work.await;
        }
        let mut work = std::pin::pin!(work);
        let mut said = String::new();
        loop {
            let look = async {
                self.session.clock.sleep(QUIET).await;
                self.now().await
            };
            tokio::select! {
                done = &mut work => return done, // its own to end
                now = look => if now != said { // a timer and a question: may be dropped
                    self.session.screen.note(&now);
                    said = now;
                }
            }
        }
    }

    async fn now(&self) -> String {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(connection) = connection else { return "connecting to the gateway".to_owned() };
        let request = HealthCheckRequest { service: JOURNAL.to_owned() };
        let mut health = HealthClient::new(connection);
        let asked = self.session.clock.timeout(HEALTH, health.check(request)).await;
        match asked {
            Ok(Ok(reply)) if reply.get_ref().status() == ServingStatus::NotServing => {
                "no leader yet, trying".to_owned()
            }
            // An older gateway does not know the name, a busy one is late.
            Ok(_) | Err(_) => format!("waiting for {}", self.whom),
        }
    }
}
