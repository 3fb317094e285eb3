//! What the bus asks of the journal.
//!
//! ```text
//! pact.v1.rpc.journal.m.<member>.propose     commands of attested principals, on the leader
//! pact.v1.rpc.journal.<method>               reads, and the journal's health, on any member
//! pact.v1.node.<node>.up.event.<kind>        a node's spooled events, answered once they are committed
//! pact.v1.node.<node>.up.recording           a node's recorded chunks
//! pact.v1.node.<node>.up.time                plane time
//! pact.v1.node.<node>.up.config              what the node is to be
//! ```
//!
//! Each handler is a plain function of the context and the decoded request; [`service`] puts them on the bus.
//!
//! Absences: a node's name is never taken from a body; no principal is believed without an attestation; nothing is answered
//! "committed" that is not.

mod blob;
mod cluster;
mod config;
mod declared;
mod entries;
mod events;
mod grants;
mod health;
mod nodes;
mod propose;
pub(crate) mod quota;
mod recall;
mod time;

use std::time::Duration;

use pact_bus::{MethodLimits, Service};
use pact_schemas::operation::Owner;
use pact_schemas::rpc::member::Propose;
use pact_schemas::rpc::{journal as rpc, up};
use pact_schemas::{ErrorCode, NodeId, v1};

use crate::context::Context;

pub use blob::blob;
pub use cluster::cluster;
pub use config::config;
pub use declared::{declared, plan};
pub use entries::{entries, entry};
pub use events::{event, recording};
pub use health::health;
pub use nodes::{nodes, vclusters};
pub use propose::propose;
pub use recall::recall;
pub use time::time;

pub(crate) use config::documents::Documents;

/// Bytes of entries, nodes or outcomes in one reply: half of a bus message, so that one large item more still fits.
const MAX_REPLY_BYTES: usize = 512 * 1024;

/// Reads and proposals at once.
const CALLS: MethodLimits = MethodLimits { workers: 1_024, longest: Duration::from_secs(30) };
/// Followers of the log that wait for entries; each holds a worker for up to 20 s.
const FOLLOWERS: MethodLimits = MethodLimits { workers: 8_192, longest: Duration::from_secs(30) };
/// Events at once: more wait in the agents' spools.
const EVENTS: MethodLimits = MethodLimits { workers: 4_096, longest: Duration::from_secs(30) };

/// Questions for configurations: all nodes of a vCluster ask after a commit. Few are worked on at once, the others wait.
const CONFIGS: MethodLimits = MethodLimits { workers: 8_192, longest: Duration::from_secs(30) };

/// Everything that this member answers on the bus.
pub fn service(context: &Context, instance: &str) -> Service<Context> {
    let own = context.member().config().members.own();
    Service::new("journal", env!("CARGO_PKG_VERSION"), instance)
        .with(context.clone())
        .limits(FOLLOWERS)
        .on(rpc::Entries, |c, _, request| async move { entries(&c, request).await })
        .limits(CALLS)
        .on(rpc::Entry, |c, _, request| async move { entry(&c, request).await })
        .on(rpc::Nodes, |c, _, request| async move { nodes(&c, request).await })
        .on(rpc::Vclusters, |c, _, request| async move { vclusters(&c, request).await })
        .on(rpc::Blob, |c, _, request| async move { blob(&c, request).await })
        .on(rpc::Cluster, |c, _, request| async move { cluster(&c, request).await })
        .on(rpc::Health, |c, _, request| async move { health(&c, request).await })
        .on(rpc::Recall, |c, _, request| async move { recall(&c, request).await })
        .on(rpc::Declared, |c, _, request| async move { declared(&c, request).await })
        .on(rpc::Plan, |c, _, request| async move { plan(&c, request).await })
        .on_member(own, Propose, |c, _, request| async move { propose(&c, request).await })
        .unbuilt(Owner::Journal)
        .limits(EVENTS)
        .on_events(|c, call, request| async move { event(&c, &sender(call.node)?, request).await })
        .on_up(up::Recording, |c, call, request| async move {
            recording(&c, &sender(call.node)?, request).await
        })
        .on_up(up::Time, |c, call, request| async move { time(&c, &sender(call.node)?, &request) })
        .limits(CONFIGS)
        .on_up(up::Config, |c, call, request| async move {
            config(&c, &sender(call.node)?, request).await
        })
}

/// The node in the subject, which the bus has enforced.
fn sender(node: Option<NodeId>) -> Result<NodeId, v1::Error> {
    node.ok_or_else(|| ErrorCode::Malformed.error("the subject names no node"))
}

/// Runs reads of the database on a thread that may block.
async fn reading<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, v1::Error> {
    let failed = |_| ErrorCode::Internal.error("a read of the journal ended badly");
    tokio::task::spawn_blocking(work).await.map_err(failed)
}
