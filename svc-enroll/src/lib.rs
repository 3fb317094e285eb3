//! Who may be a node, and what makes one: registration, first contact, certificates, bus credentials, liveness.
//!
//! - [`bootstrap`]: `pact-enroll bootstrap`, which makes a site's keys and certificates.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod bootstrap;
