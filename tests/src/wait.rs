//! Waiting on conditions.

use std::time::{Duration, Instant};

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(25);

/// Waits until `condition` gives a value and returns it with the time that took.
///
/// # Panics
/// When it gives none within `limit`; `what` says what was waited for.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> (T, Duration) {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return (value, start.elapsed());
        }
        assert!(start.elapsed() < limit, "{what}: not so within {limit:?}");
        std::thread::sleep(PAUSE);
    }
}
