//! What every command is given.

use std::sync::Arc;
use std::time::Duration;

use pact_bus::Bus;
use pact_journal_client::{Journal, Patience};
use pact_runtime::Clock;
use tokio::sync::Mutex;

use crate::ask::nodes::Agents;
use crate::ask::plans::Plans;
use crate::ask::propose::Proposals;
use crate::config::ExecSettings;
use crate::door::rate::Rates;
use crate::door::tokens::Tokens;
use crate::rights::authorise::Rights;
use crate::stream::Streams;

/// How long the journal is asked again. A read: two elections. A proposal: writes are accepted again within 5 s of a leader's
/// death. With a node's part it stays under the 30 s that clients wait (contracts §3).
pub(crate) const PATIENCE: Patience =
    Patience { read: Duration::from_secs(8), propose: Duration::from_secs(12), nobody: NOBODY };

/// Where nobody at all listens it is not an election that one waits for; the bus and a service that start anew take less.
pub(crate) const NOBODY: Duration = Duration::from_secs(5);

/// The parts of the gateway, each of which knows as little as it can: cheap to clone, shared by all requests.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) clock: Clock,
    pub(crate) bus: Bus,
    pub(crate) tokens: Tokens,
    pub(crate) rights: Rights,
    pub(crate) journal: Journal,
    pub(crate) proposals: Proposals,
    pub(crate) agents: Agents,
    /// Room for plans of rollbacks and promotions.
    pub(crate) plans: Plans,
    pub(crate) streams: Streams,
    pub(crate) exec: ExecSettings,
    /// Of completions, by issuer and subject.
    pub(crate) completions: Arc<Mutex<Rates<(String, String)>>>,
}
