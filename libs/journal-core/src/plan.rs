//! The read `plan`: what an action would do, by the code that does it.

use pact_schemas::v1::{self, action::Action};

use crate::action::rules;
use crate::planned::Planned;
use crate::view::StateView;
use crate::working::Working;

/// What an action would do.
#[derive(Debug, Default)]
pub struct Plan {
    /// Scope by scope, as far as it could be planned.
    pub scopes: Vec<Planned>,
    /// Why it would be refused.
    pub refused: Option<v1::Error>,
}

/// Plans an action, and tries it on a copy that is thrown away. Whether the caller may ask is not
/// looked at.
pub fn plan(view: &dyn StateView, action: &Action, time_nanos: i64) -> Plan {
    let mut work = Working::new(view);
    let mut scopes = Vec::new();
    let tried = rules(action).try_out(&mut work, time_nanos, &mut scopes);
    Plan { scopes, refused: tried.err().map(v1::Error::from) }
}
