//! What one kind of stream has to say of itself.

use pact_bus::stream::{StreamControls, StreamError};
use pact_schemas::rpc::{NodeRpc, Rpc};
use pact_schemas::v1::stream_frame::Body;
use pact_schemas::{NodeId, StreamId, v1};

/// A granted request that nodes start and answer with a stream.
pub(crate) trait Streamed: Send + Sync + 'static {
    /// The agent's call that starts it, and is answered once it has started.
    type Call: NodeRpc;
    /// What the client gets.
    type Item: Send + 'static;
    /// What the client sends while it runs: each piece goes to every node.
    type Input: Clone + Send + 'static;

    /// The request that opens this stream on a node.
    fn request(&self, stream: &StreamId, initial_credit_bytes: u32)
    -> <Self::Call as Rpc>::Request;

    /// A frame of this node, as the client gets it.
    fn frame(node: &NodeId, frame: Body) -> Frame<Self::Item>;

    /// What the client gets of a node in place of its last frame.
    fn failed(node: &NodeId, error: v1::Error) -> Self::Item;

    /// Hands a piece of input to a node.
    fn deliver(
        piece: Self::Input,
        controls: &StreamControls,
    ) -> impl Future<Output = Result<(), StreamError>> + Send;
}

/// A frame of one node.
pub(crate) enum Frame<T> {
    /// Others follow.
    More(T),
    /// The last one.
    Last(T),
}
