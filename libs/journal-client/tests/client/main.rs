//! The client against members that are played on a real nats-server: leaders that change, answers that are lost, pages.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod members;
mod site;

mod t01_propose;
mod t02_recall;
