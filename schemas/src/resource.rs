//! The resource model: what can be declared about a node and what is found on it.
//!
//! A node's configuration is a map from keys to values. The journal declares, the
//! agent finds, and the difference of the two is drift; all of them, and the
//! gateway and the CLI between them, speak of it in these types.
//!
//! - [`ResourceKey`]: `kind/name`, in one spelling only.
//! - [`Value`]: what a key is, or is to be; [`FileValue`] for files.
//! - [`Change`], [`State`]: a difference and a whole, and the laws between them.
//! - [`Kind`], [`Dimension`]: what kinds there are, and what each counts as.
//! - [`gives_root`]: which keys decide what runs as root.
//! - [`KeyPattern`]: globs over keys, for blacklists and `enforce_keys`.
//! - [`change_set`]: changes as they travel, inline or in chunks.
//!
//! Invariants, as absences: no key has two spellings; nothing missing or unknown on
//! the wire becomes a value; nothing here reads a file, a clock or a hash map.

mod change;
pub mod change_set;
mod dimension;
mod key;
mod pattern;
mod root;
mod state;
mod value;

pub use change::{Change, drift_digest, drift_digest_in_order};
pub use dimension::{Dimension, Kind, UnknownDimension};
pub use key::{KeyError, MAX_KEY_BYTES, ResourceKey, escape, unescape};
pub use pattern::{KeyPattern, KeyPatterns, MAX_PATTERN_BYTES, MAX_PATTERNS, PatternError};
pub use root::{Reason, gives_root, parameter_gives_root};
pub use state::{State, advance, changes, effective};
pub use value::{FileKind, FileValue, MAX_CONTENT_BYTES, MAX_TEXT_BYTES, Value};
