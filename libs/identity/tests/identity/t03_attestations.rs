//! Who may vouch for whom, and for what.

use std::time::Duration;

use pact_identity::attestation::{AttestationError, MAX_LIFETIME};
use pact_identity::{Attestation, Principal, PrincipalKind, Role, Signer, SigningRole, Statement};
use pact_runtime::Timestamp;
use pact_schemas::operation::Operation;
use pact_schemas::v1;

use super::{NOW, Site, person, seconds};

const ACTION: &[u8] = b"an encoded action";

fn sign(
    signer: &Signer,
    principal: &Principal,
    role: Option<&Role>,
) -> Result<v1::SignedAttestation, AttestationError> {
    let statement = Statement {
        principal,
        acting_role: role,
        operation: Operation::find("exec").unwrap(),
        request_id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
        action: ACTION,
        policy_ref: "default@1",
    };
    Attestation::sign(signer, &statement, NOW, Duration::from_secs(30))
}

fn verify(
    site: &Site,
    signed: &v1::SignedAttestation,
    action: &[u8],
    now: Timestamp,
) -> Result<Attestation, AttestationError> {
    Attestation::verify(signed, &site.verifier, action, now)
}

#[test]
fn a_gateway_vouches_for_a_person_and_exactly_this_action() {
    let site = Site::new("alps");
    let alice = person(&["pact-ops-ml"]);
    let role: Role = "pact-ops-ml".parse().unwrap();
    let signed = sign(&site.gateway(), &alice, Some(&role)).unwrap();
    let attestation = verify(&site, &signed, ACTION, NOW).unwrap();
    assert!(attestation.principal().is_same_actor(&alice));
    assert_eq!(attestation.principal().kind(), PrincipalKind::Human);
    assert_eq!((attestation.acting_role(), attestation.operation().name), (Some(&role), "exec"));
    assert_eq!(attestation.signer().to_string(), "gateway/mgmt-1");
    assert!(matches!(
        verify(&site, &signed, b"another action", NOW),
        Err(AttestationError::OtherAction)
    ));
    for bit in 0..signed.payload.len() * 8 {
        let mut changed = signed.clone();
        changed.payload[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&site, &changed, ACTION, NOW).is_err(), "bit {bit}");
    }
}

#[test]
fn an_attestation_has_its_time() {
    let site = Site::new("alps");
    let signed = sign(&site.gateway(), &person(&[]), None).unwrap();
    for (at, good) in [(-6, false), (-5, true), (30, true), (35, true), (36, false)] {
        assert_eq!(verify(&site, &signed, ACTION, seconds(at)).is_ok(), good, "at {at}");
    }
    let statement = Statement {
        principal: &person(&[]),
        acting_role: None,
        operation: Operation::find("exec").unwrap(),
        request_id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
        action: ACTION,
        policy_ref: "",
    };
    for lifetime in [Duration::ZERO, MAX_LIFETIME + Duration::from_nanos(1)] {
        let result = Attestation::sign(&site.gateway(), &statement, NOW, lifetime);
        assert!(matches!(result, Err(AttestationError::Lifetime { .. })));
    }
}

#[test]
fn nobody_vouches_beyond_his_part() {
    let site = Site::new("alps");
    let enroll = site.signer(SigningRole::Enroll("mgmt-1".parse().unwrap()));
    let other_enroll = site.signer(SigningRole::Enroll("mgmt-2".parse().unwrap()));
    let own = Principal::of_signer(&enroll);
    assert_eq!((own.subject(), own.issuer()), ("service:enroll/mgmt-1", "pact://alps"));
    let signed = sign(&enroll, &own, None).unwrap();
    assert_eq!(
        verify(&site, &signed, ACTION, NOW).unwrap().principal().kind(),
        PrincipalKind::Service
    );

    let node = Principal::node_on_bus(site.root.site(), &"node-1".parse().unwrap());
    for (signer, principal) in [
        (&enroll, &person(&["pact-platform-admin"])),
        (&other_enroll, &own),
        (&site.gateway(), &own),
        (&site.gateway(), &node),
        (&enroll, &node),
    ] {
        assert!(
            matches!(sign(signer, principal, None), Err(AttestationError::Voucher { .. })),
            "{principal:?}"
        );
    }
    let admin: Role = "pact-platform-admin".parse().unwrap();
    let beyond = sign(&site.gateway(), &person(&["pact-viewer-a"]), Some(&admin));
    assert!(matches!(beyond, Err(AttestationError::ActingRole { .. })));
}

#[test]
fn a_member_and_another_statement_are_no_attestation() {
    let site = Site::new("alps");
    let alice = person(&[]);
    let mut signed = sign(&site.gateway(), &alice, None).unwrap();
    let blob = site.member().sign(pact_identity::signing::domain::ATTESTATION, &signed.payload);
    let by_member = v1::SignedAttestation {
        payload: blob.payload,
        signature: blob.signature,
        certificate: blob.certificate,
    };
    assert!(matches!(verify(&site, &by_member, ACTION, NOW), Err(AttestationError::Signature(_))));
    signed.signature =
        site.gateway().sign(pact_identity::signing::domain::GRANT, &signed.payload).signature;
    assert!(matches!(verify(&site, &signed, ACTION, NOW), Err(AttestationError::Signature(_))));
}
