//! A token issuer with an ES256 key.

use std::path::Path;

use data_encoding::BASE64URL_NOPAD;
use pact_runtime::Clock;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

pub(crate) struct Issuer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    pub(crate) fn new(jwks_file: &Path) -> Self {
        let random = SystemRandom::new();
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
                .unwrap();
        let point = key.public_key().as_ref();
        let part = |range: std::ops::Range<usize>| BASE64URL_NOPAD.encode(&point[range]);
        let jwks = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k1",
            "x": part(1..33), "y": part(33..65),
        }]});
        std::fs::write(jwks_file, jwks.to_string()).unwrap();
        Self { key, random }
    }

    pub(crate) fn token(&self, roles: &[&str]) -> String {
        self.signed(|claims| claims["roles"] = json!(roles))
    }

    pub(crate) fn signed(&self, change: impl FnOnce(&mut Value)) -> String {
        let now = Clock::system().now().unix_seconds();
        let mut claims = json!({
            "iss": "test-issuer", "aud": "pact", "sub": "someone", "iat": now, "nbf": now, "exp": now + 600,
        });
        change(&mut claims);
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!(
            "{}.{}",
            part(&json!({"alg": "ES256", "kid": "k1", "typ": "JWT"})),
            part(&claims)
        );
        let signature = self.key.sign(&self.random, signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }
}
