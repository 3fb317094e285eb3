//! `pact watch`

use std::time::Duration;

use pact_schemas::error_code::ErrorCode;
use pact_schemas::v1;

use super::entry_filter::Filter;
use crate::entry::VerifiedEntry;
use crate::failure::Failure;
use crate::gateway::{self, Waiting, failure_of, is_connection_loss};
use crate::output::{self, Format, Line, StreamWriter};
use crate::session::{Exit, Session};
use crate::view;

const EXAMPLES: &str = "\
Examples:
  pact watch                           Default vCluster
  pact watch --vcluster ml-training    One vCluster
  pact watch --output json | jq .item.message

Ctrl-C ends the stream.";

/// How long a gateway is looked for: one that starts anew, or an election.
const GIVE_UP: Duration = Duration::from_secs(60);

/// Between two attempts; the endpoints are tried in their order.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    filter: Filter,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let scope = session
            .vcluster()
            .map(|name| v1::Scope { scope: Some(v1::scope::Scope::Vcluster(name)) });
        let filter = Some(self.filter.to_wire(&session.clock)?);
        show_and_follow(session, &[], v1::WatchRequest { scope, after: None, filter }).await
    }
}

/// These entries, then those that come.
pub(super) async fn show_and_follow(
    session: &Session,
    entries: &[VerifiedEntry],
    request: v1::WatchRequest,
) -> Result<Exit, Failure> {
    let lines = entries.iter().map(|entry| shown(session, entry));
    output::write_out(&lines.collect::<Result<String, _>>()?)?;
    tokio::select! {
        // Both may be dropped at any point: lines are written whole, the stream has no end.
        result = follow(session, request) => result,
        _interrupt = tokio::signal::ctrl_c() => Ok(Exit::SUCCESS),
    }
}

/// Follows the stream; when the connection breaks or its gateway stops, goes on after the last entry that was shown, at
/// the next endpoint that accepts.
async fn follow(session: &Session, wanted: v1::WatchRequest) -> Result<Exit, Failure> {
    let mut seen = Seen { after: wanted.after, is_open: false };
    let mut lost_since = None;
    loop {
        let request = v1::WatchRequest { after: seen.after, ..wanted.clone() };
        seen.is_open = false;
        let failure = match stream(session, request, &mut seen).await {
            Ok(Ended::ByGateway) => return Ok(Exit::SUCCESS),
            Ok(Ended::Lost(failure)) => failure,
            // The first time it is an answer.
            Err(failure) if lost_since.is_none() || !passes(&failure) => return Err(failure),
            Err(failure) => failure,
        };
        let now = session.clock.monotonic();
        if seen.is_open || lost_since.is_none() {
            session.screen.warn(match seen.after {
                Some(_) => "the connection was lost; connecting again",
                None => {
                    "the connection was lost; connecting again; `pact log` has what comes meanwhile"
                }
            });
            lost_since = Some(now);
        }
        if lost_since.is_some_and(|since| now.saturating_sub(since) >= GIVE_UP) {
            return Err(failure);
        }
        session.clock.sleep(PAUSE).await;
    }
}

/// How far the stream is known.
struct Seen {
    /// The last entry that was shown.
    after: Option<u64>,
    /// A gateway took the last request.
    is_open: bool,
}

enum Ended {
    ByGateway,
    /// The connection or the gateway is gone; others may be there.
    Lost(Failure),
}

/// What may be over when it is tried again.
fn passes(failure: &Failure) -> bool {
    use ErrorCode::{Busy, ConnectionRefused, NoLeader, Timeout, Unreachable};
    let code = failure.code();
    code.is_some_and(|c| matches!(c, Busy | ConnectionRefused | NoLeader | Timeout | Unreachable))
}

async fn stream(
    session: &Session,
    request: v1::WatchRequest,
    seen: &mut Seen,
) -> Result<Ended, Failure> {
    let waiting = Waiting::new(session, "the journal");
    let ended = |status: tonic::Status| {
        let failure = failure_of(&status);
        // A gateway that stops says so.
        let is_gone = failure.code() == Some(ErrorCode::Unreachable);
        if is_gone || is_connection_loss(&status) { Ok(Ended::Lost(failure)) } else { Err(failure) }
    };
    let opening = async {
        let mut client = gateway::connect(session, &waiting).await?;
        Ok::<_, Failure>(client.watch(request).await)
    };
    let mut entries = match waiting.during(opening).await? {
        Ok(reply) => reply.into_inner(),
        Err(status) => return ended(status),
    };
    seen.is_open = true;
    let mut writer = StreamWriter::new();
    loop {
        match entries.message().await {
            Ok(Some(record)) => {
                let verified = VerifiedEntry::new(&record)?;
                let line = shown(session, &verified)?;
                writer.write(false, line.as_bytes()).await?;
                seen.after = Some(verified.entry.seq);
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
