//! `pact promote`

mod decide;

use pact_schemas::error_code::ErrorCode;
use pact_schemas::v1;
use serde_json::json;

use crate::failure::Failure;
use crate::gateway;
use crate::output::{self, Envelope, Format};
use crate::session::{Exit, Session};
use crate::target::Targets;
use crate::view::{change, drift};

const EXAMPLES: &str = "\
Examples:
  pact promote node-042                Export deltas as TOML to stdout
  pact promote node-042 --dry-run      Show which deltas would be exported
  pact promote node-042 --on-conflict keep-local
  pact promote node-042 > changes.toml Export to a file, then: pact apply changes.toml

Where other nodes have values of their own for the same keys, a terminal asks
about each key; without one it exits with 4 and lists them. The decision is
written as [vcluster.X.conflicts], which `pact apply` obeys.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Node whose committed deltas to export
    #[arg(value_name = "NODE")]
    node: String,
    /// Show which deltas would be exported, without TOML
    #[arg(long)]
    dry_run: bool,
    /// What to do with local values of other nodes
    #[arg(long, value_name = "CHOICE", value_parser = ["overwrite", "keep-local"])]
    on_conflict: Option<String>,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let node = Targets::one(&self.node)?.set;
        let on_conflict = self.on_conflict.as_deref().map(|choice| match choice {
            "overwrite" => v1::ConflictChoice::Overwrite,
            _ => v1::ConflictChoice::KeepLocal,
        });
        let mut request = v1::PromoteRequest {
            node,
            on_conflict: on_conflict.map(Into::into),
            decisions: Vec::new(),
        };
        let mut reply = send(session, &request).await?;
        let is_undecided = reply.toml.is_empty() && !reply.conflicts.is_empty();
        if is_undecided && !self.dry_run {
            let table = drift::conflicts_table(&reply.conflicts, session.screen.for_stderr());
            session.screen.note("other nodes have values of their own for the same keys:");
            session.screen.notes(&table);
            if !session.screen.stdin_is_terminal || !session.screen.stderr_is_terminal {
                return Err(undecided(&reply));
            }
            request.decisions = decide::ask(session, &reply.conflicts).await?;
            reply = send(session, &request).await?;
            if reply.toml.is_empty() {
                return Err(undecided(&reply));
            }
        }
        self.show(session, &reply)
    }

    fn show(&self, session: &Session, reply: &v1::PromoteReply) -> Result<Exit, Failure> {
        match session.format() {
            Format::Json => {
                let item = json!({
                    "node": self.node,
                    "vcluster": reply.vcluster,
                    "dry_run": self.dry_run,
                    "deltas": reply.deltas.iter().map(drift::delta_json).collect::<Vec<_>>(),
                    "conflicts": drift::conflicts_json(&reply.conflicts),
                    "toml": Some(&reply.toml).filter(|t| !self.dry_run && !t.is_empty()),
                });
                Envelope::new("pact/v1/Promote", vec![item]).write()?;
            }
            Format::Text if reply.deltas.is_empty() => {
                session.screen.note(&format!("{} has no committed deltas", self.node));
            }
            Format::Text if self.dry_run => {
                output::write_out(&drift::deltas_table(&reply.deltas, session.screen))?;
                if !reply.conflicts.is_empty() {
                    session.screen.note("other nodes have values of their own for the same keys:");
                    let screen = session.screen.for_stderr();
                    session.screen.notes(&drift::conflicts_table(&reply.conflicts, screen));
                }
            }
            Format::Text => output::write_out(&reply.toml)?,
        }
        Ok(Exit::SUCCESS)
    }
}

async fn send(
    session: &Session,
    request: &v1::PromoteRequest,
) -> Result<v1::PromoteReply, Failure> {
    gateway::unary_of(session, &request.node, |mut client| {
        let request = request.clone();
        async move { client.promote(request).await }
    })
    .await
}

fn undecided(reply: &v1::PromoteReply) -> Failure {
    let each: Vec<String> =
        reply.conflicts.iter().map(|c| format!("{} on {}", c.key, c.node)).collect();
    Failure::new(ErrorCode::Conflict, "other nodes have values of their own for the same keys")
        .because(change::keys(each.iter().map(String::as_str)))
        .next("decide with --on-conflict overwrite or --on-conflict keep-local")
}
