//! What became of a request is read by its id.

use pact_journal_client::{Journal, Recalled};
use pact_runtime::Clock;
use pact_schemas::v1::{self, Committed, Entry, EntryRecord, RecallReply};
use pact_schemas::{Digest, ErrorCode, RequestId};
use prost::Message as _;

use crate::members::Members;
use crate::site::{PATIENCE, Site};

fn id() -> RequestId {
    RequestId::new(Clock::system().new_uuid_v7()).unwrap()
}

async fn recall(client: &Journal) -> Result<Option<Recalled>, v1::Error> {
    client.recall(id(), v1::Principal::default(), Digest::of(b"")).await
}

/// A page with one entry.
fn page(seq: u64, more: bool) -> RecallReply {
    let entry = Entry { seq, ..Entry::default() }.encode_to_vec();
    RecallReply {
        committed: Some(Committed { first_seq: seq, last_seq: seq, ..Committed::default() }),
        entries: vec![EntryRecord { entry, hash: vec![0; 32] }],
        more,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t02_the_entries_of_a_request_come_in_pages() {
    let site = Site::start().await;
    let members = Members::led_by(1);
    let bus = site.member(1).await;
    members.serve(&bus, 1).await;
    let client = site.client(PATIENCE).await;
    assert_eq!(recall(&client).await.unwrap(), None);
    members.with(|s| s.pages = vec![page(7, true), page(8, true), page(9, false)]);
    let recalled = recall(&client).await.unwrap().unwrap();
    let seqs: Vec<u64> = recalled.entries.iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs, [7, 8, 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn t02_an_answer_that_breaks_the_contract_or_a_forgotten_id_is_an_error() {
    let site = Site::start().await;
    let members = Members::led_by(1);
    let bus = site.member(1).await;
    members.serve(&bus, 1).await;
    let client = site.client(PATIENCE).await;
    let mut broken = page(7, false);
    broken.entries[0].entry = vec![0xff];
    members.with(|s| s.pages = vec![broken]);
    let error = recall(&client).await.unwrap_err();
    assert_eq!(error.known_code(), ErrorCode::Malformed);
    let refusal = ErrorCode::RequestIdRefused.error("longer ago than ids are remembered");
    members.with(|s| s.refusal = Some(refusal));
    let error: v1::Error = recall(&client).await.unwrap_err();
    assert_eq!(error.known_code(), ErrorCode::RequestIdRefused);
}
