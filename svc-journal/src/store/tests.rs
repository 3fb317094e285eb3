//! What a restart finds, and what it refuses.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use openraft::entry::{FromAppData as _, RaftEntry as _};
use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _, RaftStateMachine as _};
use openraft::testing::log_id;
use openraft::{RaftLogReader as _, RaftSnapshotBuilder as _};
use pact_journal_core::record::Posting;
use pact_runtime::Clock;
use pact_schemas::v1::{self, Command, action::Action};
use pact_schemas::{NodeId, convert};

use super::log::LogStore;
use super::machine::StateMachine;
use super::query::{self, read_head};
use super::rows::OpenError;
use super::state::StateCell;
use crate::consensus::types::{CommandBatch, Entry, Vote};

fn open_log(folder: &Path) -> Result<LogStore, OpenError> {
    LogStore::open(&folder.join("raft"), None, Clock::system())
}

fn open_state(folder: &Path) -> (Arc<StateCell>, StateMachine) {
    let cell = Arc::new(StateCell::open(&folder.join("state")).unwrap());
    let machine = StateMachine::open(Arc::clone(&cell), &folder.join("snapshot")).unwrap();
    (cell, machine)
}

fn blanks(indices: std::ops::Range<u64>) -> Vec<Entry> {
    indices.map(|index| Entry::new_blank(log_id(1, 1, index))).collect()
}

fn register(node: &str, mac: u64) -> Command {
    let identity = v1::HardwareIdentity {
        macs: vec![format!("0c:42:a1:00:{:02x}:{:02x}", mac >> 8, mac & 0xff)],
        ..v1::HardwareIdentity::default()
    };
    Command {
        version: 1,
        time: Some(convert::timestamp(1_800_000_000_000_000_000)),
        author: Some(v1::Principal {
            subject: "alice".to_owned(),
            issuer: "i".to_owned(),
            ..v1::Principal::default()
        }),
        action: Some(v1::Action {
            action: Some(Action::RegisterNode(v1::RegisterNode {
                node: node.to_owned(),
                identity: Some(identity),
                replace: false,
                judged: vec![v1::JudgedScope { vcluster: None, targets: node.to_owned() }],
            })),
        }),
        ..Command::default()
    }
}

/// Log entry `index`, which registers `count` nodes.
fn batch(index: u64, count: u64) -> Entry {
    let commands =
        (0..count).map(|i| register(&format!("node-{index}-{i}"), index * 100 + i)).collect();
    let mut entry = Entry::from_app_data(CommandBatch::encode(&v1::CommandBatch { commands }));
    entry.log_id = log_id(1, 1, index);
    entry
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_reopen() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_log(folder.path()).unwrap();
    assert!(log.is_pristine().unwrap());
    log.save_vote(&Vote::new(3, 1)).await.unwrap();
    log.blocking_append(blanks(0..100)).await.unwrap();
    log.truncate(log_id(1, 1, 90)).await.unwrap();
    log.purge(log_id(1, 1, 9)).await.unwrap();
    log.save_committed(Some(log_id(1, 1, 80))).await.unwrap();
    drop(log);
    let mut log = open_log(folder.path()).unwrap();
    assert!(!log.is_pristine().unwrap());
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(3, 1)));
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 1, 80)));
    let state = log.get_log_state().await.unwrap();
    assert_eq!(
        (state.last_purged_log_id, state.last_log_id),
        (Some(log_id(1, 1, 9)), Some(log_id(1, 1, 89)))
    );
    // From disk alone, and from disk into memory.
    assert_eq!(log.try_get_log_entries(0..1_000).await.unwrap(), blanks(10..90));
    log.blocking_append(blanks(90..95)).await.unwrap();
    assert_eq!(log.try_get_log_entries(85..93).await.unwrap(), blanks(85..93));
}

