//! Hints on the bus that a configuration is another now: published by the leader after it has applied the entry.
//!
//! Nobody may rely on them. A hint that is lost, by a full queue, an outage of the bus or a change of the leader, costs time
//! only: nodes ask when they connect and every few minutes.

use pact_bus::Bus;
use pact_runtime::CancellationToken;
use pact_schemas::Subject;
use pact_schemas::convert::Scope;
use pact_schemas::subject::ConfigScope;
use pact_schemas::v1::ConfigAnnouncement;
use prost::Message as _;
use tokio::sync::broadcast::error::RecvError;

use crate::raft::member::Member;

/// Publishes until `stop`, while this member leads.
pub(crate) async fn run(member: Member, bus: Bus, stop: CancellationToken) {
    let mut changes = member.configured();
    loop {
        let changed = tokio::select! {
            () = stop.cancelled() => return, // cancel-safe
            changed = changes.recv() => changed, // cancel-safe
        };
        match changed {
            Ok(changed) if member.is_leader() => {
                for (scope, seq) in changed.iter() {
                    publish(&bus, scope, *seq).await;
                }
            }
            Ok(_) => {}
            Err(RecvError::Lagged(lost)) => {
                metrics::counter!("pact_journal_announcements_lost_total").increment(lost);
            }
            Err(RecvError::Closed) => return,
        }
    }
}

async fn publish(bus: &Bus, scope: &Scope, seq: u64) {
    let subject = Subject::Config(match scope {
        Scope::Node(node) => ConfigScope::Node(node.clone()),
        Scope::Vcluster(vcluster) => ConfigScope::Vcluster(vcluster.clone()),
        Scope::Global => ConfigScope::Global,
    });
    let announcement = ConfigAnnouncement { seq }.encode_to_vec();
    if let Err(error) = bus.publish(&subject, announcement.into()).await {
        tracing::debug!(%subject, %error, "a change of configuration was not announced");
    }
}
