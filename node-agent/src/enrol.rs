//! How a node becomes a member of the plane: first contact, and repair with credentials that are no good any more.
//!
//! The agent makes its keys itself, shows the hardware identity under which an admin registered it, and gets a certificate
//! and a bus user for those keys, over gRPC with server-side TLS under `tls_ca` alone. It asks until it is taken: the node
//! may be registered later, gateways may be away. No secret leaves the node.
//!
//! - `identity`: the keys and credentials on disk, always a whole set.
//! - `renewal`: a new set before the old one ends, over the bus.

pub(crate) mod identity;
pub(crate) mod renewal;

use std::path::PathBuf;
use std::time::Duration;

use pact_runtime::{Clock, Pause, Timestamp, causes};
use pact_schemas::v1::enrollment_client::EnrollmentClient;
use pact_schemas::{ErrorCode, NodeId, SiteName, v1};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use identity::{Identity, IdentityError, Keys};

/// Reaching a gateway.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A gateway's answer: it asks svc-enroll, which commits to the journal.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// Waits after gateways that do not answer.
const UNREACHABLE: Pause = Pause::new(Duration::from_secs(1), Duration::from_secs(30));

/// Waits after a refusal, which only an admin ends.
const REFUSED: Pause = Pause::new(Duration::from_secs(2), Duration::from_secs(60));

/// What first contact needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Enrolment {
    pub(crate) node: NodeId,
    pub(crate) site: SiteName,
    pub(crate) hardware: v1::HardwareIdentity,
    /// host:port of gateways.
    pub(crate) endpoints: Vec<String>,
    /// The site's roots (PEM); `None`: plain connections, to loopback.
    pub(crate) ca_pem: Option<String>,
    pub(crate) folder: PathBuf,
    pub(crate) certificate_path: PathBuf,
    pub(crate) version: &'static str,
    pub(crate) clock: Clock,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolError {
    #[error("the gateway {endpoint} cannot be reached")]
    Unreachable {
        endpoint: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("enrolment is refused: {0}")]
    Refused(v1::Error),
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl EnrolError {
    /// Whether a person has to do something.
    fn is_refusal(&self) -> bool {
        let Self::Refused(error) = self else { return false };
        matches!(
            error.known_code(),
            ErrorCode::NodeNotEnrolled
                | ErrorCode::HardwareIdentityConflict
                | ErrorCode::NodeRevoked
                | ErrorCode::AlreadyActive
                | ErrorCode::RateLimited
                | ErrorCode::InvalidArgument
                | ErrorCode::Malformed
                | ErrorCode::NotAuthorised
        )
    }
}

impl Enrolment {
    /// Enrols, however long it takes. With `keys`, for the keys that the node has; a refusal drops them. `now` is the best
    /// time that is known. Cancel-safe: an identity is kept whole or not at all.
    pub(crate) async fn until_taken(
        &self,
        mut keys: Option<Keys>,
        now: impl Fn() -> Timestamp,
    ) -> Identity {
        let (mut unreachable, mut refused) = (UNREACHABLE, REFUSED);
        loop {
            let error = match self.attempt(keys.as_ref(), now()).await {
                Ok(identity) => return identity,
                Err(error) => error,
            };
            let wait = if error.is_refusal() {
                keys = None;
                unreachable.reset();
                refused.next(&self.clock)
            } else {
                refused.reset();
                unreachable.next(&self.clock)
            };
            let (cause, next_step) = match &error {
                EnrolError::Refused(error) => (error.cause.clone(), error.next_step.clone()),
                error => (causes(error), String::new()),
            };
            tracing::warn!(cause, next_step, retry_seconds = wait.as_secs_f32(), "{error}");
            self.clock.sleep(wait).await;
        }
    }

    /// One round over all gateways.
    async fn attempt(&self, keys: Option<&Keys>, now: Timestamp) -> Result<Identity, EnrolError> {
        let fresh;
        let keys = match keys {
            Some(keys) => keys,
            None => {
                fresh = Keys::generate()?;
                &fresh
            }
        };
        let request = v1::EnrollRequest {
            node: self.node.to_string(),
            identity: Some(self.hardware.clone()),
            csr: keys.csr()?,
            bus_user: keys.bus_user(),
            agent_version: self.version.to_owned(),
            source_address: String::new(),
        };
        let mut last = None;
        for endpoint in &self.endpoints {
            match self.ask(endpoint, request.clone()).await {
                Ok(reply) => {
                    let identity = Identity::new(keys, reply, &self.node, &self.site, now)?;
                    identity.save(&self.folder, &self.certificate_path)?;
                    tracing::info!(node = %self.node, until = %identity.not_after(), "enrolled");
                    return Ok(identity);
                }
                Err(error @ EnrolError::Unreachable { .. }) => last = Some(error),
                // What one gateway says about this node all of them say.
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| {
            EnrolError::Refused(ErrorCode::NotConfigured.error("no gateway is configured"))
        }))
    }

    async fn ask(
        &self,
        endpoint: &str,
        request: v1::EnrollRequest,
    ) -> Result<v1::EnrollReply, EnrolError> {
        let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| {
            EnrolError::Unreachable { endpoint: endpoint.to_owned(), source }
        };
        let scheme = if self.ca_pem.is_some() { "https" } else { "http" };
        let mut target = Endpoint::from_shared(format!("{scheme}://{endpoint}"))
            .map_err(|error| unreachable(error.into()))?
            .connect_timeout(CONNECT_LIMIT)
            .timeout(CALL_LIMIT);
        if let Some(ca) = &self.ca_pem {
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
            target = target.tls_config(tls).map_err(|error| unreachable(error.into()))?;
        }
        let channel = target.connect().await.map_err(|error| unreachable(error.into()))?;
        match EnrollmentClient::new(channel).enroll(request).await {
            Ok(reply) => Ok(reply.into_inner()),
            Err(status) => Err(match v1::Error::from_status(&status) {
                Some(error) => EnrolError::Refused(error),
                None => unreachable(Box::new(status)),
            }),
        }
    }
}
