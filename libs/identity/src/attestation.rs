//! Attestations: a gateway's word for who asked for what, a service's word for itself.
//!
//! The journal accepts a proposal only with one. It covers the digest of the encoded action, so nothing between the gateway and
//! the journal can change what is asked.
//!
//! Absences: nobody but a gateway vouches for a person or machine; nobody vouches for a node or for another service; nothing here
//! reads a clock.

use std::time::Duration;

use pact_runtime::Timestamp;
use pact_schemas::convert::{self, WireError};
use pact_schemas::operation::Operation;
use pact_schemas::{Digest, ErrorCode, RequestId, v1};
use prost::Message;

use crate::principal::{Principal, PrincipalFault, PrincipalKind, service_subject};
use crate::role::Role;
use crate::signing::{SignatureError, Signer, Verifier, domain};
use crate::uri::{SignerName, SignerRole};

/// The version of the payload that this build reads and writes.
const VERSION: u32 = 1;

/// Longest life of an attestation: a proposal and its retries at other members. A client's own retry gets a new one.
pub const MAX_LIFETIME: Duration = Duration::from_secs(60);

/// Tolerance between the clocks of management hosts.
pub const LEEWAY: Duration = Duration::from_secs(5);

/// Longest reference of a policy decision, in bytes.
pub const MAX_POLICY_REF_BYTES: usize = 256;

const SIGNERS: &[SignerRole] =
    &[SignerRole::Gateway, SignerRole::Enroll, SignerRole::Approval, SignerRole::Bridge];

/// Why an attestation is not made or not believed.
#[derive(Debug, thiserror::Error)]
pub enum AttestationError {
    /// Not signed by who may.
    #[error("the attestation's signature is refused")]
    Signature(#[from] SignatureError),
    /// The payload is not whole.
    #[error("the attestation is malformed")]
    Malformed(#[from] WireError),
    /// The payload's principal is not whole.
    #[error("the attestation's principal is malformed")]
    Principal(#[from] PrincipalFault),
    /// Another version of the payload.
    #[error("the attestation has version {found}; this build reads {VERSION}")]
    Version {
        /// As found.
        found: u32,
    },
    /// Signed for another site.
    #[error("the attestation is for the site {found:?}")]
    Site {
        /// As found.
        found: String,
    },
    /// An operation that this build does not know.
    #[error("the attestation is for the unknown operation {operation:?}")]
    Operation {
        /// As found.
        operation: String,
    },
    /// The signer may not vouch for this principal.
    #[error("{signer} does not vouch for the principal {subject} of kind {kind:?}")]
    Voucher {
        /// Who signed or is to sign.
        signer: SignerName,
        /// The principal.
        subject: String,
        /// Its kind.
        kind: PrincipalKind,
    },
    /// The principal does not hold the role it acts under.
    #[error("the principal does not hold the role {role:?}")]
    ActingRole {
        /// As found.
        role: String,
    },
    /// The action is not the one attested.
    #[error("the action is not the one that was attested")]
    OtherAction,
    /// Lives longer than [`MAX_LIFETIME`], or not at all.
    #[error("the attestation lives from {issued} to {expires}: more than 60 s or not at all")]
    Lifetime {
        /// Start.
        issued: Timestamp,
        /// End.
        expires: Timestamp,
    },
    /// Too late, or from the future.
    #[error("the attestation is valid from {issued} to {expires}, it is {now}")]
    OutOfTime {
        /// Start.
        issued: Timestamp,
        /// End.
        expires: Timestamp,
        /// The verifier's time.
        now: Timestamp,
    },
}

impl AttestationError {
    /// The code under which the journal answers.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed(_)
            | Self::Principal(_)
            | Self::Version { .. }
            | Self::Operation { .. } => ErrorCode::Malformed,
            Self::OutOfTime { .. } | Self::Lifetime { .. } => ErrorCode::GrantExpired,
            Self::Signature(_)
            | Self::Site { .. }
            | Self::Voucher { .. }
            | Self::ActingRole { .. }
            | Self::OtherAction => ErrorCode::BadSignature,
        }
    }
}

/// What is attested.
#[derive(Debug, Clone)]
pub struct Statement<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// Under which role, where the decision rests on one.
    pub acting_role: Option<&'a Role>,
    /// The row of the operations table.
    pub operation: &'static Operation,
    /// The client's id of the request.
    pub request_id: RequestId,
    /// The encoded `Action`.
    pub action: &'a [u8],
    /// Reference of the policy decision, at most 256 bytes.
    pub policy_ref: &'a str,
}

/// A verified attestation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    principal: Principal,
    acting_role: Option<Role>,
    operation: &'static Operation,
    request_id: RequestId,
    policy_ref: String,
    expires: Timestamp,
    signer: SignerName,
}

impl Attestation {
    /// Signs `statement`, valid from `now` for `lifetime` (at most [`MAX_LIFETIME`]).
    ///
    /// # Errors
    /// [`AttestationError`] when the signer may not vouch for the principal, or the statement would be refused.
    pub fn sign(
        signer: &Signer,
        statement: &Statement<'_>,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<v1::SignedAttestation, AttestationError> {
        let expires = now.checked_add(lifetime).unwrap_or(now);
        check_lifetime(now, expires)?;
        check_voucher(signer.name(), signer.site().as_str(), statement.principal)?;
        check_policy_ref(statement.policy_ref)?;
        let acting_role = statement.acting_role.map(ToString::to_string).unwrap_or_default();
        check_acting_role(&acting_role, statement.principal)?;
        let payload = v1::AttestationPayload {
            version: VERSION,
            site: signer.site().to_string(),
            principal: Some(statement.principal.to_wire()),
            acting_role,
            operation: statement.operation.name.to_owned(),
            request_id: statement.request_id.to_string(),
            action_sha256: Digest::of(statement.action).to_vec(),
            policy_ref: statement.policy_ref.to_owned(),
            issued: Some(convert::timestamp(now.unix_nanos())),
            expires: Some(convert::timestamp(expires.unix_nanos())),
        };
        let blob = signer.sign(domain::ATTESTATION, &payload.encode_to_vec());
        Ok(v1::SignedAttestation {
            payload: blob.payload,
            signature: blob.signature,
            certificate: blob.certificate,
        })
    }

