//! Which tokens make a principal, and that every other is refused with one text (S18).

use std::path::PathBuf;
use std::sync::LazyLock;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pact_identity::oidc::{OidcError, Refusal};
use pact_identity::{OidcConfig, Principal, PrincipalKind, TokenVerifier};
use pact_runtime::Timestamp;
use rsa::pkcs1::{EncodeRsaPrivateKey as _, LineEnding};
use serde_json::{Value, json};

use super::{NOW, seconds};

const ISSUER: &str = "https://idp.example";
const AUDIENCE: &str = "pact";

/// An RSA key of this process: none is kept anywhere.
static RSA_PEM: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
    key.to_pkcs1_pem(LineEnding::LF).unwrap().as_bytes().to_vec()
});

/// An issuer with one key of each kind, and a verifier that trusts it.
pub(crate) struct Issuer {
    keys: Vec<(&'static str, Algorithm, EncodingKey)>,
    file: PathBuf,
    config: OidcConfig,
    _folder: tempfile::TempDir,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let ed25519 = pact_identity::x509::PrivateKey::generate_ed25519().unwrap();
        let keys = vec![
            ("es", Algorithm::ES256, EncodingKey::from_ec_der(p256.serialized_der())),
            ("rs", Algorithm::RS256, EncodingKey::from_rsa_pem(&RSA_PEM).unwrap()),
            ("ps", Algorithm::PS256, EncodingKey::from_rsa_pem(&RSA_PEM).unwrap()),
            ("ed", Algorithm::EdDSA, ed25519_key(&ed25519)),
        ];
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jwks.json");
        let issuer = Self {
            config: OidcConfig {
                jwks_file: Some(file.clone()),
                ..OidcConfig::new(ISSUER, AUDIENCE)
            },
            keys,
            file,
            _folder: folder,
        };
        issuer.publish(&["es", "rs", "ps", "ed"]);
        issuer
    }

    fn publish(&self, kids: &[&str]) {
        let keys: Vec<Value> =
            self.keys.iter().filter(|(kid, ..)| kids.contains(kid)).map(public).collect();
        std::fs::write(&self.file, json!({ "keys": keys }).to_string()).unwrap();
    }

    fn verifier(&self) -> TokenVerifier {
        TokenVerifier::new(self.config.clone()).unwrap()
    }

    fn token(&self, kid: &str, claims: &Value) -> String {
        let (_, algorithm, key) = self.keys.iter().find(|(name, ..)| *name == kid).unwrap();
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(*algorithm) };
        jsonwebtoken::encode(&header, claims, key).unwrap()
    }

    pub(crate) fn principal(&self, subject: &str, roles: &[&str]) -> Principal {
        let mut claims = without("pact_role");
        claims["sub"] = json!(subject);
        claims["roles"] = json!(roles);
        self.verifier().verify(&self.token("es", &claims), NOW).unwrap()
    }
}

/// jsonwebtoken reads PKCS#8 version 1 only for Ed25519, ring writes version 2.
fn ed25519_key(key: &pact_identity::x509::PrivateKey) -> EncodingKey {
    let v2 = key.to_der();
    let seed = &v2.secret_pkcs8_der()[16..48];
    let v1 = [b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".as_slice(), seed]
        .concat();
    EncodingKey::from_ed_der(&v1)
}

fn public((kid, algorithm, key): &(&str, Algorithm, EncodingKey)) -> Value {
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(key, *algorithm).unwrap()).unwrap();
    jwk["kid"] = json!(kid);
    jwk
}

fn claims() -> Value {
    let now = NOW.unix_seconds();
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "nbf": now, "exp": now + 600,
        "roles": ["pact-ops-ml", "offline_access"], "pact_role": "pact-viewer-physics",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut changed = claims();
    changed[name] = value;
    changed
}

fn without(name: &str) -> Value {
    let mut changed = claims();
    changed.as_object_mut().unwrap().remove(name);
    changed
}

/// A token whose header says anything.
fn raw(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    format!("{}.{}.{}", part(header), part(claims), BASE64URL_NOPAD.encode(signature))
}

