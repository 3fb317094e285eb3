//! Who comes in: tokens of callers.

pub(crate) mod tokens;
