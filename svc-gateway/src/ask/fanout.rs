//! Many at once, but not all: bounded concurrency in order.

use futures_util::StreamExt as _;
use futures_util::stream;

/// Nodes that are asked at once for one request (contracts §3: fleet, 50 at once; a power of two near it).
pub(crate) const AT_ONCE: usize = 64;

/// Runs all of `work`, at most [`AT_ONCE`] at a time; the results come in its order.
pub(crate) async fn all<Fut: Future>(work: Vec<Fut>) -> Vec<Fut::Output> {
    some(work, AT_ONCE).await
}

/// As [`all`], with fewer at a time.
pub(crate) async fn some<Fut: Future>(work: Vec<Fut>, at_once: usize) -> Vec<Fut::Output> {
    stream::iter(work).buffered(at_once.clamp(1, AT_ONCE)).collect().await
}
