//! What each kind of key can, as data of the provider that answers for it.

use pact_schemas::resource::{Kind, Value};

/// What one kind of key can.
#[derive(Debug)]
pub(crate) struct Abilities {
    /// Of which kind.
    pub(crate) kind: Kind,
    /// Why a key can never be given this value on any node; `None`: it can, as far as the value tells.
    pub(crate) refusal: fn(&Value) -> Option<&'static str>,
}
