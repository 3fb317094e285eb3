//! What the service answers on the bus.
//!
//! - `contact`: first contact of a machine, through a gateway.
//! - `renew`: a live node's next certificate and bus user.
//! - `hello`: signs of life, and who was heard of.
//! - `health`: how this service is.

mod contact;
mod health;
mod hello;
mod renew;

pub(crate) use contact::ping;

use std::sync::Arc;
use std::time::Duration;

use nkeys::{KeyPair, KeyPairType};
use pact_bus::{MethodLimits, RequestContext, Service};
use pact_schemas::convert::WireError;
use pact_schemas::operation::Owner;
use pact_schemas::rpc::{enroll as rpc, up};
use pact_schemas::{ErrorCode, NodeId, v1};

use crate::authority::Issued;
use crate::context::{Enrolment, Shared};

/// First contacts at once: each holds a place while the journal commits, and a probe lasts up to 3 s. Whoever comes beyond
/// that is told `PACT_BUSY` and comes again.
const CONTACTS: MethodLimits = MethodLimits { workers: 512, longest: Duration::from_secs(20) };

/// Hellos touch memory alone but for nodes that return; 100,000 nodes send 1,700 a second.
const HELLOS: MethodLimits = MethodLimits { workers: 1_024, longest: Duration::from_secs(12) };

/// Longest public nkey: 56 characters.
const MAX_NKEY_BYTES: usize = 56;

/// All methods of `instance`.
pub(crate) fn service(shared: &Shared, instance: &str) -> Service<Shared> {
    Service::new("enroll", env!("CARGO_PKG_VERSION"), instance)
        .with(Arc::clone(shared))
        .on(rpc::Liveness, hello::report)
        .on(rpc::Health, health::health)
        .unbuilt(Owner::Enroll)
        .limits(CONTACTS)
        .on(rpc::Enroll, contact::enroll)
        .on_up(up::Renew, renew::renew)
        .limits(HELLOS)
        .on_up(up::Hello, hello::hello)
}

/// The sender of an `up` request: the subject says so, and the bus lets nobody else use it.
fn sender(context: &RequestContext) -> Result<NodeId, v1::Error> {
    context.node.clone().ok_or_else(|| ErrorCode::Internal.error("the subject names no node"))
}

/// A public user nkey.
fn user_key(text: &str, field: &'static str) -> Result<String, WireError> {
    let is_user = text.len() <= MAX_NKEY_BYTES
        && KeyPair::from_public_key(text).is_ok_and(|key| key.key_pair_type() == KeyPairType::User);
    if is_user {
        Ok(text.to_owned())
    } else {
        Err(WireError::Bounds { field, rule: "is not a public user nkey" })
    }
}

/// What was issued, as the agent gets it. Nothing of it may leave before the journal has committed it.
fn reply(enrolment: &Enrolment, issued: Issued) -> v1::EnrollReply {
    v1::EnrollReply {
        certificate_chain: issued.certificate_chain,
        bus_jwt: issued.bus_jwt,
        bus_urls: enrolment.agent_urls.clone(),
        not_after: Some(pact_schemas::convert::timestamp(issued.not_after.unix_nanos())),
        site: enrolment.site.to_string(),
    }
}
