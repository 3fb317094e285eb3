//! Commands: from the request to the last frame of the last node.
//!
//! ```text
//! begin → authenticate → targets → policy → propose (journal commits, signs the grant) → accepted
//!       → each node, when `stream` has room for it: subscribe, ExecStart, frames → the client's one stream
//! ```
//!
//! Nothing is sent to a node before the grant is there. The client's stream is the command's life; see `stream`.

mod begin;

use std::time::Duration;

use bytes::Bytes;
use pact_bus::stream::{StreamControls, StreamError};
use pact_identity::grant;
use pact_schemas::rpc;
use pact_schemas::v1::stream_frame::Body;
use pact_schemas::v1::{self, ExecInput, ExecOutput, action::Action as Act, exec_output::Output};
use pact_schemas::{ErrorCode, NodeId, StreamId};
use tokio_stream::Stream;
use tonic::Streaming;

use self::begin::Begin;
use crate::ask::propose::granted;
use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::Answer;
use crate::rights::authorise::{Asked, operation};
use crate::rights::targets::{self, Targets};
use crate::stream::{Drain, Frame, GRANT_RESERVE, Outflow, Outlet, Streamed, Streams};

/// Frames between the nodes and the client: beyond it the credit of the nodes runs out and their commands wait.
const OUTPUT_QUEUE: usize = 64;

/// How long a client may take to say what it wants.
const BEGIN_LIMIT: Duration = Duration::from_secs(10);

/// A committed command, ready to be sent.
struct Committed {
    seq: u64,
    command: Command,
    /// Until when nodes may be asked, on the monotonic clock.
    asked_until: Duration,
    targets: Targets,
}

/// What each node is given.
struct Command {
    grant: v1::SignedGrant,
}

/// Everything up to the commit, then the fan-out in a task of its own.
pub(crate) async fn exec(
    gateway: &Gateway,
    caller: Caller,
    mut inputs: Streaming<ExecInput>,
) -> Answer<Outflow<ExecOutput>> {
    let session = gateway.streams.open(&caller)?;
    let first = gateway.clock.timeout(BEGIN_LIMIT, inputs.message()).await;
    let first = first.map_err(|late| {
        ErrorCode::Timeout.error(format!("no ExecBegin within {} s", late.limit.as_secs()))
    })?;
    let begin = Begin::read(first, &gateway.exec)?;
    let targets = targets::resolve(&gateway.journal, &begin.targets, &begin.exclude).await?;
    begin.check_stdin(targets.set.len())?;
    let committed = commit_exec(gateway, &caller, &begin, targets).await?;
    let stdin = begin.stdin.then(|| stdin(inputs));
    let streams = gateway.streams.clone();
    Ok(gateway.streams.start((caller, session), OUTPUT_QUEUE, Drain::Finish, move |outlet| {
        carry_out(streams, stdin, committed, outlet)
    }))
}

async fn commit_exec(
    gateway: &Gateway,
    caller: &Caller,
    begin: &Begin,
    targets: Targets,
) -> Answer<Committed> {
    let mut asked = Asked::of(operation("exec")?).on(&targets);
    asked.argv = begin.argv.words();
    let permit = gateway.rights.authorise(caller, asked).await?;
    let request = v1::ExecRequest {
        targets: targets.folded()?,
        argv: begin.argv.words().to_vec(),
        stdin: begin.stdin,
        timeout_seconds: begin.timeout_seconds,
        output_limit_bytes: gateway.exec.output_limit_bytes,
        judged: targets.judged()?,
    };
    // From before the grant was made; agents refuse one that is older than that by their own clock.
    let asked_until = gateway.clock.monotonic() + grant::MAX_LIFETIME - GRANT_RESERVE;
    let act = Act::ExecRequest(request);
    let (committed, grant) = gateway.proposals.commit(&permit, begin.key, act).await?;
    let command = Command { grant: granted(grant, "exec")? };
    Ok(Committed { seq: committed.first_seq, command, asked_until, targets })
}

async fn carry_out(
    streams: Streams,
    stdin: Option<impl Stream<Item = Bytes> + Send + 'static>,
    committed: Committed,
    outlet: Outlet<ExecOutput>,
) -> Option<v1::Error> {
    let nodes: Vec<String> = committed.targets.set.iter().map(ToString::to_string).collect();
    let accepted = v1::ExecAcceptedBy { seq: committed.seq, nodes };
    let accepted = ExecOutput { node: String::new(), output: Some(Output::Accepted(accepted)) };
    outlet.send(Ok(accepted)).await.ok()?; // the client is gone, and nothing was started
    metrics::counter!("pact_gateway_execs_total").increment(1);
    let Committed { command, targets, asked_until, .. } = committed;
    streams.fan_out(command, (&targets, asked_until), stdin, &outlet).await;
    None
}

/// The client's standard input. A second ExecBegin or an empty message means nothing here; the input ends with it.
fn stdin(inputs: Streaming<ExecInput>) -> impl Stream<Item = Bytes> + Send + 'static {
    futures_util::stream::unfold(inputs, |mut inputs| async {
        match inputs.message().await {
            Ok(Some(ExecInput { input: Some(v1::exec_input::Input::Stdin(piece)) })) => {
                Some((Bytes::from(piece), inputs))
            }
            Ok(_) | Err(_) => None,
        }
    })
}

impl Streamed for Command {
    type Call = rpc::node::Exec;
    type Item = ExecOutput;
    type Input = Bytes;

    fn request(&self, stream: &StreamId, initial_credit_bytes: u32) -> v1::ExecStart {
        let (grant, stream_id) = (Some(self.grant.clone()), stream.to_string());
        v1::ExecStart { grant, stream_id, initial_credit_bytes }
    }

    fn frame(node: &NodeId, frame: Body) -> Frame<ExecOutput> {
        match frame {
            Body::Output(output) => {
                let bytes = v1::ExecBytes { stream: output.stream, data: output.data };
                Frame::More(of_node(node, Output::Bytes(bytes)))
            }
            Body::Finished(finished) => Frame::Last(of_node(node, Output::Finished(finished))),
        }
    }

    fn failed(node: &NodeId, error: v1::Error) -> ExecOutput {
        of_node(node, Output::Error(error))
    }

    async fn deliver(piece: Bytes, controls: &StreamControls) -> Result<(), StreamError> {
        controls.send_stdin(piece).await
    }
}

fn of_node(node: &NodeId, output: Output) -> ExecOutput {
    ExecOutput { node: node.to_string(), output: Some(output) }
}
