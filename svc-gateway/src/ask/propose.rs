//! Proposals: actions, signed in the name of who asked for them, on their way to the journal's leader.

use std::sync::Arc;

use pact_identity::{Attestation, Signer, Statement, attestation};
use pact_journal_client::Journal;
use pact_runtime::Clock;
use pact_schemas::v1::{self, action::Action as Act};
use pact_schemas::{ErrorCode, RequestId};
use prost::Message as _;

use super::request::RequestKey;
use crate::error::{Answer, bad_reply};
use crate::rights::permit::Permit;

/// Signs and proposes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Proposals {
    journal: Journal,
    signer: Arc<Signer>,
    clock: Clock,
}

impl Proposals {
    pub(crate) fn new(journal: Journal, signer: Arc<Signer>, clock: Clock) -> Self {
        Self { journal, signer, clock }
    }

    /// Has one action committed. What asks for a grant gets it with [`granted`].
    pub(crate) async fn commit(
        &self,
        permit: &Permit,
        key: RequestKey,
        act: Act,
    ) -> Answer<(v1::Committed, Option<v1::SignedGrant>)> {
        let action = v1::Action { asked_sha256: key.asked.to_vec(), ..v1::Action::from(act) };
        self.journal.propose_one(self.attest(permit, key.id, &action)?).await
    }

    /// Sends these together; each has a result of its own.
    pub(crate) async fn send(
        &self,
        proposals: Vec<v1::Proposal>,
    ) -> Answer<Vec<v1::ProposalResult>> {
        self.journal.propose(proposals).await
    }

    /// A proposal for `action`, in the name of the permit's principal.
    pub(crate) fn attest(
        &self,
        permit: &Permit,
        request_id: RequestId,
        action: &v1::Action,
    ) -> Answer<v1::Proposal> {
        let action = action.encode_to_vec();
        let statement = Statement {
            principal: &permit.principal,
            acting_role: permit.acting_role.as_ref(),
            operation: permit.operation,
            request_id,
            action: &action,
            policy_ref: &permit.policy_ref,
        };
        let now = self.clock.now();
        let attested = Attestation::sign(&self.signer, &statement, now, attestation::MAX_LIFETIME);
        let attestation = attested.map_err(|error| {
            ErrorCode::Internal.error("the request cannot be attested").because(error.to_string())
        })?;
        Ok(v1::Proposal { attestation: Some(attestation), action })
    }

    /// A request id of the gateway's own.
    pub(crate) fn own_id(&self) -> Answer<RequestId> {
        RequestId::new(self.clock.new_uuid_v7())
            .map_err(|error| ErrorCode::Internal.error(error.to_string()))
    }
}

/// The grant that belongs to a committed action.
pub(crate) fn granted(grant: Option<v1::SignedGrant>, what: &str) -> Answer<v1::SignedGrant> {
    grant.ok_or_else(|| bad_reply("pact-journal", format!("a committed {what} has no grant")))
}