fn hmac(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let unsigned = raw(header, claims, b"");
    let message = unsigned.trim_end_matches('.');
    let signature = jsonwebtoken::crypto::sign(
        message.as_bytes(),
        &EncodingKey::from_secret(secret),
        Algorithm::HS256,
    )
    .unwrap();
    format!("{message}.{signature}")
}

#[test]
fn a_token_of_each_accepted_algorithm_makes_a_principal() {
    let issuer = Issuer::new();
    for kid in ["es", "rs", "ps", "ed"] {
        let principal = issuer.verifier().verify(&issuer.token(kid, &claims()), NOW).unwrap();
        assert_eq!(
            (principal.subject(), principal.issuer(), principal.kind()),
            ("alice", ISSUER, PrincipalKind::Human)
        );
        let roles: Vec<String> = principal.roles().iter().map(ToString::to_string).collect();
        assert_eq!(roles, ["pact-ops-ml", "pact-viewer-physics"], "{kid}");
        assert_eq!(principal.expires(), Some(seconds(600)));
    }
}

#[test]
fn roles_come_from_the_configured_claims_alone() {
    let mut issuer = Issuer::new();
    let roles = |issuer: &Issuer, claims: &Value| {
        let principal = issuer.verifier().verify(&issuer.token("es", claims), NOW).unwrap();
        principal.roles().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let nobody = json!({"iss": ISSUER, "aud": ["x", AUDIENCE], "sub": "a", "exp": NOW.unix_seconds() + 60, "groups": ["pact-platform-admin"]});
    assert!(roles(&issuer, &nobody).is_empty());
    assert!(roles(&issuer, &json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "a", "exp": NOW.unix_seconds() + 60, "roles": {"pact-platform-admin": true}})).is_empty());
    issuer.config.role_claims = vec!["/realm_access/roles".into()];
    assert_eq!(
        roles(&issuer, &with("realm_access", json!({"roles": ["pact-platform-admin", 7]}))),
        ["pact-platform-admin"]
    );
}

#[test]
fn machine_roles_make_machines_and_mix_with_nothing() {
    let issuer = Issuer::new();
    assert_eq!(issuer.principal("bot", &["pact-service-ai"]).kind(), PrincipalKind::ServiceAi);
    let mixed = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "a", "exp": NOW.unix_seconds() + 60, "roles": ["pact-service-ai", "pact-platform-admin"]});
    let refused = issuer.verifier().verify(&issuer.token("es", &mixed), NOW).unwrap_err();
    assert!(matches!(refused.reason(), Refusal::Principal(_)));
}

