//! `health`: what pact consists of, and what is configured behind it.

use std::collections::BTreeSet;
use std::time::Duration;

use pact_bus::Bus;
use pact_runtime::Clock;
use pact_schemas::cluster_state::{GroupState, JOURNAL_QUORUM, MemberState};
use pact_schemas::v1::{self, ClusterReply, HealthItem, HealthState};
use pact_schemas::{NodeState, rpc};

use super::status::silent;
use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::Answer;
use crate::rights::authorise::{Asked, operation};
use crate::rights::targets::{self, Condition};

/// A health question is answered at once, or that is the answer.
const HEALTH: Duration = Duration::from_secs(2);

/// Between two questions to a group that says that it cannot decide: an election, or a member that has just started.
const AGAIN: Duration = Duration::from_millis(250);

/// Nodes that are named in one detail; the rest is counted.
const NAMED: usize = 5;

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
        journal_health(&gateway.bus, &gateway.clock),
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

/// What a member says; one that knows of no majority or no leader is given a moment, as is another one.
async fn journal_health(bus: &Bus, clock: &Clock) -> HealthItem {
    let started = clock.monotonic();
    loop {
        let left = HEALTH.saturating_sub(clock.monotonic().saturating_sub(started));
        let asked = bus.call::<rpc::journal::Cluster>(&(), &v1::ClusterRequest {}, left).await;
        let reply = match asked.map_err(v1::Error::from) {
            Ok(reply) => reply,
            Err(error) => return item(JOURNAL_QUORUM, HealthState::Down, error.to_string()),
        };
        let item = journal_item(&reply);
        if item.state() != HealthState::Down || left <= 2 * AGAIN {
            return item;
        }
        clock.sleep(AGAIN).await;
    }
}

fn journal_item(reply: &ClusterReply) -> HealthItem {
    let voters = reply.members.iter().filter(|member| member.voter).count();
    let state = GroupState::of(reply);
    let what = match (state, reply.leader) {
        (GroupState::Healthy | GroupState::Degraded, Some(leader)) => format!(
            "member {leader} leads {voters} in term {}, entry {}",
            reply.term, reply.head_seq
        ),
        (GroupState::NoQuorum, _) => {
            format!("no quorum: too few of {voters} members answer each other")
        }
        (_, _) => format!("no leader: {voters} members, none leads"),
    };
    let silent = reply.members.iter().filter_map(|member| {
        let MemberState::Silent(since) = MemberState::of(member) else { return None };
        let how = match since {
            Some(since) => format!("silent for {} s", since.as_secs()),
            None => format!("not heard of since member {} started", reply.answering_member),
        };
        Some(format!("member {} ({}) {how}", member.id, member.address))
    });
    let detail: Vec<String> = std::iter::once(what).chain(silent).collect();
    let state = match state {
        GroupState::Healthy => HealthState::Healthy,
        GroupState::Degraded => HealthState::Degraded,
        GroupState::NoLeader | GroupState::NoQuorum => HealthState::Down,
    };
    item(JOURNAL_QUORUM, state, detail.join("; "))
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
    let registered = in_state(NodeState::Registered);
    let silent = silent(&gateway.agents, &nodes.into_values().collect::<Vec<_>>()).await;
    let answering = active.saturating_sub(silent.len());
    let state = match (answering, inactive + silent.len()) {
        (_, 0) => HealthState::Healthy,
        (0, _) => HealthState::Down,
        _ => HealthState::Degraded,
    };
    let expected = active + inactive;
    let all = format!("{answering} of {expected} enrolled nodes active, {registered} registered");
    item(name, state, format!("{all}{}", named(&silent)))
}

/// Who is silent, behind all others.
fn named(silent: &BTreeSet<String>) -> String {
    let first: Vec<&str> = silent.iter().take(NAMED).map(String::as_str).collect();
    match silent.len().saturating_sub(NAMED) {
        _ if first.is_empty() => String::new(),
        0 => format!("; silent: {}", first.join(", ")),
        more => format!("; silent: {} and {more} more", first.join(", ")),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_member_is_named_with_how_long_it_has_been_silent() {
        let member = |id: u64, ago: Option<u64>| v1::MemberStatus {
            id,
            address: format!("j{id}:9444"),
            last_contact_milliseconds: ago,
            voter: true,
            ..v1::MemberStatus::default()
        };
        let reply = |contacts: [Option<u64>; 3]| ClusterReply {
            answering_member: 1,
            leader: Some(1),
            term: 4,
            head_seq: 43,
            members: (1..).zip(contacts).map(|(id, ago)| member(id, ago)).collect(),
            ..ClusterReply::default()
        };
        for (contacts, state, detail) in [
            (
                [Some(0), Some(3_000), Some(62_000)],
                HealthState::Degraded,
                "member 1 leads 3 in term 4, entry 43; member 3 (j3:9444) silent for 62 s",
            ),
            (
                [Some(0), None, Some(62_000)],
                HealthState::Down,
                "no quorum: too few of 3 members answer each other; \
                 member 2 (j2:9444) not heard of since member 1 started; member 3 (j3:9444) silent for 62 s",
            ),
        ] {
            let item = journal_item(&reply(contacts));
            assert_eq!((item.state(), item.detail.as_str()), (state, detail));
        }
    }
}
