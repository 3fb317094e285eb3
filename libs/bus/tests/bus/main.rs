//! The bus against a real nats-server in operator mode.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;
mod t01_request;
mod t02_deadline;
mod t03_outage;
mod t04_stream;
mod t05_tls;
