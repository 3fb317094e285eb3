//! Output as it is produced, limits, input, and the end of everything that a command started.

use std::time::Duration;

use pact_bus::stream::StreamReceiver;
use pact_runtime::Clock;
use pact_schemas::ErrorCode;
use pact_schemas::v1::{self, ExecOutcome, stream_frame::Body};

use crate::plane::{Plane, exec, rest, runs, until};

/// The first line that a command prints, which is a process id.
async fn pid(receiver: &mut StreamReceiver) -> i32 {
    let mut line = Vec::new();
    while !line.contains(&b'\n') {
        match receiver.recv().await.unwrap() {
            Some(Body::Output(output)) => line.extend(output.data),
            other => panic!("{other:?}"),
        }
    }
    String::from_utf8(line).unwrap().lines().next().unwrap().parse().unwrap()
}

/// Starts something in the background that ignores SIGTERM, in a session of its own and with nothing in its environment, and
/// prints its process id.
const STUBBORN: &str = "(trap '' TERM; exec env -i setsid sleep 1000) & echo $!; wait";

/// Ends at once; what it leaves behind holds the pipe and fills it for ever.
///
/// It begins when the command itself is gone, and prints its process id first.
const FLOOD: &str =
    "sh -c 'while kill -0 $1 2>/dev/null; do sleep 0.02; done; echo $$; exec yes' sh $$ & exit 7";

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
async fn nobody_takes_all_places_and_an_admin_finds_one() {
    let plane = Plane::start().await;
    let _agent = plane.agent("learning").await;
    let command = |seq, subject: &str, role: &str| {
        let mut payload = plane.payload(seq, &["sleep", "50"]);
        let principal = payload.principal.as_mut().unwrap();
        (principal.subject, principal.roles) = (subject.to_owned(), vec![role.to_owned()]);
        payload.acting_role = role.to_owned();
        plane.sign(&payload)
    };
    let mut running = Vec::new();
    for seq in 1..=12 {
        let subject = if seq <= 8 { "one" } else { "two" };
        let (receiver, reply) = plane.present(command(seq, subject, "pact-ops-ml")).await;
        reply.unwrap();
        running.push(receiver);
        if seq == 8 {
            let ninth = command(100, "one", "pact-ops-ml");
            assert_eq!(plane.refused(ninth).await, ErrorCode::Busy, "a share");
        }
    }
    let beyond = command(101, "three", "pact-ops-ml");
    assert_eq!(plane.refused(beyond).await, ErrorCode::Busy, "the rest is kept");
    let (_running, reply) = plane.present(command(13, "four", "pact-platform-admin")).await;
    reply.unwrap();
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
    let script = "env -i setsid sleep 1000 >/dev/null 2>&1 & echo $!; exit 4";
    let (shown, finished) = plane.run(&plane.payload(4, &["sh", "-c", script])).await;
    assert_eq!((finished.exit_status, finished.code.as_str()), (Some(4), ""));
    assert!(finished.reason.contains("was killed (processes: 1)"), "{}", finished.reason);
    assert!(!runs(String::from_utf8(shown).unwrap().trim().parse().unwrap()));

    // What obeys SIGTERM has time to. (The shell says on standard error that its `sleep` was ended, before or after.)
    let script =
        "exec 2>/dev/null; trap 'echo bye; exit 0' TERM; echo $$; while :; do sleep 0.1; done";
    let (mut receiver, _) =
        plane.present(plane.sign(&plane.payload(6, &["sh", "-c", script]))).await;
    pid(&mut receiver).await;
    receiver.cancel().await.unwrap();
    let outcome = plane.outcome(6).await;
    assert_eq!((outcome.outcome(), outcome.exit_status), (ExecOutcome::Cancelled, Some(0)));
    assert!(plane.told.lock().unwrap().recorded(&outcome).ends_with(b"bye\n"));
    let script = "grep '^SigBlk' /proc/self/status";
    let (shown, _) = plane.run(&plane.payload(7, &["sh", "-c", script])).await;
    assert_eq!(shown, b"SigBlk:\t0000000000000000\n");

    // And a command sees nothing of the agent.
    let (shown, _) =
        plane.run(&plane.payload(5, &["sh", "-c", "pwd; ls /proc/self/fd; env"])).await;
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.starts_with("/\n0\n1\n2\n3\n"), "{shown}");
    assert!(!shown.contains("CARGO") && shown.contains("PAGER=cat"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_the_pipes_of_a_command_that_has_ended_holds_no_run() {
    let plane = Plane::start().await;
    let _agent = plane.agent("bypass").await;
    let ended = |finished: &v1::ExecFinished| {
        assert_eq!(finished.outcome(), ExecOutcome::Exited, "{finished:?}");
        assert_eq!(finished.exit_status, Some(7));
        assert!(finished.reason.contains("had left running was killed"), "{}", finished.reason);
    };
    // By itself, however much is written beyond the limit of the output.
    let mut payload = plane.payload(1, &["sh", "-c", FLOOD]);
    exec(&mut payload).output_limit_bytes = 1000;
    let (shown, finished) = plane.run(&payload).await;
    assert_eq!(shown.len(), 1000);
    ended(&finished);

    // Nobody takes the output, so the pipe is never empty: the time limit, Ctrl-C and a caller that is gone count all the same.
    let mut payload = plane.payload(2, &["sh", "-c", FLOOD]);
    exec(&mut payload).timeout_seconds = 2;
    let (mut receiver, _) = plane.present(plane.sign(&payload)).await;
    let background = pid(&mut receiver).await;
    let outcome = plane.outcome(2).await;
    ended(&outcome);
    assert!(!runs(background));
    drop(receiver);

    let (mut receiver, _) =
        plane.present(plane.sign(&plane.payload(3, &["sh", "-c", FLOOD]))).await;
    let background = pid(&mut receiver).await;
    receiver.cancel().await.unwrap();
    let (_, finished) = rest(&mut receiver).await;
    ended(&finished);
    assert!(!runs(background));

    let (mut receiver, _) =
        plane.present(plane.sign(&plane.payload(4, &["sh", "-c", FLOOD]))).await;
    let background = pid(&mut receiver).await;
    drop(receiver);
    ended(&plane.outcome(4).await);
    assert!(!runs(background));

    // No place is kept: twice as many as one person has, and then one more.
    let script = "sleep 1000 & exit 7";
    let payloads: Vec<_> = (5..21).map(|seq| plane.payload(seq, &["sh", "-c", script])).collect();
    for share in payloads.chunks(8) {
        let mut runs = Vec::new();
        for payload in share {
            runs.push(plane.present(plane.sign(payload)).await);
        }
        for (mut receiver, reply) in runs {
            reply.unwrap();
            ended(&rest(&mut receiver).await.1);
        }
    }
    assert_eq!(plane.run(&plane.payload(21, &["true"])).await.1.exit_status, Some(0));
}
