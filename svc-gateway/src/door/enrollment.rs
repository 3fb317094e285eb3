//! First contact: the one call without a token.
//!
//! The gateway knows nothing about hardware; it bounds how often one may ask, says where the question came from, and
//! passes it on. What is refused and why is svc-enroll's to say.
//!
//! Whoever asks can name any hardware, so every bound counts by where the question came from first: a flood from one
//! address costs that address its turn, and no other, not even with the hardware identity of somebody else's node.

mod places;

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pact_bus::{Bus, CallError};
use pact_runtime::Clock;
use pact_schemas::rpc::enroll::Enroll;
use pact_schemas::v1::{EnrollReply, EnrollRequest, enrollment_server::Enrollment};
use pact_schemas::{ErrorCode, HardwareIdentity, NodeId, convert, v1};
use tonic::{Request, Response, Status};

use crate::config::EnrollmentSettings;
use crate::door::listener::Peer;
use crate::door::rate::Rates;
use crate::error::{Answer, bad_request};
use places::{Full, Places};

/// How long svc-enroll may take: a probe of an old connection, a proposal, a signature.
const DEADLINE: Duration = Duration::from_secs(20);

/// Most hardware ids of one request that are counted.
const MAX_HARDWARE_IDS: usize = 64;

/// Longest request field; certificate requests have a few hundred bytes.
const MAX_FIELD_BYTES: usize = 16 * 1024;

/// The service.
pub(crate) struct Door {
    bus: Bus,
    clock: Clock,
    addresses: Mutex<Rates<IpAddr>>,
    /// Of each address on its own.
    hardware: Mutex<Rates<(IpAddr, String)>>,
    places: Places,
}

impl Door {
    pub(crate) fn new(bus: Bus, clock: Clock, settings: EnrollmentSettings) -> Self {
        Self {
            bus,
            clock,
            addresses: Mutex::new(Rates::new(settings.per_address_per_minute)),
            hardware: Mutex::new(Rates::new(settings.per_hardware_id_per_minute)),
            places: Places::default(),
        }
    }

    async fn pass(&self, peer: Option<Peer>, mut request: EnrollRequest) -> Answer<EnrollReply> {
        let peer =
            peer.ok_or_else(|| ErrorCode::Internal.error("the caller's address is not known"))?;
        let address = network(peer.0.ip());
        let identity = self.limit(address, &request)?;
        request.identity = Some((&identity).into());
        let _place = self.places.take(address).map_err(|full| match full {
            Full::Address => limited(&format!("the address {address}")),
            Full::Gateway => limited("all addresses together"),
        })?;
        request.source_address = peer.0.ip().to_canonical().to_string();
        let asked = self.bus.call::<Enroll>(&(), &request, DEADLINE).await;
        asked.map_err(|error| match error {
            CallError::Service(error) => error,
            error => ErrorCode::Unreachable
                .error("the enrolment service does not answer")
                .because(error.to_string())
                .next("the agent tries again by itself; check that pact-enroll runs"),
        })
    }

    /// Counts the contact, and reads whose hardware it names.
    fn limit(&self, address: IpAddr, request: &EnrollRequest) -> Answer<HardwareIdentity> {
        let now = self.clock.monotonic();
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if !addresses.take(address, now) {
            return Err(limited(&format!("the address {address}")));
        }
        drop(addresses);
        let identity = check(request)?;
        let mut hardware = self.hardware.lock().unwrap_or_else(PoisonError::into_inner);
        for id in identity.keys() {
            if !hardware.take((address, id), now) {
                return Err(limited(&format!("the address {address} with this hardware identity")));
            }
        }
        Ok(identity)
    }
}

#[tonic::async_trait]
impl Enrollment for Door {
    async fn enroll(
        &self,
        request: Request<EnrollRequest>,
    ) -> Result<Response<EnrollReply>, Status> {
        let peer = request.extensions().get::<Peer>().copied();
        let answer = self.pass(peer, request.into_inner()).await;
        let result = match &answer {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.code.clone(),
        };
        metrics::counter!("pact_gateway_enrolments_total", "result" => result).increment(1);
        answer.map(Response::new).map_err(v1::Error::into_status)
    }
}

/// What can be known to be wrong without knowing the node.
fn check(request: &EnrollRequest) -> Answer<HardwareIdentity> {
    let _node: NodeId = convert::id(&request.node, "EnrollRequest.node").map_err(bad_request)?;
    let identity = convert::required(request.identity.as_ref(), "EnrollRequest.identity")
        .map_err(bad_request)?;
    convert::text(&request.bus_user, "EnrollRequest.bus_user").map_err(bad_request)?;
    let fields = [request.csr.len(), request.bus_user.len(), request.agent_version.len()];
    let ids = identity.macs.len() + identity.hardware_ids.len();
    if request.csr.is_empty()
        || fields.into_iter().any(|n| n > MAX_FIELD_BYTES)
        || ids > MAX_HARDWARE_IDS
    {
        return Err(ErrorCode::InvalidArgument
            .error("EnrollRequest has no certificate request, or a field over its bound"));
    }
    Ok(HardwareIdentity::try_from(identity)?)
}

/// Whose rate counts: an IPv6 host has a whole /64 to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
    }
}

fn limited(whom: &str) -> v1::Error {
    ErrorCode::RateLimited
        .error(format!("too many first contacts from {whom}"))
        .next("wait a minute; agents do so by themselves")
}