    /// Checks that a gateway (or a service, for itself) vouches for `action`, the encoded `Action`, at `now`.
    ///
    /// # Errors
    /// [`AttestationError`] saying what is wrong; [`AttestationError::code`] is what to answer.
    pub fn verify(
        signed: &v1::SignedAttestation,
        verifier: &Verifier,
        action: &[u8],
        now: Timestamp,
    ) -> Result<Self, AttestationError> {
        let signer = verifier.verify(
            SIGNERS,
            domain::ATTESTATION,
            &signed.payload,
            &signed.signature,
            &signed.certificate,
            now,
        )?;
        let payload = v1::AttestationPayload::decode(signed.payload.as_slice())
            .map_err(|_| WireError::Decode { what: "AttestationPayload" })?;
        if payload.version != VERSION {
            return Err(AttestationError::Version { found: payload.version });
        }
        if payload.site != verifier.site().as_str() {
            return Err(AttestationError::Site { found: payload.site });
        }
        let at = |time: &Option<_>, field| {
            convert::unix_nanos(time.as_ref(), field).map(Timestamp::from_unix_nanos)
        };
        let issued = at(&payload.issued, "AttestationPayload.issued")?;
        let expires = at(&payload.expires, "AttestationPayload.expires")?;
        check_lifetime(issued, expires)?;
        let is_late = now.duration_since(expires).is_some_and(|late| late > LEEWAY);
        let is_early = issued.duration_since(now).is_some_and(|early| early > LEEWAY);
        if is_late || is_early {
            return Err(AttestationError::OutOfTime { issued, expires, now });
        }
        let field = "AttestationPayload.action_sha256";
        if Digest::of(action) != Digest::from_wire(&payload.action_sha256, field)? {
            return Err(AttestationError::OtherAction);
        }
        let principal = Principal::from_signed(payload.principal)?;
        check_voucher(&signer, &payload.site, &principal)?;
        check_policy_ref(&payload.policy_ref)?;
        Ok(Self {
            acting_role: check_acting_role(&payload.acting_role, &principal)?,
            operation: Operation::find(&payload.operation)
                .ok_or(AttestationError::Operation { operation: payload.operation })?,
            request_id: convert::id(&payload.request_id, "AttestationPayload.request_id")?,
            policy_ref: payload.policy_ref,
            principal,
            expires,
            signer,
        })
    }

    /// Who asks.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Under which role; `None` for services, and where the decision rests on none (a refusal that is recorded).
    #[must_use]
    pub fn acting_role(&self) -> Option<&Role> {
        self.acting_role.as_ref()
    }

    /// The row of the operations table. Whether the action belongs to it is the journal's to check.
    #[must_use]
    pub fn operation(&self) -> &'static Operation {
        self.operation
    }

    /// The client's id of the request.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        self.request_id
    }

    /// Reference of the policy decision.
    #[must_use]
    pub fn policy_ref(&self) -> &str {
        &self.policy_ref
    }

    /// Its end.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Who vouches.
    #[must_use]
    pub fn signer(&self) -> &SignerName {
        &self.signer
    }
}

fn check_lifetime(issued: Timestamp, expires: Timestamp) -> Result<(), AttestationError> {
    match expires.duration_since(issued) {
        Some(life) if !life.is_zero() && life <= MAX_LIFETIME => Ok(()),
        _ => Err(AttestationError::Lifetime { issued, expires }),
    }
}

fn check_policy_ref(policy_ref: &str) -> Result<(), WireError> {
    if policy_ref.len() > MAX_POLICY_REF_BYTES || policy_ref.chars().any(char::is_control) {
        return Err(WireError::Bounds {
            field: "AttestationPayload.policy_ref",
            rule: "is not plain text of at most 256 bytes",
        });
    }
    Ok(())
}

/// A gateway vouches for those whose token it has verified; every service for itself; nobody for `pact://` names of others.
fn check_voucher(
    signer: &SignerName,
    site: &str,
    principal: &Principal,
) -> Result<(), AttestationError> {
    let is_own = principal.issuer() == format!("pact://{site}")
        && principal.subject() == service_subject(signer);
    let may = match principal.kind() {
        PrincipalKind::Service => is_own,
        PrincipalKind::Node => false,
        PrincipalKind::Human | PrincipalKind::ServiceAgent | PrincipalKind::ServiceAi => {
            signer.role() == SignerRole::Gateway && !principal.issuer().starts_with("pact://")
        }
    };
    if may {
        return Ok(());
    }
    Err(AttestationError::Voucher {
        signer: signer.clone(),
        subject: principal.subject().to_owned(),
        kind: principal.kind(),
    })
}

fn check_acting_role(text: &str, principal: &Principal) -> Result<Option<Role>, AttestationError> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<Role>() {
        Ok(role) if principal.roles().contains(&role) => Ok(Some(role)),
        _ => Err(AttestationError::ActingRole { role: text.chars().take(100).collect() }),
    }
}
