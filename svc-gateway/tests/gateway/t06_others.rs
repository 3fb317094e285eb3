//! Enrolment, unbuilt operations, health of the service, reflection, and records of reading.

use std::time::Duration;

use pact_bus::{MethodLimits, Service};
use pact_identity::ServiceRole;
use pact_runtime::CancellationToken;
use pact_schemas::ErrorCode;
use pact_schemas::operation::Owner;
use pact_schemas::rpc;
use pact_schemas::v1::action::Action;
use pact_schemas::v1::enrollment_client::EnrollmentClient;
use pact_schemas::v1::{
    self, CompletedName, EnrollReply, EnrollRequest, Entry, EntryKind, HardwareIdentity,
    InvokeRequest,
};
use prost::Message as _;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use crate::declared::node_scope;
use crate::world::{PATIENCE, World, code, request_id, with_token};

#[tokio::test(flavor = "multi_thread")]
async fn t06_first_contact_needs_no_token_and_has_a_rate() {
    let world = World::start_with(|s| {
        s.allow_plaintext_loopback = true;
        s.enrollment.per_hardware_id_per_minute = 2;
    })
    .await;
    let bus = world.service(ServiceRole::Enroll, "1").await;
    let service = Service::new("enroll", "0.1.0", "enroll-1").on(
        rpc::enroll::Enroll,
        |(), _, request: EnrollRequest| async move {
            // The address is the gateway's to say, whatever the client claims.
            Ok(EnrollReply { site: request.source_address, ..EnrollReply::default() })
        },
    );
    bus.serve(service).await.unwrap();
    let mut client = EnrollmentClient::connect(format!("http://{}", world.address)).await.unwrap();
    let request = |mac: &str| EnrollRequest {
        node: "n1".into(),
        identity: Some(HardwareIdentity { macs: vec![mac.into()], ..HardwareIdentity::default() }),
        csr: vec![1],
        bus_user: "U".into(),
        source_address: "10.9.9.9".into(),
        ..EnrollRequest::default()
    };
    for _ in 0..2 {
        let reply = client.enroll(request("00:00:00:00:00:01")).await.unwrap().into_inner();
        assert_eq!(reply.site, "127.0.0.1");
    }
    let status = client.enroll(request("00:00:00:00:00:01")).await.unwrap_err();
    assert_eq!(code(&status), ErrorCode::RateLimited);
    client.enroll(request("00:00:00:00:00:02")).await.unwrap();
    let nameless = EnrollRequest { node: "*".into(), ..request("00:00:00:00:00:03") };
    assert_eq!(code(&client.enroll(nameless).await.unwrap_err()), ErrorCode::InvalidArgument);
}

/// A first contact that names this hardware.
fn contact(mac: &str) -> EnrollRequest {
    EnrollRequest {
        node: "n1".into(),
        identity: Some(HardwareIdentity { macs: vec![mac.into()], ..HardwareIdentity::default() }),
        csr: vec![1],
        bus_user: "U".into(),
        ..EnrollRequest::default()
    }
}

/// A client whose connections come from this address.
async fn from(world: &World, address: [u8; 4]) -> EnrollmentClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", world.address)).unwrap();
    let channel = endpoint.local_address(Some(address.into())).connect().await.unwrap();
    EnrollmentClient::new(channel)
}

