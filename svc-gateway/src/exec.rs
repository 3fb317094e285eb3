//! Commands: from the request to the last frame of the last node.
//!
//! ```text
//! begin → authenticate → targets → policy → propose (journal commits, signs the grant) → accepted
//!       → each node, when `admission` has room for it: subscribe, ExecStart, frames → the client's one stream
//! ```
//!
//! Nothing is sent to a node before the grant is there. The client's stream is the command's life: when it is dropped,
//! the receivers are dropped, and each tells its agent to kill the process group. The same happens when the client's
//! token ends, when it takes nothing for too long, and when the gateway stops; see `outlet`.

mod admission;
mod begin;
mod input;
mod node;

use std::sync::Arc;
use std::time::Duration;

use pact_identity::grant;
use pact_schemas::operation::Operation;
use pact_schemas::v1::{self, ExecInput, ExecOutput, action::Action as Act, exec_output::Output};
use pact_schemas::{ErrorCode, NodeId};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use tonic::Streaming;

use crate::access::attest;
use crate::auth::Caller;
use crate::authorise::Asked;
use crate::context::Gateway;
use crate::error::{Answer, bad_reply};
use crate::outlet::{self, LastWord, Outflow};
use crate::targets::Targets;
use admission::{Admission, GRANT_RESERVE};
use begin::Begin;

pub(crate) use admission::MAX_NODE_STREAMS;

/// Frames between the nodes and the client: beyond it the credit of the nodes runs out and their commands wait.
pub(crate) const OUTPUT_QUEUE: usize = 64;

/// How long a client may take to say what it wants.
const BEGIN_LIMIT: Duration = Duration::from_secs(10);

/// How often the token of an open stream is checked again.
pub(crate) const RECHECK: Duration = Duration::from_secs(60);

/// What open commands get of the grace period when the gateway stops; after it they are cancelled.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_secs(15);

/// The stream to the client.
pub(crate) type Outlet = outlet::Outlet<ExecOutput>;

/// A committed command, ready to be sent.
struct Committed {
    seq: u64,
    grant: v1::SignedGrant,
    /// Until when nodes may be asked, on the monotonic clock.
    asked_until: Duration,
    targets: Targets,
}

impl Gateway {
    /// Everything up to the commit, then the fan-out in a task of its own.
    pub(crate) async fn exec(
        &self,
        caller: Caller,
        mut inputs: Streaming<ExecInput>,
    ) -> Answer<Outflow<ExecOutput>> {
        let session = self.sessions.open(&caller.principal)?;
        let first = self.clock.timeout(BEGIN_LIMIT, inputs.message()).await;
        let first = first.map_err(|late| {
            ErrorCode::Timeout.error(format!("no ExecBegin within {} s", late.limit.as_secs()))
        })?;
        let begin = Begin::read(first, &self.exec)?;
        let targets = self.resolve(&begin.targets, &begin.exclude).await?;
        begin.check_stdin(targets.set.len())?;
        let committed = self.commit_exec(&caller, &begin, targets).await?;
        let (outlet, last, outputs) = outlet::outlet(OUTPUT_QUEUE, Some(session));
        let gateway = self.clone();
        // Ends with its nodes or its client; its failure is said on the stream.
        tokio::spawn(async move {
            Box::pin(gateway.run_exec(
                caller,
                begin.stdin.then_some(inputs),
                committed,
                outlet,
                last,
            ))
            .await;
        });
        Ok(outputs)
    }

    async fn commit_exec(
        &self,
        caller: &Caller,
        begin: &Begin,
        targets: Targets,
    ) -> Answer<Committed> {
        let operation = operation("exec")?;
        let mut asked = Asked::of(operation).on(&targets);
        asked.argv = &begin.argv;
        let permit = self.authorise(caller, asked).await?;
        let request = v1::ExecRequest {
            targets: targets.folded()?,
            argv: begin.argv.clone(),
            stdin: begin.stdin,
            timeout_seconds: begin.timeout_seconds,
            output_limit_bytes: self.exec.output_limit_bytes,
            judged: targets.judged()?,
        };
        let action = v1::Action { action: Some(Act::ExecRequest(request)) };
        let proposal = attest(&self.signer, &self.clock, &permit, begin.request_id, &action)?;
        // From before the grant was made; agents refuse one that is older than that by their own clock.
        let asked_until = self.clock.monotonic() + grant::MAX_LIFETIME - GRANT_RESERVE;
        let (committed, grant) = self.journal.propose_one(proposal).await?;
        let grant =
            grant.ok_or_else(|| bad_reply("pact-journal", "a committed exec has no grant"))?;
        Ok(Committed { seq: committed.first_seq, grant, asked_until, targets })
    }