#[tokio::test]
async fn a_log_that_is_shorter_than_its_mark_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_log(folder.path()).unwrap();
    log.blocking_append(blanks(0..10)).await.unwrap();
    drop(log);
    let copy = folder.path().join("old");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(folder.path().join("raft")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let mut log = open_log(folder.path()).unwrap();
    log.blocking_append(blanks(10..20)).await.unwrap();
    log.save_vote(&Vote::new(7, 1)).await.unwrap();
    drop(log);
    // An old copy of the database under the mark of today.
    fs::copy(folder.path().join("raft/MARK"), copy.join("MARK")).unwrap();
    fs::remove_dir_all(folder.path().join("raft")).unwrap();
    fs::rename(&copy, folder.path().join("raft")).unwrap();
    let error = open_log(folder.path()).err().unwrap();
    assert!(
        matches!(&error, OpenError::ShorterThanMark { marked, .. } if marked == "index 19"),
        "{error}"
    );
    fs::remove_file(folder.path().join("raft/MARK")).unwrap();
    assert!(matches!(open_log(folder.path()).err().unwrap(), OpenError::Missing { .. }));
}

#[tokio::test]
async fn a_damaged_row_of_the_log_is_named_and_nothing_starts() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_log(folder.path()).unwrap();
    log.blocking_append(blanks(0..3)).await.unwrap();
    log.overwrite_for_test(1, b"\0\0\0\0nonsense");
    drop(log);
    let error = open_log(folder.path()).err().unwrap();
    assert!(matches!(&error, OpenError::Damaged { what, .. } if what == "log entry 1"), "{error}");
}

#[tokio::test]
async fn a_log_that_lacks_its_first_row_does_not_start() {
    for purged in [None, Some(4)] {
        let folder = tempfile::tempdir().unwrap();
        let mut log = open_log(folder.path()).unwrap();
        log.blocking_append(blanks(0..10)).await.unwrap();
        if let Some(upto) = purged {
            log.purge(log_id(1, 1, upto)).await.unwrap();
        }
        let first = purged.map_or(0, |upto| upto + 1);
        log.delete_for_test(first);
        drop(log);
        let error = open_log(folder.path()).err().unwrap();
        let expected = format!("what is before log entry {}", first + 1);
        assert!(matches!(&error, OpenError::Damaged { what, .. } if *what == expected), "{error}");
    }
}

#[tokio::test]
async fn an_older_snapshot_does_not_replace_a_newer_state() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_source, mut machine) = open_state(from.path());
    machine.apply([batch(1, 1)]).await.unwrap();
    let built = machine.build_snapshot().await.unwrap();
    let (cell, mut target) = open_state(to.path());
    target.apply([batch(1, 1), batch(2, 1)]).await.unwrap();
    let head = read_head(&cell.load());
    target.install_snapshot(&built.meta, built.snapshot).await.unwrap();
    assert_eq!((read_head(&cell.load()), cell.number()), (head, 1));
    target.apply([batch(3, 1)]).await.unwrap();
    assert_eq!(read_head(&cell.load()).seq, 3);
}

/// Variable that makes a process of this test the one that ends.
const ENDS: &str = "PACT_TEST_DAMAGED_SNAPSHOT";

#[tokio::test]
async fn a_snapshot_that_cannot_be_installed_ends_the_process() {
    if pact_runtime::environment().all(|(name, _)| name != ENDS) {
        let name = "store::tests::a_snapshot_that_cannot_be_installed_ends_the_process";
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        let again = again.args(["--exact", name, "--nocapture"]).env(ENDS, "1");
        let status = again.stderr(std::process::Stdio::null()).status().unwrap();
        assert_eq!(status.code(), None, "it is aborted, not failed: {status}");
        return;
    }
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_source, mut machine) = open_state(from.path());
    machine.apply([batch(1, 1)]).await.unwrap();
    let built = machine.build_snapshot().await.unwrap();
    fs::write(built.snapshot.files().join("CURRENT"), "nonsense").unwrap();
    let (_cell, mut target) = open_state(to.path());
    let installed = target.install_snapshot(&built.meta, built.snapshot).await;
    unreachable!("the member stands still with {installed:?}");
}

