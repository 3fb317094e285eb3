//! Requests and their answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pact_bus::{Bus, BusError, CallError, Delivery, MethodLimits, Responder, Service};
use pact_runtime::Clock;
use pact_schemas::rpc::journal;
use pact_schemas::v1::{
    BlobReply, BlobRequest, EntryReply, EntryRequest, Hello, HelloReply, PingReply, PingRequest,
};
use pact_schemas::{ErrorCode, Subject};
use tokio::sync::Notify;

use crate::support::{PATIENCE, World, node};

fn subject(text: &str) -> Subject {
    text.parse().unwrap()
}

async fn ask(bus: &Bus, on: &str) -> Result<PingReply, CallError> {
    bus.request(&subject(on), &PingRequest {}, PATIENCE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_has_its_typed_answer() {
    let world = World::start().await;
    let (server, caller) = (world.service("journal-1").await, world.service("gateway-1").await);
    let service = Service::new("journal", "0.1.0", "journal-1")
        .on(journal::Entry, |(), _, request| async move {
            match request.seq {
                0 => Err(ErrorCode::NotFound.error("no entry 0").next("try 1")),
                7 => panic!("seven"),
                _ => Ok(EntryReply::default()),
            }
        })
        .on(journal::Blob, |(), _, request| async move {
            let size = usize::from(request.sha256[0]) * 256 * 1024;
            Ok(BlobReply { compressed: vec![1; size], size_bytes: 0 })
        });
    server.serve(service).await.unwrap();

    let entry = |seq| {
        let caller = caller.clone();
        async move {
            let request = EntryRequest { seq, stale: false, visible: None };
            caller.call::<journal::Entry>(&(), &request, PATIENCE).await
        }
    };
    entry(1).await.unwrap();
    match entry(0).await.unwrap_err() {
        CallError::Service(error) => {
            assert_eq!(error, ErrorCode::NotFound.error("no entry 0").next("try 1"));
        }
        other => panic!("{other:?}"),
    }
    let code = |error: CallError| pact_schemas::v1::Error::from(error).known_code();
    assert_eq!(code(entry(7).await.unwrap_err()), ErrorCode::Internal);
    let unknown = ask(&caller, "pact.v1.rpc.journal.no_such").await.unwrap_err();
    assert_eq!(code(unknown), ErrorCode::Unimplemented);

    // An answer that is too large is an error, not silence; a request that is too large is not sent.
    let on = subject("pact.v1.rpc.journal.blob");
    let blob = |sha256| {
        let (caller, request) = (caller.clone(), BlobRequest { sha256 });
        async move { caller.call::<journal::Blob>(&(), &request, PATIENCE).await }
    };
    assert_eq!(blob(vec![2]).await.unwrap().compressed.len(), 512 * 1024);
    assert_eq!(code(blob(vec![4]).await.unwrap_err()), ErrorCode::TooLarge);
    assert!(matches!(blob(vec![1; 1 << 20]).await, Err(CallError::TooLarge { .. })));

    // A body that does not decode is answered too.
    let undecodable = Bytes::from_static(b"\xff\xff");
    let raw = caller.request_bytes(&on.to_string(), undecodable, PATIENCE).await.unwrap();
    let reply: pact_schemas::v1::Reply = prost::Message::decode(raw).unwrap();
    match reply.result {
        Some(pact_schemas::v1::reply::Result::Error(error)) => {
            assert_eq!(error.known_code(), ErrorCode::Malformed);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_does_not_answer_the_calls_of_another() {
    let world = World::start().await;
    let server = world.service("enroll-1").await;
    let service = Service::new("enroll", "0.1.0", "enroll-1")
        .on(journal::Entry, |(), _, _| async { Ok(EntryReply::default()) });
    let error = server.serve(service).await.unwrap_err();
    assert_eq!(error.to_string(), "entry is a call of journal, which enroll cannot answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_listed_by_the_services_api() {
    let world = World::start().await;
    let (server, caller) = (world.service("bridge-1").await, world.service("gateway-1").await);
    let service = Service::new("bridge", "0.1.0", "bridge-1")
        .method("ping", |_, _: PingRequest| async { Ok(PingReply::default()) });
    server.serve(service).await.unwrap();
    let info = caller.request_bytes("$SRV.INFO.bridge", Bytes::new(), PATIENCE).await.unwrap();
    let info: serde_json::Value = serde_json::from_slice(&info).unwrap();
    assert_eq!(info["name"], "bridge");
    assert_eq!(info["metadata"]["instance"], "bridge-1");
    assert_eq!(info["endpoints"][0]["subject"], "pact.v1.rpc.bridge.*");
    assert_eq!(info["endpoints"][0]["metadata"]["methods"], "ping");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_known_at_once() {
    let world = World::start().await;
    let caller = world.service("gateway-1").await;
    let clock = Clock::system();
    let before = clock.monotonic();
    let error = ask(&caller, "pact.v1.node.n1.rpc.ping").await.unwrap_err();
    assert!(matches!(error, CallError::NoResponders { .. }), "{error:?}");
    assert!(clock.monotonic() - before < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_answer_and_ask_with_their_own_rights() {
    let world = World::start().await;
    let n1 = node("n1");
    let (agent, service) = (world.agent(&n1).await, world.service("enroll-1").await);
    let responder = Responder::node(&n1).method("ping", |context, _: PingRequest| async move {
        Ok(PingReply { boot_id: context.node.unwrap().to_string(), agent_version: String::new() })
    });
    agent.respond(responder).await.unwrap();
    let hello = Service::new("enroll", "0.1.0", "enroll-1").up_method(
        "hello",
        |context, _: Hello| async move {
            match context.node.unwrap().as_str() {
                "n1" => Ok(HelloReply {}),
                other => Err(ErrorCode::NodeRevoked.error(other)),
            }
        },
    );
    service.serve(hello).await.unwrap();

    assert_eq!(ask(&service, "pact.v1.node.n1.rpc.ping").await.unwrap().boot_id, "n1");
    let hello = |on: &str| {
        let (agent, on) = (agent.clone(), subject(on));
        async move {
            agent.request::<_, HelloReply>(&on, &Hello::default(), Duration::from_secs(1)).await
        }
    };
    hello("pact.v1.node.n1.up.hello").await.unwrap();
    // As somebody else: the server drops it.
    assert!(matches!(hello("pact.v1.node.n2.up.hello").await, Err(CallError::Timeout { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_method_says_so_at_once_and_others_go_on() {
    let world = World::start().await;
    let (server, caller) = (world.service("journal-1").await, world.service("gateway-1").await);
    let (release, entered) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let handler = {
        let (release, entered) = (Arc::clone(&release), Arc::clone(&entered));
        move |_, _: PingRequest| {
            let (release, entered) = (Arc::clone(&release), Arc::clone(&entered));
            async move {
                entered.fetch_add(1, Ordering::SeqCst);
                release.notified().await;
                Ok(PingReply::default())
            }
        }
    };
    let service = Service::new("journal", "0.1.0", "journal-1")
        .limits(MethodLimits { workers: 2, ..MethodLimits::STANDARD })
        .method("slow", handler)
        .method("fast", |_, _: PingRequest| async { Ok(PingReply::default()) });
    server.serve(service).await.unwrap();
    let slow = || {
        let caller = caller.clone();
        tokio::spawn(async move { ask(&caller, "pact.v1.rpc.journal.slow").await })
    };
    let working = [slow(), slow()];
    while entered.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    match slow().await.unwrap() {
        Err(CallError::Service(error)) => assert_eq!(error.known_code(), ErrorCode::Busy),
        other => panic!("{other:?}"),
    }
    ask(&caller, "pact.v1.rpc.journal.fast").await.unwrap();
    release.notify_waiters();
    for task in working {
        task.await.unwrap().unwrap();
    }

    // A drain lets the handlers at work finish and answer.
    let last = slow();
    while entered.load(Ordering::SeqCst) < 3 {
        tokio::task::yield_now().await;
    }
    let draining = tokio::spawn(async move { server.drain().await });
    let fast = || {
        let (caller, on) = (caller.clone(), subject("pact.v1.rpc.journal.fast"));
        let limit = Duration::from_secs(1);
        async move { caller.request::<_, PingReply>(&on, &PingRequest {}, limit).await }
    };
    while !matches!(fast().await, Err(CallError::NoResponders { .. })) {
        tokio::task::yield_now().await;
    }
    release.notify_waiters();
    last.await.unwrap().unwrap();
    draining.await.unwrap();
}

/// svc-enroll is replaced while it passes a registration on to the journal: it may still ask, and hears the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_at_work_asks_others_during_the_drain() {
    let world = World::start().await;
    let (journal, enroll) = (world.service("journal-1").await, world.service("enroll-1").await);
    let answering = Service::new("journal", "0.1.0", "journal-1")
        .method("cluster", |_, _: PingRequest| async { Ok(PingReply::default()) });
    journal.serve(answering).await.unwrap();
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (asking, entered, release) = (enroll.clone(), entered.clone(), release.clone());
        move |_, request: PingRequest| {
            let (asking, entered, release) = (asking.clone(), entered.clone(), release.clone());
            async move {
                entered.notify_one();
                release.notified().await;
                let on = subject("pact.v1.rpc.journal.cluster");
                let asked = asking.request::<_, PingReply>(&on, &request, PATIENCE).await;
                asked.map_err(pact_schemas::v1::Error::from)
            }
        }
    };
    let passing_on = Service::new("enroll", "0.1.0", "enroll-1").method("register", handler);
    enroll.serve(passing_on).await.unwrap();
    let caller = world.service("gateway-1").await;
    let (asker, on) = (caller.clone(), subject("pact.v1.rpc.enroll.register"));
    let asked =
        tokio::spawn(
            async move { asker.request::<_, PingReply>(&on, &PingRequest {}, PATIENCE).await },
        );
    entered.notified().await;
    let drained = tokio::spawn(async move { enroll.drain().await });
    // Who begins to drain is not asked any more; what comes while it unsubscribes may be lost.
    let on = subject("pact.v1.rpc.enroll.other");
    let is_left = || async {
        let limit = Duration::from_secs(1);
        let asked = caller.request::<_, PingReply>(&on, &PingRequest {}, limit).await;
        matches!(asked, Err(CallError::NoResponders { .. }))
    };
    while !is_left().await {
        tokio::task::yield_now().await;
    }
    release.notify_one();
    asked.await.unwrap().expect("the answer reaches the handler, and its own the caller");
    drained.await.unwrap();
}

/// What is lost on its way to a service that leaves is missed at the next sending, not at the deadline.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_left_with_a_request_is_not_waited_for() {
    const AGAIN: Duration = Duration::from_millis(20);
    let world = World::start().await;
    let (server, asked) = with_silent_members(&world, usize::MAX, Ok(EntryReply::default())).await;
    let caller = world.service("gateway-1").await;
    let (asker, on) = (caller.clone(), subject("pact.v1.rpc.journal.entry"));
    let request = EntryRequest { seq: 1, stale: false, visible: None };
    let asking = tokio::spawn(async move {
        asker.request_any::<_, EntryReply>(&on, &request, AGAIN, PATIENCE).await
    });
    while asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // It ends in the middle of its work, as a killed process does.
    drop(server);
    let outcome = asking.await.unwrap();
    assert!(matches!(outcome, Err(CallError::Gone { .. })), "{outcome:?}");
    assert!(asked.load(Ordering::SeqCst) < 5, "it was not sent until the deadline");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_arrives_and_a_method_declared_twice_does_not_start() {
    let world = World::start().await;
    let n1 = node("n1");
    let (agent, journal) = (world.agent(&n1).await, world.service("journal-1").await);
    let mut announcements = agent.subscribe("pact.v1.config.>", None).await.unwrap();
    let on = subject("pact.v1.config.vc.ml");
    journal.publish(&on, Bytes::from_static(b"x")).await.unwrap();
    loop {
        match announcements.next().await.unwrap() {
            Delivery::Resync => {}
            Delivery::Message(message) => {
                assert_eq!((message.parsed_subject(), &message.payload[..]), (Some(on), &b"x"[..]));
                break;
            }
        }
    }
    let twice = Service::new("journal", "0.1.0", "journal-1")
        .method("a", |_, _: PingRequest| async { Ok(PingReply::default()) })
        .method("a", |_, _: PingRequest| async { Ok(PingReply::default()) });
    assert!(matches!(journal.serve(twice).await, Err(BusError::DuplicateMethod { .. })));
    let nameless = Service::new("Jour nal", "0.1.0", "journal-1");
    assert!(matches!(journal.serve(nameless).await, Err(BusError::Name(_))));
}

/// A service of which the first `silent` requests find a member that was cut off; the others get `answer`.
async fn with_silent_members(
    world: &World,
    silent: usize,
    answer: Result<EntryReply, pact_schemas::v1::Error>,
) -> (Bus, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let server = world.service("journal-1").await;
    let count = Arc::clone(&asked);
    let service =
        Service::new("journal", "0.1.0", "journal-1").method("entry", move |_, _: EntryRequest| {
            let (before, answer) = (count.fetch_add(1, Ordering::SeqCst), answer.clone());
            async move {
                if before < silent {
                    std::future::pending::<()>().await;
                }
                answer
            }
        });
    server.serve(service).await.unwrap();
    (server, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_ask_twice_is_not_kept_waiting_by_a_silent_member() {
    const AGAIN: Duration = Duration::from_millis(20);
    let on = subject("pact.v1.rpc.journal.entry");
    let request = EntryRequest { seq: 1, stale: false, visible: None };

    let world = World::start().await;
    let (_server, asked) = with_silent_members(&world, 2, Ok(EntryReply::default())).await;
    let caller = world.service("gateway-1").await;
    let _answer: EntryReply = caller.request_any(&on, &request, AGAIN, PATIENCE).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 3);

    // A refusal is an answer too.
    let world = World::start().await;
    let refusal = Err(ErrorCode::NotFound.error("no entry"));
    let (_server, _) = with_silent_members(&world, 1, refusal).await;
    let caller = world.service("gateway-1").await;
    let refused: Result<EntryReply, _> = caller.request_any(&on, &request, AGAIN, PATIENCE).await;
    assert!(matches!(refused, Err(CallError::Service(_))), "{refused:?}");

    // Nobody answers: a few attempts, one limit.
    let world = World::start().await;
    let (_server, asked) = with_silent_members(&world, usize::MAX, Ok(EntryReply::default())).await;
    let caller = world.service("gateway-1").await;
    let limit = Duration::from_secs(2);
    let silence: Result<EntryReply, _> = caller.request_any(&on, &request, AGAIN, limit).await;
    let code = pact_schemas::v1::Error::from(silence.unwrap_err()).known_code();
    assert_eq!(code, ErrorCode::Timeout);
    assert_eq!(asked.load(Ordering::SeqCst), 5);
}