    async fn run_exec(
        &self,
        caller: Caller,
        inputs: Option<Streaming<ExecInput>>,
        committed: Committed,
        outlet: Outlet,
        last: LastWord<ExecOutput>,
    ) {
        let work = self.carry_out(inputs, committed, outlet.clone());
        let stop = async {
            tokio::select! {
                error = self.until_refused(&caller) => error, // holds nothing
                () = self.until_drained() => stopping(), // holds nothing
            }
        };
        outlet::serve(&self.clock, outlet, last, work, stop).await;
    }

    async fn carry_out(
        &self,
        inputs: Option<Streaming<ExecInput>>,
        committed: Committed,
        outlet: Outlet,
    ) -> Option<v1::Error> {
        let nodes: Vec<String> = committed.targets.set.iter().map(ToString::to_string).collect();
        let accepted = v1::ExecAcceptedBy { seq: committed.seq, nodes };
        let accepted = ExecOutput { node: String::new(), output: Some(Output::Accepted(accepted)) };
        outlet.send(Ok(accepted)).await.ok()?; // the client is gone, and nothing was started
        metrics::counter!("pact_gateway_execs_total").increment(1);
        self.fan_out(inputs, committed, &outlet).await;
        None
    }

    /// Returns when the caller's token is no longer accepted.
    pub(crate) async fn until_refused(&self, caller: &Caller) -> v1::Error {
        loop {
            self.clock.sleep(RECHECK).await;
            if let Err(error) = self.reverify(caller) {
                return error;
            }
        }
    }

    /// Returns when the gateway stops and has waited long enough for what is open.
    pub(crate) async fn until_drained(&self) {
        self.draining.cancelled().await;
        self.clock.sleep(DRAIN_GRACE).await;
    }

    /// All nodes, each as soon as there is room, in a task that is aborted when this future is dropped.
    async fn fan_out(
        &self,
        inputs: Option<Streaming<ExecInput>>,
        committed: Committed,
        outlet: &Outlet,
    ) {
        let streams = Arc::clone(&self.node_streams);
        let mut admission = Admission::new(self.clock.clone(), streams, committed.asked_until);
        let grant = Arc::new(committed.grant);
        let mut feeds = Vec::new();
        let mut tasks = JoinSet::new();
        for (node, record) in committed.targets.nodes() {
            let place = match admission.next().await {
                Ok(place) => place,
                Err(why) => {
                    let _gone = outlet.send(Ok(node_error(node, why.of(node)))).await;
                    continue;
                }
            };
            let input = inputs.is_some().then(|| {
                let (feed, source) = input::feed();
                feeds.push(feed);
                source
            });
            let run = node::NodeRun {
                gateway: self.clone(),
                node: node.clone(),
                state: record.state,
                grant: Arc::clone(&grant),
                outlet: outlet.clone(),
                input,
            };
            tasks.spawn(async move { Box::pin(run.run(place)).await });
        }
        // With standard input all nodes are being asked by now. Dropped, the pump ends.
        let _pump =
            inputs.map(|inputs| AbortOnDropHandle::new(tokio::spawn(input::pump(inputs, feeds))));
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a node's task failed");
                let defect =
                    ErrorCode::Internal.error("the gateway lost track of one of the nodes");
                let defect = defect.next("look for the outcome with `pact log`");
                let _gone = outlet.send(Err(defect.into_status())).await;
            }
        }
    }
}

/// The row of the operations table; its absence is a defect that the tests of the table rule out.
pub(crate) fn operation(name: &str) -> Answer<&'static Operation> {
    Operation::find(name)
        .ok_or_else(|| ErrorCode::Internal.error(format!("{name} is not in the operations table")))
}

pub(crate) fn stopping() -> v1::Error {
    ErrorCode::Unreachable
        .error("the gateway is stopping")
        .next("try again; other gateways may be up")
}

/// What is said about one node instead of an outcome.
pub(crate) fn node_error(node: &NodeId, error: v1::Error) -> ExecOutput {
    let error = error.on(node);
    ExecOutput { node: node.to_string(), output: Some(Output::Error(error)) }
}
