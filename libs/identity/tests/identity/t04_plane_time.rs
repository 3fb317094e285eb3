//! A node believes the time of a journal member that answers its own challenge.

use pact_identity::plane_time::TimeError;
use pact_identity::{sign_time, verify_time};
use pact_schemas::NodeId;

use super::{DAY, NOW, Site, seconds};

#[test]
fn only_an_answer_to_this_challenge_by_a_member_counts() {
    let site = Site::new("alps");
    let (node, other): (NodeId, NodeId) = ("node-1".parse().unwrap(), "node-2".parse().unwrap());
    let challenge = [7; 32];
    let signed = sign_time(&site.member(), &node, &challenge, NOW);
    let floor = seconds(-1);
    assert_eq!(verify_time(&signed, &site.verifier, &node, &challenge, floor).unwrap(), NOW);
    assert!(matches!(
        verify_time(&signed, &site.verifier, &other, &challenge, floor),
        Err(TimeError::OtherChallenge)
    ));
    assert!(matches!(
        verify_time(&signed, &site.verifier, &node, &[8; 32], floor),
        Err(TimeError::OtherChallenge)
    ));
    assert!(matches!(
        verify_time(&signed, &site.verifier, &node, &challenge, seconds(1)),
        Err(TimeError::WentBack { .. })
    ));
    let by_gateway = sign_time(&site.gateway(), &node, &challenge, NOW);
    assert!(matches!(
        verify_time(&by_gateway, &site.verifier, &node, &challenge, floor),
        Err(TimeError::Signature(_))
    ));
    let after_its_end =
        sign_time(&site.member(), &node, &challenge, NOW.checked_add(DAY * 366).unwrap());
    assert!(matches!(
        verify_time(&after_its_end, &site.verifier, &node, &challenge, floor),
        Err(TimeError::Signature(_))
    ));
}
