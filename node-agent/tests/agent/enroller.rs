//! Who issues certificates and bus users: at first contact over gRPC, for renewals over the bus.

use std::sync::{Arc, Mutex};

use nkeys::KeyPair;
use pact_identity::nats_jwt;
use pact_identity::x509::Intermediate;
use pact_runtime::{Clock, Timestamp};
use pact_schemas::v1::enrollment_server::Enrollment;
use pact_schemas::{ErrorCode, NodeId, convert, v1};

/// Issues what a node asks for.
pub(crate) struct Enroller {
    pub(crate) node_mac: &'static str,
    pub(crate) site: &'static str,
    pub(crate) intermediate: Intermediate,
    pub(crate) agents: KeyPair,
    pub(crate) account: String,
    pub(crate) bus_url: String,
    pub(crate) refusal: Arc<Mutex<Option<ErrorCode>>>,
}

impl Enroller {
    pub(crate) fn issue(&self, node: &NodeId, csr: &[u8], bus_user: &str) -> v1::EnrollReply {
        let leaf = self.intermediate.issue_leaf(node, csr).unwrap();
        let seconds = |time: Timestamp| u64::try_from(time.unix_seconds()).unwrap();
        let (now, end) = (seconds(Clock::system().now()), seconds(leaf.not_after));
        let claims = nats_jwt::agent_user(node, bus_user, &self.account, now, end);
        v1::EnrollReply {
            certificate_chain: leaf.chain_pem,
            bus_jwt: nats_jwt::encode_user(&claims, &self.agents).unwrap(),
            bus_urls: vec![self.bus_url.clone()],
            not_after: Some(convert::timestamp(leaf.not_after.unix_nanos())),
            site: self.site.to_owned(),
        }
    }
}

#[tonic::async_trait]
impl Enrollment for Enroller {
    async fn enroll(
        &self,
        request: tonic::Request<v1::EnrollRequest>,
    ) -> Result<tonic::Response<v1::EnrollReply>, tonic::Status> {
        if let Some(code) = *self.refusal.lock().unwrap() {
            return Err(code.error("enrolment: hardware mismatch").into_status());
        }
        let request = request.into_inner();
        assert_eq!(request.identity.unwrap().macs, [self.node_mac]);
        let node: NodeId = request.node.parse().unwrap();
        Ok(tonic::Response::new(self.issue(&node, &request.csr, &request.bus_user)))
    }
}
