//! What the client sends while its stream is open, to every node.

use std::pin::pin;

use pact_bus::stream::StreamControls;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _};

use super::kind::Streamed;

/// Pieces that wait for one node: the slowest node sets the pace of all.
const PIECES: usize = 4;

/// Pieces of input; the end of the channel is the end of the input.
pub(super) type Feed<P> = mpsc::Sender<P>;

/// Where one node's input comes from.
pub(super) type Source<P> = mpsc::Receiver<P>;

pub(super) fn feed<P>() -> (Feed<P>, Source<P>) {
    mpsc::channel(PIECES)
}

/// Copies what the client sends to all nodes, until it ends its input or its stream.
pub(super) async fn pump<P: Clone>(inputs: impl Stream<Item = P>, mut feeds: Vec<Feed<P>>) {
    let mut inputs = pin!(inputs);
    while let Some(piece) = inputs.next().await {
        let mut open = Vec::with_capacity(feeds.len());
        for feed in feeds {
            // A node that has ended takes no more.
            if feed.send(piece.clone()).await.is_ok() {
                open.push(feed);
            }
        }
        if open.is_empty() {
            return;
        }
        feeds = open;
    }
}

/// Hands one node its input, then the end of it.
pub(super) async fn deliver<S: Streamed>(mut source: Source<S::Input>, controls: StreamControls) {
    while let Some(piece) = source.recv().await {
        if S::deliver(piece, &controls).await.is_err() {
            return; // the node's part has ended
        }
    }
    let _ended = controls.close_stdin().await;
}
