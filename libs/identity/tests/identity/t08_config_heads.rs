//! A node believes a configuration head that a journal member signed for it, and nothing else.

use pact_identity::config_head::{self, ConfigDocument, ConfigError, MAX_DOCUMENT_BYTES};
use pact_identity::signing::domain;
use pact_identity::{ConfigHead, ConfigIssuer, Signer, SigningRole};
use pact_runtime::Timestamp;
use pact_schemas::convert::Scope;
use pact_schemas::{NodeId, Seq, convert, v1};
use prost::Message;

use super::{DAY, NOW, Site, seconds};

fn node() -> NodeId {
    "node-1".parse().unwrap()
}

fn documents() -> Vec<ConfigDocument> {
    let document = |scope: &str, seq| ConfigDocument {
        scope: scope.parse().unwrap(),
        seq: Seq::new(seq).ok(),
        sha256: [seq as u8; 32].into(),
        size_bytes: 1000,
        compressed_bytes: 300,
    };
    vec![document("vc:ml", 40), document("node:node-1", 0)]
}

fn payload(signer: &Signer) -> v1::ConfigPayload {
    config_head::payload(signer, &node(), Seq::new(42).unwrap(), &documents(), NOW)
}

fn signed(site: &Site) -> v1::SignedConfig {
    let payload = payload(&site.member());
    ConfigIssuer::new(site.member()).unwrap().sign(&payload).unwrap()
}

/// Signed whatever it says, as a broken or stolen member key would.
fn sign_unchecked(signer: &Signer, payload: &v1::ConfigPayload) -> v1::SignedConfig {
    let blob = signer.sign(domain::CONFIG, &payload.encode_to_vec());
    v1::SignedConfig {
        payload: blob.payload,
        signature: blob.signature,
        certificate: blob.certificate,
    }
}

fn verify(site: &Site, signed: &v1::SignedConfig) -> Result<ConfigHead, ConfigError> {
    ConfigHead::verify(signed, &site.verifier, &node(), NOW)
}

#[test]
fn a_members_head_says_what_this_node_is_to_be() {
    let site = Site::new("alps");
    let head = verify(&site, &signed(&site)).unwrap();
    assert_eq!(head.head_seq().get(), 42);
    assert_eq!(head.documents(), documents());
    assert_eq!(head.vcluster().unwrap().as_str(), "ml");
    assert_eq!(head.issued(), NOW);
    assert_eq!(head.signer().to_string(), "grant/1");

    let mut unassigned = payload(&site.member());
    unassigned.documents.clear();
    let signed = ConfigIssuer::new(site.member()).unwrap().sign(&unassigned).unwrap();
    assert_eq!(verify(&site, &signed).unwrap().vcluster(), None);
}

#[test]
fn another_node_site_or_signer_is_refused() {
    let site = Site::new("alps");
    let other: NodeId = "node-2".parse().unwrap();
    assert!(matches!(
        ConfigHead::verify(&signed(&site), &site.verifier, &other, NOW),
        Err(ConfigError::OtherNode { .. })
    ));
    for role in [
        SigningRole::Gateway("mgmt-1".parse().unwrap()),
        SigningRole::Enroll("e".parse().unwrap()),
        SigningRole::Approval("a".parse().unwrap()),
        SigningRole::Bridge("b".parse().unwrap()),
    ] {
        let posing = sign_unchecked(&site.signer(role.clone()), &payload(&site.member()));
        assert!(matches!(verify(&site, &posing), Err(ConfigError::Signature(_))));
        assert!(ConfigIssuer::new(site.signer(role)).is_err());
    }
    let twin = Site::new("alps");
    assert!(matches!(verify(&site, &signed(&twin)), Err(ConfigError::Signature(_))));
    let mut elsewhere = payload(&site.member());
    elsewhere.site = "jura".into();
    assert!(ConfigIssuer::new(site.member()).unwrap().sign(&elsewhere).is_err());
    let elsewhere = sign_unchecked(&site.member(), &elsewhere);
    assert!(matches!(verify(&site, &elsewhere), Err(ConfigError::Site { .. })));
    let blob = site.member().sign(domain::TIME, &payload(&site.member()).encode_to_vec());
    let other_domain = v1::SignedConfig {
        payload: blob.payload,
        signature: blob.signature,
        certificate: blob.certificate,
    };
    assert!(matches!(verify(&site, &other_domain), Err(ConfigError::Signature(_))));
}

