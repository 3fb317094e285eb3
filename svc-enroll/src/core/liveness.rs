//! Who was heard of, and who has been silent for too long (decisions §2).
//!
//! Times are monotonic: a jump of the calendar makes nobody Inactive. A node is *silent* when nothing proved it alive for the
//! grace period, and the bus was healthy all that time: after a start, and after each interruption of the bus, the clock
//! begins anew for everybody. Silence alone is not proof (with several instances of svc-enroll a hello reaches one of them):
//! the caller asks a silent node before it calls it Inactive.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use pact_runtime::Timestamp;
use pact_schemas::convert::WireError;
use pact_schemas::{Mode, NodeId, v1};

/// A hello is fresh for this long (60 s + 20 %, and some for the way), and never for longer than the grace period: what
/// came before a node fell silent does not bring it back.
const FRESH: Duration = Duration::from_secs(90);

/// Longest text of a hello that is kept.
const MAX_TEXT_BYTES: usize = 64;

/// What a node last said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) wall: Timestamp,
    pub(crate) boot_id: String,
    pub(crate) whitelist_mode: String,
    /// `None`: it did not say.
    pub(crate) enforcement_mode: Option<Mode>,
}

impl Heard {
    /// What a hello says, which came at this time.
    pub(crate) fn new(hello: v1::Hello, wall: Timestamp) -> Result<Self, WireError> {
        let short =
            |text: String| text.chars().filter(|c| !c.is_control()).take(MAX_TEXT_BYTES).collect();
        let mode = Some(hello.enforcement_mode.as_str()).filter(|text| !text.is_empty());
        Ok(Self {
            wall,
            boot_id: short(hello.boot_id),
            whitelist_mode: short(hello.whitelist_mode),
            enforcement_mode: mode
                .map(|text| Mode::from_wire(text, "Hello.enforcement_mode"))
                .transpose()?,
        })
    }
}

#[derive(Debug, Default)]
struct Seen {
    /// The last sign of life, or when it was first found Active.
    alive: Duration,
    /// The last hello.
    hello: Option<(Duration, Heard)>,
}

/// An Active or Inactive node of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) node: NodeId,
    pub(crate) state_seq: u64,
    pub(crate) is_active: bool,
}

/// What the sweep found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Active and silent: ask, then make Inactive.
    pub(crate) silent: Vec<Listed>,
    /// Inactive and heard of: make Active.
    pub(crate) returned: Vec<Listed>,
}

/// The hello table. Bounded by the nodes of the journal: only they have bus credentials, and each sweep forgets the others.
#[derive(Debug)]
pub(crate) struct LivenessTable {
    grace: Duration,
    healthy_since: Option<Duration>,
    nodes: HashMap<NodeId, Seen>,
    inactive: HashSet<NodeId>,
}

impl LivenessTable {
    /// An empty table of a service that has just started; the bus counts as interrupted until [`Self::bus_is`] says otherwise.
    pub(crate) fn new(grace: Duration) -> Self {
        Self { grace, healthy_since: None, nodes: HashMap::new(), inactive: HashSet::new() }
    }

    /// Tells whether the bus is healthy now.
    pub(crate) fn bus_is(&mut self, healthy: bool, now: Duration) {
        self.healthy_since = match (healthy, self.healthy_since) {
            (false, _) => None,
            (true, since) => Some(since.unwrap_or(now)),
        };
    }

    /// A hello came. Returns whether the node was Inactive at the last sweep, so that the caller looks at once.
    pub(crate) fn hello(&mut self, node: &NodeId, heard: Heard, now: Duration) -> bool {
        let seen = self.nodes.entry(node.clone()).or_default();
        seen.alive = now;
        seen.hello = Some((now, heard));
        self.inactive.contains(node)
    }

    /// The node answered a question, or enrolled: as good as a hello.
    pub(crate) fn is_alive(&mut self, node: &NodeId, now: Duration) {
        self.nodes.entry(node.clone()).or_default().alive = now;
    }

    /// The journal made it Active or Inactive.
    pub(crate) fn became(&mut self, node: &NodeId, is_active: bool) {
        if is_active {
            self.inactive.remove(node);
        } else {
            self.inactive.insert(node.clone());
        }
    }

    /// Compares the whole list of Active and Inactive nodes of the journal with what was heard.
    pub(crate) fn sweep(&mut self, listed: &[Listed], now: Duration) -> Findings {
        let mut findings = Findings::default();
        let known: HashSet<&NodeId> = listed.iter().map(|one| &one.node).collect();
        self.nodes.retain(|node, _| known.contains(node));
        self.inactive =
            listed.iter().filter(|one| !one.is_active).map(|one| one.node.clone()).collect();
        for one in listed {
            let seen =
                self.nodes.entry(one.node.clone()).or_insert(Seen { alive: now, hello: None });
            let hello_age = seen.hello.as_ref().map(|(at, _)| now.saturating_sub(*at));
            if !one.is_active && hello_age.is_some_and(|age| age < FRESH.min(self.grace)) {
                findings.returned.push(one.clone());
            }
            let silence_began = self.healthy_since.map(|since| since.max(seen.alive));
            let is_silent =
                silence_began.is_some_and(|began| now.saturating_sub(began) >= self.grace);
            if one.is_active && is_silent {
                findings.silent.push(one.clone());
            }
        }
        findings
    }