#[tokio::test(flavor = "multi_thread")]
async fn t06_a_flood_from_one_address_keeps_no_other_address_out() {
    const FLOOD: usize = 300;
    let world = World::start_with(|s| s.allow_plaintext_loopback = true).await;
    let bus = world.service(ServiceRole::Enroll, "1").await;
    let released = CancellationToken::new();
    let waits = released.clone();
    let service = Service::new("enroll", "0.1.0", "enroll-1")
        .limits(MethodLimits { workers: 512, longest: Duration::from_secs(20) })
        .on(rpc::enroll::Enroll, move |(), _, request: EnrollRequest| {
            let waits = waits.clone();
            async move {
                if request.source_address == "127.0.0.1" {
                    waits.cancelled().await; // a probe that takes its time
                }
                Ok(EnrollReply { site: request.source_address, ..EnrollReply::default() })
            }
        });
    bus.serve(service).await.unwrap();
    let mut flood = tokio::task::JoinSet::new();
    let attacker = from(&world, [127, 0, 0, 1]).await;
    for number in 0..FLOOD {
        let mut attacker = attacker.clone();
        // The hardware of the node that is to enrol, and any other.
        let mac = format!("00:00:00:00:00:{:02x}", number % 16);
        flood.spawn(async move { attacker.enroll(contact(&mac)).await.map(drop) });
    }
    // More than the gateway passes on at once: most are refused while the others wait.
    for _ in 0..FLOOD - 100 {
        let refused = flood.join_next().await.unwrap().unwrap().unwrap_err();
        assert_eq!(code(&refused), ErrorCode::RateLimited);
    }

    let mut node = from(&world, [127, 0, 0, 2]).await;
    let asked = tokio::time::timeout(PATIENCE, node.enroll(contact("00:00:00:00:00:00"))).await;
    assert_eq!(asked.unwrap().unwrap().into_inner().site, "127.0.0.2");
    released.cancel();
    while flood.join_next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn t06_unbuilt_operations_reach_their_owner() {
    let world = World::start().await;
    let bus = world.service(ServiceRole::Bridge, "1").await;
    let service = Service::new("bridge", "0.1.0", "bridge-1").unbuilt(Owner::Bridge);
    bus.serve(service).await.unwrap();
    let mut client = world.client().await;
    let invoke = |operation: &str, targets: &str| InvokeRequest {
        request_id: request_id(),
        operation: operation.into(),
        targets: targets.into(),
        ..InvokeRequest::default()
    };
    let cases = [
        ("drain", "n1", &["pact-ops-ml"], ErrorCode::Unimplemented),
        ("drain", "n1", &["pact-viewer-ml"], ErrorCode::NotAuthorised),
        ("drain", "n9", &["pact-ops-ml"], ErrorCode::NotFound),
        ("policy.test", "", &["pact-ops-ml"], ErrorCode::Unimplemented),
        ("service.restart", "n1", &["pact-ops-ml"], ErrorCode::Unreachable),
        ("approve.list", "", &["pact-ops-ml"], ErrorCode::Unreachable),
        ("exec", "n1", &["pact-ops-ml"], ErrorCode::InvalidArgument),
        ("extend", "n1", &["pact-ops-ml"], ErrorCode::InvalidArgument),
        ("nonsense", "", &["pact-ops-ml"], ErrorCode::InvalidArgument),
    ];
    for (operation, targets, roles, want) in cases {
        let status = client.invoke(world.by(roles, invoke(operation, targets))).await.unwrap_err();
        assert_eq!(code(&status), want, "{operation} {targets}");
    }
    let status =
        client.invoke(world.by(&["pact-ops-ml"], invoke("drain", "n1"))).await.unwrap_err();
    assert!(status.message().contains("`pact drain` is not built yet"), "{status:?}");
}

/// A reading of n1, as it is recorded.
fn reading() -> Action {
    Action::RecordAccess(v1::RecordAccess {
        scope: Some(node_scope("n1")),
        accessed: Some(v1::Accessed {
            operation: "status".into(),
            count: 1,
            minute: Some(pact_schemas::convert::timestamp(1)),
            ..v1::Accessed::default()
        }),
        audience: None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn t06_the_log_is_what_changed_and_as_many_rows_as_are_asked_for() {
    let world = World::start().await;
    let policy = |name: &str| {
        let policy = Some(v1::VclusterPolicy::default());
        let update = v1::PolicyUpdate { vcluster: name.into(), policy };
        Action::SetPolicy(v1::SetPolicy { updates: vec![update] })
    };
    world.journal.with(|s| {
        for action in [policy("a"), policy("b"), reading(), reading(), reading()] {
            s.commit(None, action);
        }
    });
    let mut client = world.client().await;
    let mut kinds = async |filter: Option<v1::EntryFilter>| {
        let request = v1::LogRequest { count: 2, scope: None, filter };
        let reply = client.log(world.by(&["pact-platform-admin"], request)).await.unwrap();
        let reply = reply.into_inner();
        assert!(!reply.is_cut && reply.head_seq == 5, "{reply:?}");
        let kind =
            |record: &v1::EntryRecord| Entry::decode(record.entry.as_slice()).unwrap().kind();
        reply.entries.iter().map(kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(None).await, [EntryKind::PolicyUpdate; 2]);
    let all = v1::EntryFilter { all: true, ..v1::EntryFilter::default() };
    assert_eq!(kinds(Some(all)).await, [EntryKind::Accessed; 2]);
    let by = v1::EntryFilter { by: "nobody".into(), ..v1::EntryFilter::default() };
    assert_eq!(kinds(Some(by)).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn t06_completion_tells_names_and_leaves_no_entry() {
    let world = World::start().await;
    let mut client = world.client().await;
    let complete = |name: CompletedName, vcluster: Option<&str>| v1::CompleteRequest {
        name: name.into(),
        vcluster: vcluster.map(Into::into),
    };
    for (roles, name, vcluster, expected) in [
        (&["pact-viewer-ml"][..], CompletedName::Node, None, &["n1", "n2"][..]),
        (&["pact-viewer-ml"], CompletedName::Node, Some("other"), &[]),
        (&["pact-viewer-ml"], CompletedName::Vcluster, None, &["ml"]),
        (&["pact-platform-admin"], CompletedName::Node, None, &["n1", "n2", "n3"]),
        (&[], CompletedName::Node, None, &[]),
    ] {
        let request = world.by(roles, complete(name, vcluster));
        let names = client.complete(request).await.unwrap().into_inner().names;
        assert_eq!(names, expected, "{roles:?} {name:?}");
    }
    // The same person all the time: 5 of 120 are used.
    for number in 5.. {
        let request = world.by(&["pact-viewer-ml"], complete(CompletedName::Vcluster, None));
        let Err(refused) = client.complete(request).await else {
            assert!(number < 600, "no rate holds");
            continue;
        };
        assert_eq!(code(&refused), ErrorCode::RateLimited);
        assert!(number >= 120, "refused after {number}");
        break;
    }
    drop(client);
    world.supervisor.shutdown();
    let journal = world.journal.clone();
    world.end().await.unwrap();
    journal.with(|s| assert!(s.proposed.is_empty(), "{:?}", s.proposed));
}

#[tokio::test(flavor = "multi_thread")]
async fn t06_reading_is_recorded_when_the_gateway_stops_at_the_latest() {
    let world = World::start().await;
    let mut client = world.client().await;
    for _ in 0..3 {
        let status = v1::StatusRequest { targets: "n1".into(), ..v1::StatusRequest::default() };
        let reply =
            client.status(world.by(&["pact-viewer-ml"], status)).await.unwrap().into_inner();
        assert_eq!(reply.nodes.len(), 1);
        assert_eq!(reply.errors.len(), 1, "svc-enroll is away, and that is said");
    }
    drop(client);
    world.supervisor.shutdown();
    let counted = || {
        world.journal.with(|s| {
            let counts = s.proposed.iter().filter_map(|(_, act)| match act {
                v1::action::Action::RecordAccess(record) => {
                    record.accessed.as_ref().map(|a| a.count)
                }
                _ => None,
            });
            counts.sum::<u32>()
        })
    };
    crate::world::until("three readings are recorded", || counted() == 3).await;
}

fn denials(world: &World) -> usize {
    world.journal.with(|s| {
        let denied = |act: &v1::action::Action| matches!(act, v1::action::Action::RecordDenied(_));
        s.proposed.iter().filter(|(_, act)| denied(act)).count()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn t06_a_record_whose_answer_was_lost_stands_once() {
    let world = World::start().await;
    world.journal.with(|s| s.lost_answers = 1);
    let status = v1::InspectNodeRequest { node: "n1".into() };
    world.client().await.inspect_node(world.by(&["pact-viewer-x"], status)).await.unwrap_err();
    // It is tried again, since nobody said that it is there.
    let attempts = || world.journal.with(|s| s.record_ids.len());
    crate::world::until("the record is tried again", || attempts() >= 2).await;
    let ids = world.journal.with(|s| s.record_ids.clone());
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(denials(&world), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn t06_a_record_that_waited_longer_than_ids_are_remembered_gets_another_id_once() {
    let world = World::start().await;
    let ahead = |by_seconds: i64| {
        let now = pact_runtime::Clock::system().now().unix_seconds();
        u64::try_from((now + by_seconds) * 1_000).unwrap()
    };
    let status = || v1::InspectNodeRequest { node: "n1".into() };
    world.journal.with(|s| s.journal.horizon.unix_milliseconds = ahead(3_600));
    world.client().await.inspect_node(world.by(&["pact-viewer-x"], status())).await.unwrap_err();
    let attempts = || world.journal.with(|s| s.record_ids.len());
    crate::world::until("another id is tried", || attempts() >= 2).await;
    let ids = world.journal.with(|s| s.record_ids.clone());
    assert_ne!(ids[0], ids[1]);
    // The next record comes after it: nothing is tried for ever, and nothing holds up what follows.
    world.journal.with(|s| s.journal.horizon.unix_milliseconds = 0);
    world.client().await.inspect_node(world.by(&["pact-viewer-x"], status())).await.unwrap_err();
    crate::world::until("the next record stands", || denials(&world) == 1).await;
    assert_eq!(attempts(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn t06_records_of_any_size_reach_the_journal() {
    const PEOPLE: u32 = 160;
    let world = World::start().await;
    let mut client = world.client().await;
    // With so many roles each record has 8 KiB, all of them over 1 MiB.
    let roles: Vec<String> = (0..200).map(|i| format!("pact-viewer-v{i:0>25}")).collect();
    for person in 0..PEOPLE {
        let token = world.issuer.signed(|claims| {
            claims["sub"] = format!("person-{person}").into();
            claims["roles"] = roles.clone().into();
        });
        client.whoami(with_token(&token, v1::WhoamiRequest {})).await.unwrap();
    }
    drop(client);
    world.supervisor.shutdown();
    let recorded = || {
        world.journal.with(|s| {
            let read =
                |act: &v1::action::Action| matches!(act, v1::action::Action::RecordAccess(_));
            s.proposed.iter().filter(|(_, act)| read(act)).count()
        })
    };
    crate::world::until("all readings are recorded", || recorded() == PEOPLE as usize).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t06_health_and_reflection_are_open() {
    let world = World::start_with(|s| s.allow_plaintext_loopback = true).await;
    let channel =
        tonic::transport::Endpoint::from_shared(format!("http://{}", world.address)).unwrap();
    let channel = channel.connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    let asked = tonic_health::pb::HealthCheckRequest { service: "pact.v1.Pact".into() };
    let reply = health.check(Request::new(asked)).await.unwrap().into_inner();
    assert_eq!(
        reply.status,
        i32::from(tonic_health::pb::health_check_response::ServingStatus::Serving)
    );
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_request::MessageRequest,
    };
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let mut replies = reflection
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let reply = format!("{:?}", replies.message().await.unwrap().unwrap());
    assert!(reply.contains("pact.v1.Pact") && reply.contains("pact.v1.Enrollment"), "{reply}");
}