#[test]
fn every_wrong_token_is_refused_with_the_same_text() {
    let issuer = Issuer::new();
    let stranger = Issuer::new();
    let now = NOW.unix_seconds();
    let es = |claims: &Value| issuer.token("es", claims);
    let public_key = public(&issuer.keys[1]).to_string();
    let header = |algorithm: &str| json!({"alg": algorithm, "kid": "es", "typ": "JWT"});
    let other_header = |extra: Value| {
        let mut header = json!({"alg": "ES256", "kid": "es"});
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let unsigned = raw(&header, &claims(), b"");
        let message = unsigned.trim_end_matches('.');
        format!(
            "{message}.{}",
            jsonwebtoken::crypto::sign(message.as_bytes(), &issuer.keys[0].2, Algorithm::ES256)
                .unwrap()
        )
    };
    let good = es(&claims());
    let (signed, _) = good.rsplit_once('.').unwrap();
    let cases: Vec<(&str, String)> = vec![
        ("alg none", raw(&header("none"), &claims(), b"")),
        ("alg None with signature", raw(&header("None"), &claims(), b"x")),
        ("no signature", format!("{signed}.")),
        (
            "HS256 with the public key",
            hmac(&json!({"alg": "HS256", "kid": "rs"}), &claims(), public_key.as_bytes()),
        ),
        ("HS256 with the PEM", hmac(&json!({"alg": "HS256", "kid": "rs"}), &claims(), &RSA_PEM)),
        (
            "HMAC that says RS256",
            hmac(&json!({"alg": "RS256", "kid": "rs"}), &claims(), public_key.as_bytes()),
        ),
        ("PS256 by a key for RS256", {
            let header = Header { kid: Some("rs".into()), ..Header::new(Algorithm::PS256) };
            jsonwebtoken::encode(&header, &claims(), &issuer.keys[1].2).unwrap()
        }),
        (
            "another algorithm of the same key",
            raw(&json!({"alg": "RS512", "kid": "rs"}), &claims(), &[0; 256]),
        ),
        ("key of another issuer", stranger.token("es", &claims())),
        ("unknown kid", raw(&json!({"alg": "ES256", "kid": "nobody"}), &claims(), &[0; 64])),
        ("no kid among several keys", raw(&json!({"alg": "ES256"}), &claims(), &[0; 64])),
        ("crit", other_header(json!({"crit": ["exp"]}))),
        ("typ of a logout token", other_header(json!({"typ": "logout+jwt"}))),
        ("another issuer", es(&with("iss", json!("https://evil.example")))),
        ("issuer in a list", es(&with("iss", json!([ISSUER])))),
        ("no issuer", es(&without("iss"))),
        ("another audience", es(&with("aud", json!("other")))),
        ("other audiences", es(&with("aud", json!(["a", "b"])))),
        ("audience of numbers", es(&with("aud", json!([1, AUDIENCE])))),
        ("no audience", es(&without("aud"))),
        ("no subject", es(&without("sub"))),
        ("empty subject", es(&with("sub", json!("")))),
        ("subject with a line break", es(&with("sub", json!("alice\nadmin")))),
        ("subject as number", es(&with("sub", json!(7)))),
        ("no end", es(&without("exp"))),
        ("end as text", es(&with("exp", json!((now + 600).to_string())))),
        ("end as fraction", es(&with("exp", json!(600.5)))),
        ("negative end", es(&with("exp", json!(-1)))),
        ("end far away", es(&with("exp", json!(u64::MAX)))),
        ("end null", es(&with("exp", Value::Null))),
        ("expired", es(&with("exp", json!(now - 30)))),
        ("future nbf", es(&with("nbf", json!(now + 31)))),
        ("nbf as text", es(&with("nbf", json!("0")))),
        ("future iat", es(&with("iat", json!(now + 31)))),
        ("lives too long", es(&with("exp", json!(now + 901)))),
        ("lives too long without iat", {
            let mut changed = without("iat");
            changed["exp"] = json!(now + 901);
            es(&changed)
        }),
        ("claims are no object", es(&json!([1]))),
        ("two parts", "a.b".into()),
        ("four parts", format!("{good}.x")),
        ("empty", String::new()),
        ("too long", format!("{good}{}", "A".repeat(20_000))),
    ];
    let verifier = issuer.verifier();
    for (what, token) in &cases {
        let refused =
            verifier.verify(token, NOW).err().unwrap_or_else(|| panic!("accepted: {what}"));
        assert_eq!(refused.to_string(), "the bearer token is not accepted", "{what}");
        let told = format!("{refused:?} {}", refused.reason());
        assert!(token.len() < 40 || !told.contains(&token[..40]), "{what}: {told}");
    }
    assert!(verifier.verify(&good, NOW).is_ok());
}

#[test]
fn keys_in_the_header_are_not_even_read() {
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    let own_key = public(&stranger.keys[0]);
    for extra in [
        json!({"jwk": own_key}),
        json!({"jku": "https://evil.example/jwks"}),
        json!({"x5u": "https://evil.example"}),
    ] {
        let mut header = json!({"alg": "ES256", "kid": "es"});
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let unsigned = raw(&header, &claims(), b"");
        let message = unsigned.trim_end_matches('.');
        let token = |key: &EncodingKey| {
            format!(
                "{message}.{}",
                jsonwebtoken::crypto::sign(message.as_bytes(), key, Algorithm::ES256).unwrap()
            )
        };
        let refused = issuer.verifier().verify(&token(&stranger.keys[0].2), NOW).unwrap_err();
        assert_eq!(refused.reason(), &Refusal::Signature);
        assert!(issuer.verifier().verify(&token(&issuer.keys[0].2), NOW).is_ok());
    }
}

