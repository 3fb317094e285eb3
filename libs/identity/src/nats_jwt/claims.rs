//! The claims themselves, as nats-io/jwt version 2 writes them.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{ACCOUNT_KEY, JwtError, KeyKind, OPERATOR_KEY, USER_KEY, Wire, WireBody};

/// "Unlimited" in every numeric limit of NATS.
pub const NO_LIMIT: i64 = -1;

/// What a token says, whatever it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims<B> {
    /// Public key that the claims are about (`sub`).
    pub subject: String,
    /// Name for people; for an agent the node id, which the rights are made of.
    pub name: String,
    /// Unix seconds (`iat`). A revocation cuts off users issued up to its time.
    pub issued_at: u64,
    /// Unix seconds (`exp`); `None` never expires.
    pub expires_at: Option<u64>,
    /// What is claimed (`nats`).
    pub body: B,
}

/// One of the three kinds of claims.
pub trait ClaimsBody: Serialize + DeserializeOwned + sealed::Sealed {
    /// `nats.type`.
    const NAME: &'static str;
    #[doc(hidden)]
    const SUBJECT_KIND: KeyKind;
    #[doc(hidden)]
    const SIGNER_KIND: KeyKind;
}

mod sealed {
    /// Keeps the kinds to the three of NATS.
    pub trait Sealed {}
    impl Sealed for super::Operator {}
    impl Sealed for super::Account {}
    impl Sealed for super::User {}
}

impl ClaimsBody for Operator {
    const NAME: &'static str = "operator";
    const SUBJECT_KIND: KeyKind = OPERATOR_KEY;
    const SIGNER_KIND: KeyKind = OPERATOR_KEY;
}

impl ClaimsBody for Account {
    const NAME: &'static str = "account";
    const SUBJECT_KIND: KeyKind = ACCOUNT_KEY;
    const SIGNER_KIND: KeyKind = OPERATOR_KEY;
}

impl ClaimsBody for User {
    const NAME: &'static str = "user";
    const SUBJECT_KIND: KeyKind = USER_KEY;
    const SIGNER_KIND: KeyKind = ACCOUNT_KEY;
}

#[derive(Deserialize)]
struct ReadClaims<B> {
    sub: String,
    #[serde(default)]
    name: String,
    iat: u64,
    #[serde(default)]
    exp: u64,
    nats: B,
}

#[derive(Deserialize)]
struct ReadKind {
    iss: String,
    nats: ReadKindBody,
}

#[derive(Deserialize)]
struct ReadKindBody {
    r#type: String,
    version: u8,
}

/// `iss` of claims that are not yet believed.
pub(super) fn issuer_of(body_json: &[u8]) -> Result<String, serde_json::Error> {
    serde_json::from_slice::<ReadKind>(body_json).map(|kind| kind.iss)
}

impl<B: ClaimsBody> Claims<B> {
    pub(super) fn to_wire(&self, issuer: String) -> Wire<'_, B> {
        Wire {
            exp: self.expires_at,
            jti: None,
            iat: self.issued_at,
            iss: issuer,
            name: &self.name,
            sub: &self.subject,
            nats: WireBody { body: &self.body, r#type: B::NAME, version: 2 },
        }
    }

    pub(super) fn from_wire(body_json: &[u8]) -> Result<Self, JwtError> {
        let unreadable = |source| JwtError::Claims { expected: B::NAME, source };
        let kind: ReadKind = serde_json::from_slice(body_json).map_err(unreadable)?;
        if kind.nats.r#type != B::NAME || kind.nats.version != 2 {
            return Err(JwtError::Kind { found: kind.nats.r#type, expected: B::NAME });
        }
        let read: ReadClaims<B> = serde_json::from_slice(body_json).map_err(unreadable)?;
        Ok(Self {
            subject: read.sub,
            name: read.name,
            issued_at: read.iat,
            expires_at: (read.exp != 0).then_some(read.exp),
            body: read.nats,
        })
    }
}

/// Body of operator claims.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Operator {
    /// Public keys that may sign accounts in the operator's name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signing_keys: Vec<String>,
    /// Public key of the system account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub system_account: String,
}

