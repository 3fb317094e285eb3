//! The issuer's keys. Only what can verify is kept: P-256, RSA of 2048 bits and more, Ed25519.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

/// Most keys in one set; an issuer has one to four.
const MAX_KEYS: usize = 64;

/// RSA moduli: 2048 to 8192 bits.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Why a set of keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// Not a JWKS.
    #[error("it is not a JSON Web Key Set")]
    Form(#[source] serde_json::Error),
    /// Too many keys.
    #[error("it holds {count} keys, the limit is {limit}", limit = MAX_KEYS)]
    TooMany {
        /// How many.
        count: usize,
    },
    /// None can be used for verifying.
    #[error("it holds no key for ES256, RS256, PS256 or EdDSA")]
    NoneUsable,
    /// Two usable keys of one id.
    #[error("two keys have the id {kid:?}")]
    Ambiguous {
        /// The id.
        kid: String,
    },
    /// A usable kind of key with broken contents.
    #[error("the key {kid:?} is broken")]
    Broken {
        /// The id; empty when there is none.
        kid: String,
    },
}

/// The usable keys of an issuer.
pub(super) struct KeySet(Vec<Key>);

pub(super) struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    name: &'static str,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct WireSet {
    keys: Vec<WireKey>,
}

#[derive(Deserialize)]
struct WireKey {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl KeySet {
    pub(super) fn parse(text: &[u8]) -> Result<Self, JwksError> {
        let wire: WireSet = serde_json::from_slice(text).map_err(JwksError::Form)?;
        if wire.keys.len() > MAX_KEYS {
            return Err(JwksError::TooMany { count: wire.keys.len() });
        }
        let mut keys: Vec<Key> = Vec::new();
        for wire_key in &wire.keys {
            let Some(key) = Key::from_wire(wire_key)? else { continue };
            if keys.iter().any(|other| other.kid == key.kid) {
                return Err(JwksError::Ambiguous { kid: key.kid.unwrap_or_default() });
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(JwksError::NoneUsable) } else { Ok(Self(keys)) }
    }

    /// The key of this id. A token without an id can only mean the only key of a set.
    pub(super) fn find(&self, kid: Option<&str>) -> Option<&Key> {
        match (kid, self.0.as_slice()) {
            (Some(kid), keys) => keys.iter().find(|key| key.kid.as_deref() == Some(kid)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

impl Key {
    /// `None` for keys that are not for verifying, or of kinds that are not accepted (HMAC first of all).
    fn from_wire(wire: &WireKey) -> Result<Option<Self>, JwksError> {
        let is_for_signatures = wire.r#use.as_deref().is_none_or(|purpose| purpose == "sig")
            && wire
                .key_ops
                .as_ref()
                .is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        let Some((algorithm, name)) = wire.accepted_algorithm().filter(|_| is_for_signatures)
        else {
            return Ok(None);
        };
        let broken = || JwksError::Broken { kid: wire.kid.clone().unwrap_or_default() };
        let sized = |part: &Option<String>, fits: &dyn Fn(usize) -> bool| {
            let text = part.as_deref()?;
            let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
            fits(bytes.len()).then_some(text.to_owned())
        };
        let is_32 = |length: usize| length == 32;
        let is_modulus = |length: usize| RSA_MODULUS_BYTES.contains(&length);
        let is_exponent = |length: usize| (1..=8).contains(&length);
        let key = match algorithm {
            Algorithm::ES256 => {
                let (x, y) =
                    sized(&wire.x, &is_32).zip(sized(&wire.y, &is_32)).ok_or_else(broken)?;
                DecodingKey::from_ec_components(&x, &y)
            }
            Algorithm::EdDSA => {
                DecodingKey::from_ed_components(&sized(&wire.x, &is_32).ok_or_else(broken)?)
            }
            _ => {
                let (n, e) = sized(&wire.n, &is_modulus)
                    .zip(sized(&wire.e, &is_exponent))
                    .ok_or_else(broken)?;
                DecodingKey::from_rsa_components(&n, &e)
            }
        };
        let key = key.map_err(|_| broken())?;
        Ok(Some(Self { kid: wire.kid.clone(), algorithm, name, key }))
    }

    /// The key's algorithm as tokens spell it.
    pub(super) fn algorithm_name(&self) -> &'static str {
        self.name
    }

    /// Whether `signature` (base64url) is this key's over `signed`.
    pub(super) fn verifies(&self, signed: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.key, self.algorithm)
            .unwrap_or(false)
    }
}

impl WireKey {
    /// The one algorithm of the key: its own `alg`, or the one its kind implies.
    fn accepted_algorithm(&self) -> Option<(Algorithm, &'static str)> {
        match (self.kty.as_str(), self.crv.as_deref(), self.alg.as_deref()) {
            ("EC", Some("P-256"), None | Some("ES256")) => Some((Algorithm::ES256, "ES256")),
            ("OKP", Some("Ed25519"), None | Some("EdDSA")) => Some((Algorithm::EdDSA, "EdDSA")),
            ("RSA", _, None | Some("RS256")) => Some((Algorithm::RS256, "RS256")),
            ("RSA", _, Some("PS256")) => Some((Algorithm::PS256, "PS256")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x() -> String {
        BASE64URL_NOPAD.encode(&[7; 32])
    }

    fn refused(keys: &str) -> JwksError {
        KeySet::parse(format!("{{\"keys\":[{keys}]}}").as_bytes()).err().unwrap()
    }

    #[test]
    fn keys_that_cannot_verify_are_left_out() {
        for key in [
            r#"{"kty":"oct","kid":"h","alg":"HS256","k":"AAAA"}"#,
            &format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"e","use":"enc","x":"{}"}}"#, x()),
            &format!(r#"{{"kty":"OKP","crv":"X25519","kid":"e","x":"{}"}}"#, x()),
            &format!(r#"{{"kty":"EC","crv":"P-256","alg":"HS256","x":"{0}","y":"{0}"}}"#, x()),
        ] {
            assert!(matches!(refused(key), JwksError::NoneUsable), "{key}");
        }
    }

    #[test]
    fn broken_and_ambiguous_keys_refuse_the_set() {
        for key in [
            r#"{"kty":"OKP","crv":"Ed25519","kid":"e","x":"AAAA"}"#,
            r#"{"kty":"RSA","kid":"r","n":"AQAB","e":"AQAB"}"#,
            r#"{"kty":"EC","crv":"P-256","kid":"p"}"#,
        ] {
            assert!(matches!(refused(key), JwksError::Broken { .. }), "{key}");
        }
        let twice = format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"e","x":"{}"}}"#, x());
        assert!(matches!(refused(&format!("{twice},{twice}")), JwksError::Ambiguous { .. }));
        assert!(matches!(KeySet::parse(b"[]"), Err(JwksError::Form(_))));
    }
}
