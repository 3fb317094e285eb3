//! One test binary of the policy engine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod ask;
mod t01_role_matrix;
mod t02_settings;
mod t03_site_rules;
mod t04_refused_sources;
mod t05_deadlines;
