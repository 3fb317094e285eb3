//! One node's part of a stream.

use std::sync::Arc;
use std::time::Duration;

use pact_bus::stream::{StreamError, StreamReceiver};
use pact_bus::{Bus, CallError};
use pact_runtime::Clock;
use pact_schemas::rpc::NodeRpc as _;
use pact_schemas::v1;
use pact_schemas::{ErrorCode, NodeId, NodeState, StreamId};
use tokio_util::task::AbortOnDropHandle;

use super::admission::Place;
use super::input::{self, Source};
use super::kind::{Frame, Streamed};
use super::outlet::Outlet;
use crate::error::{Answer, bad_reply};

/// How long an agent may take to accept: it checks a signature and syncs a nonce to disk.
const ACCEPT_LIMIT: Duration = Duration::from_secs(10);

/// What is needed to start a granted request on one node.
pub(super) struct NodeStream<S: Streamed> {
    pub(super) bus: Bus,
    pub(super) clock: Clock,
    pub(super) node: NodeId,
    /// As on the wire; says why when nobody answers.
    pub(super) state: i32,
    pub(super) what: Arc<S>,
    pub(super) outlet: Outlet<S::Item>,
    pub(super) input: Option<Source<S::Input>>,
}

/// The node's last word.
enum End {
    /// Said, or nobody listens any more.
    Said,
    /// To be said.
    Failed(v1::Error),
}

impl<S: Streamed> NodeStream<S> {
    /// Starts it and hands on its frames. The room to start is free again once the agent has answered.
    pub(super) async fn run(mut self, place: Place) {
        let Place { start, stream: _stream } = place;
        let started = self.start().await;
        drop(start);
        let end = match started {
            Ok(stream) => self.forward(stream).await,
            Err(error) => End::Failed(error),
        };
        if let End::Failed(error) = end {
            let error = error.on(&self.node);
            tracing::info!(node = %self.node, method = S::Call::METHOD, %error, "a node's stream failed");
            let _gone = self.outlet.send(Ok(S::failed(&self.node, error))).await;
        }
    }

    /// Subscribes, then sends the grant.
    async fn start(&self) -> Answer<StreamReceiver> {
        let stream = self.new_stream_id()?;
        let receiver =
            StreamReceiver::open(&self.bus, &self.node, &stream).await.map_err(|error| {
                ErrorCode::Unreachable
                    .error("the gateway is not connected to the bus")
                    .because(error.to_string())
            })?;
        let start = self.what.request(&stream, StreamReceiver::initial_credit_bytes());
        let asked = self.bus.call::<S::Call>(&self.node, &start, ACCEPT_LIMIT).await;
        // After a failure the receiver is dropped, which tells an agent that did start to cancel.
        let _accepted = asked.map_err(|error| self.not_accepted(error))?;
        Ok(receiver)
    }

    fn new_stream_id(&self) -> Answer<StreamId> {
        let bytes: [u8; 16] = self.clock.random_bytes();
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        StreamId::new(&text).map_err(|error| ErrorCode::Internal.error(error.to_string()))
    }

    fn not_accepted(&self, error: CallError) -> v1::Error {
        let node = &self.node;
        match error {
            CallError::Service(error) => error,
            CallError::NoResponders { .. } => {
                match NodeState::from_wire(self.state, "NodeRecord.state") {
                    Ok(NodeState::Registered) => ErrorCode::NodeNotEnrolled
                        .error(format!("{node} is registered, but its agent has never enrolled"))
                        .next("start pact-agent on the node"),
                    Ok(NodeState::Revoked) => ErrorCode::NodeRevoked
                        .error(format!("{node} is decommissioned"))
                        .next("bring it back with `pact node enroll`"),
                    Ok(NodeState::Active | NodeState::Inactive) => ErrorCode::Unreachable
                        .error(format!("{node} does not answer"))
                        .because("its agent is not on the bus")
                        .next("check the node and its pact-agent; see `pact status`"),
                    Err(error) => bad_reply("pact-journal", error),
                }
            }
            error => ErrorCode::Unreachable
                .error(format!("{node} does not answer"))
                .because(error.to_string())
                .next("whether the command was started is in `pact log` once the node is back"),
        }
    }

    async fn forward(&mut self, mut stream: StreamReceiver) -> End {
        // The task ends with the stream, or is aborted with this one.
        let _input = self.input.take().map(|source| {
            AbortOnDropHandle::new(tokio::spawn(input::deliver::<S>(source, stream.controls())))
        });
        loop {
            let frame = match stream.recv().await {
                Ok(Some(body)) => S::frame(&self.node, body),
                Ok(None) => return End::Failed(self.lost(&StreamError::Ended)),
                Err(error) => return End::Failed(self.lost(&error)),
            };
            let (item, is_last) = match frame {
                Frame::More(item) => (item, false),
                Frame::Last(item) => (item, true),
            };
            let is_gone = self.outlet.send(Ok(item)).await.is_err();
            // A client that is gone: dropping the stream cancels. The last frame: its confirmation is the stream's
            // own business.
            if is_gone || is_last {
                return End::Said;
            }
        }
    }

    fn lost(&self, error: &StreamError) -> v1::Error {
        ErrorCode::Unreachable
            .error(format!("the output of {} ends here", self.node))
            .because(error.to_string())
            .next("its outcome is in `pact log` once the node is back")
    }
}
