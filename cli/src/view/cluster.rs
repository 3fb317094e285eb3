//! Raft groups and the health of the parts.

use std::time::Duration;

use pact_schemas::cluster_state::{GroupState, MemberState};
use pact_schemas::v1::{self, member_change::Change};
use serde_json::{Value, json};

use crate::output::{Cell, Hue, Screen, Table, code_of, fields, short};

/// `healthy`, `degraded`, `down`, `not configured` or `unimplemented`.
fn health_name(state: v1::HealthState) -> String {
    code_of(state.as_str_name(), "HEALTH_STATE_").replace('-', " ")
}

fn health_hue(state: v1::HealthState) -> Option<Hue> {
    match state {
        v1::HealthState::Healthy => Some(Hue::Green),
        v1::HealthState::Degraded => Some(Hue::Yellow),
        v1::HealthState::Down | v1::HealthState::Unspecified => Some(Hue::Red),
        v1::HealthState::NotConfigured | v1::HealthState::Unimplemented => Some(Hue::Dim),
    }
}

/// One part as JSON.
pub(crate) fn health_json(item: &v1::HealthItem) -> Value {
    let state = code_of(item.state().as_str_name(), "HEALTH_STATE_");
    json!({"name": item.name, "state": state, "detail": item.detail})
}

/// `pact health`.
pub(crate) fn health_table(items: &[v1::HealthItem], screen: Screen) -> String {
    let mut table = Table::new(&["PART", "STATE", "DETAIL"]);
    for item in items {
        let state = item.state();
        table.row(vec![
            Cell::from(&item.name),
            Cell::from(health_name(state)).hue(health_hue(state)),
            Cell::from(&item.detail),
        ]);
    }
    table.render(screen)
}

/// The journal's group as JSON.
pub(crate) fn journal_json(journal: &v1::ClusterReply) -> Value {
    let members: Vec<Value> = journal
        .members
        .iter()
        .map(|m| {
            json!({
                "id": m.id,
                "address": m.address,
                "role": role(journal, m),
                "state": MemberState::of(m).as_str(),
                "matched_index": m.matched_index,
                "last_contact_milliseconds": m.last_contact_milliseconds,
            })
        })
        .collect();
    json!({
        "group": "journal",
        "state": GroupState::of(journal).as_str(),
        "leader": journal.leader,
        "term": journal.term,
        "committed_index": journal.committed_index,
        "applied_index": journal.applied_index,
        "head_seq": journal.head_seq,
        "head_hash": data_encoding::HEXLOWER.encode(&journal.head_hash),
        "answering_member": journal.answering_member,
        "members": members,
        "change": journal.change.as_ref().map(change),
        "given_up": given_up(journal),
    })
}

/// What is being done about the members.
fn change(change: &v1::MemberChange) -> String {
    let entry = change.seq;
    match &change.change {
        Some(Change::Add(new)) => {
            format!("add member {} at {}, entry {entry}", new.id, new.address)
        }
        Some(Change::Remove(id)) => format!("remove member {id}, entry {entry}"),
        None => format!("entry {entry}"),
    }
}

/// Why the change before was given up, while nothing else has been asked for.
fn given_up(journal: &v1::ClusterReply) -> Option<String> {
    let ended = journal.ended.as_ref().filter(|_| journal.change.is_none())?;
    let why = Some(ended.failure.as_str()).filter(|why| !why.is_empty())?;
    Some(format!("entry {}: {why}", ended.seq))
}

fn role(journal: &v1::ClusterReply, member: &v1::MemberStatus) -> &'static str {
    match (journal.leader == Some(member.id), member.voter) {
        (true, _) => "leader",
        (false, true) => "voter",
        (false, false) => "learner",
    }
}

/// The group in a line: whether it decides, and who says so.
fn group(journal: &v1::ClusterReply) -> String {
    let state = match GroupState::of(journal) {
        GroupState::Healthy => "healthy",
        GroupState::Degraded => "degraded: not all members answer",
        GroupState::NoLeader => "no leader",
        GroupState::NoQuorum => "no quorum: too few members answer",
    };
    format!("{state}, says member {}", journal.answering_member)
}

fn state_cell(state: MemberState) -> Cell {
    let (text, hue) = match state {
        MemberState::Up => ("up".to_owned(), Hue::Green),
        MemberState::Silent(Some(since)) => (format!("silent {}", short(since)), Hue::Red),
        MemberState::Silent(None) => ("silent".to_owned(), Hue::Red),
    };
    Cell::from(text).hue(Some(hue))
}

fn contact(ago: Duration) -> String {
    match ago.as_millis() {
        ms @ 0..1_000 => format!("{ms} ms ago"),
        _ => format!("{} ago", short(ago)),
    }
}

/// Lattice's group as JSON.
pub(crate) fn lattice_json(item: &v1::HealthItem) -> Value {
    let state = code_of(item.state().as_str_name(), "HEALTH_STATE_");
    json!({"group": "lattice", "state": state, "detail": item.detail})
}

/// `pact cluster`.
pub(crate) fn text(
    journal: &v1::ClusterReply,
    lattice: Option<&v1::HealthItem>,
    screen: Screen,
) -> String {
    let number = |n: Option<u64>| n.map(|n| n.to_string());
    let leader = journal.leader.map_or_else(|| "none".to_owned(), |id| format!("member {id}"));
    let mut text = fields(
        &[
            ("journal", Some(group(journal))),
            ("leader", Some(leader)),
            ("term", Some(journal.term.to_string())),
            ("committed index", number(journal.committed_index)),
            ("applied index", number(journal.applied_index)),
            ("last entry", Some(journal.head_seq.to_string())),
            ("under way", journal.change.as_ref().map(change)),
            ("given up", given_up(journal)),
        ],
        screen,
    );
    let mut table = Table::new(&["MEMBER", "ADDRESS", "ROLE", "STATE", "MATCHED", "LAST CONTACT"]);
    for member in &journal.members {
        let contact = member.last_contact_milliseconds.map(Duration::from_millis).map(contact);
        table.row(vec![
            Cell::from(member.id.to_string()),
            Cell::from(&member.address),
            Cell::from(role(journal, member)),
            state_cell(MemberState::of(member)),
            Cell::from(number(member.matched_index).unwrap_or_default()),
            Cell::from(contact.unwrap_or_default()),
        ]);
    }
    text.push_str(&table.render(screen));
    let lattice = lattice.map_or_else(
        || "not configured".to_owned(),
        |item| format!("{} {}", health_name(item.state()), item.detail),
    );
    text.push_str(&fields(&[("lattice", Some(lattice.trim().to_owned()))], screen));
    text
}
