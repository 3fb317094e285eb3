//! A node acts only on a grant of a journal member, for itself, in time (S1, S3; S2 as far as it needs no memory).

use pact_identity::grant::GrantError;
use pact_identity::{DegradedGrants, Grant, GrantIssuer, GrantedAction};
use pact_runtime::Timestamp;
use pact_schemas::{ErrorCode, NodeId, convert, v1};
use prost::Message;

use super::{NOW, Site, person, seconds};

fn payload() -> v1::GrantPayload {
    v1::GrantPayload {
        version: 1,
        site: "alps".into(),
        seq: 42,
        request_id: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
        principal: Some(person(&["pact-ops-ml"]).to_wire()),
        acting_role: "pact-ops-ml".into(),
        operation: "exec".into(),
        targets: "node-[1-3]".into(),
        policy_ref: "default@1".into(),
        approval: None,
        emergency: None,
        issued: Some(convert::timestamp(NOW.unix_nanos())),
        expires: Some(convert::timestamp(seconds(60).unix_nanos())),
        degraded: false,
        action: Some(v1::grant_payload::Action::Exec(v1::ExecAction {
            argv: vec!["uname".into(), "-a".into()],
            stdin: false,
            timeout_seconds: 30,
            output_limit_bytes: 1 << 20,
            exec_whitelist: vec![],
            require_strict: false,
        })),
    }
}

/// Signed whatever it says, as a broken or stolen member key would.
fn sign_unchecked(signer: &pact_identity::Signer, payload: &v1::GrantPayload) -> v1::SignedGrant {
    let blob = signer.sign(pact_identity::signing::domain::GRANT, &payload.encode_to_vec());
    v1::SignedGrant {
        payload: blob.payload,
        signature: blob.signature,
        certificate: blob.certificate,
    }
}

fn verify_at(
    site: &Site,
    signed: &v1::SignedGrant,
    node: &str,
    now: Timestamp,
) -> Result<Grant, GrantError> {
    let node: NodeId = node.parse().unwrap();
    Grant::verify(signed, &site.verifier, &node, now, seconds(-3600), DegradedGrants::Refuse)
}

#[test]
fn a_members_grant_is_accepted_by_its_targets_alone() {
    let site = Site::new("alps");
    let signed = GrantIssuer::new(site.member()).unwrap().sign(&payload()).unwrap();
    let grant = verify_at(&site, &signed, "node-2", NOW).unwrap();
    assert_eq!(
        (grant.seq().get(), grant.operation().name, grant.principal().subject()),
        (42, "exec", "alice")
    );
    let GrantedAction::Exec(exec) = grant.action() else { panic!("{grant:?}") };
    assert_eq!(exec.argv.words(), ["uname", "-a"]);
    let refused = verify_at(&site, &signed, "node-4", NOW).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::GrantForOther);
}

#[test]
fn signing_again_gives_the_same_grant() {
    let site = Site::new("alps");
    let issuer = GrantIssuer::new(site.member()).unwrap();
    assert_eq!(issuer.sign(&payload()).unwrap(), issuer.sign(&payload()).unwrap());
}

#[test]
fn every_changed_bit_is_refused() {
    let site = Site::new("alps");
    let signed = GrantIssuer::new(site.member()).unwrap().sign(&payload()).unwrap();
    for bit in 0..signed.payload.len() * 8 {
        let mut changed = signed.clone();
        changed.payload[bit / 8] ^= 1 << (bit % 8);
        assert!(
            matches!(verify_at(&site, &changed, "node-1", NOW), Err(GrantError::Signature(_))),
            "bit {bit}"
        );
    }
    for bit in 0..signed.signature.len() * 8 {
        let mut changed = signed.clone();
        changed.signature[bit / 8] ^= 1 << (bit % 8);
        assert!(
            matches!(verify_at(&site, &changed, "node-1", NOW), Err(GrantError::Signature(_))),
            "bit {bit}"
        );
    }
}

#[test]
fn a_grant_counts_only_within_its_time_and_after_the_first_fix() {
    let site = Site::new("alps");
    let signed = GrantIssuer::new(site.member()).unwrap().sign(&payload()).unwrap();
    for (at, code) in [
        (-6, Some(ErrorCode::GrantExpired)),
        (-5, None),
        (0, None),
        (65, None),
        (66, Some(ErrorCode::GrantExpired)),
        (3600, Some(ErrorCode::GrantExpired)),
    ] {
        let result = verify_at(&site, &signed, "node-1", seconds(at));
        assert_eq!(result.err().map(|error| error.code()), code, "at {at}");
    }
    let node: NodeId = "node-1".parse().unwrap();
    let after_fix =
        |fix| Grant::verify(&signed, &site.verifier, &node, NOW, fix, DegradedGrants::Refuse);
    assert!(after_fix(seconds(2)).is_ok());
    assert!(matches!(after_fix(seconds(3)), Err(GrantError::BeforeFirstFix { .. })));
}

