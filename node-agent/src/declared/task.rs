//! When the agent asks what it should be: on each connection, on an announcement, every 5 minutes ± 20 %, and at once when
//! somebody waits for an entry.
//!
//! Announcements are hints: one that is lost costs the interval, one that is forged costs a question. Nothing is asked before the
//! node knows plane time, by which it tells a new answer from an old one.

use std::sync::Arc;
use std::time::Duration;

use pact_bus::{CallError, ConnectionState, Delivery, Subscription};
use pact_identity::Verifier;
use pact_identity::config_head::{ConfigHead, LEEWAY};
use pact_runtime::{CancellationToken, Clock, Pause, causes};
use pact_schemas::subject::ConfigScope;
use pact_schemas::{Seq, Subject, VclusterId, v1};
use prost::Message;
use tokio::sync::{Notify, watch};

use super::cache::{Cache, Kept};
use super::fetch::{FetchError, Source};
use super::model::Declared;
use crate::spool::{Progress, Spool};
use crate::time::PlaneClock;
use crate::uplink::Uplink;

/// Between two questions that nothing asked for, at the least; the greatest is half as much again: 5 min ± 20 %.
const INTERVAL_LEAST: Duration = Duration::from_secs(240);

/// Random part of the interval.
const INTERVAL_SPREAD: Duration = Duration::from_secs(120);

/// An announcement reaches all nodes of a vCluster at once; their questions need not.
const ANNOUNCED_SPREAD: Duration = Duration::from_millis(250);

/// Waits after a failure that passes by itself.
const RETRY: Pause = Pause::new(Duration::from_millis(500), Duration::from_secs(60));

/// On return, the node's own changes are told before new declarations count; a journal that does not take them must not keep
/// the node from its configuration for ever.
const REPORT_FIRST_LIMIT: Duration = Duration::from_secs(30);

/// A journal that takes no event for this long is as good as gone, though the connection may look whole: a cut is noticed after tens
/// of seconds, or not at all when it heals before. An election takes less.
const STALL: Duration = Duration::from_secs(3);

/// The first fix of an agent that has just come takes some ten answers of the journal. Without one by then the node says so, keeps
/// what it has, and asks as soon as there is one.
const FIX_PATIENCE: Duration = Duration::from_secs(5);

/// What is known of the declarations.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// The newest that was fetched, or found on disk.
    pub(crate) declared: Arc<Declared>,
    /// The bus is there, and the journal has confirmed `declared` on this connection.
    pub(crate) is_confirmed: bool,
    /// How often node and journal were out of touch.
    pub(crate) losses: u64,
}

/// What everybody else sees of it; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Watching {
    known: watch::Receiver<Known>,
    ask: Arc<Notify>,
}

impl Watching {
    /// The present state.
    pub(crate) fn now(&self) -> Known {
        self.known.borrow().clone()
    }

    /// Waits for another state. Cancel-safe. Pending for ever once the task is gone.
    pub(crate) async fn changed(&mut self) -> Known {
        if self.known.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.known.borrow_and_update().clone()
    }

    /// Waits until the configuration has this entry, asking for it. Cancel-safe.
    pub(crate) async fn reached(&self, seq: Seq, clock: &Clock) {
        /// A member that is behind has it after the next heartbeat or two.
        const ASK_AGAIN: Duration = Duration::from_millis(300);
        let mut known = self.known.clone();
        loop {
            let is_there = |known: &Known| known.declared.head().is_some_and(|head| head >= seq);
            if is_there(&known.borrow()) {
                return;
            }
            self.ask.notify_one();
            let there = async { known.wait_for(is_there).await.is_ok() };
            if clock.timeout(ASK_AGAIN, there).await == Ok(false) {
                std::future::pending::<()>().await; // the agent is ending
            }
        }
    }
}

/// What the task works with.
pub(crate) struct Parts {
    pub(crate) uplink: Uplink,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) plane: PlaneClock,
    pub(crate) spool: Spool,
    pub(crate) clock: Clock,
}

/// The side of the channel that the task holds.
pub(crate) struct Publishing {
    known: Shared,
    ask: Arc<Notify>,
    head: Option<ConfigHead>,
}

/// Begins with what is on disk. The time at which that was signed has passed.
pub(crate) fn begin(kept: Option<Kept>, plane: &PlaneClock) -> (Publishing, Watching) {
    if let Some(signed) = kept.as_ref().and_then(|kept| kept.head.issued().checked_sub(LEEWAY)) {
        plane.has_passed(signed);
    }
    let (head, declared) = match kept {
        Some(kept) => (Some(kept.head), kept.declared),
        None => (None, Declared::default()),
    };
    let known = Known { declared: Arc::new(declared), is_confirmed: false, losses: 0 };
    let (sender, receiver) = watch::channel(known);
    let sender = Shared(Arc::new(sender));
    let ask = Arc::new(Notify::new());
    let watching = Watching { known: receiver, ask: Arc::clone(&ask) };
    (Publishing { known: sender, ask, head }, watching)
}

