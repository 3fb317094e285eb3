//! Bearer tokens: from a JWT of the site's OIDC issuer to a [`Principal`].
//!
//! The algorithm is the key's, never the token's: the token's `alg` must merely agree. Asymmetric keys only; there is no path to
//! HMAC. `jku`, `x5u`, `jwk` and `x5c` in a token's header are not even read. Times come from the caller, not from the JWT
//! library's own clock.
//!
//! Absences: no claim has a default that lets someone in; an unknown role is no role; a refused token gets one and the same text
//! outward, the reason is for the log; no token, nor a part of one, appears in an error.

mod claims;
mod jwks;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arc_swap::ArcSwap;
use data_encoding::BASE64URL_NOPAD;
use pact_runtime::Timestamp;
use serde::Deserialize;

pub use jwks::JwksError;

use crate::principal::{Principal, PrincipalFault};
use crate::role::Role;
use claims::Claims;
use jwks::KeySet;

/// Longest token that is looked at; nats and gRPC metadata limits are above it.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Largest `jwks_file`.
pub const MAX_JWKS_BYTES: u64 = 256 * 1024;

/// Default of [`OidcConfig::leeway_seconds`].
pub const DEFAULT_LEEWAY_SECONDS: u64 = 30;

/// Default of [`OidcConfig::max_token_lifetime_seconds`]: 15 minutes.
pub const DEFAULT_MAX_TOKEN_LIFETIME_SECONDS: u64 = 900;

/// Default of [`OidcConfig::role_claims`].
pub const DEFAULT_ROLE_CLAIMS: [&str; 2] = ["roles", "pact_role"];

/// Whose tokens are accepted, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcConfig {
    /// `iss`, exactly.
    pub issuer: String,
    /// Must be `aud` or one of it.
    pub audience: String,
    /// The issuer's keys (JWKS) as a file.
    pub jwks_file: Option<PathBuf>,
    /// Where the issuer publishes its keys. Fetching is not built yet: [`OidcError::FetchUnimplemented`].
    pub jwks_url: Option<String>,
    /// Tolerance for `exp`, `nbf` and `iat`.
    pub leeway_seconds: u64,
    /// Longest life of a token, `exp` minus `iat`.
    pub max_token_lifetime_seconds: u64,
    /// Claims that hold roles: a name, or a JSON pointer (`/realm_access/roles`).
    pub role_claims: Vec<String>,
    /// When not empty, `azp` (or `client_id`) must be one of these.
    pub authorized_parties: Vec<String>,
}

impl OidcConfig {
    /// The defaults for this issuer and audience; no key source yet.
    #[must_use]
    pub fn new(issuer: &str, audience: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            jwks_file: None,
            jwks_url: None,
            leeway_seconds: DEFAULT_LEEWAY_SECONDS,
            max_token_lifetime_seconds: DEFAULT_MAX_TOKEN_LIFETIME_SECONDS,
            role_claims: DEFAULT_ROLE_CLAIMS.iter().map(|name| (*name).to_owned()).collect(),
            authorized_parties: Vec::new(),
        }
    }
}

/// Why no verifier could be set up, or its keys not be read again.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// A setting without which everyone, or no one, would get in.
    #[error("the setting {setting} of the token issuer is missing")]
    Missing {
        /// Its name.
        setting: &'static str,
    },
    /// Both sources of keys are configured.
    #[error("jwks_file and jwks_url are both set: one of them is needed")]
    TwoSources,
    /// Only `jwks_url` is configured.
    #[error("fetching keys from jwks_url is not built yet: set jwks_file")]
    FetchUnimplemented,
    /// The file cannot be read.
    #[error("the key file {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than [`MAX_JWKS_BYTES`].
    #[error("the key file {} has {bytes} bytes, the limit is {limit}", path.display(), limit = MAX_JWKS_BYTES)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The file holds no usable set of keys.
    #[error("the key file {} cannot be used", path.display())]
    Jwks {
        /// The file.
        path: PathBuf,
        /// Why.
        source: JwksError,
    },
}

/// A token is refused. `Display` is the same for every reason; [`TokenRefused::reason`] is for the log.
#[derive(Debug, thiserror::Error)]
#[error("the bearer token is not accepted")]
pub struct TokenRefused {
    reason: Refusal,
}

