//! `apply`: so far, the policy tables of a specification.

use pact_schemas::spec::Spec;
use pact_schemas::v1::{self, PolicyUpdate, SetPolicy, action::Action as Act};

use super::nodes::request_id;
use crate::access::attest;
use crate::auth::Caller;
use crate::authorise::{Asked, Permit};
use crate::context::Gateway;
use crate::error::Answer;
use crate::exec::operation;

/// Longest file name that is shown in errors.
const MAX_NAME_CHARS: usize = 255;

impl Gateway {
    pub(super) async fn apply(
        &self,
        caller: Caller,
        request: v1::ApplyRequest,
    ) -> Answer<v1::ApplyReply> {
        let request_id = request_id(&request.request_id)?;
        let spec = Spec::parse(&file_name(&request.file_name), &request.spec)?;
        let permit = self.authorise_spec(&caller, &spec).await?;
        let policies: Vec<PolicyUpdate> = spec
            .policies
            .into_iter()
            .map(|(vcluster, policy)| PolicyUpdate {
                vcluster: vcluster.to_string(),
                policy: Some(policy),
            })
            .collect();
        if request.dry_run {
            return Ok(v1::ApplyReply { policies, ..v1::ApplyReply::default() });
        }
        let set = SetPolicy { updates: policies.clone() };
        let action = v1::Action { action: Some(Act::SetPolicy(set)) };
        let proposal = attest(&self.signer, &self.clock, &permit, request_id, &action)?;
        let (done, _) = self.journal.propose_one(proposal).await?;
        Ok(v1::ApplyReply {
            first_seq: done.first_seq,
            last_seq: done.last_seq,
            policies,
            ..v1::ApplyReply::default()
        })
    }

    /// The right to apply, and for policy tables the right to set policies: both, before anything is done.
    async fn authorise_spec(&self, caller: &Caller, spec: &Spec) -> Answer<Permit> {
        let apply = operation("apply")?;
        let asked = |operation| {
            let mut asked = Asked::of(operation).within(spec.policies.keys().cloned());
            asked.may_create = true;
            asked
        };
        let permit = self.authorise(caller, asked(apply)).await?;
        if spec.policies.is_empty() {
            return Ok(permit);
        }
        let permit = self.authorise(caller, asked(operation("group.set-policy")?)).await?;
        Ok(Permit { operation: apply, ..permit })
    }
}

pub(super) fn file_name(given: &str) -> String {
    let plain: String =
        given.chars().map(|c| if c.is_control() { '?' } else { c }).take(MAX_NAME_CHARS).collect();
    if plain.is_empty() { "spec".to_owned() } else { plain }
}
