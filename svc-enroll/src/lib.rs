//! Who may be a node, and what makes one: registration, first contact, certificates, bus credentials, liveness.
//!
//! - [`bootstrap`]: `pact-enroll bootstrap`, which makes a site's keys and certificates.
//! - [`config`]: the keys of `/etc/pact/enroll.toml`.
//! - [`service`]: reads its keys, goes on the bus, answers and sweeps.
//! - `handlers`: what is answered: `enroll`, `liveness`, `health`; to nodes `hello`, `renew`.
//! - `core`: the rules, pure: who is recognised and enrolled, who is silent, how many refusals are recorded.
//! - `authority`: certificates and bus users for nodes.
//! - `journal`: reads, and proposals to the leader.
//! - `sweep`, `revocation`: liveness and revoked bus users, decided anew from the journal each time.
//!
//! The journal is the only truth: the service holds no state that a restart would lose, but who was heard of lately; and after
//! a start nobody is called Inactive for a whole grace period.
//!
//! Invariants, as absences: no credentials leave before the journal has committed the enrolment; nothing is signed for a name
//! that is no node id, and nothing of a certificate request is used but its public key; no machine is enrolled that does not
//! show every registered id, and none while another one answers under that name; no sender is taken from a body; no calendar
//! decides who is alive; no private key is written after the bootstrap, logged or shown.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod authority;
pub mod bootstrap;
pub mod config;
pub mod service;

mod context;
mod core;
mod handlers;
mod journal;
mod revocation;
mod sweep;
