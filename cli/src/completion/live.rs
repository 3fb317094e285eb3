//! Names that only the gateway has.
//!
//! Asked by a call of its own, of which no entry is made, however often Tab is pressed. Whatever goes wrong, there are no
//! names, and nothing is said.

use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;

use pact_runtime::Clock;
use pact_schemas::v1::{self, CompletedName};
use pact_schemas::{NodeId, VclusterId};

use super::BUDGET;
use crate::gateway;
use crate::output::Screen;
use crate::session::Session;
use crate::settings::{GlobalArgs, Settings};

/// Longest answer that is read: tens of thousands of nodes. More of them do not come within the budget either.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Whom to ask: the settings of the line that is being typed.
#[derive(Debug)]
pub(super) struct Live {
    flags: GlobalArgs,
    environment: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy)]
enum Wanted {
    Nodes,
    Vclusters,
}

impl Live {
    pub(super) fn new(flags: GlobalArgs, environment: BTreeMap<String, String>) -> Self {
        Self { flags, environment }
    }

    /// The nodes that the user may see; of one vCluster, if the line names one.
    pub(super) fn nodes(&self) -> Vec<String> {
        self.within_budget(Wanted::Nodes)
    }

    /// The vClusters that the user may see.
    pub(super) fn vclusters(&self) -> Vec<String> {
        self.within_budget(Wanted::Vclusters)
    }

    /// On a thread of its own, which nothing waits for beyond the budget: a name service or a file that does not
    /// answer blocks it, and the process ends without it.
    fn within_budget(&self, wanted: Wanted) -> Vec<String> {
        let (flags, environment) = (self.flags.clone(), self.environment.clone());
        let (sender, receiver) = sync_channel(1);
        let ask = move || {
            let names = names(flags, environment, wanted).unwrap_or_default();
            // Nobody listens any more when it took too long.
            let _late = sender.send(names);
        };
        match std::thread::Builder::new().spawn(ask) {
            Ok(_runs_on) => receiver.recv_timeout(BUDGET).unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }
}

fn names(
    flags: GlobalArgs,
    environment: BTreeMap<String, String>,
    wanted: Wanted,
) -> Option<Vec<String>> {
    let settings = Settings::load(flags, environment).ok()?;
    let session = Session::new(settings, Clock::system(), Screen::SILENT);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let names = runtime.block_on(asked(&session, wanted));
    runtime.shutdown_background();
    names
}

async fn asked(session: &Session, wanted: Wanted) -> Option<Vec<String>> {
    let client = gateway::connect_within(session, BUDGET).await?;
    let mut client = client.max_decoding_message_size(MAX_ANSWER_BYTES);
    let (name, vcluster) = match wanted {
        Wanted::Nodes => (CompletedName::Node, session.vcluster_flag()),
        Wanted::Vclusters => (CompletedName::Vcluster, None),
    };
    let request = v1::CompleteRequest { name: name.into(), vcluster };
    let reply = client.complete(request).await.ok()?.into_inner();
    Some(reply.names.into_iter().filter(|given| is_valid(wanted, given)).collect())
}

/// Only valid ids: they hold nothing that means something to a shell or a terminal.
fn is_valid(wanted: Wanted, name: &str) -> bool {
    match wanted {
        Wanted::Nodes => NodeId::new(name).is_ok(),
        Wanted::Vclusters => VclusterId::new(name).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_is_left_out() {
        let odd = [
            "node-1",
            "$(reboot)",
            "a b",
            "x\ny",
            "\u{1b}[31m",
            "`id`",
            "-x y",
            "n;id",
            "",
            "node-2",
        ];
        for wanted in [Wanted::Nodes, Wanted::Vclusters] {
            let left: Vec<&str> = odd.into_iter().filter(|name| is_valid(wanted, name)).collect();
            assert_eq!(left, ["node-1", "node-2"]);
        }
    }
}