type Change = fn(&mut v1::GrantPayload);

#[test]
fn a_grant_that_is_not_whole_is_neither_signed_nor_accepted() {
    let site = Site::new("alps");
    let issuer = GrantIssuer::new(site.member()).unwrap();
    fn exec(payload: &mut v1::GrantPayload) -> &mut v1::ExecAction {
        match payload.action.as_mut().unwrap() {
            v1::grant_payload::Action::Exec(exec) => exec,
            other => panic!("not an exec: {other:?}"),
        }
    }
    let changes: &[(&str, Change)] = &[
        ("version", |p| p.version = 2),
        ("site", |p| p.site = "jura".into()),
        ("seq", |p| p.seq = 0),
        ("request id", |p| p.request_id = "x".into()),
        ("principal", |p| p.principal = None),
        ("principal kind", |p| p.principal.as_mut().unwrap().kind = 0),
        ("node as principal", |p| p.principal.as_mut().unwrap().kind = 5),
        ("role not held", |p| p.acting_role = "pact-platform-admin".into()),
        ("no role", |p| p.acting_role = String::new()),
        ("operation", |p| p.operation = "format-disks".into()),
        ("targets", |p| p.targets = String::new()),
        ("wild targets", |p| p.targets = "*".into()),
        ("issued", |p| p.issued = None),
        ("expires", |p| p.expires = None),
        ("expires before issued", |p| std::mem::swap(&mut p.issued, &mut p.expires)),
        ("61 s", |p| p.expires = Some(convert::timestamp(seconds(61).unix_nanos()))),
        ("empty approval", |p| p.approval = Some(String::new())),
        ("degraded", |p| p.degraded = true),
        ("no action", |p| p.action = None),
        ("no argv", |p| exec(p).argv.clear()),
        ("empty program", |p| exec(p).argv[0].clear()),
        ("NUL", |p| exec(p).argv.push("a\0b".into())),
        ("too many arguments", |p| exec(p).argv.resize(1025, "a".into())),
        ("too long", |p| exec(p).argv.push("a".repeat(64 * 1024))),
        ("no timeout", |p| exec(p).timeout_seconds = 0),
        ("no output limit", |p| exec(p).output_limit_bytes = 0),
        ("short plan", |p| {
            p.action = Some(v1::grant_payload::Action::Plan(v1::PlanAction { sha256: vec![0; 31] }))
        }),
    ];
    for (what, change) in changes {
        let mut changed = payload();
        change(&mut changed);
        assert!(issuer.sign(&changed).is_err(), "signed: {what}");
        let signed = sign_unchecked(&site.member(), &changed);
        assert!(verify_at(&site, &signed, "node-1", NOW).is_err(), "accepted: {what}");
    }
    let mut most = payload();
    exec(&mut most).argv.resize(1_024, "a".into());
    assert!(verify_at(&site, &issuer.sign(&most).unwrap(), "node-1", NOW).is_ok());
}

#[test]
fn only_a_gateway_signs_degraded_grants_and_only_where_they_are_accepted() {
    let site = Site::new("alps");
    let node: NodeId = "node-1".parse().unwrap();
    let degraded = v1::GrantPayload { degraded: true, ..payload() };
    let issuer = GrantIssuer::new(site.gateway()).unwrap();
    assert!(issuer.sign(&payload()).is_err());
    let signed = issuer.sign(&degraded).unwrap();
    let with = |signed: &v1::SignedGrant, mode| {
        Grant::verify(signed, &site.verifier, &node, NOW, NOW, mode)
    };
    assert!(with(&signed, DegradedGrants::Accept).unwrap().is_degraded());
    assert!(with(&signed, DegradedGrants::Refuse).is_err());
    let posing = sign_unchecked(&site.gateway(), &payload());
    assert!(matches!(with(&posing, DegradedGrants::Accept), Err(GrantError::Degraded)));
    let enroll = site.signer(pact_identity::SigningRole::Enroll("e".parse().unwrap()));
    assert!(with(&sign_unchecked(&enroll, &degraded), DegradedGrants::Accept).is_err());
    assert!(GrantIssuer::new(enroll).is_err());
}

#[test]
fn another_sites_member_grants_nothing() {
    let (alps, twin) = (Site::new("alps"), Site::new("alps"));
    let signed = GrantIssuer::new(twin.member()).unwrap().sign(&payload()).unwrap();
    assert_eq!(
        verify_at(&alps, &signed, "node-1", NOW).unwrap_err().code(),
        ErrorCode::BadSignature
    );
}