    /// The last hello of each of these nodes, of all when none is named.
    pub(crate) fn report(&self, nodes: &[NodeId]) -> Vec<(NodeId, Heard)> {
        let heard = |node: &NodeId| {
            let (_, heard) = self.nodes.get(node)?.hello.as_ref()?;
            Some((node.clone(), heard.clone()))
        };
        let mut report: Vec<(NodeId, Heard)> = if nodes.is_empty() {
            self.nodes.keys().filter_map(heard).collect()
        } else {
            nodes.iter().filter_map(heard).collect()
        };
        report.sort_by(|(a, _), (b, _)| a.cmp(b));
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(300);
    const SECOND: Duration = Duration::from_secs(1);
    const WALL: Timestamp = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn listed(name: &str, is_active: bool) -> Listed {
        Listed { node: name.parse().unwrap(), state_seq: 1, is_active }
    }

    fn silent(table: &mut LivenessTable, nodes: &[Listed], now: Duration) -> Vec<String> {
        table.sweep(nodes, now).silent.into_iter().map(|one| one.node.to_string()).collect()
    }

    fn hello(table: &mut LivenessTable, name: &str, now: Duration) -> bool {
        let said = v1::Hello { boot_id: "b".into(), ..Default::default() };
        table.hello(&name.parse().unwrap(), Heard::new(said, WALL).unwrap(), now)
    }

    #[test]
    fn a_hello_with_a_mode_that_is_none_is_refused() {
        let said = |mode: &str| {
            let said = v1::Hello { enforcement_mode: mode.into(), ..Default::default() };
            Heard::new(said, WALL).map(|heard| heard.enforcement_mode)
        };
        assert_eq!(said(""), Ok(None));
        assert_eq!(said("enforce"), Ok(Some(Mode::Enforce)));
        let error = said("perhaps").unwrap_err().to_string();
        assert_eq!(error, "Hello.enforcement_mode must be observe or enforce");
    }

    #[test]
    fn nobody_is_silent_within_a_grace_period_of_the_start() {
        let mut table = LivenessTable::new(GRACE);
        let nodes = [listed("a", true), listed("b", true)];
        table.bus_is(true, at(10));
        assert!(silent(&mut table, &nodes, at(10)).is_empty());
        hello(&mut table, "b", at(100));
        assert!(silent(&mut table, &nodes, at(310) - SECOND).is_empty());
        assert_eq!(silent(&mut table, &nodes, at(310)), ["a"]);
        assert_eq!(silent(&mut table, &nodes, at(400)), ["a", "b"]);
    }

    #[test]
    fn an_interruption_of_the_bus_gives_everybody_a_new_grace_period() {
        let mut table = LivenessTable::new(GRACE);
        let nodes = [listed("a", true)];
        table.bus_is(true, at(0));
        hello(&mut table, "a", at(1));
        table.bus_is(false, at(200));
        assert!(silent(&mut table, &nodes, at(5_000)).is_empty(), "the bus is away");
        table.bus_is(true, at(5_000));
        table.bus_is(true, at(5_100));
        assert!(silent(&mut table, &nodes, at(5_300) - SECOND).is_empty());
        assert_eq!(silent(&mut table, &nodes, at(5_300)), ["a"]);
    }

    #[test]
    fn a_new_node_and_one_that_answered_have_a_whole_grace_period() {
        let mut table = LivenessTable::new(GRACE);
        table.bus_is(true, at(0));
        let nodes = [listed("a", true)];
        assert!(silent(&mut table, &nodes, at(1_000)).is_empty(), "first seen by this sweep");
        assert_eq!(silent(&mut table, &nodes, at(1_300)), ["a"]);
        table.is_alive(&"a".parse().unwrap(), at(1_300));
        assert!(silent(&mut table, &nodes, at(1_599)).is_empty());
        assert_eq!(silent(&mut table, &nodes, at(1_600)), ["a"]);
    }

    #[test]
    fn an_inactive_node_returns_with_its_hello() {
        let mut table = LivenessTable::new(GRACE);
        table.bus_is(true, at(0));
        let nodes = [listed("a", false), listed("b", false)];
        assert!(!hello(&mut table, "a", at(1)), "not known to be inactive yet");
        let findings = table.sweep(&nodes, at(2));
        assert_eq!((findings.returned, findings.silent), (vec![listed("a", false)], vec![]));
        assert!(hello(&mut table, "b", at(3)), "looked at without waiting for the sweep");
        table.became(&"b".parse().unwrap(), true);
        assert!(!hello(&mut table, "b", at(4)));
        // A hello from before it became Inactive brings nobody back.
        assert!(table.sweep(&nodes[..1], at(2) + FRESH).returned.is_empty());
    }

    #[test]
    fn what_the_journal_does_not_know_is_forgotten() {
        let mut table = LivenessTable::new(GRACE);
        hello(&mut table, "a", at(1));
        hello(&mut table, "b", at(1));
        table.sweep(&[listed("b", true)], at(2));
        let report = table.report(&[]);
        assert_eq!(report.len(), 1);
        assert_eq!((report[0].0.as_str(), report[0].1.boot_id.as_str()), ("b", "b"));
        assert!(table.report(&["a".parse().unwrap()]).is_empty());
    }
}
