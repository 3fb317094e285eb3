//! NATS decentralised authentication: operator, account and user claims, signed and checked.
//!
//! Written on `nkeys` because the published JWT crates lack `resp`, scoped signing keys and revocations (decisions §9).
//! A token is `base64url(header).base64url(claims).base64url(signature)`; the Ed25519 signature covers `header.claims`.
//!
//! Absences: nothing here reads a clock (`iat` and `exp` are given), nothing here logs, no private key or seed appears in
//! `Debug` or in an error.

mod claims;
mod rights;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use nkeys::KeyPairType;
use serde::{Deserialize, Serialize};

pub use claims::{
    Account, AccountLimits, Claims, ClaimsBody, NO_LIMIT, Operator, Permissions,
    ResponsePermission, RevocationError, Revocations, ScopedSigningKey, SigningKey,
    SubjectPermission, User, UserLimits,
};
pub use nkeys::KeyPair;
pub use rights::{
    AGENT_ROLE, account_claims, agent_inbox_prefix, agent_template, agent_user, enroll_system_user,
    operator_claims, service_inbox_prefix, service_user, system_account_claims,
};

/// Claims of an operator: who may sign accounts.
pub type OperatorClaims = Claims<Operator>;
/// Claims of an account: limits, signing keys, revocations.
pub type AccountClaims = Claims<Account>;
/// Claims of a user: what one connection may publish and subscribe.
pub type UserClaims = Claims<User>;

/// The largest token that is signed or decoded. nats-server refuses account tokens of 1 MiB and more, its default payload
/// limit; the margin leaves room for the request around it.
pub const MAX_TOKEN_BYTES: usize = 1024 * 1024 - 16 * 1024;

const HEADER: &[u8] = br#"{"typ":"JWT","alg":"ed25519-nkey"}"#;

/// Why claims could not be signed or a token not be believed.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// The subject is not a public key of the kind these claims are about.
    #[error("the subject {subject:?} is not the public key of {expected}")]
    SubjectKind {
        /// The subject as given.
        subject: String,
        /// The kind of key that was needed.
        expected: &'static str,
    },
    /// The signing key is of the wrong kind.
    #[error("claims of {claims} are signed by {expected}")]
    SignerKind {
        /// What was to be signed.
        claims: &'static str,
        /// The kind of key that was needed.
        expected: &'static str,
    },
    /// The key pair holds no private key or signing failed.
    #[error("the key {public_key} cannot sign")]
    Sign {
        /// The public half.
        public_key: String,
        /// What the key library said.
        source: nkeys::error::Error,
    },
    /// The claims could not be written as JSON.
    #[error("the claims could not be written as JSON")]
    Serialize(#[source] serde_json::Error),
    /// The token is longer than nats-server accepts.
    #[error("the token has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Size in bytes.
        bytes: usize,
        /// [`MAX_TOKEN_BYTES`].
        limit: usize,
    },
    /// Three base64url parts were expected.
    #[error("the token is not three base64url parts")]
    Form,
    /// The header names another algorithm.
    #[error("the token's header is not the one of NATS JWT version 2")]
    Header,
    /// The claims are not those that were asked for.
    #[error("the token's claims are not claims of {expected}")]
    Claims {
        /// The kind asked for.
        expected: &'static str,
        /// What the JSON reader said.
        source: serde_json::Error,
    },
    /// The claims are of another kind.
    #[error("the token is about {found:?}, not {expected}")]
    Kind {
        /// `nats.type` as found.
        found: String,
        /// The kind asked for.
        expected: &'static str,
    },
    /// The issuer is none of those that are trusted here.
    #[error("the issuer {issuer} is not trusted here")]
    Issuer {
        /// `iss` as found.
        issuer: String,
    },
    /// The signature does not belong to these bytes and this issuer.
    #[error("the token's signature is wrong")]
    Signature,
}

#[derive(Deserialize)]
struct Header {
    typ: String,
    alg: String,
}

/// Signs operator claims with the operator's identity key.
///
/// # Errors
/// [`JwtError`] when a key is of the wrong kind or the claims are too large.
pub fn encode_operator(claims: &OperatorClaims, signer: &KeyPair) -> Result<String, JwtError> {
    encode(claims, signer)
}