/// Body of account claims.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// Limits of the whole account.
    pub limits: AccountLimits,
    /// Keys that may sign users of this account.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signing_keys: Vec<SigningKey>,
    /// Users that are cut off.
    #[serde(skip_serializing_if = "Revocations::is_empty")]
    pub revocations: Revocations,
    /// Rights of users that name none.
    pub default_permissions: Permissions,
}

/// Limits of an account. The default is: everything unlimited, JetStream off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccountLimits {
    /// Subscriptions.
    pub subs: i64,
    /// Bytes in total.
    pub data: i64,
    /// Bytes of one message.
    pub payload: i64,
    /// Imports.
    pub imports: i64,
    /// Exports.
    pub exports: i64,
    /// Whether exports may be wildcards.
    pub wildcards: bool,
    /// Client connections.
    pub conn: i64,
    /// Leaf node connections.
    pub leaf: i64,
    /// JetStream bytes in memory; 0 = JetStream off.
    #[serde(skip_serializing_if = "is_zero")]
    pub mem_storage: i64,
    /// JetStream bytes on disk; 0 = JetStream off.
    #[serde(skip_serializing_if = "is_zero")]
    pub disk_storage: i64,
    /// JetStream streams.
    #[serde(skip_serializing_if = "is_zero")]
    pub streams: i64,
    /// JetStream consumers (NATS spells this one in the singular).
    #[serde(rename = "consumer", skip_serializing_if = "is_zero")]
    pub consumers: i64,
}

impl Default for AccountLimits {
    fn default() -> Self {
        Self {
            subs: NO_LIMIT,
            data: NO_LIMIT,
            payload: NO_LIMIT,
            imports: NO_LIMIT,
            exports: NO_LIMIT,
            wildcards: true,
            conn: NO_LIMIT,
            leaf: NO_LIMIT,
            mem_storage: 0,
            disk_storage: 0,
            streams: 0,
            consumers: 0,
        }
    }
}

/// A key that may sign users of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SigningKey {
    /// May sign any user.
    Plain(String),
    /// May only sign users that get the rights of a template.
    Scoped(Box<ScopedSigningKey>),
}

/// A signing key whose users all get the template's rights, whatever their own token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopedSigningKey {
    /// Always `user_scope`.
    kind: UserScope,
    /// Public account key.
    pub key: String,
    /// Name of the role.
    pub role: String,
    /// The rights; subjects may hold `{{name()}}`.
    pub template: UserLimits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum UserScope {
    #[serde(rename = "user_scope")]
    UserScope,
}

impl ScopedSigningKey {
    /// A scope of `key` for `role`.
    #[must_use]
    pub fn new(key: &str, role: &str, template: UserLimits) -> Self {
        Self { kind: UserScope::UserScope, key: key.to_owned(), role: role.to_owned(), template }
    }
}

/// Users that are cut off: public key → unix seconds; tokens issued up to then are refused and live connections are closed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revocations(BTreeMap<String, u64>);

/// The list has no room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// Prune what has expired, or shorten the lifetime of bus credentials.
    #[error("{limit} users are revoked already")]
    Full {
        /// [`Revocations::LIMIT`].
        limit: usize,
    },
}

impl Revocations {
    /// Most users in one list: 8,000 keys keep the account's token under 1 MiB (decisions §1).
    pub const LIMIT: usize = 8_000;

    /// Cuts off `user` (public key) for tokens issued up to `at` (unix seconds). A later time wins over an earlier one.
    ///
    /// # Errors
    /// [`RevocationError::Full`] at [`Self::LIMIT`].
    pub fn revoke(&mut self, user: &str, at: u64) -> Result<(), RevocationError> {
        if self.0.len() >= Self::LIMIT && !self.0.contains_key(user) {
            return Err(RevocationError::Full { limit: Self::LIMIT });
        }
        let since = self.0.entry(user.to_owned()).or_insert(at);
        *since = (*since).max(at);
        Ok(())
    }

