//! The server dies and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pact_bus::{Bus, BusError, CallError, ConnectionState, Delivery, Service};
use pact_runtime::{CancellationToken, Clock, Readiness};
use pact_schemas::Subject;
use pact_schemas::v1::{PingReply, PingRequest};
use tokio::sync::Notify;

use crate::support::{PATIENCE, Run, World, connect};

/// What a user is promised (reliability goals): all resumes within this of the server's return.
const RESUME_LIMIT: Duration = Duration::from_secs(10);

async fn until(bus: &Bus, wanted: ConnectionState) {
    let mut states = bus.events();
    let waiting = states.wait_for(|state| *state == wanted);
    Clock::system().timeout(PATIENCE, waiting).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_and_restart_everything_resumes_and_nothing_stale_runs() {
    let mut world = World::start().await;
    let (server, caller) = (world.service("journal-1").await, world.service("gateway-1").await);
    let (runs, hang) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let handler = {
        let (runs, hang) = (Arc::clone(&runs), Arc::clone(&hang));
        move |(), _, _: PingRequest| {
            let (runs, hang) = (Arc::clone(&runs), Arc::clone(&hang));
            async move {
                if runs.fetch_add(1, Ordering::SeqCst) == 0 {
                    hang.notified().await; // the first request is in flight during the outage
                }
                Ok(PingReply::default())
            }
        }
    };
    server.serve(Service::new("journal", "0.1.0", "j").on(Run, handler)).await.unwrap();
    let mut announcements = caller.subscribe("pact.v1.config.>", None).await.unwrap();
    let on: Subject = "pact.v1.rpc.journal.run".parse().unwrap();
    let in_flight = {
        let (caller, on) = (caller.clone(), on.clone());
        tokio::spawn(
            async move { caller.request::<_, PingReply>(&on, &PingRequest {}, PATIENCE).await },
        )
    };
    while runs.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }

    world.server.kill();
    until(&caller, ConnectionState::Disconnected).await;
    let interrupted = in_flight.await.unwrap();
    assert!(matches!(interrupted, Err(CallError::Interrupted { .. })), "{interrupted:?}");
    for _ in 0..100 {
        let refused = caller.request::<_, PingReply>(&on, &PingRequest {}, PATIENCE).await;
        assert!(matches!(refused, Err(CallError::Disconnected)), "{refused:?}");
        let topic: Subject = "pact.v1.config.global._".parse().unwrap();
        let refused = caller.publish(&topic, Bytes::from_static(b"stale")).await;
        assert!(matches!(refused, Err(BusError::Disconnected)));
    }
    hang.notify_waiters();

    let clock = Clock::system();
    world.server.restart().await.unwrap();
    let returned = clock.monotonic();
    loop {
        match caller.request::<_, PingReply>(&on, &PingRequest {}, PATIENCE).await {
            Ok(_) => break,
            Err(error) => assert!(error.nothing_done(), "{error:?}"),
        }
        assert!(clock.monotonic() - returned < RESUME_LIMIT);
        tokio::task::yield_now().await;
    }
    assert_eq!(runs.load(Ordering::SeqCst), 2, "the first, and the one after the return");
    // The subscriber is told that it may have missed something, and was given nothing stale.
    assert!(matches!(announcements.next().await, Some(Delivery::Resync)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_may_start_before_the_server_and_says_when_it_is_ready() {
    let mut world = World::start().await;
    world.server.kill();
    let readiness = Readiness::new(CancellationToken::new());
    let config = world.config("_INBOX_s.journal-1", None);
    let check = Some(readiness.check("bus"));
    let bus = Bus::connect(config, Clock::system(), check).await.unwrap();
    let service = Service::new("journal", "0.1.0", "j")
        .on(Run, |(), _, _| async { Ok(PingReply::default()) });
    bus.serve(service).await.unwrap();
    assert_eq!(bus.state(), ConnectionState::Connecting);
    let soon = bus.wait_connected(Duration::from_millis(300)).await;
    assert!(matches!(soon, Err(BusError::NotConnected { .. })));
    assert!(!readiness.is_ready());
    world.server.restart().await.unwrap();
    bus.wait_connected(RESUME_LIMIT).await.unwrap();
    let caller = world.service("gateway-1").await;
    let on: Subject = "pact.v1.rpc.journal.run".parse().unwrap();
    caller.request::<_, PingReply>(&on, &PingRequest {}, PATIENCE).await.unwrap();
    let ready = async {
        while !readiness.is_ready() {
            tokio::task::yield_now().await;
        }
    };
    Clock::system().timeout(PATIENCE, ready).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_another_account_is_refused_and_told_why() {
    let (world, other) = (World::start().await, World::start().await);
    let mut config = other.config("_INBOX_s.x", None);
    config.urls = vec![world.server.url()];
    let bus = Bus::connect(config, Clock::system(), None).await.unwrap();
    let refused = async {
        while bus.last_problem().is_none() {
            tokio::task::yield_now().await;
        }
    };
    Clock::system().timeout(PATIENCE, refused).await.unwrap();
    assert_eq!(bus.last_problem().as_deref(), Some("authorization violation"));
    assert_ne!(bus.state(), ConnectionState::Connected);
    let _known = connect(world.config("_INBOX_s.x", None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_closed_without_a_connection_does_not_try_on() {
    /// Attempts are never further apart.
    const APART: Duration = Duration::from_secs(1);
    let world = World::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = world.config("_INBOX_s.x", None);
    config.urls = vec![format!("nats://{}", listener.local_addr().unwrap())];
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst); // and hangs up
        }
    });
    let bus = Bus::connect(config, Clock::system(), None).await.unwrap();
    let tried = async {
        while attempts.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    Clock::system().timeout(PATIENCE, tried).await.unwrap();
    bus.drain().await;
    tokio::time::sleep(APART + APART / 2).await; // one wait had begun
    let before = attempts.load(Ordering::SeqCst);
    tokio::time::sleep(2 * APART + APART / 2).await;
    assert_eq!(attempts.load(Ordering::SeqCst), before);
    assert_eq!(bus.state(), ConnectionState::Closed);
}