/// Signs account claims with the operator's identity key or one of its signing keys.
///
/// # Errors
/// [`JwtError`] when a key is of the wrong kind or the claims are too large.
pub fn encode_account(claims: &AccountClaims, signer: &KeyPair) -> Result<String, JwtError> {
    encode(claims, signer)
}

/// Signs user claims with the account's identity key, one of its signing keys, or a scoped signing key.
///
/// # Errors
/// [`JwtError`] when a key is of the wrong kind.
pub fn encode_user(claims: &UserClaims, signer: &KeyPair) -> Result<String, JwtError> {
    encode(claims, signer)
}

fn encode<B: ClaimsBody>(claims: &Claims<B>, signer: &KeyPair) -> Result<String, JwtError> {
    let subject_error =
        || JwtError::SubjectKind { subject: claims.subject.clone(), expected: B::SUBJECT_KIND.1 };
    let subject = KeyPair::from_public_key(&claims.subject).map_err(|_| subject_error())?;
    if subject.key_pair_type() != B::SUBJECT_KIND.0 {
        return Err(subject_error());
    }
    if signer.key_pair_type() != B::SIGNER_KIND.0 {
        return Err(JwtError::SignerKind { claims: B::NAME, expected: B::SIGNER_KIND.1 });
    }
    let mut wire = claims.to_wire(signer.public_key());
    let unnamed = serde_json::to_vec(&wire).map_err(JwtError::Serialize)?;
    wire.jti = Some(
        BASE32_NOPAD.encode(ring::digest::digest(&ring::digest::SHA512_256, &unnamed).as_ref()),
    );
    let body = serde_json::to_vec(&wire).map_err(JwtError::Serialize)?;
    let signed = format!("{}.{}", BASE64URL_NOPAD.encode(HEADER), BASE64URL_NOPAD.encode(&body));
    let signature = signer
        .sign(signed.as_bytes())
        .map_err(|source| JwtError::Sign { public_key: signer.public_key(), source })?;
    let token = format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature));
    match token.len() {
        0..=MAX_TOKEN_BYTES => Ok(token),
        bytes => Err(JwtError::TooLarge { bytes, limit: MAX_TOKEN_BYTES }),
    }
}

/// Reads a token whose issuer is one of `issuers` (public keys) and whose signature is right. Expiry is the caller's to judge:
/// this module has no clock.
///
/// # Errors
/// [`JwtError`] for a malformed token, an issuer that is not listed, a wrong signature, or claims of another kind.
pub fn decode<B: ClaimsBody>(token: &str, issuers: &[&str]) -> Result<Claims<B>, JwtError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(JwtError::TooLarge { bytes: token.len(), limit: MAX_TOKEN_BYTES });
    }
    let mut parts = token.split('.');
    let (Some(header), Some(body), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(JwtError::Form);
    };
    let part = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| JwtError::Form);
    let (header_json, body_json, signature_bytes) = (part(header)?, part(body)?, part(signature)?);
    let parsed: Header = serde_json::from_slice(&header_json).map_err(|_| JwtError::Header)?;
    if !parsed.typ.eq_ignore_ascii_case("jwt") || parsed.alg != "ed25519-nkey" {
        return Err(JwtError::Header);
    }
    let issuer = claims::issuer_of(&body_json)
        .map_err(|source| JwtError::Claims { expected: B::NAME, source })?;
    if !issuers.contains(&issuer.as_str()) {
        return Err(JwtError::Issuer { issuer });
    }
    let key = KeyPair::from_public_key(&issuer).map_err(|_| JwtError::Signature)?;
    if key.key_pair_type() != B::SIGNER_KIND.0 {
        return Err(JwtError::SignerKind { claims: B::NAME, expected: B::SIGNER_KIND.1 });
    }
    let signed = token.get(..header.len() + 1 + body.len()).ok_or(JwtError::Form)?;
    key.verify(signed.as_bytes(), &signature_bytes).map_err(|_| JwtError::Signature)?;
    Claims::from_wire(&body_json)
}

/// The content of a `.creds` file: the user's token and seed in the armour that every NATS client reads. It is a secret.
#[must_use]
pub fn creds_file(jwt: &str, seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         ************************* IMPORTANT *************************\n\
         NKEY Seed printed below can be used to sign and prove identity.\n\
         NKEYs are sensitive and should be treated as secrets.\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n\n\
         *************************************************************\n"
    )
}