#[test]
fn every_changed_bit_is_refused() {
    let site = Site::new("alps");
    let signed = signed(&site);
    for bit in 0..signed.payload.len() * 8 {
        let mut changed = signed.clone();
        changed.payload[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&site, &changed).is_err(), "payload, bit {bit}");
    }
    for bit in 0..signed.signature.len() * 8 {
        let mut changed = signed.clone();
        changed.signature[bit / 8] ^= 1 << (bit % 8);
        assert!(
            matches!(verify(&site, &changed), Err(ConfigError::Signature(_))),
            "signature, bit {bit}"
        );
    }
    for byte in 0..signed.certificate.len() {
        let mut changed = signed.clone();
        changed.certificate[byte] ^= 1;
        assert!(verify(&site, &changed).is_err(), "certificate, byte {byte}");
    }
    for cut in [
        v1::SignedConfig { payload: vec![], ..signed.clone() },
        v1::SignedConfig { signature: vec![], ..signed.clone() },
        v1::SignedConfig { certificate: vec![], ..signed },
    ] {
        assert!(verify(&site, &cut).is_err());
    }
}

type Change = fn(&mut v1::ConfigPayload);

#[test]
fn a_head_that_is_not_whole_is_neither_signed_nor_accepted() {
    let site = Site::new("alps");
    let issuer = ConfigIssuer::new(site.member()).unwrap();
    fn scope(text: &str) -> Option<v1::Scope> {
        Some((&text.parse::<Scope>().unwrap()).into())
    }
    let changes: &[(&str, Change)] = &[
        ("version", |p| p.version = 2),
        ("site", |p| p.site = "jura".into()),
        ("node", |p| p.node = "Node".into()),
        ("head", |p| p.head_seq = 0),
        ("issued", |p| p.issued = None),
        ("no scope", |p| p.documents[0].scope = None),
        ("another node's document", |p| p.documents[1].scope = scope("node:node-2")),
        ("a global document", |p| p.documents[1].scope = scope("global")),
        ("two vClusters", |p| p.documents[1].scope = scope("vc:hpc")),
        ("twice the node", |p| p.documents[0].scope = scope("node:node-1")),
        ("turned", |p| p.documents.reverse()),
        ("three", |p| p.documents.push(p.documents[1].clone())),
        ("after the head", |p| p.documents[0].seq = 43),
        ("short digest", |p| p.documents[0].sha256.truncate(31)),
        ("size", |p| p.documents[0].size_bytes = MAX_DOCUMENT_BYTES + 1),
        ("compressed", |p| p.documents[0].compressed_bytes = 2 * MAX_DOCUMENT_BYTES),
    ];
    for (what, change) in changes {
        let mut changed = payload(&site.member());
        change(&mut changed);
        assert!(issuer.sign(&changed).is_err(), "signed: {what}");
        let signed = sign_unchecked(&site.member(), &changed);
        assert!(verify(&site, &signed).is_err(), "accepted: {what}");
    }
}

#[test]
fn a_head_from_the_future_is_refused_and_a_kept_one_outlives_its_certificate() {
    let site = Site::new("alps");
    let signed = signed(&site);
    let at = |now: Timestamp| ConfigHead::verify(&signed, &site.verifier, &node(), now);
    assert!(at(seconds(-5)).is_ok());
    assert!(matches!(at(seconds(-6)), Err(ConfigError::NotYet { .. })));
    let later = NOW.checked_add(DAY * 366).unwrap();
    assert!(matches!(at(later), Err(ConfigError::Signature(_))));

    let kept = |floor| ConfigHead::verify_kept(&signed, &site.verifier, &node(), floor);
    assert_eq!(kept(NOW).unwrap(), at(NOW).unwrap());
    assert!(matches!(kept(seconds(1)), Err(ConfigError::TooOld { .. })));
    let mut late = payload(&site.member());
    late.issued = Some(convert::timestamp(later.unix_nanos()));
    let late = sign_unchecked(&site.member(), &late);
    assert!(matches!(
        ConfigHead::verify_kept(&late, &site.verifier, &node(), NOW),
        Err(ConfigError::Signature(_))
    ));
}
