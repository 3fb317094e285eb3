//! Streams: from nodes, through this process, to one client.
//!
//! ```text
//! client ── Outflow ◄── outlet ◄── node ◄── the agent's frames
//!        ── input ──────────────► node ──► the agent's controls
//! ```
//!
//! - `kind`: what a kind of stream has to say of itself: what is started, its request, its frames. Nothing else here knows a kind.
//! - `streams`: what opens a stream and what ends it, and its nodes.
//! - `admission`: which node is asked when; `node`: one node's part; `input`: what the client sends, to every node.
//! - `outlet`: the client's end, which may stop reading at any time; `sessions`: how many one principal has open.
//!
//! The client's stream is the life of what runs for it: when it is dropped, the receivers are dropped, and each tells its
//! agent to end. The same happens when the client's token ends, when it takes nothing for too long, and when the gateway
//! stops.

mod admission;
mod input;
mod kind;
mod node;
mod outlet;
mod sessions;
mod streams;

pub(crate) use admission::GRANT_RESERVE;
pub(crate) use kind::{Frame, Streamed};
pub(crate) use outlet::{Outflow, Outlet};
pub(crate) use streams::{DRAIN_GRACE, Drain, Streams};
