//! `pact rollback`: the plan first, then exactly that plan.

mod show;

use pact_schemas::v1;

use crate::failure::Failure;
use crate::fleet::Answered;
use crate::gateway;
use crate::session::{Exit, Session};
use crate::target::{ExcludeArg, Targets};

const EXAMPLES: &str = "\
Examples:
  pact rollback 42                     To the state right after entry 42
  pact rollback 42 --node node-042     A node's deltas, as they were then
  pact rollback head --node node-042   Discard a node's present drift
  pact rollback 42 --dry-run           Show the plan and do nothing

Entry 42 brings its own scope: a node's deltas, or the overlay of a vCluster. Where
a node's declared state is the entry's already, its drift is discarded. The plan
is shown on stderr; when something changes before it is carried out, nothing
is done (exit 4). While somebody holds what would change, nothing is done either
(exit 10).";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Sequence number to roll back to, or head
    #[arg(value_name = "SEQ", value_parser = parse_seq)]
    seq: Wanted,
    /// Roll back these nodes' deltas, whatever the scope of the entry
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    #[command(flatten)]
    exclude: ExcludeArg,
    /// Show the plan and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not wait for approval: exit with 8 if it is needed
    #[arg(long)]
    no_wait: bool,
}

/// What to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Entry(u64),
    Head,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let plan = self.request(session)?;
        let planned = send(session, &plan).await?;
        if self.dry_run {
            return shown(planned, session);
        }
        let (text, is_nothing) = show::plan(&planned, session.screen.for_stderr());
        session.screen.notes(&text);
        if is_nothing && planned.errors.is_empty() {
            return answered(planned, session);
        }
        if planned.plans.is_empty() {
            // No node could be planned for.
            return answered(planned, session);
        }
        let request =
            v1::RollbackScopeRequest { plan_only: false, expect_plan: planned.plan_digest, ..plan };
        answered(send(session, &request).await?, session)
    }

    fn request(&self, session: &Session) -> Result<v1::RollbackScopeRequest, Failure> {
        // `head` discards drift, which only nodes have; another entry brings its own scope.
        let node = match (&self.node, self.seq) {
            (Some(node), _) => Some(node.as_str()),
            (None, Wanted::Head) => session.settings.node.as_deref(),
            (None, Wanted::Entry(_)) => None,
        };
        let targets = node.map(|node| Targets::new(node, &self.exclude)).transpose()?;
        let (targets, exclude) = targets.map(|t| (t.set, t.exclude)).unwrap_or_default();
        Ok(v1::RollbackScopeRequest {
            request_id: session.new_request_id(),
            to_seq: match self.seq {
                Wanted::Entry(seq) => Some(seq),
                Wanted::Head => None,
            },
            vcluster: session.vcluster_flag(),
            targets,
            exclude,
            plan_only: true,
            expect_plan: Vec::new(),
        })
    }
}

async fn send(
    session: &Session,
    request: &v1::RollbackScopeRequest,
) -> Result<v1::RollbackScopeReply, Failure> {
    gateway::unary(session, |mut client| {
        let request = request.clone();
        async move { client.rollback(request).await }
    })
    .await
}

fn answered(reply: v1::RollbackScopeReply, session: &Session) -> Result<Exit, Failure> {
    Answered {
        schema: "pact/v1/Rollback",
        items: show::as_json(&reply)?,
        ok: show::well(&reply),
        text: show::as_text(&reply, session.screen)?,
        errors: reply.errors,
    }
    .show(session)
}

/// The plan alone, as it would be carried out.
fn shown(planned: v1::RollbackScopeReply, session: &Session) -> Result<Exit, Failure> {
    let (mut text, is_nothing) = show::plan(&planned, session.screen);
    if is_nothing {
        text.push_str("nothing would change\n");
    }
    Answered {
        schema: "pact/v1/Rollback",
        items: show::as_json(&planned)?,
        ok: show::well(&planned),
        text,
        errors: planned.errors,
    }
    .show(session)
}

fn parse_seq(text: &str) -> Result<Wanted, String> {
    match text.parse::<u64>() {
        Ok(seq) if seq > 0 => Ok(Wanted::Entry(seq)),
        _ if text == "head" => Ok(Wanted::Head),
        _ => Err("expected a sequence number from 1, or head".to_owned()),
    }
}
