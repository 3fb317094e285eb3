//! Commands on more nodes than are asked at once.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use pact_bus::stream::StreamSender;
use pact_bus::{Bus, Responder};
use pact_runtime::CancellationToken;
use pact_schemas::rpc;
use pact_schemas::v1::{self, ExecOutcome, exec_output::Output};
use pact_schemas::{NodeId, StreamId};
use tokio_stream::StreamExt as _;

use crate::t03_rights::begin;
use crate::t04_exec::{finished, output};
use crate::world::{PATIENCE, World};

/// More than are asked at once.
const NODES: usize = 80;

/// An agent whose command says hello and ends when it is released.
async fn agent(bus: &Bus, node: &str, released: CancellationToken) {
    let (node, bus2) = (NodeId::new(node).unwrap(), bus.clone());
    let responder =
        Responder::node(&node).on(rpc::node::Exec, move |(), context, start: v1::ExecStart| {
            let (bus, released) = (bus2.clone(), released.clone());
            async move {
                let stream = StreamId::new(&start.stream_id).unwrap();
                let node = context.node.unwrap();
                let opened =
                    StreamSender::open(&bus, &node, &stream, start.initial_credit_bytes).await;
                let (sender, _input) = opened.unwrap();
                tokio::spawn(async move {
                    sender.send(output(b"hello")).await.unwrap();
                    released.cancelled().await;
                    sender.finish(finished(ExecOutcome::Exited)).await.unwrap();
                });
                Ok(v1::ExecAccepted { off_list: false })
            }
        });
    bus.respond(responder).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn t07_all_nodes_run_at_once_however_long_their_commands_take() {
    let world = World::start().await;
    let released = CancellationToken::new();
    let names: Vec<String> = (0..NODES).map(|i| format!("r{i:02}")).collect();
    let buses = join_all(names.iter().map(async |name| {
        world.journal.add_node(name, Some("ml"));
        let bus = world.agent(name).await;
        agent(&bus, name, released.clone()).await;
        bus // held: an agent ends with the last handle of its connection
    }))
    .await;
    assert_eq!(buses.len(), NODES);
    let input = tokio_stream::iter([begin("r[00-79]", &["sleep", "1000"])]);
    let request = world.by(&["pact-ops-ml"], input);
    let mut outputs = world.client().await.exec(request).await.unwrap().into_inner();

    let (mut greeted, mut ended) = (BTreeSet::new(), BTreeSet::new());
    let reading = async {
        while let Some(next) = outputs.next().await {
            let next = next.unwrap();
            match next.output.unwrap() {
                Output::Accepted(accepted) => assert_eq!(accepted.nodes, names),
                Output::Bytes(bytes) => {
                    assert_eq!(bytes.data, b"hello");
                    greeted.insert(next.node);
                }
                Output::Finished(_) => {
                    ended.insert(next.node);
                }
                other => panic!("{other:?}"),
            }
            if greeted.len() == NODES {
                released.cancel(); // not before all of them run
            }
        }
    };
    let read = tokio::time::timeout(PATIENCE, reading).await;
    assert!(read.is_ok(), "{} nodes run, {} have ended", greeted.len(), ended.len());
    assert_eq!((greeted.len(), ended.len()), (NODES, NODES));
}
