//! Who acts, and how that is proved.
//!
//! Everything that says "this may be believed" is decided here: tokens of people, signatures of services, certificates of nodes,
//! credentials of the bus. Other crates receive the results as types that cannot be made otherwise.
//!
//! - [`oidc`]: bearer tokens → [`Principal`].
//! - [`role`], [`principal`]: who it is.
//! - [`attestation`]: a gateway's word for a principal's request, a service's for itself.
//! - [`grant`]: the journal's word that an action is committed; the only thing that makes a node act.
//! - [`plane_time`]: the journal's answer to a node's time challenge.
//! - [`config_head`]: the journal's word for what a node is to be.
//! - [`signing`]: what those four are signed and verified with.
//! - [`x509`], [`uri`]: the site root, what it issues, and whom a certificate names.
//! - [`nats_jwt`]: operator, account and user tokens of the bus, and the rights in them.
//! - [`instance`]: names of service processes.
//!
//! Invariants, as absences: a [`Principal`], a [`Grant`], a [`ConfigHead`] or an [`Attestation`] is never made from an unverified
//! message; nothing here opens a connection, reads a clock or logs; no private key, seed or token appears in `Debug` or in an
//! error; no certificate request chooses anything about its certificate but the key; no verification has a default for what is
//! missing or unknown.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod attestation;
pub mod config_head;
pub mod grant;
pub mod instance;
pub mod nats_jwt;
pub mod oidc;
pub mod plane_time;
pub mod principal;
pub mod role;
pub mod signing;
pub mod uri;
pub mod x509;

pub use attestation::{Attestation, AttestationError, Statement};
pub use config_head::{ConfigError, ConfigHead, ConfigIssuer, sign_config};
pub use grant::{DegradedGrants, Grant, GrantError, GrantIssuer, GrantedAction, GrantedExec};
pub use instance::{InstanceName, ServiceInstance, ServiceRole};
pub use oidc::{OidcConfig, TokenRefused, TokenVerifier};
pub use plane_time::{sign_time, verify_time};
pub use principal::{Principal, PrincipalKind};
pub use role::Role;
pub use signing::{SignatureError, SignedBlob, Signer, Verifier};
pub use uri::{Holder, PactUri, SignerName, SignerRole, SigningRole, uri_of_certificate};