#[test]
fn the_ends_of_a_token_are_exact() {
    let issuer = Issuer::new();
    let token = issuer.token("es", &claims());
    let at = |time: Timestamp| issuer.verifier().verify(&token, time).is_ok();
    assert!(at(seconds(-30)) && !at(seconds(-31)));
    assert!(at(seconds(629)) && !at(seconds(630)));
}

#[test]
fn a_listed_client_is_needed_where_clients_are_listed() {
    let mut issuer = Issuer::new();
    issuer.config.authorized_parties = vec!["pact-cli".into()];
    let verify = |claims: &Value| issuer.verifier().verify(&issuer.token("es", claims), NOW);
    assert!(verify(&with("azp", json!("pact-cli"))).is_ok());
    assert!(verify(&with("client_id", json!("pact-cli"))).is_ok());
    assert_eq!(
        verify(&with("azp", json!("other"))).unwrap_err().reason(),
        &Refusal::AuthorizedParty
    );
    assert_eq!(verify(&claims()).unwrap_err().reason(), &Refusal::Claim { claim: "azp" });
}

#[test]
fn keys_are_read_again_on_request_and_kept_when_the_file_is_broken() {
    let issuer = Issuer::new();
    issuer.publish(&["rs"]);
    let verifier = issuer.verifier();
    let token = issuer.token("es", &claims());
    assert_eq!(
        verifier.verify(&token, NOW).unwrap_err().reason(),
        &Refusal::UnknownKey { kid: "es".into() }
    );
    issuer.publish(&["es"]);
    verifier.reload().unwrap();
    verifier.verify(&token, NOW).unwrap();
    std::fs::write(&issuer.file, "{").unwrap();
    assert!(matches!(verifier.reload(), Err(OidcError::Jwks { .. })));
    verifier.verify(&token, NOW).unwrap();
}

#[test]
fn a_verifier_needs_issuer_audience_and_one_source_of_keys() {
    let refused = |config: OidcConfig| TokenVerifier::new(config).unwrap_err();
    assert!(matches!(refused(OidcConfig::new("", "a")), OidcError::Missing { setting: "issuer" }));
    assert!(matches!(
        refused(OidcConfig::new("i", "")),
        OidcError::Missing { setting: "audience" }
    ));
    assert!(matches!(
        refused(OidcConfig::new("i", "a")),
        OidcError::Missing { setting: "jwks_file" }
    ));
    let fetched =
        OidcConfig { jwks_url: Some("https://idp/jwks".into()), ..OidcConfig::new("i", "a") };
    assert!(matches!(refused(fetched), OidcError::FetchUnimplemented));
    let absent = OidcConfig {
        jwks_file: Some("/nonexistent/jwks.json".into()),
        ..OidcConfig::new("i", "a")
    };
    assert!(matches!(refused(absent), OidcError::Read { .. }));
}

#[test]
fn t05_dates_may_have_fractions_and_no_order_of_roles_decides() {
    let issuer = Issuer::new();
    let now = NOW.unix_seconds();
    let mut claims = without("pact_role");
    #[allow(clippy::cast_precision_loss)]
    let date = |seconds: i64| json!(seconds as f64 + 0.5);
    (claims["iat"], claims["nbf"], claims["exp"]) = (date(now), date(now - 1), date(now + 600));
    let mut groups: Vec<String> = (0..1_500).map(|n| format!("g{n}")).collect();
    groups.push("pact-ops-ml".to_owned());
    for _ in 0..2 {
        claims["roles"] = json!(groups);
        let token = issuer.token("es", &claims);
        let principal = issuer.verifier().verify(&token, NOW).unwrap();
        let roles: Vec<String> = principal.roles().iter().map(ToString::to_string).collect();
        assert_eq!(roles, ["pact-ops-ml"]);
        groups.reverse();
    }
    claims["exp"] = date(now - 31);
    assert!(issuer.verifier().verify(&issuer.token("es", &claims), NOW).is_err());
}
