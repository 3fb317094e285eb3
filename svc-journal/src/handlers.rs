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
use pact_schemas::operation::{Operation, Owner};
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
pub fn service(context: &Context, instance: &str) -> Service {
    let member = context.member().config().members.own();
    let c = || context.clone();
    let reads = Service::new("journal", env!("CARGO_PKG_VERSION"), instance).limits(FOLLOWERS);
    let (a, b) = (c(), c());
    let reads = reads
        .method("entries", move |_, request| {
            let context = a.clone();
            async move { entries(&context, request).await }
        })
        .limits(CALLS)
        .method("entry", move |_, request| {
            let context = b.clone();
            async move { entry(&context, request).await }
        });
    let (a, b) = (c(), c());
    let reads = reads
        .method("nodes", move |_, request| {
            let context = a.clone();
            async move { nodes(&context, request).await }
        })
        .method("vclusters", move |_, request| {
            let context = b.clone();
            async move { vclusters(&context, request).await }
        });
    let (a, b, h) = (c(), c(), c());
    let reads = reads
        .method("blob", move |_, request| {
            let context = a.clone();
            async move { blob(&context, request).await }
        })
        .method("cluster", move |_, request| {
            let context = b.clone();
            async move { cluster(&context, request).await }
        })
        .method("health", move |_, request| {
            let context = h.clone();
            async move { health(&context, request).await }
        });
    let (a, b, r) = (c(), c(), c());
    let reads = reads
        .method("recall", move |_, request| {
            let context = r.clone();
            async move { recall(&context, request).await }
        })
        .method("declared", move |_, request| {
            let context = a.clone();
            async move { declared(&context, request).await }
        })
        .method("plan", move |_, request| {
            let context = b.clone();
            async move { plan(&context, request).await }
        });
    let a = c();
    let all = reads.member_method(member, "propose", move |_, request| {
        let context = a.clone();
        async move { propose(&context, request).await }
    });
    with_unbuilt(with_nodes(all, context))
}

/// What nodes send.
fn with_nodes(service: Service, context: &Context) -> Service {
    let (e, r, t) = (context.clone(), context.clone(), context.clone());
    let c = context.clone();
    service
        .limits(EVENTS)
        .events(move |call, request| {
            let context = e.clone();
            async move { event(&context, &sender(call.node)?, request).await }
        })
        .up_method("recording", move |call, request| {
            let context = r.clone();
            async move { recording(&context, &sender(call.node)?, request).await }
        })
        .up_method("time", move |call, request| {
            let context = t.clone();
            async move { time(&context, &sender(call.node)?, &request) }
        })
        .limits(CONFIGS)
        .up_method("config", move |call, request| {
            let context = c.clone();
            async move { config(&context, &sender(call.node)?, request).await }
        })
}

/// The operations of the journal that are not built yet.
fn with_unbuilt(service: Service) -> Service {
    Operation::unbuilt(Owner::Journal).fold(service.limits(CALLS), |service, operation| {
        service.method(operation.method, move |_, _: v1::InvokeRequest| async move {
            Err::<v1::InvokeReply, _>(operation.unimplemented())
        })
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
