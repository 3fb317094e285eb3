//! Proposals: whoever leads, and whatever is lost, each is decided once.

use std::time::Duration;

use pact_journal_client::Patience;
use pact_schemas::ErrorCode;
use pact_schemas::v1::Proposal;

use crate::members::Members;
use crate::site::{LONG, PATIENCE, Site};

fn proposal(what: &str) -> Proposal {
    Proposal { attestation: None, action: what.as_bytes().to_vec() }
}

#[tokio::test(flavor = "multi_thread")]
async fn t01_who_leads_is_found_from_a_member_that_does_not_know_any_more() {
    let site = Site::start().await;
    let members = Members::led_by(2);
    members.with(|s| s.rumour = Some(1));
    let (first, second) = (site.member(1).await, site.member(2).await);
    members.serve(&first, 1).await;
    members.serve(&second, 2).await;
    let client = site.client(PATIENCE).await;
    let (done, _) = client.propose_one(proposal("a")).await.unwrap();
    assert_eq!(done.first_seq, 1);
    assert_eq!(members.with(|s| s.asked.clone()), [1, 2], "the hint is followed at once");
    client.propose_one(proposal("b")).await.unwrap();
    assert_eq!(members.with(|s| s.asked.clone()), [1, 2, 2], "and remembered");
}

#[tokio::test(flavor = "multi_thread")]
async fn t01_a_leader_that_is_gone_is_looked_for_again() {
    let site = Site::start().await;
    let members = Members::led_by(1);
    let (first, second) = (site.member(1).await, site.member(2).await);
    members.serve(&first, 1).await;
    members.serve(&second, 2).await;
    let client = site.client(PATIENCE).await;
    client.propose_one(proposal("a")).await.unwrap();
    first.drain().await;
    members.with(|s| s.leader = Some(2));
    let (done, _) = client.propose_one(proposal("b")).await.unwrap();
    assert_eq!(done.first_seq, 2);
    assert_eq!(members.with(|s| s.asked.last().copied()), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn t01_a_proposal_whose_answer_is_lost_is_sent_again_and_stands_once() {
    let site = Site::start().await;
    let members = Members::led_by(1);
    members.with(|s| s.lost_answers = 1);
    let bus = site.member(1).await;
    members.serve(&bus, 1).await;
    let client = site.client(PATIENCE).await;
    let (done, _) = client.propose_one(proposal("a")).await.unwrap();
    assert_eq!((done.first_seq, done.repeated_request), (1, true));
    assert_eq!(members.with(|s| (s.asked.len(), s.entries.len())), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn t01_without_a_leader_or_anybody_at_all_that_is_said_in_time() {
    let soon = Duration::from_millis(300);
    let site = Site::start().await;
    let client = site.client(Patience { nobody: soon, ..PATIENCE }).await;
    let error = client.propose_one(proposal("a")).await.unwrap_err();
    assert_eq!(error.known_code(), ErrorCode::Timeout);
    assert!(error.cause.contains("no member of the journal"), "{error:?}");

    let members = Members::default();
    let bus = site.member(1).await;
    members.serve(&bus, 1).await;
    let client = site.client(Patience { read: LONG, propose: soon, nobody: LONG }).await;
    let error = client.propose_one(proposal("a")).await.unwrap_err();
    assert_eq!(error.known_code(), ErrorCode::NoLeader);
}

/// A leader that is cut off believes that it leads, and never answers.
#[tokio::test(flavor = "multi_thread")]
async fn t01_silence_of_a_member_that_knows_too_few_others_is_no_leader() {
    let soon = Duration::from_millis(300);
    for (contacts, code) in [
        (vec![Some(0), Some(62_000), None], ErrorCode::NoLeader),
        (vec![Some(0), Some(5_000), None], ErrorCode::Timeout),
    ] {
        let site = Site::start().await;
        let members = Members::led_by(1);
        members.with(|s| (s.lost_answers, s.contacts) = (usize::MAX, contacts));
        let bus = site.member(1).await;
        members.serve(&bus, 1).await;
        let client = site.client(Patience { read: LONG, propose: soon, nobody: LONG }).await;
        let error = client.propose_one(proposal("a")).await.unwrap_err();
        assert_eq!(error.known_code(), code, "{error:?}");
    }
}