impl TokenRefused {
    /// What exactly is wrong, for the log alone.
    #[must_use]
    pub fn reason(&self) -> &Refusal {
        &self.reason
    }
}

impl From<Refusal> for TokenRefused {
    fn from(reason: Refusal) -> Self {
        Self { reason }
    }
}

/// What is wrong with a token. Holds no part of it that could be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("the token is too long")]
    TooLong,
    /// Not three base64url parts of JSON.
    #[error("the token is not a signed JWT")]
    Form,
    /// `crit`, or a `typ` of something else than an access token.
    #[error("the token's header asks for something that is not understood: {field}")]
    Header {
        /// The header field.
        field: &'static str,
    },
    /// No key of this id.
    #[error("no key of the issuer has the id {kid:?}")]
    UnknownKey {
        /// As in the token, cut at 100 characters; empty when there is none.
        kid: String,
    },
    /// The token names another algorithm than its key has.
    #[error("the token says {found:?}, its key is for {expected}")]
    Algorithm {
        /// As in the token, cut at 100 characters.
        found: String,
        /// The key's.
        expected: &'static str,
    },
    /// The signature does not belong to token and key.
    #[error("the signature is wrong")]
    Signature,
    /// A required claim is missing or has the wrong JSON type.
    #[error("the claim {claim} is missing or has the wrong type")]
    Claim {
        /// Its name.
        claim: &'static str,
    },
    /// Another issuer.
    #[error("the token is from another issuer")]
    Issuer,
    /// Another audience.
    #[error("the token is for another audience")]
    Audience,
    /// Another client.
    #[error("the token was made for a client that is not listed")]
    AuthorizedParty,
    /// Past its end.
    #[error("the token expired {at}")]
    Expired {
        /// `exp`.
        at: Timestamp,
    },
    /// Before its start.
    #[error("the token is not valid before {at}")]
    NotYet {
        /// `nbf` or `iat`.
        at: Timestamp,
    },
    /// Valid for too long.
    #[error("the token lives {seconds} s, {limit} s are accepted")]
    Lifetime {
        /// `exp` minus `iat` (or minus now).
        seconds: u64,
        /// [`OidcConfig::max_token_lifetime_seconds`].
        limit: u64,
    },
    /// Subject, or roles that do not go together.
    #[error("the token makes no principal")]
    Principal(#[from] PrincipalFault),
}

/// Verifies tokens of one issuer. Cheap to call from many threads; [`TokenVerifier::reload`] swaps the keys.
pub struct TokenVerifier {
    config: OidcConfig,
    file: PathBuf,
    keys: ArcSwap<KeySet>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

impl TokenVerifier {
    /// Reads the keys and is ready.
    ///
    /// # Errors
    /// [`OidcError`] when a setting is missing or the keys cannot be used.
    pub fn new(config: OidcConfig) -> Result<Self, OidcError> {
        for (setting, value) in [("issuer", &config.issuer), ("audience", &config.audience)] {
            if value.is_empty() {
                return Err(OidcError::Missing { setting });
            }
        }
        let file = match (&config.jwks_file, &config.jwks_url) {
            (Some(file), None) => file.clone(),
            (None, Some(_)) => return Err(OidcError::FetchUnimplemented),
            (Some(_), Some(_)) => return Err(OidcError::TwoSources),
            (None, None) => return Err(OidcError::Missing { setting: "jwks_file" }),
        };
        let keys = ArcSwap::from_pointee(read_keys(&file)?);
        Ok(Self { config, file, keys })
    }

    /// Reads the key file again. On an error the present keys stay in use.
    ///
    /// # Errors
    /// [`OidcError`] when the file cannot be used.
    pub fn reload(&self) -> Result<(), OidcError> {
        self.keys.store(read_keys(&self.file)?.into());
        Ok(())
    }

    /// What the verifier was set up with.
    #[must_use]
    pub fn config(&self) -> &OidcConfig {
        &self.config
    }

    /// The principal that `token` (without `Bearer `) proves at `now`.
    ///
    /// # Errors
    /// [`TokenRefused`], whose text is always the same.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Principal, TokenRefused> {
        let payload = self.check_signature(token)?;
        let claims = Claims::parse(&payload)?;
        self.check_claims(&claims, now)?;
        let roles = self.roles(&claims);
        let expires = claims.expires()?;
        let principal = Principal::from_token(
            claims.subject()?.to_owned(),
            self.config.issuer.clone(),
            roles,
            expires,
        );
        Ok(principal.map_err(Refusal::Principal)?)
    }

