//! The right to do what was asked, and what is written down of it.

use pact_identity::{Principal, Role};
use pact_schemas::convert::Scope;
use pact_schemas::operation::Operation;

/// The right to do what was asked, as it is attested.
#[derive(Debug, Clone)]
pub(crate) struct Permit {
    pub(crate) operation: &'static Operation,
    pub(crate) principal: Principal,
    pub(crate) acting_role: Option<Role>,
    pub(crate) policy_ref: String,
}

/// Something to be recorded: who, under which decision, about what.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) permit: Permit,
    pub(crate) scope: Scope,
    /// The vClusters whose members may see it, where no single scope holds what it is about.
    pub(crate) audience: Option<Vec<String>>,
    pub(crate) target: String,
}
