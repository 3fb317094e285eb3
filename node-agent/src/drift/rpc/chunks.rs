//! Chunks of plans that are larger than a message, which come before their plan.
//!
//! They are in memory only, and only for a while: a plan whose chunks are gone is refused before its grant is taken, and whoever
//! asked sends them again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pact_schemas::resource::change_set::{
    CHUNK_BYTES, ChangeSetError, MAX_ENCODED_BYTES, unpack_wire,
};
use pact_schemas::{ErrorCode, v1};
use ring::digest::{SHA256, digest};

/// Bytes that are kept: two of the largest plans, that of a node and that of its vCluster.
const MAX_BYTES: usize = 2 * MAX_ENCODED_BYTES;

/// How long after it was used last: a grant does not live longer.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// The chunks that are here. Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Chunks {
    kept: Arc<Mutex<BTreeMap<Vec<u8>, Chunk>>>,
}

#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    /// Monotonic.
    used: Duration,
}

impl Chunks {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Chunk>> {
        // Nothing under this lock can panic half-way through a change.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a chunk. Those that were used longest ago make room for it.
    ///
    /// # Errors
    /// `PACT_TOO_LARGE` beyond 256 KiB.
    pub(super) fn keep(&self, bytes: Vec<u8>, now: Duration) -> Result<(), v1::Error> {
        if bytes.len() > CHUNK_BYTES {
            return Err(ErrorCode::TooLarge.error("a chunk of a plan has over 256 KiB"));
        }
        let mut kept = self.lock();
        kept.retain(|_, chunk| now.saturating_sub(chunk.used) < KEPT_FOR);
        kept.insert(digest(&SHA256, &bytes).as_ref().to_vec(), Chunk { bytes, used: now });
        while kept.values().map(|chunk| chunk.bytes.len()).sum::<usize>() > MAX_BYTES {
            let oldest = kept.iter().min_by_key(|(_, chunk)| chunk.used);
            let Some(oldest) = oldest.map(|(sha256, _)| sha256.clone()) else { break };
            kept.remove(&oldest);
        }
        Ok(())
    }

    /// The plan with all of its changes inline.
    ///
    /// # Errors
    /// `PACT_CONFLICT` when a chunk is not here, or not any more; for changes that are not as they have to be.
    pub(super) fn whole(
        &self,
        plan: v1::RollbackPlan,
        now: Duration,
    ) -> Result<v1::RollbackPlan, v1::Error> {
        let Some(set) = plan.changes.clone().filter(|set| !set.chunks.is_empty()) else {
            return Ok(plan);
        };
        let mut kept = self.lock();
        let whole = unpack_wire(set, |reference| {
            let chunk = kept.get_mut(&reference.sha256)?;
            chunk.used = now;
            Some(chunk.bytes.clone())
        });
        let changes = whole.map_err(|error| match error {
            ChangeSetError::ChunkMissing { .. } => ErrorCode::Conflict
                .error("a part of the plan is not on the node")
                .because("it came more than a minute ago, or the agent has been started since")
                .next("run the rollback again"),
            ChangeSetError::TooMany { .. } | ChangeSetError::TooLarge { .. } => {
                ErrorCode::TooLarge.error(error.to_string())
            }
            error => ErrorCode::Malformed.error(error.to_string()),
        })?;
        Ok(v1::RollbackPlan { changes: Some(changes), ..plan })
    }
}

#[cfg(test)]
mod tests {
    use pact_schemas::resource::change_set::pack_within;

    use super::*;

    fn changes(count: usize) -> v1::ChangeSet {
        let text = v1::Value { value: Some(v1::value::Value::Text("v".repeat(100))) };
        let change =
            |i| v1::Change { key: format!("sysctl/a.{i:05}"), old: None, new: Some(text.clone()) };
        v1::ChangeSet { changes: (0..count).map(change).collect(), chunks: Vec::new() }
    }

    fn plan(changes: v1::ChangeSet) -> v1::RollbackPlan {
        v1::RollbackPlan { node: "a".into(), changes: Some(changes), ..v1::RollbackPlan::default() }
    }

    #[test]
    fn a_plan_is_put_together_while_its_chunks_are_here() {
        let (chunks, mut now) = (Chunks::default(), Duration::from_secs(9));
        let whole = changes(10_000);
        let (set, sent) = pack_within(whole.clone(), usize::MAX);
        assert!(sent.len() > 3, "{}", sent.len());
        let code = |chunks: &Chunks, now| {
            let found = chunks.whole(plan(set.clone()), now);
            found.map(|_| ()).map_err(|error| error.known_code())
        };
        for chunk in sent {
            assert_eq!(code(&chunks, now), Err(ErrorCode::Conflict));
            chunks.keep(chunk, now).unwrap();
        }
        // Used again and again, it stays; then it goes.
        for _ in 0..4 {
            now += KEPT_FOR - Duration::from_secs(1);
            assert_eq!(chunks.whole(plan(set.clone()), now).unwrap(), plan(whole.clone()));
            chunks.keep(vec![1], now).unwrap();
        }
        now += KEPT_FOR;
        chunks.keep(vec![2], now).unwrap();
        assert_eq!((code(&chunks, now), chunks.lock().len()), (Err(ErrorCode::Conflict), 1));
        // What is inline needs none of this.
        assert_eq!(chunks.whole(plan(changes(2)), now).unwrap(), plan(changes(2)));
    }

    #[test]
    fn the_oldest_make_room_and_none_is_too_large() {
        let chunks = Chunks::default();
        let most = MAX_BYTES / CHUNK_BYTES;
        for number in 0..=most {
            let mut bytes = vec![0; CHUNK_BYTES];
            bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
            chunks.keep(bytes, Duration::from_millis(number as u64)).unwrap();
        }
        assert_eq!(chunks.lock().len(), most);
        assert!(chunks.lock().values().all(|chunk| chunk.used > Duration::ZERO), "the first went");
        let error = chunks.keep(vec![0; CHUNK_BYTES + 1], Duration::ZERO).unwrap_err();
        assert_eq!(error.known_code(), ErrorCode::TooLarge);
        let mut set = changes(3);
        set.chunks = pack_within(changes(10_000), 0).0.chunks;
        let error = chunks.whole(plan(set), Duration::ZERO).unwrap_err();
        assert_eq!(error.known_code(), ErrorCode::Malformed);
    }
}
