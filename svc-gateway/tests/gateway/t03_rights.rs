//! Refusals are typed and recorded; site rules deny; what is not there is not found.

use pact_schemas::v1::{self, ExecBegin, ExecInput, action::Action, exec_input::Input};
use pact_schemas::{ErrorCode, NodeSet};
use tonic::Status;

use crate::world::{World, code, request_id};

pub(crate) fn begin(targets: &str, argv: &[&str]) -> ExecInput {
    let begin = ExecBegin {
        request_id: request_id(),
        targets: targets.into(),
        argv: argv.iter().map(ToString::to_string).collect(),
        ..ExecBegin::default()
    };
    ExecInput { input: Some(Input::Begin(begin)) }
}

async fn exec(world: &World, roles: &[&str], targets: &str) -> Status {
    let input = tokio_stream::iter([begin(targets, &["uname", "-a"])]);
    world.client().await.exec(world.by(roles, input)).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn t03_a_viewers_exec_is_refused_and_recorded() {
    let world = World::start().await;
    let status = exec(&world, &["pact-viewer-ml"], "n[1-2]").await;
    assert_eq!((code(&status), code(&status).exit_code()), (ErrorCode::NotAuthorised, 2));
    let denied = world.journal.with(|s| {
        assert!(!s.proposed.iter().any(|(_, act)| matches!(act, Action::ExecRequest(_))));
        s.proposed.iter().find_map(|(by, act)| match act {
            Action::RecordDenied(record) => {
                Some((by.principal().clone(), record.denied.clone().unwrap()))
            }
            _ => None,
        })
    });
    let (principal, denied) = denied.expect("the refusal is in the journal before it is answered");
    assert_eq!(principal.subject(), "someone");
    assert_eq!((denied.operation.as_str(), denied.code.as_str()), ("exec", "PACT_NOT_AUTHORISED"));
    assert_eq!(NodeSet::parse(&denied.target).unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn t03_a_command_with_too_many_arguments_is_not_even_proposed() {
    let world = World::start().await;
    let input = tokio_stream::iter([begin("n1", &["true"; 1_025])]);
    let refused = world.client().await.exec(world.by(&["pact-ops-ml"], input)).await.unwrap_err();
    assert_eq!(code(&refused), ErrorCode::TooLarge);
    world.journal.with(|s| assert!(s.proposed.is_empty(), "{:?}", s.proposed));
}

#[tokio::test(flavor = "multi_thread")]
async fn t03_the_right_is_needed_on_every_member() {
    let world = World::start().await;
    assert_eq!(code(&exec(&world, &["pact-ops-ml"], "n[1-3]").await), ErrorCode::NotAuthorised);
    assert_eq!(code(&exec(&world, &["pact-ops-ml"], "n9").await), ErrorCode::NotFound);
    assert_eq!(
        code(&exec(&world, &["pact-ops-ml"], "@state:inactive").await),
        ErrorCode::InvalidArgument
    );
    let group = v1::ShowGroupRequest { group: "typo".into() };
    let status = world
        .client()
        .await
        .show_group(world.by(&["pact-platform-admin"], group))
        .await
        .unwrap_err();
    assert_eq!(code(&status), ErrorCode::NotFound);
}

/// A node that is in a vCluster is that vCluster's: to be given another identity, too.
#[tokio::test(flavor = "multi_thread")]
async fn t03_what_is_done_to_a_node_needs_the_vcluster_that_it_is_in() {
    let world = World::start().await;
    world.journal.add_node("spare", None);
    let enroll = |node: &str| v1::EnrollNodeRequest {
        request_id: request_id(),
        node: node.into(),
        identity: Some(v1::HardwareIdentity {
            macs: vec!["0c:42:a1:00:00:77".into()],
            ..v1::HardwareIdentity::default()
        }),
        replace: true,
    };
    let mut client = world.client().await;
    for node in ["n1", "n2"] {
        let request = world.by(&["pact-ops-other"], enroll(node));
        let refused = client.enroll_node(request).await.unwrap_err();
        assert_eq!((code(&refused), code(&refused).exit_code()), (ErrorCode::NotAuthorised, 2));
        let inspect = v1::InspectNodeRequest { node: node.into() };
        let refused = client.inspect_node(world.by(&["pact-ops-other"], inspect)).await;
        assert_eq!(code(&refused.unwrap_err()), ErrorCode::NotAuthorised);
        let decommission = v1::InvokeRequest {
            request_id: request_id(),
            operation: "node.decommission".into(),
            targets: node.into(),
            ..v1::InvokeRequest::default()
        };
        let refused = client.invoke(world.by(&["pact-ops-other"], decommission)).await;
        assert_eq!(code(&refused.unwrap_err()), ErrorCode::NotAuthorised);
    }
    let proposed = |s: &mut crate::journal::State| {
        s.proposed.iter().filter(|(_, act)| matches!(act, Action::RegisterNode(_))).count()
    };
    assert_eq!(world.journal.with(proposed), 0, "refused before anything is proposed");
    client.enroll_node(world.by(&["pact-ops-ml"], enroll("n1"))).await.unwrap();
    // New, or in no vCluster: any ops. The identity that n1 has now is taken.
    for node in ["n9", "spare"] {
        let taken = client.enroll_node(world.by(&["pact-ops-other"], enroll(node))).await;
        assert_eq!(code(&taken.unwrap_err()), ErrorCode::Conflict);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t03_a_site_rule_denies_with_3() {
    let rules = tempfile::tempdir().unwrap();
    let rule = "package pact.site\nimport rego.v1\ndeny contains {\"reason\": \"not on Sundays\"} if {\n\tinput.operation == \"exec\"\n\tinput.command[0] == \"uname\"\n}\n";
    std::fs::write(rules.path().join("sundays.rego"), rule).unwrap();
    let world = World::start_with(|s| s.policy.site_bundle = Some(rules.path().to_owned())).await;
    let status = exec(&world, &["pact-platform-admin"], "n1").await;
    assert_eq!((code(&status), code(&status).exit_code()), (ErrorCode::PolicyDenied, 3));
    assert!(v1::Error::from_status(&status).unwrap().cause.contains("not on Sundays"));
}

#[tokio::test(flavor = "multi_thread")]
async fn t03_policy_tables_are_applied_by_platform_admins_alone() {
    let world = World::start().await;
    let mut client = world.client().await;
    let apply = |dry_run| v1::ApplyRequest {
        request_id: request_id(),
        spec: "[vcluster.new.policy]\nregulated = false\n".into(),
        file_name: "s.toml".into(),
        dry_run,
        ..v1::ApplyRequest::default()
    };
    let status = client.apply(world.by(&["pact-ops-new"], apply(false))).await.unwrap_err();
    assert_eq!(code(&status), ErrorCode::NotAuthorised);
    let set = |world: &World| {
        world.journal.with(|s| {
            s.proposed.iter().filter(|(_, act)| matches!(act, Action::ApplySpec(_))).count()
        })
    };
    client.apply(world.by(&["pact-platform-admin"], apply(true))).await.unwrap();
    assert_eq!(set(&world), 0, "a dry run proposes nothing");
    let reply =
        client.apply(world.by(&["pact-platform-admin"], apply(false))).await.unwrap().into_inner();
    assert!(reply.first_seq > 0 && set(&world) == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn t03_applying_a_policy_leaves_its_own_entry_and_no_other() {
    let world = World::start().await;
    let mut client = world.client().await;
    let apply = v1::ApplyRequest {
        request_id: request_id(),
        spec: "[vcluster.ml.policy]\nexec_whitelist = []\n".into(),
        file_name: "s.toml".into(),
        ..v1::ApplyRequest::default()
    };
    client.apply(world.by(&["pact-platform-admin"], apply)).await.unwrap();
    // A reading after it, so that the records of both are there when one is.
    client.whoami(world.by(&["pact-platform-admin"], v1::WhoamiRequest {})).await.unwrap();
    drop(client);
    world.supervisor.shutdown();
    let accessed = || {
        world.journal.with(|s| {
            let read = |act: &Action| match act {
                Action::RecordAccess(record) => {
                    record.accessed.as_ref().map(|a| a.operation.clone())
                }
                _ => None,
            };
            s.proposed.iter().filter_map(|(_, act)| read(act)).collect::<Vec<_>>()
        })
    };
    crate::world::until("the reading is recorded", || !accessed().is_empty()).await;
    assert_eq!(accessed(), ["whoami"]);
    let cleared = world.journal.with(|s| match &s.proposed[0].1 {
        Action::ApplySpec(spec) => spec.policies[0].policy.clone().unwrap().cleared_lists,
        other => panic!("{other:?}"),
    });
    assert_eq!(cleared, ["exec_whitelist"], "that the list becomes empty is passed on");
}
