//! Streams from an agent to a caller.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pact_bus::stream::{
    CancelReason, Input, MAX_FRAME_BYTES, StreamError, StreamInput, StreamReceiver, StreamSender,
    WINDOW_BYTES,
};
use pact_bus::{Bus, CallError, ConnectionState};
use pact_runtime::Clock;
use pact_schemas::v1::stream_frame::Body;
use pact_schemas::v1::{ExecFinished, ExecOutcome, OutputStream, PingReply, PingRequest};
use pact_schemas::{NodeId, StreamId, Subject};

use crate::support::{PATIENCE, World, node};

const FRAME: usize = 32 * 1024;

static STREAMS: AtomicU64 = AtomicU64::new(1);

/// Frame `at`'s bytes, unlike any other frame's.
fn data(at: u32) -> Vec<u8> {
    at.to_be_bytes().iter().copied().cycle().take(FRAME).collect()
}

struct Ends {
    agent: Bus,
    caller: Bus,
    sender: StreamSender,
    input: StreamInput,
    receiver: StreamReceiver,
}

async fn ends(world: &World) -> Ends {
    let n1: NodeId = node("n1");
    let stream = format!("{:032x}", STREAMS.fetch_add(1, Ordering::SeqCst));
    let stream = StreamId::new(&stream).unwrap();
    let (agent, caller) = (world.agent(&n1).await, world.service("gateway-1").await);
    let receiver = StreamReceiver::open(&caller, &n1, &stream).await.unwrap();
    let credit = StreamReceiver::initial_credit_bytes();
    let (sender, input) = StreamSender::open(&agent, &n1, &stream, credit).await.unwrap();
    // The server has the agent's subscription when it has answered what came after it. In life that is the reply
    // "accepted", which follows the subscription on the same connection.
    let nobody: Subject = "pact.v1.node.n1.up.nobody".parse().unwrap();
    let answer = agent.request::<_, PingReply>(&nobody, &PingRequest {}, PATIENCE).await;
    assert!(matches!(answer, Err(CallError::NoResponders { .. })), "{answer:?}");
    Ends { agent, caller, sender, input, receiver }
}

async fn next(receiver: &mut StreamReceiver) -> Option<Body> {
    Clock::system().timeout(PATIENCE, receiver.recv()).await.unwrap().unwrap()
}

fn finished() -> ExecFinished {
    ExecFinished { outcome: ExecOutcome::Exited.into(), exit_status: Some(3), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_restart_in_the_middle_loses_and_doubles_nothing() {
    const FRAMES: u32 = 300;
    let mut world = World::start().await;
    let Ends { agent, caller, sender, mut input, mut receiver } = ends(&world).await;
    let typed: Bytes = (0..200_000u32).flat_map(u32::to_be_bytes).collect();
    let typing = {
        let (controls, typed) = (receiver.controls(), typed.clone());
        tokio::spawn(async move {
            for part in typed.chunks(100_000) {
                controls.send_stdin(Bytes::copy_from_slice(part)).await.unwrap();
            }
            // The command may end on it before we hear that it arrived.
            let closed = controls.close_stdin().await;
            assert!(matches!(closed, Ok(()) | Err(StreamError::Ended)), "{closed:?}");
        })
    };
    // The command ends when it has written everything and read its input to the end.
    let command = tokio::spawn(async move {
        let writing = async {
            for at in 0..FRAMES {
                sender.send_output(OutputStream::Stdout, data(at)).await.unwrap();
            }
        };
        let reading = async {
            let mut read = Vec::new();
            while let Some(Input::Data(part)) = input.recv().await {
                read.extend_from_slice(&part);
            }
            read
        };
        let ((), read) = tokio::join!(writing, reading);
        sender.finish(finished()).await.unwrap();
        read
    });

    for at in 0..FRAMES {
        if at == 50 || at == 200 {
            world.server.kill();
            for bus in [&agent, &caller] {
                let mut states = bus.events();
                states.wait_for(|state| *state == ConnectionState::Disconnected).await.unwrap();
            }
            world.server.restart().await.unwrap();
        }
        match next(&mut receiver).await {
            Some(Body::Output(output)) => assert!(output.data == data(at), "frame {at}"),
            other => panic!("frame {at}: {other:?}"),
        }
    }
    assert_eq!(next(&mut receiver).await, Some(Body::Finished(finished())));
    assert_eq!(next(&mut receiver).await, None);
    typing.await.unwrap();
    assert!(command.await.unwrap() == typed);
    assert_eq!(receiver.controls().cancel().await, Err(StreamError::Ended));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_does_not_read_stops_the_sender_at_its_window() {
    let world = World::start().await;
    let Ends { agent: _agent, caller: _caller, sender, input: _input, mut receiver } =
        ends(&world).await;
    let clock = Clock::system();
    let mut sent = 0u32;
    let quick = Duration::from_millis(500);
    while clock.timeout(quick, sender.send_output(OutputStream::Stdout, data(sent))).await.is_ok() {
        sent += 1;
    }
    // The window, and at most one frame that waits in the receiver's hand.
    let window = WINDOW_BYTES / u32::try_from(FRAME).unwrap();
    assert!((window..=window + 2).contains(&sent), "{sent}");
    let too_large = vec![0; MAX_FRAME_BYTES + 1];
    let refused = sender.send_output(OutputStream::Stdout, too_large).await;
    assert_eq!(refused, Err(StreamError::FrameSize { bytes: MAX_FRAME_BYTES + 1 }));
    for at in 0..=sent {
        match next(&mut receiver).await {
            Some(Body::Output(output)) => assert!(output.data == data(at)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_and_a_caller_that_goes_away_reach_the_agent() {
    let world = World::start().await;
    let first = ends(&world).await;
    first.receiver.cancel().await.unwrap();
    assert_eq!(first.sender.cancelled().await, CancelReason::Requested);

    let second = ends(&world).await;
    drop(second.receiver);
    let told = Clock::system().timeout(PATIENCE, second.sender.cancelled()).await.unwrap();
    assert_eq!(told, CancelReason::Requested);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_vanishes_is_noticed_by_the_other() {
    let world = World::start().await;
    // The agent is gone: nobody listens on the stream any more.
    let Ends { agent, caller: _caller, sender, input: _input, mut receiver } = ends(&world).await;
    sender.send_output(OutputStream::Stderr, b"x".to_vec()).await.unwrap();
    assert!(matches!(next(&mut receiver).await, Some(Body::Output(_))));
    agent.drain().await;
    let gone = async {
        let gone = Clock::system().timeout(PATIENCE, receiver.recv()).await.unwrap();
        assert_eq!(gone, Err(StreamError::Gone));
    };
    // The caller is gone without a word: nothing comes, not even a keep-alive.
    let silent = async {
        let Ends { agent: _agent, caller, sender, input: _input, receiver } = ends(&world).await;
        caller.drain().await;
        let reason = Clock::system().timeout(PATIENCE, sender.cancelled()).await.unwrap();
        assert_eq!(reason, CancelReason::Gone);
        let late = sender.send_output(OutputStream::Stdout, vec![0]).await;
        assert_eq!(late, Err(StreamError::Gone));
        drop(receiver);
    };
    tokio::join!(gone, silent);
}
