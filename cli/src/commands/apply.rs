//! `pact apply`

mod show;

use std::path::{Path, PathBuf};

use pact_schemas::error_code::ErrorCode;
use pact_schemas::v1;

use crate::confirm;
use crate::failure::Failure;
use crate::fleet::Answered;
use crate::gateway;
use crate::session::{Exit, Session};

/// Longest specification that the gateway takes.
const MAX_SPEC_BYTES: u64 = 1024 * 1024;

const EXAMPLES: &str = "\
Examples:
  pact apply overlay.toml              Apply a specification
  pact apply /tmp/hugepages.toml       From an absolute path
  pact apply overlay.toml --dry-run    Show what would change
  pact apply - <overlay.toml           From standard input
  pact apply overlay.toml --create     Also make a vCluster that does not exist
  pact apply overlay.toml --replace    Also remove what its sections do not name
  pact apply overlay.toml --on-conflict keep

What a specification does not name stays as it is; `remove = [\"sysctl/x\"]` in the
vCluster's table takes a key out. Nodes whose own values differ are a conflict
(exit 4) unless --on-conflict or [vcluster.X.conflicts] decides.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Specification (TOML); - reads standard input
    #[arg(value_name = "SPEC")]
    spec: PathBuf,
    /// Make vClusters that do not exist (platform admin)
    #[arg(long)]
    create: bool,
    /// Check it and show what would change
    #[arg(long)]
    dry_run: bool,
    /// Remove declared keys that the sections of the specification do not name
    #[arg(long)]
    replace: bool,
    /// What to do with node deltas that differ
    #[arg(long, value_name = "CHOICE", value_parser = ["overwrite", "keep"])]
    on_conflict: Option<String>,
    /// Apply to this many nodes first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    canary: Option<u32>,
    /// Apply to so many nodes at a time (number or percentage)
    #[arg(long, value_name = "N|N%")]
    batch: Option<String>,
    /// Do not wait for the nodes, nor for approval: exit with 8 if it is needed
    #[arg(long)]
    no_wait: bool,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let on_conflict = self.on_conflict.as_deref().map(|choice| match choice {
            "overwrite" => v1::OnConflict::Overwrite,
            _ => v1::OnConflict::Keep,
        });
        let request = v1::ApplyRequest {
            request_id: session.new_request_id(),
            spec: read_bounded(&self.spec, "specification")?,
            file_name: self.spec.display().to_string(),
            dry_run: self.dry_run,
            replace: self.replace,
            on_conflict: on_conflict.map(Into::into),
            no_wait: self.no_wait,
            canary: self.canary,
            batch: self.batch,
            create: self.create,
        };
        let reply = match send(session, &request).await {
            Err(failure) if failure.code() == Some(ErrorCode::NotFound) && !self.dry_run => {
                make(session, request, failure).await?
            }
            other => other?,
        };
        for overlay in reply.overlays.iter().filter(|overlay| overlay.removed_keys > 0) {
            session.screen.warn(&show::removal(overlay, self.dry_run));
        }
        // What a dry run would be refused with is its outcome.
        let is_refused = self.dry_run && !reply.errors.is_empty();
        Answered {
            schema: "pact/v1/Apply",
            items: vec![show::as_json(&reply, self.dry_run)],
            ok: usize::from(!is_refused),
            text: show::as_text(&reply, self.dry_run, session.screen),
            errors: reply.errors,
        }
        .show(session)
    }
}

async fn send(session: &Session, request: &v1::ApplyRequest) -> Result<v1::ApplyReply, Failure> {
    gateway::unary(session, |mut client| {
        let request = request.clone();
        async move { client.apply(request).await }
    })
    .await
}

/// On a terminal the name of a vCluster that does not exist, typed again, makes it. `--yes` is no answer to that.
async fn make(
    session: &Session,
    request: v1::ApplyRequest,
    failure: Failure,
) -> Result<v1::ApplyReply, Failure> {
    if request.create || !confirm::can_ask(session) {
        return Err(failure);
    }
    let dry = v1::ApplyRequest { dry_run: true, ..request.clone() };
    let new = send(session, &dry).await?.created.join(",");
    let question = format!("vCluster {new} does not exist. Type its name to make it:");
    if new.is_empty() || !confirm::is_typed(session, &question, &new).await {
        return Err(failure);
    }
    send(session, &v1::ApplyRequest { create: true, ..request }).await
}

/// The text of a file, or of standard input, that goes to the gateway.
pub(crate) fn read_bounded(path: &Path, what: &str) -> Result<String, Failure> {
    use std::io::Read as _;
    if path == Path::new("-") {
        let mut text = String::new();
        let read = std::io::stdin().take(MAX_SPEC_BYTES + 1).read_to_string(&mut text);
        let refuse = |why: String| {
            let what = format!("the {what} on standard input cannot be read");
            Failure::new(ErrorCode::InvalidArgument, what).because(why)
        };
        return match read.map_err(|e| refuse(e.to_string()))? as u64 {
            size if size > MAX_SPEC_BYTES => {
                Err(refuse(format!("at most {MAX_SPEC_BYTES} bytes are accepted")))
            }
            _ => Ok(text),
        };
    }
    let refuse = |why: String| {
        let what = format!("the {what} {} cannot be read", path.display());
        Failure::new(ErrorCode::InvalidArgument, what).because(why)
    };
    let size = std::fs::metadata(path).map_err(|e| refuse(e.to_string()))?.len();
    if size > MAX_SPEC_BYTES {
        return Err(refuse(format!("it has {size} bytes; at most {MAX_SPEC_BYTES} are accepted")));
    }
    std::fs::read_to_string(path).map_err(|e| refuse(e.to_string()))
}
