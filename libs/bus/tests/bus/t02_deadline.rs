//! Deadlines are obeyed on both sides.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pact_bus::{CallError, ClockTrust, Service};
use pact_schemas::v1::{PingReply, PingRequest};
use pact_schemas::{ErrorCode, Subject};

use crate::support::{PATIENCE, Run, World};

struct Cut(Arc<AtomicBool>);

impl Drop for Cut {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_is_cut_at_the_deadline_and_its_caller_told() {
    let world = World::start().await;
    let (server, caller) = (world.service("journal-1").await, world.service("gateway-1").await);
    let was_cut = Arc::new(AtomicBool::new(false));
    let handler = {
        let was_cut = Arc::clone(&was_cut);
        move |(), _, _: PingRequest| {
            let guard = Cut(Arc::clone(&was_cut));
            async move {
                let _guard = guard;
                std::future::pending::<()>().await;
                Ok(PingReply::default())
            }
        }
    };
    server.serve(Service::new("journal", "0.1.0", "j").on(Run, handler)).await.unwrap();
    let on: Subject = "pact.v1.rpc.journal.run".parse().unwrap();
    let limit = Duration::from_millis(200);
    let error = caller.request::<_, PingReply>(&on, &PingRequest {}, limit).await.unwrap_err();
    assert_eq!(pact_schemas::v1::Error::from(error).known_code(), ErrorCode::Timeout);
    while !was_cut.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_past_its_deadline_is_refused_and_not_executed() {
    let world = World::start().await;
    let (server, caller) = (world.service("journal-1").await, world.service("gateway-1").await);
    let runs = Arc::new(AtomicUsize::new(0));
    let handler = {
        let runs = Arc::clone(&runs);
        move |(), _, _: PingRequest| {
            runs.fetch_add(1, Ordering::SeqCst);
            async { Ok(PingReply::default()) }
        }
    };
    server.serve(Service::new("journal", "0.1.0", "j").on(Run, handler)).await.unwrap();
    let on: Subject = "pact.v1.rpc.journal.run".parse().unwrap();
    let ask = || caller.request::<_, PingReply>(&on, &PingRequest {}, Duration::from_secs(10));

    ask().await.unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    // The receiver's time is a minute later, as if the message had waited that long.
    server.set_clock_trust(ClockTrust::Offset { milliseconds: 60_000 });
    match ask().await.unwrap_err() {
        CallError::Service(error) => assert_eq!(error.known_code(), ErrorCode::Timeout),
        other => panic!("{other:?}"),
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    // Without a calendar nothing is judged by it.
    server.set_clock_trust(ClockTrust::Unknown);
    ask().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_for_what_is_not_pacts_travel_without_a_deadline() {
    let world = World::start().await;
    let (server, caller) = (world.service("journal-1").await, world.service("gateway-1").await);
    let handler = |(), _, _: PingRequest| async { Ok(PingReply::default()) };
    server.serve(Service::new("journal", "0.1.0", "j").on(Run, handler)).await.unwrap();
    let on: Subject = "pact.v1.rpc.journal.run".parse().unwrap();
    // Its deadlines have all passed a day ago, so whoever sees one refuses.
    caller.set_clock_trust(ClockTrust::Offset { milliseconds: -86_400_000 });
    let error = caller.request::<_, PingReply>(&on, &PingRequest {}, PATIENCE).await.unwrap_err();
    assert_eq!(pact_schemas::v1::Error::from(error).known_code(), ErrorCode::Timeout);
    let raw = caller.request_bytes(&on.to_string(), Bytes::new(), PATIENCE).await.unwrap();
    let reply: pact_schemas::v1::Reply = prost::Message::decode(raw).unwrap();
    assert!(matches!(reply.result, Some(pact_schemas::v1::reply::Result::Body(_))), "{reply:?}");
}
