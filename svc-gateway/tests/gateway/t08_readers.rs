//! Clients that do not read what they asked for.

use pact_bus::Responder;
use pact_bus::stream::{CancelReason, StreamSender};
use pact_runtime::ExitReason;
use pact_schemas::rpc;
use pact_schemas::v1;
use pact_schemas::{NodeId, StreamId};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;

use crate::t03_rights::begin;
use crate::t04_exec::output;
use crate::world::{PATIENCE, World};

/// Larger than all that can be under way to a client that does not read.
const ENOUGH: usize = 64 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn t08_a_client_that_does_not_read_holds_up_neither_the_drain_nor_the_cancelling() {
    let world = World::start().await;
    let bus = world.agent("n1").await;
    let (node, bus2) = (NodeId::new("n1").unwrap(), bus.clone());
    let (told, mut events) = mpsc::channel(1);
    let responder =
        Responder::node(&node).on(rpc::node::Exec, move |(), context, start: v1::ExecStart| {
            let (bus, told) = (bus2.clone(), told.clone());
            async move {
                let stream = StreamId::new(&start.stream_id).unwrap();
                let node = context.node.unwrap();
                let opened =
                    StreamSender::open(&bus, &node, &stream, start.initial_credit_bytes).await;
                let (sender, _input) = opened.unwrap();
                tokio::spawn(async move {
                    let reason = loop {
                        tokio::select! {
                            sent = sender.send(output(&[b'x'; ENOUGH])) => sent.unwrap(),
                            reason = sender.cancelled() => break reason,
                        }
                    };
                    told.send(reason).await.unwrap();
                });
                Ok(v1::ExecAccepted { off_list: false })
            }
        });
    bus.respond(responder).await.unwrap();
    let input = tokio_stream::iter([begin("n1", &["yes"])]);
    let request = world.by(&["pact-ops-ml"], input);
    let mut outputs = world.client().await.exec(request).await.unwrap().into_inner();
    for _ in 0..2 {
        outputs.next().await.unwrap().unwrap(); // accepted, and the first of much; then it reads no more
    }
    world.supervisor.shutdown();
    let reason = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
    assert_eq!(reason, CancelReason::Requested);
    match world.end().await.unwrap() {
        ExitReason::Drained { .. } => {}
        ExitReason::GraceExceeded { tasks } => panic!("{tasks:?} had to be aborted"),
    }
    drop(outputs); // held until here
}
