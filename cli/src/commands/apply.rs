//! `pact apply`

use std::path::{Path, PathBuf};

use pact_schemas::error_code::ErrorCode;
use pact_schemas::v1;
use serde_json::json;

use crate::failure::Failure;
use crate::gateway;
use crate::output::{self, Envelope, Format};
use crate::session::{Exit, Session};
use crate::view;

/// Longest specification that the gateway takes.
const MAX_SPEC_BYTES: u64 = 1024 * 1024;

const EXAMPLES: &str = "\
Examples:
  pact apply overlay.toml              Apply a specification
  pact apply /tmp/hugepages.toml       From an absolute path
  pact apply overlay.toml --dry-run    Show what would change";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Specification (TOML)
    #[arg(value_name = "SPEC")]
    spec: PathBuf,
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
    /// Do not wait for approval: exit with 8 if it is needed
    #[arg(long)]
    no_wait: bool,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        self.refuse_what_is_not_built()?;
        let request = v1::ApplyRequest {
            request_id: session.new_request_id(),
            spec: read_bounded(&self.spec, "specification")?,
            file_name: self.spec.display().to_string(),
            dry_run: self.dry_run,
            ..v1::ApplyRequest::default()
        };
        let reply = gateway::unary(session, |mut client| {
            let request = request.clone();
            async move { client.apply(request).await }
        })
        .await?;
        match session.format() {
            Format::Json => {
                Envelope::new("pact/v1/Apply", vec![as_json(&reply, self.dry_run)]).write()?
            }
            Format::Text => output::write_out(&as_text(&reply, self.dry_run))?,
        }
        Ok(Exit::SUCCESS)
    }

    /// An option that would be ignored is refused instead.
    fn refuse_what_is_not_built(&self) -> Result<(), Failure> {
        for (is_set, option) in [
            (self.replace, "apply --replace"),
            (self.on_conflict.is_some(), "apply --on-conflict"),
            (self.canary.is_some(), "apply --canary"),
            (self.batch.is_some(), "apply --batch"),
        ] {
            if is_set {
                return Err(Failure::unimplemented(option));
            }
        }
        Ok(())
    }
}

/// The text of a file that goes to the gateway.
pub(crate) fn read_bounded(path: &Path, what: &str) -> Result<String, Failure> {
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

fn as_json(reply: &v1::ApplyReply, dry_run: bool) -> serde_json::Value {
    let policies: Vec<serde_json::Value> = reply
        .policies
        .iter()
        .map(|p| {
            let policy = p.policy.as_ref().map(view::group::policy_json);
            json!({"vcluster": p.vcluster, "policy": policy})
        })
        .collect();
    json!({
        "dry_run": dry_run,
        "first_seq": reply.first_seq,
        "last_seq": reply.last_seq,
        "policies": policies,
    })
}

fn as_text(reply: &v1::ApplyReply, dry_run: bool) -> String {
    let names: Vec<String> =
        reply.policies.iter().map(|p| output::clean_line(&p.vcluster)).collect();
    let what = if names.is_empty() {
        "nothing to change".to_owned()
    } else {
        format!("policy of {}", names.join(", "))
    };
    match (dry_run, reply.first_seq, reply.last_seq) {
        (true, ..) => format!("would apply: {what}\n"),
        (false, 0, _) => format!("nothing changed: {what}\n"),
        (false, first, last) if first == last => format!("applied: {what} (entry {first})\n"),
        (false, first, last) => format!("applied: {what} (entries {first} to {last})\n"),
    }
}
