//! The one bus: how every process of pact speaks NATS.
//!
//! Services, agents and watchers meet on NATS subjects. NATS alone promises little: a publish to a dead server
//! succeeds, a request whose caller gave up is delivered after the reconnect, a slow subscriber loses messages
//! silently. This crate is where each of these becomes a typed answer.
//!
//! Parts
//! - [`Bus`]: one connection with credentials, TLS by the site's CA alone, endless reconnects, typed calls.
//! - [`BusConfig`], [`Credentials`]: where to, as whom, trusting what.
//! - [`settings`]: the same as the configuration of every service says it.
//! - [`Service`], [`Responder`]: the answering side: bounded workers, deadlines that are obeyed, a reply always.
//! - [`Deadline`], [`ClockTrust`]: how long a message may be acted upon, and by whose clock.
//! - [`Subscription`]: messages without a reply, with a [`Delivery::Resync`] wherever some may be missing.
//! - [`stream`]: numbered, credit-based byte streams from an agent to a caller, healed after losses.
//! - [`server`]: writes `nats-server.conf`; runs a throw-away nats-server for tests.
//!
//! What cannot be found here
//! - Nothing makes or checks a NATS JWT, and no seed is copied, logged or shown: credentials sign, that is all.
//! - Nothing spells a subject: they come from `pact_schemas::subject`.
//! - No request waits without a limit, no message is acted upon after its deadline, no handler can leave its caller
//!   waiting: a panic, a full queue, an unknown method and an undecodable body are answers too.
//! - No queue is unbounded; each bound is a constant with its reason.
//! - No connection trusts the machine's certificate store, and none is plain except to loopback when told so.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod server;
pub mod settings;
pub mod stream;

mod any;
mod bus;
mod call;
mod config;
mod connection;
mod deadline;
mod dispatch;
mod error;
mod meters;
mod responder;
mod rpc;
mod service;
mod subscription;
mod tls;

pub use bus::Bus;
pub use config::{BusConfig, Credentials, SignCallback};
pub use connection::ConnectionState;
pub use deadline::{ClockTrust, DEADLINE_HEADER, Deadline, MAX_DEADLINE};
pub use error::{BusError, CallError};
pub use responder::{MethodLimits, RequestContext, Responder};
pub use service::Service;
pub use subscription::{Delivery, Incoming, Subscription};

/// The largest payload that is sent: nats-server's `max_payload` of 1 MiB, which counts headers too, less their room.
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024 - 1024;
