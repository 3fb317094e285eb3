//! The journal of the test site: its rules are the real ones, its state is in maps.

use std::collections::BTreeMap;

use pact_journal_core::apply::COMMAND_VERSION;
use pact_journal_core::memory::Memory;
use pact_journal_core::record::Uploader;
use pact_journal_core::view::StateView as _;
use pact_runtime::Clock;
use pact_schemas::v1::action::Action;
use pact_schemas::{ErrorCode, NodeId, convert, v1};

use crate::declared::Site;
use crate::plane::{MAC, SITE};

/// The journal, which keeps its own rules, and what it was told.
#[derive(Default)]
pub(crate) struct Told {
    journal: Memory,
    pub(crate) events: Vec<v1::NodeEvent>,
    pub(crate) blobs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) hellos: Vec<v1::Hello>,
    /// Events that came before their chunks, or out of another spool.
    pub(crate) violations: Vec<String>,
    /// What everything is answered with while set.
    pub(crate) refusal: Option<ErrorCode>,
    /// How many events and recordings were refused with it.
    pub(crate) refused: usize,
    /// What the node is to be.
    pub(crate) declared: Site,
    /// Nobody answers time challenges while set.
    pub(crate) holds_time: bool,
}

impl Told {
    /// The node is known to the journal from now on.
    pub(crate) fn register(&mut self, node: &NodeId) {
        let identity = v1::HardwareIdentity { macs: vec![MAC.to_owned()], ..Default::default() };
        let register = v1::RegisterNode {
            node: node.to_string(),
            identity: Some(identity),
            judged: vec![v1::JudgedScope { vcluster: None, targets: node.to_string() }],
            ..v1::RegisterNode::default()
        };
        self.apply(node, Action::RegisterNode(register)).unwrap();
    }

    fn apply(&mut self, node: &NodeId, action: Action) -> Result<(), v1::Error> {
        let author = v1::Principal {
            subject: format!("node:{node}"),
            issuer: format!("pact://{SITE}"),
            kind: v1::PrincipalKind::Node.into(),
            roles: Vec::new(),
        };
        let command = v1::Command {
            version: COMMAND_VERSION,
            time: Some(convert::timestamp(Clock::system().now().unix_nanos())),
            author: Some(author),
            action: Some(v1::Action { action: Some(action) }),
            ..v1::Command::default()
        };
        match self.journal.apply(&[command]).remove(0).outcome.unwrap() {
            v1::outcome::Outcome::Committed(_) => Ok(()),
            v1::outcome::Outcome::Rejected(refusal) => Err(refusal),
        }
    }

    pub(crate) fn event(&mut self, event: v1::NodeEvent) -> Result<v1::EventAck, v1::Error> {
        self.taken()?;
        let node: NodeId = event.node.parse().unwrap();
        let spool = (node.clone(), event.spool_id.parse().unwrap());
        let before = self.journal.spools.get(&spool).copied().unwrap_or(0);
        self.apply(&node, Action::NodeEvent(event.clone()))?;
        let committed_number = self.journal.spools[&spool];
        if committed_number > before {
            let by = Uploader::Node(node);
            for chunk in chunks(&event) {
                let sha256 = chunk.sha256.as_slice().try_into().unwrap();
                if !self.journal.has_uploaded(&sha256, &by) {
                    self.violations.push(format!("event {} before its chunk", event.number));
                }
            }
            if self.events.first().is_some_and(|first| first.spool_id != event.spool_id) {
                self.violations.push("another spool".to_owned());
            }
            self.events.push(event);
        }
        Ok(v1::EventAck { committed_number })
    }

    /// Takes a recorded chunk.
    pub(crate) fn recording(
        &mut self,
        node: &NodeId,
        blob: v1::PutBlob,
    ) -> Result<v1::RecordingAck, v1::Error> {
        self.taken()?;
        self.apply(node, Action::PutBlob(blob.clone()))?;
        self.blobs.insert(blob.sha256, blob.compressed);
        Ok(v1::RecordingAck {})
    }

    /// Refuses while a refusal is set.
    fn taken(&mut self) -> Result<(), v1::Error> {
        let Some(code) = self.refusal else { return Ok(()) };
        self.refused += 1;
        Err(code.error("not now"))
    }

    /// The outcomes of a grant.
    pub(crate) fn outcomes(&self, seq: u64) -> Vec<v1::ExecFinished> {
        let of = |event: &v1::NodeEvent| match &event.body {
            Some(v1::node_event::Body::ExecEnded(ended)) if ended.grant_seq == seq => {
                ended.finished.clone()
            }
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }

    /// The recorded bytes of an outcome.
    pub(crate) fn recorded(&self, finished: &v1::ExecFinished) -> Vec<u8> {
        let read = |segment: &v1::OutputSegment| {
            let blob = segment.blob.as_ref().unwrap();
            zstd::bulk::decompress(&self.blobs[&blob.sha256], blob.size_bytes as usize).unwrap()
        };
        finished.output.iter().flat_map(read).collect()
    }
}

fn chunks(event: &v1::NodeEvent) -> Vec<v1::BlobRef> {
    match &event.body {
        Some(v1::node_event::Body::ExecEnded(ended)) => ended
            .finished
            .iter()
            .flat_map(|finished| &finished.output)
            .filter_map(|segment| segment.blob.clone())
            .collect(),
        Some(v1::node_event::Body::CapabilityChange(change)) => change.report.clone(),
        Some(_) => Vec::new(),
        None => panic!("an event without body"),
    }
}
