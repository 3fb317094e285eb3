//! The rules of drift, without clock, disk, bus or thread: values in, values out.
//!
//! [`set`]: which keys differ. [`compare`]: when they do. [`magnitude`]: how much. [`window`]: how long nobody minds.
//! [`conflict`]: when node and journal both changed a key. [`snapshots`]: what was shown, until somebody decides on it.

pub(crate) mod compare;
pub(crate) mod conflict;
pub(crate) mod magnitude;
pub(crate) mod set;
pub(crate) mod snapshots;
pub(crate) mod window;