#[tokio::test]
async fn a_reopened_state_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (cell, mut machine) = open_state(folder.path());
    // More than one tile of the tree, rows of different lengths.
    machine.apply((1..=30).map(|index| batch(index, 10))).await.unwrap();
    let head = read_head(&cell.load());
    drop((cell, machine));
    let (cell, mut machine) = open_state(folder.path());
    assert_eq!(read_head(&cell.load()), head);
    assert_eq!(head.seq, 300);
    machine.apply([batch(31, 3)]).await.unwrap();

    let other = tempfile::tempdir().unwrap();
    let (straight, mut unbroken) = open_state(other.path());
    unbroken.apply((1..=30).map(|index| batch(index, 10)).chain([batch(31, 3)])).await.unwrap();
    assert_eq!(read_head(&cell.load()), read_head(&straight.load()));
}

#[tokio::test]
async fn rows_are_found_by_sequence_scope_and_page() {
    let folder = tempfile::tempdir().unwrap();
    let (cell, mut machine) = open_state(folder.path());
    machine.apply([batch(1, 3), batch(2, 1), batch(3, 4)]).await.unwrap();
    let state = cell.load();
    let seqs = |after| query::entries_after(&state, after).map(|(seq, _)| seq).collect::<Vec<_>>();
    assert_eq!(seqs(0), (1..=8).collect::<Vec<_>>());
    assert_eq!(seqs(2), (3..=8).collect::<Vec<_>>());
    assert_eq!(seqs(6), [7, 8]);
    assert!(
        seqs(8).is_empty()
            && query::entry(&state, 9).is_none()
            && query::entry(&state, 0).is_none()
    );
    let decoded = |seq| {
        <v1::Entry as prost::Message>::decode(query::entry(&state, seq).unwrap().entry).unwrap().seq
    };
    assert!((1..=8).all(|seq| decoded(seq) == seq));
    let posting = Posting::Node(NodeId::new("node-3-1").unwrap());
    assert_eq!(query::postings_after(&state, &posting, 0, 10).into_iter().collect::<Vec<_>>(), [6]);
    assert_eq!(query::postings_last(&state, &posting, 10).into_iter().collect::<Vec<_>>(), [6]);
    assert!(query::postings_after(&state, &posting, 6, 10).is_empty());
    let names = |after: &str| query::nodes_after(&state, after).map(|n| n.node).collect::<Vec<_>>();
    assert_eq!(names("").len(), 8);
    assert_eq!(names("node-3-2"), ["node-3-3"]);
}

#[tokio::test]
async fn a_snapshot_carries_everything_and_replaces_the_state() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (source, mut machine) = open_state(from.path());
    machine.apply((1..=30).map(|index| batch(index, 10))).await.unwrap();
    let built = machine.build_snapshot().await.unwrap();
    // Applied after the checkpoint: not in it.
    machine.apply([batch(31, 1)]).await.unwrap();
    let (cell, mut target) = open_state(to.path());
    target.apply([batch(1, 1)]).await.unwrap();
    let reader = cell.load();
    target.install_snapshot(&built.meta, built.snapshot).await.unwrap();
    assert_eq!(read_head(&cell.load()).seq, 300);
    assert_eq!(read_head(&reader).seq, 1, "a reader keeps what it began with");
    target.apply([batch(31, 1)]).await.unwrap();
    assert_eq!(read_head(&cell.load()), read_head(&source.load()));
    drop((reader, cell, target));
    assert!(!to.path().join("state/1").exists(), "the old state is gone with its last reader");
    let (cell, mut target) = open_state(to.path());
    assert_eq!(read_head(&cell.load()).seq, 301);
    assert_eq!(target.get_current_snapshot().await.unwrap().unwrap().meta, built.meta);
}
