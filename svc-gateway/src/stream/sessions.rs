//! How many streams one principal has open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pact_identity::Principal;
use pact_schemas::ErrorCode;

use crate::error::Answer;

/// Streams of all principals together: each costs some tens of kilobytes and a few tasks.
const MAX_STREAMS: usize = 5_000;

#[derive(Debug, Default)]
struct Table {
    open: HashMap<(String, String), usize>,
    total: usize,
}

/// Counts open streams; its size is bounded by the streams themselves.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    table: Arc<Mutex<Table>>,
    per_user: usize,
}

/// One open stream; closed when dropped.
#[derive(Debug)]
pub(crate) struct Session {
    table: Arc<Mutex<Table>>,
    key: (String, String),
}

impl Sessions {
    pub(crate) fn new(per_user: usize) -> Self {
        Self { table: Arc::default(), per_user }
    }

    /// Opens a stream.
    pub(crate) fn open(&self, principal: &Principal) -> Answer<Session> {
        let key = (principal.issuer().to_owned(), principal.subject().to_owned());
        let mut table = lock(&self.table);
        if table.total >= MAX_STREAMS {
            return Err(ErrorCode::Busy
                .error(format!("this gateway has {MAX_STREAMS} streams open"))
                .next("try again, or use another gateway"));
        }
        let open = table.open.entry(key.clone()).or_default();
        if *open >= self.per_user {
            return Err(ErrorCode::Busy
                .error(format!("{} streams of yours are open already", self.per_user))
                .next("end some of them first"));
        }
        *open += 1;
        table.total += 1;
        metrics::gauge!("pact_gateway_streams").set(count(table.total));
        Ok(Session { table: Arc::clone(&self.table), key })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        table.total = table.total.saturating_sub(1);
        metrics::gauge!("pact_gateway_streams").set(count(table.total));
        if let Some(open) = table.open.get_mut(&self.key) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                table.open.remove(&self.key);
            }
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(total: usize) -> f64 {
    f64::from(u32::try_from(total).unwrap_or(u32::MAX))
}
