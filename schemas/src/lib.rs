//! Every wire contract of pact, in one place.
//!
//! What two processes of pact say to each other, what a subject is called, what
//! an id looks like, what an error code means and which operations exist at all
//! is decided here and nowhere else. `docs/formats.md` is the prose of this crate.
//!
//! - [`v1`]: the protobuf messages of `schemas/proto/pact/v1`, generated and
//!   committed; `tests/regenerate.rs` generates them again and compares.
//! - [`argv`]: the command line of an exec, with its limits.
//! - [`id`]: validated newtypes. A value of these types can be put into a subject,
//!   a path or a key without a second look.
//! - [`subject`]: every NATS subject, constructed and parsed.
//! - [`rpc`]: every call on the bus: its subject, its request and its reply in one type.
//! - [`operation`]: the operations table, from which commands, policy data and the
//!   authorisation matrix follow.
//! - [`error_code`]: symbolic error codes and the exit code of each.
//! - [`ttl`], [`minutes`], [`message`], [`digest`], [`hardware`], [`node_state`], [`mode`]: one newtype each, with its limit.
//!   Edges take these and know no limit themselves.
//! - [`nodeset`]: `node[001-128]` expressions, parsed and folded.
//! - [`history`]: which entries are wanted: what changed, or all that was recorded.
//! - [`judged`]: in which vCluster the right to act on nodes was judged.
//! - [`resource`]: keys, values, changes: what is declared and what is found.
//! - [`spec`]: the TOML specification that `pact apply` takes.
//! - [`convert`]: from wire messages to values that are known to be whole.
//!
//! Invariants, as absences: nothing here does I/O, reads a clock or makes a random
//! value; nothing turns an unknown enumeration value or a missing field into a
//! default; no service crate defines a message, a subject or an error code.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod argv;
pub mod cluster_state;
pub mod convert;
pub mod digest;
pub mod error_code;
pub mod hardware;
pub mod history;
pub mod id;
pub mod judged;
pub mod message;
pub mod minutes;
pub mod mode;
pub mod node_state;
pub mod nodeset;
pub mod operation;
pub mod resource;
pub mod rpc;
pub mod spec;
pub mod subject;
pub mod ttl;

pub use argv::{Argv, ArgvError};
pub use digest::Digest;
pub use error_code::ErrorCode;
pub use hardware::HardwareIdentity;
pub use id::{
    EventKind, MemberId, MethodName, NodeId, RequestId, Seq, ServiceName, SiteName, SpoolId,
    StreamId, VclusterId,
};
pub use message::Message;
pub use minutes::Minutes;
pub use mode::Mode;
pub use node_state::NodeState;
pub use nodeset::NodeSet;
pub use subject::Subject;
pub use ttl::Ttl;

/// Generated from `schemas/proto/pact/v1/*.proto`; see the files there for the
/// meaning of every message.
#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod v1 {
    include!("gen/pact.v1.rs");
}

/// The encoded descriptors of [`v1`], for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/descriptors.bin");