/// Asks until `stop`.
pub(crate) async fn run(parts: Parts, publishing: Publishing, stop: CancellationToken) {
    let (known, ask) = (publishing.known.clone(), Arc::clone(&publishing.ask));
    tokio::select! {
        () = notice_stalls(&parts, known, &ask) => {} // cancel-safe; never ends
        () = keep_asking(&parts, publishing, stop) => {} // cancel-safe: what was kept is whole
    }
}

/// Takes a journal that is silent for one that is away, whatever the connection says: the node's changes of that time and the
/// journal's do not know of each other.
async fn notice_stalls(parts: &Parts, known: Shared, ask: &Notify) {
    loop {
        let found = parts.spool.stalled(STALL, &parts.clock).await;
        let Progress { head, committed, .. } = found;
        // A connection that is known to be lost was told of already.
        if parts.uplink.bus().state() == ConnectionState::Connected {
            tracing::warn!(
                events = head.saturating_sub(committed),
                "the journal takes no events; what both sides change meanwhile will wait for a decision"
            );
        }
        known.away();
        // It asks once the journal takes events again, or has not for long.
        ask.notify_one();
        parts.spool.moved(&found).await;
    }
}

async fn keep_asking(parts: &Parts, mut publishing: Publishing, stop: CancellationToken) {
    let mut connections = parts.uplink.connections();
    let mut announced = Announcements::default();
    let (mut pause, mut wait, mut is_timeless) = (RETRY, INTERVAL_LEAST, false);
    let ask = Arc::clone(&publishing.ask);
    loop {
        let spread = tokio::select! {
            () = stop.cancelled() => return, // cancel-safe: a token
            () = connections.next() => { // cancel-safe
                announced = Announcements::default();
                Duration::ZERO
            }
            () = lost(&parts.uplink), if publishing.is_confirmed() => { // cancel-safe: only looks
                publishing.known.away();
                continue;
            }
            seq = announced.next() => { // cancel-safe: channels
                if publishing.has(seq) {
                    continue;
                }
                ANNOUNCED_SPREAD
            }
            () = ask.notified() => Duration::ZERO, // cancel-safe
            () = pass(parts, wait, is_timeless) => Duration::ZERO, // cancel-safe: nothing is lost when it starts again
        };
        let [random] = parts.clock.random_bytes();
        let asked = async {
            parts.clock.sleep(spread * u32::from(random) / 255).await;
            announced.keep(&parts.uplink, publishing.vcluster()).await;
            publishing.ask(parts).await
        };
        let asked = tokio::select! {
            () = stop.cancelled() => return, // cancel-safe: what was kept is whole, the rest is fetched again
            asked = asked => asked,
        };
        is_timeless = matches!(asked, Err(FetchError::NoTime));
        wait = match asked {
            Ok(()) => {
                pause.reset();
                // A new vCluster has announcements of its own.
                announced.keep(&parts.uplink, publishing.vcluster()).await;
                INTERVAL_LEAST + INTERVAL_SPREAD * u32::from(random) / 255
            }
            // The next connection is another attempt.
            Err(FetchError::Call(CallError::Disconnected | CallError::Interrupted { .. })) => {
                pause.next(&parts.clock)
            }
            Err(error) => {
                if matches!(error, FetchError::Call(CallError::Timeout { .. })) {
                    publishing.known.away();
                }
                let wait = pause.next(&parts.clock);
                tracing::warn!(cause = causes(&error), retry_seconds = wait.as_secs(), "{error}");
                wait
            }
        };
    }
}

/// Waits; what waits for the time, no longer than until that is known.
async fn pass(parts: &Parts, wait: Duration, is_timeless: bool) {
    if is_timeless {
        let _known = parts.plane.known_within(wait).await;
    } else {
        parts.clock.sleep(wait).await;
    }
}

/// What is known, for all who find something out.
#[derive(Clone)]
struct Shared(Arc<watch::Sender<Known>>);

impl Shared {
    /// Node and journal are out of touch.
    fn away(&self) {
        self.0.send_modify(|known| {
            known.is_confirmed = false;
            known.losses += 1;
        });
    }
}

impl Publishing {
    fn is_confirmed(&self) -> bool {
        self.known.0.borrow().is_confirmed
    }

    fn has(&self, seq: u64) -> bool {
        self.head.as_ref().is_some_and(|head| head.head_seq().get() >= seq)
    }

