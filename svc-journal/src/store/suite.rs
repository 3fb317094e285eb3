//! openraft's own conformance suite on both stores.

use std::sync::Arc;

use openraft::testing::{StoreBuilder, Suite};
use pact_runtime::Clock;
use tempfile::TempDir;

use super::log::LogStore;
use super::machine::StateMachine;
use super::state::StateCell;
use crate::consensus::types::{StorageError, TypeConfig};

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError> {
        let folder = tempfile::tempdir().unwrap();
        // Without the state: the suite purges what it never applied.
        let log = LogStore::open(&folder.path().join("raft"), None, Clock::system()).unwrap();
        let cell = Arc::new(StateCell::open(&folder.path().join("state")).unwrap());
        let machine = StateMachine::open(cell, &folder.path().join("snapshot")).unwrap();
        Ok((folder, log, machine))
    }
}

#[test]
fn the_storage_suite_of_openraft_passes() {
    Suite::test_all(Builder).unwrap();
}
