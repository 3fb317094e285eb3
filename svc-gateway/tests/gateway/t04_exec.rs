//! Commands: proposed, granted, sent, streamed back.

use std::sync::Arc;
use std::time::Duration;

use pact_bus::stream::{Input, StreamSender};
use pact_bus::{Bus, Responder};
use pact_schemas::rpc;
use pact_schemas::v1::{
    self, ExecInput, ExecOutcome, action::Action, exec_input, exec_output::Output,
    stream_frame::Body,
};
use pact_schemas::{ErrorCode, NodeId, StreamId};
use tokio::sync::{Mutex, mpsc};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::t03_rights::begin;
use crate::world::{PATIENCE, World};

pub(crate) fn finished(outcome: ExecOutcome) -> v1::ExecFinished {
    v1::ExecFinished {
        outcome: outcome.into(),
        exit_status: Some(0),
        ..v1::ExecFinished::default()
    }
}

pub(crate) fn output(data: &[u8]) -> Body {
    Body::Output(v1::OutputBytes { stream: v1::OutputStream::Stdout.into(), data: data.to_vec() })
}

/// An agent that says hello, repeats its input until that ends, and finishes; or waits until it is cancelled.
async fn agent(bus: &Bus, node: &str, waits: bool) -> mpsc::Receiver<&'static str> {
    let (told, events) = mpsc::channel(8);
    let (node, bus2) = (NodeId::new(node).unwrap(), bus.clone());
    let responder =
        Responder::node(&node).on(rpc::node::Exec, move |(), context, start: v1::ExecStart| {
            let (bus, told) = (bus2.clone(), told.clone());
            async move {
                assert_eq!(start.grant.unwrap().payload, b"for the agents");
                let stream = StreamId::new(&start.stream_id).unwrap();
                let node = context.node.unwrap();
                let opened =
                    StreamSender::open(&bus, &node, &stream, start.initial_credit_bytes).await;
                let (sender, mut input) = opened.unwrap();
                tokio::spawn(async move {
                    sender.send(output(b"hello")).await.unwrap();
                    if waits {
                        sender.cancelled().await;
                        told.send("cancelled").await.unwrap();
                        return;
                    }
                    while let Some(Input::Data(data)) = input.recv().await {
                        sender.send(output(&data)).await.unwrap();
                    }
                    sender.finish(finished(ExecOutcome::Exited)).await.unwrap();
                });
                Ok(v1::ExecAccepted { off_list: false })
            }
        });
    bus.respond(responder).await.unwrap();
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn t04_output_comes_as_it_is_made_and_dead_nodes_are_named() {
    let world = World::start().await;
    let bus = world.agent("n1").await;
    let _events = agent(&bus, "n1", false).await;
    let (inputs, requests) = mpsc::channel(4);
    let mut first = begin("n[1-2]", &["cat"]);
    if let Some(exec_input::Input::Begin(begin)) = &mut first.input {
        begin.stdin = true;
    }
    inputs.send(first).await.unwrap();
    let request = world.by(&["pact-ops-ml"], ReceiverStream::new(requests));
    let mut outputs = world.client().await.exec(request).await.unwrap().into_inner();

    let next = outputs.next().await.unwrap().unwrap();
    match next.output.unwrap() {
        Output::Accepted(accepted) => {
            assert_eq!((accepted.seq, accepted.nodes), (1, vec!["n1".to_owned(), "n2".to_owned()]))
        }
        other => panic!("{other:?}"),
    }
    let (mut text, mut unreachable, mut ended) = (Vec::new(), None, None);
    let mut sent = false;
    while let Some(next) = outputs.next().await {
        let next = next.unwrap();
        match (next.node.as_str(), next.output.unwrap()) {
            ("n1", Output::Bytes(bytes)) => text.extend(bytes.data),
            ("n1", Output::Finished(finished)) => ended = Some(finished),
            ("n2", Output::Error(error)) => unreachable = Some(error),
            other => panic!("{other:?}"),
        }
        if text == b"hello" && !sent {
            sent = true; // the first output arrived while the command still runs
            inputs
                .send(ExecInput { input: Some(exec_input::Input::Stdin(b" world".to_vec())) })
                .await
                .unwrap();
            let closed = exec_input::Input::StdinClosed(v1::ExecStdinClosed {});
            inputs.send(ExecInput { input: Some(closed) }).await.unwrap();
        }
    }
    assert_eq!(text, b"hello world");
    assert_eq!(ended.unwrap().outcome, i32::from(ExecOutcome::Exited));
    assert_eq!(unreachable.unwrap().known_code(), ErrorCode::Unreachable);
    let (by, request) = world.journal.with(|s| match &s.proposed[0] {
        (by, Action::ExecRequest(request)) => (by.clone(), request.clone()),
        other => panic!("{other:?}"),
    });
    assert_eq!(by.acting_role().unwrap().to_string(), "pact-ops-ml");
    assert!(by.policy_ref().starts_with("default@"));
    assert_eq!(
        (request.targets.as_str(), request.timeout_seconds, request.stdin),
        ("n[1-2]", 300, true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn t04_a_client_that_goes_away_cancels() {
    let world = World::start().await;
    let bus = world.agent("n1").await;
    let mut events = agent(&bus, "n1", true).await;
    let input = tokio_stream::iter([begin("n1", &["sleep", "1000"])]);
    let mut outputs =
        world.client().await.exec(world.by(&["pact-ops-ml"], input)).await.unwrap().into_inner();
    for _ in 0..2 {
        outputs.next().await.unwrap().unwrap(); // accepted, hello
    }
    drop(outputs);
    assert_eq!(tokio::time::timeout(PATIENCE, events.recv()).await.unwrap(), Some("cancelled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn t04_an_agents_refusal_is_passed_on() {
    let world = World::start().await;
    let bus = world.agent("n1").await;
    let node = NodeId::new("n1").unwrap();
    let responder = Responder::node(&node).on(rpc::node::Exec, |(), _, _: v1::ExecStart| async {
        Err::<v1::ExecAccepted, _>(ErrorCode::SpoolFull.error("full"))
    });
    bus.respond(responder).await.unwrap();
    let input = tokio_stream::iter([begin("n1", &["true"])]);
    let outputs =
        world.client().await.exec(world.by(&["pact-ops-ml"], input)).await.unwrap().into_inner();
    let last = outputs.map(Result::unwrap).collect::<Vec<_>>().await.pop().unwrap();
    match last.output.unwrap() {
        Output::Error(error) => {
            assert_eq!((error.known_code(), error.node.as_str()), (ErrorCode::SpoolFull, "n1"))
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t04_each_user_has_so_many_streams() {
    let world = World::start_with(|s| s.exec.streams_per_user = 1).await;
    let bus = world.agent("n1").await;
    let _events = agent(&bus, "n1", true).await;
    let client = Arc::new(Mutex::new(world.client().await));
    let start = || async {
        let input = tokio_stream::iter([begin("n1", &["sleep", "1000"])]);
        client.lock().await.exec(world.by(&["pact-ops-ml"], input)).await
    };
    let first = start().await.unwrap();
    assert_eq!(crate::world::code(&start().await.unwrap_err()), ErrorCode::Busy);
    drop(first);
    // The place is free once the gateway has noticed.
    let clock = pact_runtime::Clock::system();
    let again = clock.timeout(PATIENCE, async {
        while start().await.is_err() {
            clock.sleep(Duration::from_millis(20)).await;
        }
    });
    again.await.unwrap();
}