    /// Drops revocations older than `before` (unix seconds): the caller passes now minus the longest lifetime of a user's token,
    /// so that every token they could have concerned has expired.
    pub fn prune(&mut self, before: u64) {
        self.0.retain(|_, at| *at >= before);
    }

    /// How many users are cut off.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is cut off.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Since when `user` is cut off, in unix seconds.
    #[must_use]
    pub fn since(&self, user: &str) -> Option<u64> {
        self.0.get(user).copied()
    }
}

/// Publish, subscribe and reply rights.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Permissions {
    /// Subjects that may be published on.
    pub r#pub: SubjectPermission,
    /// Subjects that may be subscribed.
    pub sub: SubjectPermission,
    /// Right to answer on the reply subject of a received message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resp: Option<ResponsePermission>,
}

/// An allow list. NATS reads an absent list as "everything", so a list made here is never absent: see [`SubjectPermission::only`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubjectPermission {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deny: Vec<String>,
}

impl SubjectPermission {
    /// Exactly these subjects; with none, nothing at all.
    #[must_use]
    pub fn only<I: IntoIterator<Item = S>, S: Into<String>>(subjects: I) -> Self {
        let allow: Vec<String> = subjects.into_iter().map(Into::into).collect();
        let deny = if allow.is_empty() { vec![">".to_owned()] } else { Vec::new() };
        Self { allow, deny }
    }

    /// The allowed subjects; empty when nothing was restricted, or everything denied.
    #[must_use]
    pub fn allow(&self) -> &[String] {
        &self.allow
    }

    /// The denied subjects.
    #[must_use]
    pub fn deny(&self) -> &[String] {
        &self.deny
    }
}

/// Right to answer a request on its reply subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponsePermission {
    /// Messages per request.
    pub max: i64,
    /// Nanoseconds after the request.
    pub ttl: i64,
}

/// Rights and limits of a user, also the template of a scoped signing key. All zero means "unset", as a scoped user must be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserLimits {
    /// Rights.
    #[serde(flatten)]
    pub permissions: Permissions,
    /// Subscriptions, [`NO_LIMIT`] for any number.
    #[serde(skip_serializing_if = "is_zero")]
    pub subs: i64,
    /// Bytes in total.
    #[serde(skip_serializing_if = "is_zero")]
    pub data: i64,
    /// Bytes of one message.
    #[serde(skip_serializing_if = "is_zero")]
    pub payload: i64,
    /// Kinds of connection (`STANDARD`, `LEAFNODE`, …); empty = any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_connection_types: Vec<String>,
}

/// Body of user claims. A user of a scoped key with rights of its own, which nats-server refuses, cannot be built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    #[serde(flatten)]
    limits: UserLimits,
    #[serde(skip_serializing_if = "String::is_empty")]
    issuer_account: String,
}

impl User {
    /// A user whose rights are those of the scoped signing key that signs it; `account` is the public key of the account.
    #[must_use]
    pub fn scoped(account: &str) -> Self {
        Self { limits: UserLimits::default(), issuer_account: account.to_owned() }
    }

    /// A user with rights of its own; `account` is the public key of the account, whose identity key or plain signing key signs.
    #[must_use]
    pub fn with_limits(account: &str, limits: UserLimits) -> Self {
        Self { limits, issuer_account: account.to_owned() }
    }

    /// The rights and limits in the token; all unset for a user of a scoped key.
    #[must_use]
    pub fn limits(&self) -> &UserLimits {
        &self.limits
    }

    /// Public key of the account.
    #[must_use]
    pub fn issuer_account(&self) -> &str {
        &self.issuer_account
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}
