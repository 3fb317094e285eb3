//! The engine over a fake node.

mod conflicts;
mod crashes;
mod declarations;
mod figures;
mod plans;
mod silence;
mod undoing;
mod windows;

use std::path::Path;

use pact_runtime::ManualClock;
use pact_schemas::resource::Value;
use pact_schemas::v1::node_event::Body;
use pact_schemas::v1::{ConflictDecision, ConvergeReason, WindowState};
use pact_schemas::{NodeId, Seq, VclusterId, convert};
use prost::Message;

use super::super::core::magnitude::Limits;
use super::super::fake::{Fake, Hanging, Steps, Told};
use super::super::store::Why;
use super::super::worker::Patience;
use super::*;
use crate::declared::Document;
use crate::provider::Provider;

const START: Timestamp = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);

struct Site {
    folder: tempfile::TempDir,
    clock: Clock,
    hand: ManualClock,
    node: Fake,
    told: Told,
    boot: BootId,
    head: u64,
    /// The agent's own file.
    enforce_keys: &'static str,
    blacklist: &'static str,
    steps: Steps,
    /// A second provider, whose thread hangs now and then.
    hanging: Option<Hanging>,
}

impl Site {
    fn new() -> Self {
        let (clock, hand) = Clock::manual(START);
        let folder = tempfile::tempdir().unwrap();
        let (node, mut told) = (Fake::default(), Told::default());
        node.was("sysctl/a", 1);
        node.was("file//etc/b", 1);
        let steps = Steps::default();
        told.steps = steps.clone();
        node.node().steps = steps.clone();
        Self {
            folder,
            clock,
            hand,
            node,
            told,
            boot: BootId::other(),
            head: 0,
            enforce_keys: "**",
            blacklist: "/tmp/**",
            steps,
            hanging: None,
        }
    }

    /// The machine starts again: its clock begins anew, and nothing is known of the time.
    fn reboot(&mut self) {
        (self.clock, self.hand) = Clock::manual(START);
        let one = BootId::other();
        self.boot = if self.boot == one { BootId::read().unwrap() } else { one };
    }

    fn file(&self, mode: Mode) -> FileSettings {
        FileSettings {
            mode,
            enforce_keys: vec![self.enforce_keys.parse().unwrap()].into(),
            limits: Limits { base: 15 * MINUTE, floor: 2 * MINUTE, sensitivity: 2.0 },
            blacklist: vec![self.blacklist.parse().unwrap()],
        }
    }

    fn providers(&self) -> Providers {
        let mut list: Vec<Box<dyn Provider>> = vec![Box::new(self.node.clone())];
        list.extend(self.hanging.iter().map(|node| Box::new(node.clone()) as Box<dyn Provider>));
        let quick = Duration::from_millis(200);
        match self.hanging {
            None => Providers::new(list, &self.clock),
            Some(_) => Providers::patient(
                list,
                &self.clock,
                Patience { look: quick, write: quick, first_scan: quick, slow: quick },
            ),
        }
        .unwrap()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn open(&self, mode: Mode, declared: &Known) -> Engine {
        let plane =
            PlaneClock::open(&self.path().join("time"), self.boot.clone(), self.clock.clone());
        let mut engine = Engine::open(EngineParts {
            providers: self.providers(),
            file: self.file(mode),
            declared: Arc::clone(&declared.declared),
            contents: ContentsFolder::at(self.path()),
            folder: self.path().join("drift"),
            reports: Box::new(self.told.clone()),
            sessions: Sessions::new(self.clock.clone()),
            clock: self.clock.clone(),
            plane: plane.unwrap(),
            boot: self.boot.clone(),
            powers: Powers { can_act: true, read_only: Vec::new() },
        })
        .unwrap();
        engine.store.steps = self.steps.clone();
        engine
    }

    /// Lets the agent die after so many steps of this; says whether it did.
    fn dies(&self, steps: usize, work: impl FnOnce()) -> bool {
        self.steps.die_after(steps);
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err();
        self.steps.live();
        died
    }

    /// An agent that was told what is declared.
    fn started(&self, mode: Mode, declared: &Known) -> Engine {
        let mut engine = self.open(mode, declared);
        engine.start().unwrap();
        engine.adopt(declared);
        engine
    }

    fn declares(&mut self, policy: v1::VclusterPolicy, keys: &[(&str, i64)]) -> Known {
        let keys: Vec<_> = keys.iter().map(|(key, value)| (*key, *value, None)).collect();
        self.declares_until(policy, &keys)
    }

    /// Keys, their values, and when they end.
    fn declares_until(
        &mut self,
        policy: v1::VclusterPolicy,
        keys: &[(&str, i64, Option<Timestamp>)],
    ) -> Known {
        self.head += 1;
        let mut in_order = keys.to_vec();
        in_order.sort_unstable();
        let scope = v1::scope::Scope::Vcluster("ml".into());
        let scope = v1::Scope { scope: Some(scope) };
        let key = |(key, value, end): &(&str, i64, Option<Timestamp>)| v1::DeclaredKey {
            key: (*key).to_owned(),
            value: Some((&Value::Integer(*value)).into()),
            seq: self.head,
            expires: end.map(|end| convert::timestamp(end.unix_nanos())),
        };
        let wire = v1::DeclaredDocument {
            version: 1,
            scope: Some(scope.clone()),
            seq: self.head,
            policy: Some(policy),
            blacklist: Vec::new(),
            keys: in_order.iter().map(key).collect(),
        };
        let document = Document::decode(&wire.encode_to_vec(), &scope, self.head).unwrap();
        let scope = convert::Scope::Vcluster(VclusterId::new("ml").unwrap());
        let node = NodeId::new("n1").unwrap();
        let head = Seq::new(self.head).unwrap();
        let declared = Declared::new(&node, head, vec![(scope, document)]).unwrap();
        Known { declared: Arc::new(declared), is_confirmed: true, losses: 0 }
    }

    fn converged(&self) -> Vec<(ConvergeReason, usize)> {
        let of = |body: Body| match body {
            Body::Converged(event) => Some((event.reason(), event.changes.len())),
            _ => None,
        };
        self.told.events().into_iter().filter_map(of).collect()
    }

    fn decisions(&self) -> Vec<ConflictDecision> {
        let of = |body: Body| match body {
            Body::ConflictChanged(event) => Some(event.decision()),
            _ => None,
        };
        self.told.events().into_iter().filter_map(of).collect()
    }

    fn drift_keys(&self) -> Vec<u32> {
        let of = |body: Body| match body {
            Body::DriftChanged(event) => Some(event.drift.unwrap().keys),
            _ => None,
        };
        self.told.events().into_iter().filter_map(of).collect()
    }
}

fn state(engine: &Engine) -> WindowState {
    engine.window.status().state()
}

fn nothing() -> Known {
    Known { declared: Arc::default(), is_confirmed: true, losses: 0 }
}

fn policy() -> v1::VclusterPolicy {
    v1::VclusterPolicy::default()
}
