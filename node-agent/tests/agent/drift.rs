//! Looking at drift and deciding on it as the gateway does.

use std::path::Path;
use std::time::Duration;

use pact_bus::CallError;
use pact_schemas::resource::{Change, ResourceKey, Value, change_set};
use pact_schemas::{ErrorCode, MethodName, Subject, v1};
use prost::Message;

use crate::declared::{VCLUSTER, sha256};
use crate::plane::{Agent, PATIENCE, Plane, until};

/// The key of a file.
pub(crate) fn key(path: &Path) -> ResourceKey {
    ResourceKey::file(path).unwrap()
}

impl Plane {
    /// Asks the agent.
    pub(crate) async fn ask<Req: Message, Rep: Message + Default>(
        &self,
        method: &str,
        request: &Req,
    ) -> Result<Rep, v1::Error> {
        let method = MethodName::new(method).unwrap();
        let subject = Subject::NodeRpc { node: self.node.clone(), method };
        match self.gateway.request(&subject, request, PATIENCE).await {
            Ok(reply) => Ok(reply),
            Err(CallError::Service(error)) => Err(error),
            Err(other) => panic!("{other:?}"),
        }
    }

    /// A look at the drift.
    pub(crate) async fn diff(&self) -> v1::DiffReply {
        self.ask("diff", &v1::DiffRequest::default()).await.unwrap()
    }

    /// The drift of files: path below the root → what is.
    pub(crate) async fn drifted(&self) -> Vec<(String, Value)> {
        let root = format!("file/{}/", self.root().display());
        let items = self.diff().await.items.into_iter();
        let changes = items.map(|item| Change::try_from(item.change.unwrap()).unwrap());
        changes
            .filter_map(|change| {
                let name = change.key.as_str().strip_prefix(&root)?.to_owned();
                Some((name, change.new.unwrap()))
            })
            .collect()
    }

    /// Waits until exactly these files differ.
    pub(crate) async fn until_drifted(&self, expected: &[&str]) -> Vec<(String, Value)> {
        let clock = self.clock();
        let started = clock.monotonic();
        loop {
            let drifted = self.drifted().await;
            if drifted.iter().map(|(name, _)| name.as_str()).eq(expected.iter().copied()) {
                return drifted;
            }
            assert!(clock.monotonic() - started < PATIENCE, "{expected:?}: {drifted:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Another state of the journal: `change` makes it, and the node is told.
    pub(crate) async fn declare(&self, change: impl FnOnce(&mut crate::declared::Site)) -> u64 {
        let head = {
            let mut told = self.told.lock().unwrap();
            change(&mut told.declared);
            told.declared.head += 1;
            told.declared.head
        };
        self.announce(head).await;
        head
    }

    /// Says that there is something new.
    pub(crate) async fn announce(&self, seq: u64) {
        let announced = v1::ConfigAnnouncement { seq };
        let vcluster = VCLUSTER.parse().unwrap();
        let subject = Subject::Config(pact_schemas::subject::ConfigScope::Vcluster(vcluster));
        // Lost while the bus is away, as in life.
        let _lost = self.journal.publish(&subject, announced.encode_to_vec().into()).await;
    }

    /// Waits until the node has settled at this entry.
    pub(crate) async fn settle(&self, seq: u64) -> v1::SettleReply {
        self.ask("settle", &v1::SettleRequest { seq }).await.unwrap()
    }

    /// A grant for a plan.
    pub(crate) fn plan_grant(&self, seq: u64, plan: &v1::RollbackPlan) -> v1::SignedGrant {
        let sha256 = sha256(&plan.encode_to_vec()).to_vec();
        let mut payload = self.payload(seq, &["unused"]);
        payload.operation = "rollback".to_owned();
        payload.action = Some(v1::grant_payload::Action::Plan(v1::PlanAction { sha256 }));
        self.sign(&payload)
    }

    /// `rollback head` as it is granted.
    pub(crate) async fn discard(&self, seq: u64) -> Result<v1::RollbackReply, v1::Error> {
        let plan = self.discard_plan().await;
        let grant = Some(self.plan_grant(seq, &plan));
        self.ask("rollback", &v1::RollbackStart { grant, plan: Some(plan) }).await
    }

    pub(crate) async fn discard_plan(&self) -> v1::RollbackPlan {
        v1::RollbackPlan {
            node: self.node.to_string(),
            discard_drift: true,
            expect_digest: self.diff().await.digest,
            ..v1::RollbackPlan::default()
        }
    }

    /// A plan that makes these keys what they were.
    pub(crate) fn changes_plan(&self, changes: &[Change]) -> v1::RollbackPlan {
        v1::RollbackPlan {
            node: self.node.to_string(),
            changes: Some(change_set::pack(changes).0),
            ..Default::default()
        }
    }

    /// Bodies of the events so far.
    pub(crate) fn bodies(&self) -> Vec<v1::node_event::Body> {
        self.told.lock().unwrap().events.iter().filter_map(|event| event.body.clone()).collect()
    }

    /// Reasons for which the node undid drift, and how many keys.
    pub(crate) fn converged(&self) -> Vec<(v1::ConvergeReason, usize)> {
        let of = |body: v1::node_event::Body| match body {
            v1::node_event::Body::Converged(event) => Some((event.reason(), event.changes.len())),
            _ => None,
        };
        self.bodies().into_iter().filter_map(of).collect()
    }

    /// The newest drift that was reported.
    pub(crate) fn reported(&self) -> Option<v1::NodeDrift> {
        let of = |body: v1::node_event::Body| match body {
            v1::node_event::Body::DriftChanged(event) => event.drift,
            _ => None,
        };
        self.bodies().into_iter().rev().find_map(of)
    }

    pub(crate) async fn until_window(&self, state: v1::WindowState) -> v1::WindowStatus {
        until(&format!("{state:?}"), || {
            self.reported().is_some_and(|drift| drift.window.unwrap().state() == state)
        })
        .await;
        self.reported().unwrap().window.unwrap()
    }

    /// Waits until the first look is over: what changes from now on is drift.
    pub(crate) async fn watched(&self) {
        let clock = self.clock();
        let started = clock.monotonic();
        while self.diff().await.scanning {
            assert!(clock.monotonic() - started < PATIENCE);
        }
    }
}

/// A plane whose node has these files, and an agent that watches them; with a window, in seconds, it enforces.
pub(crate) async fn watched(files: &[(&str, &str)], window: Option<u32>) -> (Plane, Agent) {
    let plane = Plane::start().await;
    std::fs::create_dir_all(plane.root()).unwrap();
    for (name, text) in files {
        std::fs::write(plane.root().join(name), text).unwrap();
    }
    let agent = plane.agent("strict").await;
    plane.watched().await;
    if let Some(seconds) = window {
        let seq = plane.declare(|site| site.policy = enforce(seconds)).await;
        plane.settle(seq).await;
    }
    (plane, agent)
}

/// A policy that enforces after a window of this many seconds.
pub(crate) fn enforce(seconds: u32) -> v1::VclusterPolicy {
    v1::VclusterPolicy {
        enforcement_mode: Some("enforce".to_owned()),
        base_commit_window_seconds: Some(seconds),
        min_window_seconds: Some(1),
        ..Default::default()
    }
}

pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, v1::Error>) -> ErrorCode {
    result.unwrap_err().known_code()
}