    /// The payload of a token that one of the keys has signed.
    fn check_signature(&self, token: &str) -> Result<Vec<u8>, Refusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Form)?;
        let (header, payload) = signed.split_once('.').ok_or(Refusal::Form)?;
        let part = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| Refusal::Form);
        let (header_json, payload_json) = (part(header)?, part(payload)?);
        let header: Header = serde_json::from_slice(&header_json).map_err(|_| Refusal::Form)?;
        if header.crit.is_some() {
            return Err(Refusal::Header { field: "crit" });
        }
        let is_token = |typ: &str| {
            ["jwt", "at+jwt", "application/at+jwt"].contains(&typ.to_ascii_lowercase().as_str())
        };
        if header.typ.as_deref().is_some_and(|typ| !is_token(typ)) {
            return Err(Refusal::Header { field: "typ" });
        }
        let keys = self.keys.load();
        let key = keys.find(header.kid.as_deref()).ok_or_else(|| Refusal::UnknownKey {
            kid: short(header.kid.as_deref().unwrap_or("")),
        })?;
        if header.alg != key.algorithm_name() {
            return Err(Refusal::Algorithm {
                found: short(&header.alg),
                expected: key.algorithm_name(),
            });
        }
        if !key.verifies(signed, signature) {
            return Err(Refusal::Signature);
        }
        Ok(payload_json)
    }

    fn check_claims(&self, claims: &Claims, now: Timestamp) -> Result<(), Refusal> {
        let config = &self.config;
        if claims.issuer()? != config.issuer {
            return Err(Refusal::Issuer);
        }
        if !claims.audiences()?.contains(&config.audience.as_str()) {
            return Err(Refusal::Audience);
        }
        if !config.authorized_parties.is_empty() {
            let party = claims.authorized_party()?.ok_or(Refusal::Claim { claim: "azp" })?;
            if !config.authorized_parties.iter().any(|listed| listed == party) {
                return Err(Refusal::AuthorizedParty);
            }
        }
        claims.subject()?;
        self.check_times(claims, now)
    }

    fn check_times(&self, claims: &Claims, now: Timestamp) -> Result<(), Refusal> {
        let leeway = Duration::from_secs(self.config.leeway_seconds);
        let limit = self.config.max_token_lifetime_seconds;
        let expires = claims.expires()?;
        if now.duration_since(expires).is_some_and(|past| past >= leeway) {
            return Err(Refusal::Expired { at: expires });
        }
        let (not_before, issued) = (claims.not_before()?, claims.issued()?);
        for start in [not_before, issued].into_iter().flatten() {
            if start.duration_since(now).is_some_and(|ahead| ahead > leeway) {
                return Err(Refusal::NotYet { at: start });
            }
        }
        // Without `iat` the life that is left counts, which a token cannot understate.
        let start = issued.unwrap_or(now);
        let seconds = expires.duration_since(start).unwrap_or_default().as_secs();
        if seconds > limit {
            return Err(Refusal::Lifetime { seconds, limit });
        }
        Ok(())
    }

    /// The roles in the configured claims. What is unknown there is no role; other systems' roles stand in the same claim.
    /// All of them, whatever their order: a token is short (see [`MAX_TOKEN_BYTES`]).
    fn roles(&self, claims: &Claims) -> BTreeSet<Role> {
        let names = self.config.role_claims.iter().flat_map(|path| claims.texts_at(path));
        names.filter_map(|name| name.parse().ok()).collect()
    }
}

impl std::fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenVerifier").field("config", &self.config).finish_non_exhaustive()
    }
}

fn read_keys(path: &Path) -> Result<KeySet, OidcError> {
    let at = || path.to_owned();
    let unreadable = |source| OidcError::Read { path: at(), source };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > MAX_JWKS_BYTES {
        return Err(OidcError::TooLarge { path: at(), bytes });
    }
    let text = std::fs::read(path).map_err(unreadable)?;
    KeySet::parse(&text).map_err(|source| OidcError::Jwks { path: at(), source })
}

fn short(text: &str) -> String {
    text.chars().take(100).collect()
}
