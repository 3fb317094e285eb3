//! What every handler holds.

use std::sync::Arc;
use std::time::Duration;

use pact_bus::Bus;
use pact_identity::Signer;
use pact_journal_client::{Journal, Patience};
use pact_policy::Evaluator;
use pact_runtime::Clock;
use pact_schemas::{ErrorCode, NodeId, ServiceName, Subject};

use crate::ask::plans::Plans;
use crate::config::ExecSettings;
use crate::door::tokens::Tokens;
use crate::error::Answer;
use crate::rights::access::Records;
use crate::stream::Streams;

/// How long the journal is asked again. A read: two elections. A proposal: writes are accepted again within 5 s of a leader's
/// death. With a node's part it stays under the 30 s that clients wait (contracts §3).
pub(crate) const PATIENCE: Patience =
    Patience { read: Duration::from_secs(8), propose: Duration::from_secs(12), nobody: NOBODY };

/// Where nobody at all listens it is not an election that one waits for; the bus and a service that start anew take less.
pub(crate) const NOBODY: Duration = Duration::from_secs(5);

/// The gateway: cheap to clone, shared by all requests.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) clock: Clock,
    pub(crate) bus: Bus,
    pub(crate) journal: Journal,
    pub(crate) policy: Evaluator,
    pub(crate) tokens: Tokens,
    pub(crate) signer: Arc<Signer>,
    pub(crate) records: Records,
    pub(crate) exec: ExecSettings,
    pub(crate) streams: Streams,
    /// Room for plans of rollbacks and promotions.
    pub(crate) plans: Plans,
}

/// The subject of a service's method.
pub(crate) fn service_subject(service: &str, method: &str) -> Answer<Subject> {
    let service =
        ServiceName::new(service).map_err(|e| ErrorCode::Internal.error(e.to_string()))?;
    let method = method
        .parse()
        .map_err(|e: pact_schemas::id::IdError| ErrorCode::Internal.error(e.to_string()))?;
    Ok(Subject::ServiceRpc { service, method })
}

/// The subject of an agent's method.
pub(crate) fn node_subject(node: &NodeId, method: &str) -> Answer<Subject> {
    let method = method
        .parse()
        .map_err(|e: pact_schemas::id::IdError| ErrorCode::Internal.error(e.to_string()))?;
    Ok(Subject::NodeRpc { node: node.clone(), method })
}
