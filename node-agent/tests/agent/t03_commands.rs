//! Output as it is produced, limits, input, and the end of everything that a command started.

use std::time::Duration;

use pact_bus::stream::StreamReceiver;
use pact_runtime::Clock;
use pact_schemas::ErrorCode;
use pact_schemas::v1::{self, ExecOutcome, stream_frame::Body};

use crate::plane::{Plane, rest, runs, until};

fn exec(payload: &mut v1::GrantPayload) -> &mut v1::ExecAction {
    match &mut payload.action {
        Some(v1::grant_payload::Action::Exec(exec)) => exec,
        other => panic!("{other:?}"),
    }
}

/// The first line that a command prints, which is a process id.
async fn pid(receiver: &mut StreamReceiver) -> i32 {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        match receiver.recv().await.unwrap() {
            Some(Body::Output(output)) => line.extend(output.data),
            other => panic!("{other:?}"),
        }
    }
    String::from_utf8(line).unwrap().trim().parse().unwrap()
}

/// Starts something in the background that ignores SIGTERM, and prints its process id.
const STUBBORN: &str = "(trap '' TERM; exec sleep 1000) & echo $!; wait";

#[tokio::test(flavor = "multi_thread")]
async fn output_comes_as_it_is_produced_and_is_cut_at_its_limit() {
    let plane = Plane::start().await;
    let _agent = plane.agent("learning").await;
    let clock = Clock::system();
    let script = "echo one; sleep 2; echo two >&2";
    let (mut receiver, reply) =
        plane.present(plane.sign(&plane.payload(1, &["sh", "-c", script]))).await;
    assert!(reply.unwrap().off_list);
    let started = clock.monotonic();
    let Some(Body::Output(first)) = receiver.recv().await.unwrap() else { panic!() };
    assert_eq!(first.data, b"one\n");
    assert!(clock.monotonic() - started < Duration::from_millis(1500));
    let (shown, _) = rest(&mut receiver).await;
    assert_eq!(shown, b"two\n");
    let outcome = plane.outcome(1).await;
    let streams: Vec<_> = outcome.output.iter().map(v1::OutputSegment::stream).collect();
    assert_eq!(streams, [v1::OutputStream::Stdout, v1::OutputStream::Stderr]);

    let mut payload = plane.payload(2, &["sh", "-c", "head -c 50000000 /dev/zero"]);
    exec(&mut payload).output_limit_bytes = 3_000_000;
    let (shown, finished) = plane.run(&payload).await;
    assert_eq!(shown.len(), 3_000_000);
    assert_eq!((finished.output_bytes, finished.discarded_bytes), (50_000_000, 47_000_000));
    assert_eq!(finished.exit_status, Some(0));
    let outcome = plane.outcome(2).await;
    assert_eq!(plane.told.lock().unwrap().recorded(&outcome).len(), 3_000_000);
    until("the chunks leave the node", || {
        std::fs::read_dir(plane.state().join("blobs")).unwrap().count() == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn input_reaches_the_command_and_its_end_too() {
    let plane = Plane::start().await;
    let _agent = plane.agent("strict").await;
    let mut payload = plane.payload(1, &["wc", "-c"]);
    exec(&mut payload).stdin = true;
    let (mut receiver, reply) = plane.present(plane.sign(&payload)).await;
    reply.unwrap();
    let controls = receiver.controls();
    let feeding = tokio::spawn(async move {
        controls.send_stdin(vec![b'x'; 1_000_000].into()).await.unwrap();
        controls.close_stdin().await.unwrap();
    });
    let (shown, _) = rest(&mut receiver).await;
    assert_eq!(shown, b"1000000\n");
    feeding.await.unwrap();
    let (shown, finished) = plane.run(&plane.payload(2, &["wc", "-c"])).await;
    assert_eq!((shown, finished.exit_status), (b"0\n".to_vec(), Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_a_command_ends_all_that_it_started() {
    let plane = Plane::start().await;
    let _agent = plane.agent("learning").await;

    let mut payload = plane.payload(1, &["sh", "-c", STUBBORN]);
    exec(&mut payload).timeout_seconds = 1;
    let (mut receiver, _) = plane.present(plane.sign(&payload)).await;
    let background = pid(&mut receiver).await;
    let (_, finished) = rest(&mut receiver).await;
    assert_eq!(finished.outcome(), ExecOutcome::TimedOut);
    assert_eq!(finished.code, ErrorCode::Timeout.as_str());
    assert!(!runs(background));

    let payload = plane.payload(2, &["sh", "-c", STUBBORN]);
    let (mut receiver, _) = plane.present(plane.sign(&payload)).await;
    let background = pid(&mut receiver).await;
    receiver.cancel().await.unwrap();
    let (_, finished) = rest(&mut receiver).await;
    assert_eq!(finished.outcome(), ExecOutcome::Cancelled);
    assert!(!runs(background));

    // A caller that just disappears.
    let payload = plane.payload(3, &["sh", "-c", STUBBORN]);
    let (mut receiver, _) = plane.present(plane.sign(&payload)).await;
    let background = pid(&mut receiver).await;
    drop(receiver);
    assert_eq!(plane.outcome(3).await.outcome(), ExecOutcome::Cancelled);
    assert!(!runs(background));

    // The command ends by itself; what it left behind, in a session of its own, does not stay.
    let script = "setsid sleep 1000 & echo $!; exit 4";
    let (shown, finished) = plane.run(&plane.payload(4, &["sh", "-c", script])).await;
    assert_eq!(finished.exit_status, Some(4));
    let background = String::from_utf8(shown).unwrap().trim().parse().unwrap();
    until("the rest has ended", || !runs(background)).await;

    // And a command sees nothing of the agent.
    let (shown, _) =
        plane.run(&plane.payload(5, &["sh", "-c", "pwd; ls /proc/self/fd; env"])).await;
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.starts_with("/\n0\n1\n2\n3\n"), "{shown}");
    assert!(!shown.contains("CARGO") && shown.contains("PAGER=cat"), "{shown}");
}
