//! `group.set-policy`: keys of the policies of vClusters.

use pact_schemas::convert::id;
use pact_schemas::v1::SetPolicy;

use super::{Asked, Origin, Rules, Terms};
use crate::policy;
use crate::refusal::Refusal;
use crate::rights::{is_platform_admin, one_person_suffices};
use crate::working::Working;

impl Rules for SetPolicy {
    fn origin(&self) -> Origin {
        Origin::Gateway(&["group.set-policy"])
    }

    /// Of a platform admin, and where one person suffices.
    fn apply(&self, work: &mut Working<'_>, asked: &Asked<'_>) -> Result<Terms, Refusal> {
        if !is_platform_admin(asked.command) {
            return Err(Refusal::NotPlatformAdmin);
        }
        for update in &self.updates {
            one_person_suffices(work, &id(&update.vcluster, "PolicyUpdate.vcluster")?)?;
        }
        policy::set(work, &self.updates)?;
        Ok(Terms::NONE)
    }
}
