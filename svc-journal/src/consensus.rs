//! What is replicated, below the stores that keep it and the Raft that carries it.
//!
//! - [`types`]: what openraft is parametrised with. [`wire`]: how its messages are encoded, in rows
//!   and between members.
//! - [`folder`]: the folder of a snapshot.

pub(crate) mod folder;
pub(crate) mod types;
pub(crate) mod wire;
