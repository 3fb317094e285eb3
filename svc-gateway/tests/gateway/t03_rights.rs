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
    let mut without = begin("n[1-2]", &["true"]);
    let Some(Input::Begin(begin)) = &mut without.input else { panic!() };
    begin.exclude = "n02".into();
    let input = tokio_stream::iter([without]);
    let refused = world.client().await.exec(world.by(&["pact-ops-ml"], input)).await;
    assert_eq!(code(&refused.unwrap_err()), ErrorCode::NotFound, "what is left out must exist");
    let group = v1::ShowGroupRequest { group: "typo".into() };
    let status = world
        .client()
        .await
        .show_group(world.by(&["pact-platform-admin"], group))
        .await
        .unwrap_err();
    assert_eq!(code(&status), ErrorCode::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn t03_a_nodes_identity_is_its_own_vclusters() {
    let world = World::start().await;
    let mut client = world.client().await;
    let enroll = |node: &str, mac: &str| v1::EnrollNodeRequest {
        request_id: request_id(),
        node: node.into(),
        identity: Some(v1::HardwareIdentity { macs: vec![mac.into()], ..Default::default() }),
        replace: true,
    };
    let other = world.by(&["pact-ops-hpc"], enroll("n1", "0c:42:a1:00:00:01"));
    let status = client.enroll_node(other).await.unwrap_err();
    assert_eq!((code(&status), code(&status).exit_code()), (ErrorCode::NotAuthorised, 2));
    let inspect = v1::InspectNodeRequest { node: "n1".into() };
    let status = client.inspect_node(world.by(&["pact-ops-hpc"], inspect)).await.unwrap_err();
    assert_eq!(code(&status), ErrorCode::NotAuthorised);
    let gone = v1::InvokeRequest {
        request_id: request_id(),
        operation: "node.decommission".into(),
        targets: "n1".into(),
        ..v1::InvokeRequest::default()
    };
    let status = client.invoke(world.by(&["pact-ops-hpc"], gone)).await.unwrap_err();
    assert_eq!(code(&status), ErrorCode::NotAuthorised);
    let registered = |world: &World| {
        world.journal.with(|s| {
            s.proposed.iter().filter(|(_, act)| matches!(act, Action::RegisterNode(_))).count()
        })
    };
    assert_eq!(registered(&world), 0);
    let own = world.by(&["pact-ops-ml"], enroll("n1", "0c:42:a1:00:00:01"));
    client.enroll_node(own).await.unwrap();
    let new = world.by(&["pact-ops-hpc"], enroll("n7", "0c:42:a1:00:00:07"));
    client.enroll_node(new).await.unwrap();
    assert_eq!(registered(&world), 2);
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
        create: true,
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
async fn t03_a_typo_makes_no_vcluster() {
    let world = World::start().await;
    let mut client = world.client().await;
    let apply = |create, dry_run| v1::ApplyRequest {
        request_id: request_id(),
        spec: "[vcluster.mll.sysctl]\n\"vm.swappiness\" = \"10\"\n".into(),
        file_name: "s.toml".into(),
        create,
        dry_run,
        ..v1::ApplyRequest::default()
    };
    let admin = &["pact-platform-admin"][..];
    for (roles, create, expected) in [
        (admin, false, (ErrorCode::NotFound, 9)),
        (&["pact-ops-mll"], false, (ErrorCode::NotFound, 9)),
        (&["pact-ops-mll"], true, (ErrorCode::NotAuthorised, 2)),
    ] {
        let status = client.apply(world.by(roles, apply(create, false))).await.unwrap_err();
        assert_eq!((code(&status), code(&status).exit_code()), expected, "{roles:?} {create}");
    }
    let dry = client.apply(world.by(admin, apply(false, true))).await.unwrap().into_inner();
    assert_eq!(dry.created, ["mll"]);
    let done = client.apply(world.by(admin, apply(true, false))).await.unwrap().into_inner();
    assert_eq!((done.created, done.first_seq > 0), (vec!["mll".to_owned()], true));
    let again = client.apply(world.by(admin, apply(false, false))).await.unwrap().into_inner();
    assert!(again.created.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn t03_a_policy_that_needs_a_second_person_is_refused_while_there_is_none() {
    let world = World::start().await;
    let mut client = world.client().await;
    for key in ["regulated", "two_person_approval"] {
        for dry_run in [true, false] {
            let apply = v1::ApplyRequest {
                request_id: request_id(),
                spec: format!("[vcluster.ml.policy]\n{key} = true\n"),
                file_name: "s.toml".into(),
                dry_run,
                ..v1::ApplyRequest::default()
            };
            let apply = world.by(&["pact-platform-admin"], apply);
            let status = client.apply(apply).await.unwrap_err();
            assert_eq!(code(&status), ErrorCode::Unimplemented, "{key} {dry_run}");
        }
        let set = v1::SetPolicyRequest {
            request_id: request_id(),
            group: "ml".into(),
            policy: format!("{key} = true\n"),
            file_name: "p.toml".into(),
        };
        let set = world.by(&["pact-platform-admin"], set);
        let status = client.set_policy(set).await.unwrap_err();
        assert!(v1::Error::from_status(&status).unwrap().message.contains(key), "{status:?}");
    }
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