/// A kind of nkey and how a message names it.
type KeyKind = (KeyPairType, &'static str);

const OPERATOR_KEY: KeyKind = (KeyPairType::Operator, "an operator");
const ACCOUNT_KEY: KeyKind = (KeyPairType::Account, "an account");
const USER_KEY: KeyKind = (KeyPairType::User, "a user");

/// The JSON of a token, in the field order of nats-io/jwt.
#[derive(Serialize)]
struct Wire<'a, B> {
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    iat: u64,
    iss: String,
    name: &'a str,
    sub: &'a str,
    nats: WireBody<'a, B>,
}

#[derive(Serialize)]
struct WireBody<'a, B> {
    #[serde(flatten)]
    body: &'a B,
    r#type: &'static str,
    version: u8,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pact_schemas::NodeId;

    fn user(signer: &KeyPair) -> (String, KeyPair) {
        let key = KeyPair::new_user();
        let node: NodeId = "node-a".parse().unwrap();
        let claims = agent_user(&node, &key.public_key(), &signer.public_key(), 1_000, 2_000);
        (encode_user(&claims, signer).unwrap(), key)
    }

    #[test]
    fn a_signed_user_reads_back_and_every_flipped_byte_is_refused() {
        let account = KeyPair::new_account();
        let (token, key) = user(&account);
        let issuer = account.public_key();
        let claims: UserClaims = decode(&token, &[&issuer]).unwrap();
        assert_eq!(
            (claims.name.as_str(), claims.subject.as_str()),
            ("node-a", key.public_key().as_str())
        );
        assert_eq!((claims.issued_at, claims.expires_at), (1_000, Some(2_000)));
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(decode::<User>(&changed, &[&issuer]).is_err(), "byte {at}");
        }
    }

    #[test]
    fn an_unlisted_issuer_and_another_kind_are_refused() {
        let account = KeyPair::new_account();
        let (token, _) = user(&account);
        let other = KeyPair::new_account().public_key();
        assert!(matches!(decode::<User>(&token, &[&other]), Err(JwtError::Issuer { .. })));
        assert!(matches!(
            decode::<Account>(&token, &[&account.public_key()]),
            Err(JwtError::SignerKind { .. })
        ));
    }

    #[test]
    fn kinds_of_keys_are_checked_before_signing() {
        let account = KeyPair::new_account();
        let node: NodeId = "n".parse().unwrap();
        let not_a_user = agent_user(&node, &account.public_key(), &account.public_key(), 0, 1);
        assert!(matches!(encode_user(&not_a_user, &account), Err(JwtError::SubjectKind { .. })));
        let fine =
            agent_user(&node, &KeyPair::new_user().public_key(), &account.public_key(), 0, 1);
        assert!(matches!(
            encode_user(&fine, &KeyPair::new_operator()),
            Err(JwtError::SignerKind { .. })
        ));
    }

    #[test]
    fn a_full_revocation_list_still_fits_into_one_token() {
        let operator = KeyPair::new_operator();
        let mut claims = account_claims(
            "PACT",
            &KeyPair::new_account().public_key(),
            &KeyPair::new_account().public_key(),
            0,
        );
        for at in 0..Revocations::LIMIT as u64 {
            claims.body.revocations.revoke(&format!("U{at:055}"), at).unwrap();
        }
        assert!(matches!(
            claims.body.revocations.revoke("U", 0),
            Err(RevocationError::Full { .. })
        ));
        encode_account(&claims, &operator).unwrap();
        claims.body.revocations.prune(100);
        assert_eq!(claims.body.revocations.len(), Revocations::LIMIT - 100);
    }

    #[test]
    fn the_creds_file_has_the_armour_that_clients_read() {
        let text = creds_file("J.W.T", "SUSEED");
        assert!(
            text.contains("-----BEGIN NATS USER JWT-----\nJ.W.T\n------END NATS USER JWT------\n")
        );
        assert!(
            text.contains(
                "-----BEGIN USER NKEY SEED-----\nSUSEED\n------END USER NKEY SEED------\n"
            )
        );
    }
}
