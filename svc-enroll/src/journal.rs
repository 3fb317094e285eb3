//! The journal as svc-enroll sees it: nodes, and what it proposes.

use std::sync::Arc;
use std::time::Duration;

use pact_bus::Bus;
use pact_identity::attestation::{Attestation, Statement};
use pact_identity::{Principal, Signer};
use pact_journal_client::{self as client, Patience};
use pact_runtime::Clock;
use pact_schemas::operation::Operation;
use pact_schemas::rpc::journal::Nodes;
use pact_schemas::{ErrorCode, NodeId, RequestId, v1};
use prost::Message as _;

use crate::core::contact::KnownNode;

/// Above an election, below what a gateway waits for us; while nobody listens, too: a gateway asks us again no sooner.
const PATIENCE: Patience = Patience { read: LIMIT, propose: LIMIT, nobody: LIMIT };
const LIMIT: Duration = Duration::from_secs(10);

/// Life of an attestation: it covers all attempts.
const ATTESTATION_LIFE: Duration = Duration::from_secs(30);

/// The row of the operations table under which the service acts on its own: all that it proposes is part of enrolling nodes.
const OPERATION: &str = "node.enroll";

/// A handle on the journal; cheap to clone.
#[derive(Clone)]
pub(crate) struct Journal {
    client: client::Journal,
    clock: Clock,
    signer: Arc<Signer>,
}

impl Journal {
    pub(crate) fn new(bus: Bus, clock: Clock, signer: Arc<Signer>) -> Self {
        Self { client: client::Journal::new(bus, clock.clone(), PATIENCE), clock, signer }
    }

    /// Nodes of one page, as any member has them.
    pub(crate) async fn nodes(
        &self,
        request: &v1::NodesRequest,
    ) -> Result<v1::NodesReply, v1::Error> {
        self.client.read::<Nodes>(request).await
    }

    /// One node, linearizable; `None` when it is not registered.
    pub(crate) async fn node(&self, node: &NodeId) -> Result<Option<KnownNode>, v1::Error> {
        let request = v1::NodesRequest { nodes: vec![node.to_string()], ..Default::default() };
        let found = match self.nodes(&request).await {
            Ok(reply) => reply.nodes.into_iter().find(|record| record.node == node.as_str()),
            // An unknown name may be answered as an empty list or as this.
            Err(error) if error.known_code() == ErrorCode::NotFound => None,
            Err(error) => return Err(error),
        };
        found.map(|record| KnownNode::try_from(record).map_err(v1::Error::from)).transpose()
    }

    /// Proposes an action of this service itself and waits until it is committed.
    pub(crate) async fn commit(
        &self,
        action: v1::action::Action,
    ) -> Result<v1::Committed, v1::Error> {
        let (committed, _grant) = self.client.propose_one(self.sign(action)?).await?;
        Ok(committed)
    }

    fn sign(&self, action: v1::action::Action) -> Result<v1::Proposal, v1::Error> {
        let unsigned =
            |cause: String| ErrorCode::Internal.error("cannot sign a proposal").because(cause);
        let operation = Operation::find(OPERATION).ok_or_else(|| unsigned(OPERATION.to_owned()))?;
        let request_id = RequestId::new(self.clock.new_uuid_v7())
            .map_err(|error| unsigned(error.to_string()))?;
        let action = v1::Action::from(action).encode_to_vec();
        let principal = Principal::of_signer(&self.signer);
        let statement = Statement {
            principal: &principal,
            acting_role: None,
            operation,
            request_id,
            action: &action,
            policy_ref: "",
        };
        let signed =
            Attestation::sign(&self.signer, &statement, self.clock.now(), ATTESTATION_LIFE)
                .map_err(|error| unsigned(error.to_string()))?;
        Ok(v1::Proposal { attestation: Some(signed), action })
    }
}
