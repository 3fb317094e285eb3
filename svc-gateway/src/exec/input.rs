//! The client's standard input, to every node.

use bytes::Bytes;
use pact_bus::stream::StreamControls;
use pact_schemas::v1::{ExecInput, exec_input::Input};
use tokio::sync::mpsc;
use tonic::Streaming;

/// Pieces that wait for one node: the slowest node sets the pace of all.
const PIECES: usize = 4;

/// A piece of input; the end of the channel is the end of the input.
pub(super) type Feed = mpsc::Sender<Bytes>;

/// Where one node's input comes from.
pub(super) type Source = mpsc::Receiver<Bytes>;

pub(super) fn feed() -> (Feed, Source) {
    mpsc::channel(PIECES)
}

/// Copies what the client sends to all nodes, until it ends its input or its stream.
pub(super) async fn pump(mut inputs: Streaming<ExecInput>, mut feeds: Vec<Feed>) {
    loop {
        let piece = match inputs.message().await {
            Ok(Some(ExecInput { input: Some(Input::Stdin(piece)) })) => Bytes::from(piece),
            // A second ExecBegin or an empty message means nothing here; the input ends with it.
            Ok(_) | Err(_) => return,
        };
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
pub(super) async fn deliver(mut source: Source, controls: StreamControls) {
    while let Some(piece) = source.recv().await {
        if controls.send_stdin(piece).await.is_err() {
            return; // the command has ended
        }
    }
    let _ended = controls.close_stdin().await;
}
