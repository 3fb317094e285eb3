//! The other side: who signs grants.

use pact_schemas::v1;
use prost::Message;

use super::{Content, GrantError};
use crate::signing::{Signer, domain};
use crate::uri::{SignerName, SignerRole};

/// Signs grants: a journal member, for what it has applied; a gateway, for degraded ones.
#[derive(Debug)]
pub struct GrantIssuer {
    signer: Signer,
}

/// Why a payload is not signed.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The certificate is for other statements.
    #[error("{found} signs no grants")]
    Role {
        /// Whom the certificate names.
        found: SignerName,
    },
    /// No node would accept it.
    #[error("no node would accept this grant")]
    Refused(#[from] GrantError),
}

impl GrantIssuer {
    /// An issuer with a member's grant certificate, or a gateway's certificate for degraded grants.
    ///
    /// # Errors
    /// [`IssueError::Role`] for another service's certificate.
    pub fn new(signer: Signer) -> Result<Self, IssueError> {
        match signer.name().role() {
            SignerRole::Grant | SignerRole::Gateway => Ok(Self { signer }),
            _ => Err(IssueError::Role { found: signer.name().clone() }),
        }
    }

    /// Signs. The same payload gives the same bytes under the same key, so a retry gets the same grant.
    ///
    /// # Errors
    /// [`IssueError::Refused`] for a payload that is not whole, for another site, or degraded and not signed by a gateway.
    pub fn sign(&self, payload: &v1::GrantPayload) -> Result<v1::SignedGrant, IssueError> {
        let content = Content::try_from(payload.clone())?;
        if content.site != self.signer.site().as_str() {
            return Err(GrantError::Site { found: content.site }.into());
        }
        if content.degraded != (self.signer.name().role() == SignerRole::Gateway) {
            return Err(GrantError::Degraded.into());
        }
        let blob = self.signer.sign(domain::GRANT, &payload.encode_to_vec());
        Ok(v1::SignedGrant {
            payload: blob.payload,
            signature: blob.signature,
            certificate: blob.certificate,
        })
    }

    /// The key behind it.
    #[must_use]
    pub fn signer(&self) -> &Signer {
        &self.signer
    }
}
