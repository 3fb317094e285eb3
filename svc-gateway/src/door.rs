//! Who comes in, and how much of it.

pub mod listener;
pub mod service;

pub(crate) mod enrollment;
pub(crate) mod rate;
pub(crate) mod tokens;
