//! The bus's metrics, all by the names below; none is labelled with a node.

/// Counter: connections made after the first.
pub(crate) const RECONNECTS: &str = "pact_bus_reconnects_total";
/// Counter: messages that a full subscription lost.
pub(crate) const SLOW_CONSUMERS: &str = "pact_bus_slow_consumers_total";
/// Counter: requests that nobody listens for.
pub(crate) const NO_RESPONDERS: &str = "pact_bus_no_responders_total";
/// Counter: requests that were not answered in time.
pub(crate) const TIMEOUTS: &str = "pact_bus_request_timeouts_total";
/// Counter: requests sent once more, because nobody had answered the first ones yet.
pub(crate) const SENT_AGAIN: &str = "pact_bus_requests_sent_again_total";
/// Gauge: requests sent and not answered yet.
pub(crate) const REQUESTS_IN_FLIGHT: &str = "pact_bus_requests_in_flight";
/// Gauge: handlers at work.
pub(crate) const HANDLERS_IN_FLIGHT: &str = "pact_bus_handlers_in_flight";
/// Counter: requests refused before a handler saw them, by `reason`.
pub(crate) const REFUSED: &str = "pact_bus_requests_refused_total";
/// Counter: replies that could not be sent.
pub(crate) const REPLIES_LOST: &str = "pact_bus_replies_lost_total";
/// Counter: payload bytes, by `direction`.
pub(crate) const BYTES: &str = "pact_bus_payload_bytes_total";
/// Gauge: 1 while connected.
pub(crate) const CONNECTED: &str = "pact_bus_connected";
/// Counter: subjects that the server refused us.
pub(crate) const PERMISSION_VIOLATIONS: &str = "pact_bus_permission_violations_total";
/// Counter: messages dropped because their deadline had passed.
pub(crate) const EXPIRED: &str = "pact_bus_expired_messages_total";
/// Counter: stream frames sent again.
pub(crate) const FRAMES_RESENT: &str = "pact_bus_stream_frames_resent_total";

pub(crate) fn sent(bytes: usize) {
    count_bytes("out", bytes);
}

pub(crate) fn received(bytes: usize) {
    count_bytes("in", bytes);
}

fn count_bytes(direction: &'static str, bytes: usize) {
    metrics::counter!(BYTES, "direction" => direction)
        .increment(u64::try_from(bytes).unwrap_or(u64::MAX));
}

/// One more in a gauge for as long as this value lives.
pub(crate) struct InFlight(&'static str);

impl InFlight {
    pub(crate) fn new(gauge: &'static str) -> Self {
        metrics::gauge!(gauge).increment(1.0);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        metrics::gauge!(self.0).decrement(1.0);
    }
}
