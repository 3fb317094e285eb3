//! `health`: what pact consists of, and what is configured behind it.

use std::time::Duration;

use pact_bus::Bus;
use pact_schemas::NodeState;
use pact_schemas::rpc;
use pact_schemas::v1::{self, HealthItem, HealthState};

use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::Answer;
use crate::rights::authorise::{Asked, operation};
use crate::rights::targets::{self, Condition};

/// A health question is answered at once, or that is the answer.
const HEALTH: Duration = Duration::from_secs(2);

/// What lies behind the bridge, by the names that it answers with.
pub(super) const SCHEDULER: &str = "lattice scheduler";
const NODE_AGENTS: &str = "lattice node-agents";
const SERVICES: &str = "Lattice Services";

/// The seven items, in the order of the CLI reference.
pub(super) async fn health(
    gateway: &Gateway,
    caller: Caller,
    _: v1::HealthRequest,
) -> Answer<v1::HealthReply> {
    gateway.rights.authorise(&caller, Asked::of(operation("health")?)).await?;
    let (journal, agents, behind) = tokio::join!(
        journal_health(&gateway.bus),
        agent_health(gateway),
        behind_bridge(&gateway.bus)
    );
    let items = vec![
        journal,
        agents,
        behind_item(&behind, SCHEDULER),
        behind_item(&behind, NODE_AGENTS),
        item(
            "OPA policy engine",
            HealthState::Healthy,
            format!("in this gateway, {}", gateway.rights.policy_ref()),
        ),
        item("telemetry pipeline", HealthState::NotConfigured, "not configured"),
        behind_item(&behind, SERVICES),
    ];
    Ok(v1::HealthReply { items })
}

async fn journal_health(bus: &Bus) -> HealthItem {
    let name = "pact-journal Raft quorum";
    let asked = bus.call::<rpc::journal::Cluster>(&(), &v1::ClusterRequest {}, HEALTH).await;
    let reply = match asked.map_err(v1::Error::from) {
        Ok(reply) => reply,
        Err(error) => return item(name, HealthState::Down, error.to_string()),
    };
    let voters = reply.members.iter().filter(|member| member.voter).count();
    match reply.leader {
        Some(leader) => {
            let detail = format!(
                "member {leader} leads {voters} in term {}, entry {}",
                reply.term, reply.head_seq
            );
            item(name, HealthState::Healthy, detail)
        }
        None => item(name, HealthState::Down, format!("{voters} members, none leads")),
    }
}

async fn agent_health(gateway: &Gateway) -> HealthItem {
    let name = "pact-agent connectivity";
    let all = Condition::default();
    let asked = targets::nodes_where(&gateway.journal, &all);
    let nodes = match gateway.clock.timeout(HEALTH, asked).await {
        Ok(Ok(nodes)) => nodes,
        Ok(Err(error)) => return item(name, HealthState::Down, error.to_string()),
        Err(late) => return item(name, HealthState::Down, late.to_string()),
    };
    let in_state =
        |state: NodeState| nodes.values().filter(|n| n.state == i32::from(state)).count();
    let (active, inactive) = (in_state(NodeState::Active), in_state(NodeState::Inactive));
    let expected = active + inactive;
    let state = match (active, inactive) {
        (_, 0) => HealthState::Healthy,
        (0, _) => HealthState::Down,
        _ => HealthState::Degraded,
    };
    item(
        name,
        state,
        format!(
            "{active} of {expected} enrolled nodes active, {} registered",
            in_state(NodeState::Registered)
        ),
    )
}

/// What the bridge says about the systems behind it.
pub(super) async fn behind_bridge(bus: &Bus) -> Answer<Vec<HealthItem>> {
    let asked = bus.call::<rpc::bridge::Health>(&(), &v1::HealthRequest {}, HEALTH).await;
    Ok(asked?.items)
}

/// The bridge's item of this name. A bridge that does not answer is down, and so is what is behind it.
pub(super) fn behind_item(behind: &Answer<Vec<HealthItem>>, name: &str) -> HealthItem {
    match behind {
        Ok(items) => items.iter().find(|item| item.name == name).cloned().unwrap_or_else(|| {
            item(name, HealthState::Unimplemented, "the bridge does not know it")
        }),
        Err(error) => item(name, HealthState::Down, format!("pact-bridge: {error}")),
    }
}

fn item(name: &str, state: HealthState, detail: impl Into<String>) -> HealthItem {
    HealthItem { name: name.to_owned(), state: state.into(), detail: detail.into() }
}
