//! May they: what was named, who may, and what is written down of it.

pub(crate) mod access;
pub(crate) mod authorise;
pub(crate) mod permit;
pub(crate) mod targets;
