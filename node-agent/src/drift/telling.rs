//! Telling the journal of conflicts: that a key waits for a decision, and who decided.

use pact_schemas::resource::ResourceKey;
use pact_schemas::v1::{self, ConflictDecision, node_event::Body};

use super::engine::Engine;
use super::report::told_changes;

impl Engine {
    /// Tells which keys wait for a decision.
    pub(super) fn tell_pending(&mut self) {
        let is_news = |key: &&ResourceKey| !self.told_conflicts.contains(*key);
        let news: Vec<ResourceKey> = self.conflicts.keys().filter(is_news).cloned().collect();
        if news.is_empty() {
            return;
        }
        let changes =
            news.iter().filter_map(|key| self.conflicts.get(key).map(|found| found.change(key)));
        let (changes, omitted) = told_changes(changes);
        if omitted > 0 {
            tracing::warn!(omitted, "more keys are in conflict than one event names");
        }
        let decision = ConflictDecision::Pending.into();
        let event = v1::ConflictChanged { decision, changes };
        match self.reports.report(Body::ConflictChanged(event)) {
            Ok(()) => self.told_conflicts.extend(news),
            Err(error) => super::report::not_told(&error),
        }
    }

    /// Tells which conflicts are over, and how.
    pub(super) fn tell_decided(&mut self) {
        while let Some((decision, _, _)) = self.decided.first() {
            let decision = *decision;
            let alike: Vec<_> = self.decided.iter().filter(|(d, _, _)| *d == decision).collect();
            let changes = alike.iter().map(|(_, key, conflict)| conflict.change(key));
            let (changes, omitted) = told_changes(changes);
            if omitted > 0 {
                tracing::warn!(omitted, "more conflicts were decided than one event names");
            }
            let event = v1::ConflictChanged { decision: decision.into(), changes };
            if let Err(error) = self.reports.report(Body::ConflictChanged(event)) {
                return super::report::not_told(&error);
            }
            for (_, key, _) in &alike {
                self.told_conflicts.remove(key);
            }
            self.decided.retain(|(d, _, _)| *d != decision);
        }
    }
}