    fn vcluster(&self) -> Option<VclusterId> {
        self.known.0.borrow().declared.vcluster().cloned()
    }

    /// Asks once; what is new counts when this returns.
    async fn ask(&mut self, parts: &Parts) -> Result<(), FetchError> {
        // Who was lost while this is answered is asked again, and told first.
        let losses = self.known.0.borrow().losses;
        if !self.is_confirmed() {
            report_first(parts).await;
        }
        if parts.plane.known_within(FIX_PATIENCE).await.is_none() {
            return Err(FetchError::NoTime);
        }
        let Parts { uplink, verifier, cache, plane, .. } = parts;
        let source = Source { uplink, verifier, cache, plane };
        match source.fetch(&mut self.head).await? {
            Some(Kept { head, declared }) => {
                tracing::info!(
                    head = %head.head_seq(), vcluster = declared.vcluster().map(tracing::field::display),
                    "new declared state"
                );
                let declared = Arc::new(declared);
                self.known.0.send_modify(|known| {
                    known.declared = declared;
                    known.is_confirmed = known.losses == losses;
                });
            }
            None => {
                let head = self.head.as_ref().map(ConfigHead::head_seq);
                self.known.0.send_modify(|known| {
                    if known.declared.head() != head {
                        let mut declared = Declared::clone(&known.declared);
                        declared.reached(head);
                        known.declared = Arc::new(declared);
                    }
                    known.is_confirmed = known.losses == losses;
                });
            }
        }
        Ok(())
    }
}

/// What happened while the bus was gone is told before anything new counts.
async fn report_first(parts: &Parts) {
    let head = parts.spool.progress().head;
    let told = parts.spool.committed(head);
    if parts.clock.timeout(REPORT_FIRST_LIMIT, told).await.is_err() {
        let left = head.saturating_sub(parts.spool.progress().committed);
        tracing::warn!(events = left, "asking for the configuration before all events are told");
    }
}

/// Waits until the connection is gone. Cancel-safe.
async fn lost(uplink: &Uplink) {
    /// A connection that was replaced ends a moment before the next is looked at.
    const MOMENT: Duration = Duration::from_millis(10);
    loop {
        let mut states = {
            let bus = uplink.bus();
            if bus.state() != ConnectionState::Connected {
                return;
            }
            bus.events()
        };
        let is_closed =
            states.wait_for(|state| *state != ConnectionState::Connected).await.is_err();
        if is_closed {
            tokio::time::sleep(MOMENT).await;
        }
    }
}

/// Subscriptions to the announcements of this node and its vCluster.
#[derive(Default)]
struct Announcements {
    node: Option<Subscription>,
    vcluster: Option<(VclusterId, Subscription)>,
}

impl Announcements {
    /// Subscribes to what is missing. A failure costs only speed, and is made good at the next question.
    async fn keep(&mut self, uplink: &Uplink, vcluster: Option<VclusterId>) {
        if self.node.is_none() {
            self.node = subscribe(uplink, ConfigScope::Node(uplink.node().clone())).await;
        }
        let is_right = self.vcluster.as_ref().map(|(id, _)| id) == vcluster.as_ref();
        if !is_right {
            self.vcluster = None;
            if let Some(id) = vcluster {
                let announced = subscribe(uplink, ConfigScope::Vcluster(id.clone())).await;
                self.vcluster = announced.map(|announced| (id, announced));
            }
        }
    }

    /// The entry that the next announcement names; 0 when some may be missing. Cancel-safe.
    async fn next(&mut self) -> u64 {
        let vcluster = self.vcluster.as_mut().map(|(_, announced)| announced);
        let delivery = tokio::select! {
            delivery = of(self.node.as_mut()) => delivery, // cancel-safe
            delivery = of(vcluster) => delivery, // cancel-safe
        };
        match delivery {
            Delivery::Message(message) => {
                // What does not decode asks a question, no more.
                v1::ConfigAnnouncement::decode(message.payload).map_or(u64::MAX, |said| said.seq)
            }
            Delivery::Resync => u64::MAX,
        }
    }
}

async fn of(announced: Option<&mut Subscription>) -> Delivery {
    match announced {
        Some(announced) => match announced.next().await {
            Some(delivery) => delivery,
            // The connection is closed; the next one subscribes anew.
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

async fn subscribe(uplink: &Uplink, scope: ConfigScope) -> Option<Subscription> {
    let subject = Subject::Config(scope).to_string();
    match uplink.bus().subscribe(&subject, None).await {
        Ok(subscription) => Some(subscription),
        Err(error) => {
            tracing::warn!(cause = causes(&error), subject, "no announcements: {error}");
            None
        }
    }
}
