//! `pact watch`

use pact_schemas::v1;

use crate::entry::VerifiedEntry;
use crate::failure::Failure;
use crate::gateway::{self, failure_of, is_connection_loss};
use crate::output::{Format, Line, StreamWriter};
use crate::session::{Exit, Session};
use crate::view;

const EXAMPLES: &str = "\
Examples:
  pact watch                           Default vCluster
  pact watch --vcluster ml-training    One vCluster
  pact watch --output json | jq .item.message

Ctrl-C ends the stream.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let scope = session
            .vcluster()
            .map(|name| v1::Scope { scope: Some(v1::scope::Scope::Vcluster(name)) });
        tokio::select! {
            // Both may be dropped at any point: lines are written whole, the stream has no end.
            result = follow(session, scope) => result,
            _interrupt = tokio::signal::ctrl_c() => Ok(Exit::SUCCESS),
        }
    }
}

/// Follows the stream; when the connection breaks, goes on after the last entry that was shown.
async fn follow(session: &Session, scope: Option<v1::Scope>) -> Result<Exit, Failure> {
    let mut after = None;
    let mut failures = 0;
    loop {
        let request = v1::WatchRequest { scope: scope.clone(), after };
        let shown_before = after;
        match stream(session, request, &mut after).await? {
            Ended::ByGateway => return Ok(Exit::SUCCESS),
            Ended::Lost(status) => {
                failures = if after == shown_before { failures + 1 } else { 1 };
                if failures >= gateway::MAX_ATTEMPTS {
                    return Err(failure_of(&status));
                }
                session.screen.warn("the connection was lost; connecting again");
                gateway::pause_before(session, failures + 1).await;
            }
        }
    }
}

enum Ended {
    ByGateway,
    Lost(Box<tonic::Status>),
}

async fn stream(
    session: &Session,
    request: v1::WatchRequest,
    after: &mut Option<u64>,
) -> Result<Ended, Failure> {
    let mut client = gateway::connect(session).await?;
    let ended = |status: tonic::Status| {
        if is_connection_loss(&status) {
            Ok(Ended::Lost(Box::new(status)))
        } else {
            Err(failure_of(&status))
        }
    };
    let mut entries = match client.watch(request).await {
        Ok(reply) => reply.into_inner(),
        Err(status) => return ended(status),
    };
    let mut writer = StreamWriter::new();
    loop {
        match entries.message().await {
            Ok(Some(record)) => {
                let verified = VerifiedEntry::new(&record)?;
                let line = shown(session, &verified)?;
                writer.write(false, line.as_bytes()).await?;
                *after = Some(verified.entry.seq);
            }
            Ok(None) => return Ok(Ended::ByGateway),
            Err(status) => return ended(status),
        }
    }
}

fn shown(session: &Session, verified: &VerifiedEntry) -> Result<String, Failure> {
    match session.format() {
        Format::Json => Line::item("pact/v1/Watch", view::entry::as_json(verified)?).encode(),
        Format::Text => view::entry::line(verified, session.screen),
    }
}
