//! A spool that the journal does not know any more, or knows better than the node does, begins anew.
//!
//! The first happens when the journal lost what it had confirmed (another site, a restored backup), the second when the
//! node's folder is an old copy. In both, numbers of this spool mean nothing: what is not confirmed moves, in order, into a
//! spool with a new id. What the journal had after all it recognises by the grant.

use std::path::PathBuf;

use pact_runtime::Timestamp;
use pact_schemas::{SpoolId, convert, v1};
use prost::Message;

use super::SpoolError;
use super::store::Store;
use crate::durable;
use crate::records::RecordsError;

/// Suffix of the folder in which the new spool is made.
const ASIDE: &str = "new";

impl Store {
    /// Moves what is not confirmed into a new spool in the place of this one.
    pub(crate) fn begin_anew(&mut self, fresh: SpoolId) -> Result<(), SpoolError> {
        let place: PathBuf = self.folder().to_owned();
        let aside = place.with_extension(ASIDE);
        let io = |source| RecordsError::Io { path: aside.clone(), source };
        if aside.exists() {
            std::fs::remove_dir_all(&aside).map_err(io)?;
        }
        let mut next = Self::open(&aside, self.node(), self.limit_bytes(), fresh)?;
        let mut number = self.committed();
        while let Some(bytes) = self.after(number)? {
            let event = v1::NodeEvent::decode(bytes.as_slice());
            let event = event.map_err(|_| self.unreadable("an event does not decode"))?;
            let recorded = convert::unix_nanos(event.recorded.as_ref(), "NodeEvent.recorded");
            match (recorded, event.body) {
                (Ok(recorded), Some(body)) => {
                    next.append(Timestamp::from_unix_nanos(recorded), body)?;
                }
                _ => return Err(self.unreadable("an event is not whole")),
            }
            number += 1;
        }
        drop(next);
        durable::exchange_folders(&aside, &place).map_err(io)?;
        // Its own id is there already.
        *self = Self::open(&place, self.node(), self.limit_bytes(), self.id().clone())?;
        Ok(())
    }

    fn unreadable(&self, fault: &'static str) -> SpoolError {
        SpoolError::Foreign { path: self.folder().display().to_string(), fault }
    }
}

#[cfg(test)]
mod tests {
    use pact_schemas::NodeId;

    use super::*;

    #[test]
    fn what_is_not_confirmed_moves_in_order_to_a_spool_with_another_id() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("spool");
        let id = |digit: &str| SpoolId::new(&digit.repeat(32)).unwrap();
        let node = NodeId::new("n1").unwrap();
        let mut store = Store::open(&folder, &node, 1 << 20, id("a")).unwrap();
        let at = Timestamp::from_unix_nanos(1_700_000_000_000_000_000);
        for grant_seq in 1..=5 {
            let ended = v1::ExecEnded { grant_seq, finished: None };
            store.append(at, v1::node_event::Body::ExecEnded(ended)).unwrap();
        }
        store.confirm(2).unwrap();
        store.begin_anew(id("b")).unwrap();
        assert_eq!((store.id(), store.committed(), store.head()), (&id("b"), 0, 3));
        drop(store);
        let mut store = Store::open(&folder, &node, 1 << 20, id("c")).unwrap();
        for (number, grant_seq) in [(1, 3), (2, 4), (3, 5)] {
            let bytes = store.after(number - 1).unwrap().unwrap();
            let event = v1::NodeEvent::decode(bytes.as_slice()).unwrap();
            assert_eq!((event.number, event.spool_id), (number, id("b").to_string()));
            let ended = v1::ExecEnded { grant_seq, finished: None };
            assert_eq!(event.body, Some(v1::node_event::Body::ExecEnded(ended)));
        }
        assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 1);
    }
}
