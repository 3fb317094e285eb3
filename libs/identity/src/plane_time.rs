//! Plane time: what the journal says the time is, asked for with a challenge (decisions §3).
//!
//! A node's own wall clock decides nothing about grants. The answer is bound to 32 random bytes that the node has just made, so
//! an old answer is worth nothing.

use pact_runtime::Timestamp;
use pact_schemas::convert::{self, WireError};
use pact_schemas::{NodeId, v1};
use prost::Message;

use crate::signing::{SignatureError, Signer, Verifier, domain};
use crate::uri::SignerRole;

/// The version of the payload that this build reads and writes.
const VERSION: u32 = 1;

/// Random bytes of a challenge.
pub const CHALLENGE_BYTES: usize = 32;

/// Why an answer is not believed.
#[derive(Debug, thiserror::Error)]
pub enum TimeError {
    /// Not signed by a journal member.
    #[error("the time's signature is refused")]
    Signature(#[from] SignatureError),
    /// The payload is not whole.
    #[error("the time answer is malformed")]
    Malformed(#[from] WireError),
    /// Another version of the payload.
    #[error("the time answer has version {found}; this build reads {VERSION}")]
    Version {
        /// As found.
        found: u32,
    },
    /// An answer to another question: other site, node or challenge.
    #[error("the time answer belongs to another challenge")]
    OtherChallenge,
    /// Earlier than what is already certain.
    #[error("the time answer {answer} is before {floor}, which has passed already")]
    WentBack {
        /// As answered.
        answer: Timestamp,
        /// The least that it can be.
        floor: Timestamp,
    },
}

/// Answers `node`'s challenge with the member's time.
#[must_use]
pub fn sign_time(
    signer: &Signer,
    node: &NodeId,
    challenge: &[u8; CHALLENGE_BYTES],
    now: Timestamp,
) -> v1::SignedTime {
    let payload = v1::TimePayload {
        version: VERSION,
        site: signer.site().to_string(),
        node: node.to_string(),
        challenge: challenge.to_vec(),
        time: Some(convert::timestamp(now.unix_nanos())),
    };
    let blob = signer.sign(domain::TIME, &payload.encode_to_vec());
    v1::SignedTime {
        payload: blob.payload,
        signature: blob.signature,
        certificate: blob.certificate,
    }
}

/// The time that a journal member answers to `challenge` of `node`.
///
/// The node has no clock yet, so the signer's certificate is checked at the time it claims; `floor` (the build's date, or the last
/// plane time known) keeps an old, stolen certificate from claiming its own past.
///
/// # Errors
/// [`TimeError`] saying what is wrong.
pub fn verify_time(
    signed: &v1::SignedTime,
    verifier: &Verifier,
    node: &NodeId,
    challenge: &[u8; CHALLENGE_BYTES],
    floor: Timestamp,
) -> Result<Timestamp, TimeError> {
    let payload = v1::TimePayload::decode(signed.payload.as_slice())
        .map_err(|_| WireError::Decode { what: "TimePayload" })?;
    let answer =
        Timestamp::from_unix_nanos(convert::unix_nanos(payload.time.as_ref(), "TimePayload.time")?);
    verifier.verify(
        &[SignerRole::Grant],
        domain::TIME,
        &signed.payload,
        &signed.signature,
        &signed.certificate,
        answer,
    )?;
    if payload.version != VERSION {
        return Err(TimeError::Version { found: payload.version });
    }
    let is_ours = payload.site == verifier.site().as_str()
        && payload.node == node.as_str()
        && payload.challenge == challenge;
    if !is_ours {
        return Err(TimeError::OtherChallenge);
    }
    if answer < floor {
        return Err(TimeError::WentBack { answer, floor });
    }
    Ok(answer)
}
