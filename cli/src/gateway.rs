//! The connection to a gateway: TLS, the token, deadlines, retries.

mod connect;
mod plain;
mod progress;
mod status;

use std::future::Future;
use std::time::Duration;

use pact_schemas::error_code::ErrorCode;
use pact_schemas::v1::pact_client::PactClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

pub(crate) use connect::{connect, connect_within};
pub(crate) use progress::Waiting;
pub(crate) use status::{failure_of, is_connection_loss};

use crate::failure::Failure;
use crate::session::Session;

/// The gateway's client, which sends the token with each call.
pub(crate) type Client = PactClient<InterceptedService<Channel, Bearer>>;

/// A command is sent at most this often: the first time and after two lost connections.
/// More would only delay the error that the user must see.
pub(crate) const MAX_ATTEMPTS: u32 = 3;
/// Pause before the second attempt; the third waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// An entry is at most 1 MiB and a log has at most 10,000; JSON of that is built in memory anyway.
const MAX_REPLY_BYTES: usize = 256 * 1024 * 1024;

/// Adds `authorization: Bearer <token>`.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl Bearer {
    /// `None` when the token cannot stand in a header.
    fn new(token: &str) -> Option<Self> {
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

fn client(channel: Channel, bearer: Bearer) -> Client {
    PactClient::with_interceptor(channel, bearer).max_decoding_message_size(MAX_REPLY_BYTES)
}

/// Waits before attempt number `attempt` (from 1); not before the first.
pub(crate) async fn pause_before(session: &Session, attempt: u32) {
    if attempt > 1 {
        session.clock.sleep(FIRST_PAUSE * (attempt - 1)).await;
    }
}

/// As [`unary_of`], where no node has a part in it.
pub(crate) async fn unary<T, F, Fut>(session: &Session, call: F) -> Result<T, Failure>
where
    F: Fn(Client) -> Fut,
    Fut: Future<Output = Result<Response<T>, Status>>,
{
    unary_of(session, "the journal", call).await
}

/// One call with one answer, within `timeout_seconds`, which waits for `whom`.
///
/// `call` is made again when the connection is lost on the way: reads change nothing, and writes carry
/// the same request id each time, so that the journal carries them out once.
pub(crate) async fn unary_of<T, F, Fut>(
    session: &Session,
    whom: &str,
    call: F,
) -> Result<T, Failure>
where
    F: Fn(Client) -> Fut,
    Fut: Future<Output = Result<Response<T>, Status>>,
{
    let limit = session.settings.timeout;
    let waiting = Waiting::new(session, whom);
    // Boxed: it holds a connection being made, and every command holds it.
    let answer = session.clock.timeout(limit, Box::pin(attempts(session, &waiting, call)));
    waiting.during(answer).await.unwrap_or_else(|_late| {
        Err(Failure::new(ErrorCode::Timeout, format!("no answer within {} s", limit.as_secs()))
            .next("try again, or raise timeout_seconds in cli.toml"))
    })
}

async fn attempts<T, F, Fut>(
    session: &Session,
    waiting: &Waiting<'_>,
    call: F,
) -> Result<T, Failure>
where
    F: Fn(Client) -> Fut,
    Fut: Future<Output = Result<Response<T>, Status>>,
{
    let mut attempt = 1;
    loop {
        pause_before(session, attempt).await;
        let client = connect(session, waiting).await?;
        match call(client).await {
            Ok(reply) => return Ok(reply.into_inner()),
            Err(status) if is_connection_loss(&status) && attempt < MAX_ATTEMPTS => {
                tracing::debug!(attempt, code = ?status.code(), "connection lost; trying again");
                attempt += 1;
            }
            Err(status) => return Err(failure_of(&status)),
        }
    }
}
