//! What the site root and its intermediates issue, and what a request cannot choose (S17).

use pact_identity::x509::{
    Intermediate, MAX_CSR_BYTES, PrivateKey, RequestFault, SecretPem, SiteRoot, X509Error, make_csr,
};
use pact_identity::{Holder, uri_of_certificate};
use pact_runtime::Clock;
use pact_schemas::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{DAY, NOW, Site, seconds};

fn node() -> NodeId {
    "node-1".parse().unwrap()
}

fn parse(der: &[u8]) -> X509Certificate<'_> {
    X509Certificate::from_der(der).unwrap().1
}

/// Whether a TLS stack that trusts the root alone accepts the chain at NOW + `days`.
fn is_accepted(site: &Site, chain_pem: &str, usage: KeyUsage, days: i64) -> bool {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(chain_pem.as_bytes()).map(Result::unwrap).collect();
    let anchor = anchor_from_trusted_cert(site.root.certificate_der()).unwrap();
    let time = u64::try_from(seconds(days * 86_400).unix_seconds()).unwrap();
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(time));
    let algorithms = [webpki::ring::ECDSA_P256_SHA256];
    EndEntityCert::try_from(&chain[0])
        .unwrap()
        .verify_for_usage(&algorithms, &[anchor], &chain[1..], time, usage, None, None)
        .is_ok()
}

#[test]
fn a_leaf_chains_through_its_intermediate_for_three_days_as_a_client_only() {
    let site = Site::new("alps");
    let intermediate = Intermediate::generate(&site.root).unwrap();
    for key in [PrivateKey::generate_p256().unwrap(), PrivateKey::generate_ed25519().unwrap()] {
        let leaf = intermediate.issue_leaf(&node(), &make_csr(&key).unwrap()).unwrap();
        assert_eq!(leaf.not_after, seconds(3 * 86_400));
        assert!(is_accepted(&site, &leaf.chain_pem, KeyUsage::client_auth(), 2));
        assert!(!is_accepted(&site, &leaf.chain_pem, KeyUsage::client_auth(), 4));
        assert!(!is_accepted(&site, &leaf.chain_pem, KeyUsage::server_auth(), 2));
        let uri = uri_of_certificate(&leaf.certificate_der).unwrap();
        assert_eq!(uri.to_string(), "pact://alps/node/node-1");
        let certificate = parse(&leaf.certificate_der);
        assert_eq!(certificate.subject().to_string(), "CN=node-1");
        assert!(leaf.serial.len() == 32 && format!("{:032x}", certificate.serial) == leaf.serial);
    }
}

#[test]
fn a_request_chooses_nothing_but_its_key() {
    let site = Site::new("alps");
    let intermediate = Intermediate::generate(&site.root).unwrap();
    let key = PrivateKey::generate_p256().unwrap();
    let mut wish = CertificateParams::default();
    wish.distinguished_name.push(rcgen::DnType::CommonName, "gateway");
    wish.subject_alt_names = vec![
        SanType::DnsName("gateway.example".try_into().unwrap()),
        SanType::URI("pact://alps/grant/1".try_into().unwrap()),
        SanType::IpAddress("127.0.0.1".parse().unwrap()),
    ];
    wish.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wish.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    wish.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::Any];
    let pair = rcgen::KeyPair::from_pem(key.to_pem().expose()).unwrap();
    let csr = wish.serialize_request(&pair).unwrap();

    let leaf = intermediate.issue_leaf(&node(), csr.der()).unwrap();
    let certificate = parse(&leaf.certificate_der);
    assert_eq!(certificate.subject().to_string(), "CN=node-1");
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 1);
    assert_eq!(uri_of_certificate(&leaf.certificate_der).unwrap().holder, Holder::Node(node()));
    assert!(!certificate.is_ca());
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign());
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && !extended.server_auth && !extended.any);
    assert_eq!(leaf.not_after, seconds(3 * 86_400));
    assert_eq!(certificate.public_key().subject_public_key.data.as_ref(), pair.public_key_raw());
}

#[test]
fn a_request_not_signed_by_its_key_or_of_another_kind_is_refused() {
    let site = Site::new("alps");
    let intermediate = Intermediate::generate(&site.root).unwrap();
    let fault = |csr: &[u8]| match intermediate.issue_leaf(&node(), csr) {
        Err(X509Error::Request { reason }) => reason,
        other => panic!("{other:?}"),
    };
    let csr = make_csr(&PrivateKey::generate_p256().unwrap()).unwrap();
    let mut forged = csr.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(fault(&forged), RequestFault::Signature);
    // Bytes 103 to 115 are the name of the signature's algorithm, which nothing signs and which decides nothing but the verifier.
    for at in (0..103).chain(116..csr.len()) {
        let mut changed = csr.clone();
        changed[at] ^= 1;
        assert!(intermediate.issue_leaf(&node(), &changed).is_err(), "byte {at}");
    }
    assert_eq!(fault(&[csr.as_slice(), b"x"].concat()), RequestFault::Form);
    assert_eq!(fault(&csr[..csr.len() - 1]), RequestFault::Form);
    assert_eq!(fault(&vec![0; MAX_CSR_BYTES + 1]), RequestFault::TooLong);
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let other = CertificateParams::default().serialize_request(&p384).unwrap();
    assert_eq!(fault(other.der()), RequestFault::KeyKind);
}

#[test]
fn an_intermediate_stops_signing_four_days_before_its_end() {
    let site = Site::new("alps");
    let intermediate = Intermediate::generate(&site.root).unwrap();
    let csr = make_csr(&PrivateKey::generate_p256().unwrap()).unwrap();
    site.hand.advance(DAY * 10);
    intermediate.issue_leaf(&node(), &csr).unwrap();
    site.hand.advance(std::time::Duration::from_secs(1));
    assert!(matches!(
        intermediate.issue_leaf(&node(), &csr),
        Err(X509Error::IntermediateEnding { .. })
    ));
}

#[test]
fn an_intermediate_makes_no_authority_server_or_signer() {
    let site = Site::new("alps");
    let intermediate = Intermediate::generate(&site.root).unwrap();
    let key = rcgen::KeyPair::from_pem(intermediate.key_pem().expose()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(intermediate.certificate_pem(), key).unwrap();
    let make = |change: &dyn Fn(&mut CertificateParams)| {
        let subject = rcgen::KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.not_before = time::OffsetDateTime::from_unix_timestamp(NOW.unix_seconds()).unwrap();
        params.not_after = params.not_before + time::Duration::days(1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let certificate = params.signed_by(&subject, &issuer).unwrap();
        (certificate.pem(), params, subject)
    };
    let server =
        make(&|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]).0;
    assert!(!is_accepted(
        &site,
        &format!("{server}{}", intermediate.certificate_pem()),
        KeyUsage::server_auth(),
        0
    ));
    let (below, params, key) =
        make(&|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let grandchild_key = rcgen::KeyPair::generate().unwrap();
    let below_issuer = rcgen::Issuer::from_params(&params, key);
    let mut grandchild = params.clone();
    grandchild.is_ca = IsCa::ExplicitNoCa;
    let grandchild = grandchild.signed_by(&grandchild_key, &below_issuer).unwrap().pem();
    assert!(!is_accepted(
        &site,
        &format!("{grandchild}{below}{}", intermediate.certificate_pem()),
        KeyUsage::client_auth(),
        0
    ));
}

#[test]
fn servers_and_peers_are_issued_for_their_names() {
    let site = Site::new("alps");
    let server = site.root.issue_server(&["localhost", "127.0.0.1"], 365).unwrap();
    assert!(is_accepted(&site, &server.certificate_pem, KeyUsage::server_auth(), 364));
    assert!(!is_accepted(&site, &server.certificate_pem, KeyUsage::client_auth(), 0));
    let holder = EndEntityCert::try_from(&server.certificate_der).unwrap();
    let is_for = |name: &str| {
        holder.verify_is_valid_for_subject_name(&ServerName::try_from(name).unwrap()).is_ok()
    };
    assert!(is_for("localhost") && is_for("127.0.0.1") && !is_for("example.org"));

    let peer = site.root.issue_peer("2".parse().unwrap(), &["journal-2"]).unwrap();
    assert!(is_accepted(&site, &peer.certificate_pem, KeyUsage::server_auth(), 0));
    assert!(is_accepted(&site, &peer.certificate_pem, KeyUsage::client_auth(), 0));
    assert_eq!(
        uri_of_certificate(&peer.certificate_der).unwrap().to_string(),
        "pact://alps/journal/2"
    );

    let signing =
        site.root.issue_signing(&pact_identity::SigningRole::Grant("1".parse().unwrap())).unwrap();
    assert!(!is_accepted(&site, &signing.certificate_pem, KeyUsage::client_auth(), 0));
    assert!(!is_accepted(&site, &signing.certificate_pem, KeyUsage::server_auth(), 0));

    assert!(matches!(site.root.issue_server(&[], 1), Err(X509Error::NoNames)));
    assert!(matches!(site.root.issue_server(&["ö"], 1), Err(X509Error::Name { .. })));
    assert!(matches!(site.root.issue_server(&["a"], 4000), Err(X509Error::IssuerEndsFirst { .. })));
}

#[test]
fn a_root_loads_only_with_its_own_key_and_shows_none() {
    let site = Site::new("alps");
    let clock = Clock::manual(NOW).0;
    let loaded = SiteRoot::load(site.root.certificate_pem(), &site.root.key_pem(), &clock).unwrap();
    assert_eq!(loaded.site().as_str(), "alps");
    assert_eq!(loaded.not_after(), site.root.not_after());
    let other = PrivateKey::generate_p256().unwrap().to_pem();
    assert!(matches!(
        SiteRoot::load(site.root.certificate_pem(), &other, &clock),
        Err(X509Error::KeyMismatch)
    ));
    assert!(matches!(SiteRoot::load("", &other, &clock), Err(X509Error::CertificatePem)));
    assert!(matches!(
        SiteRoot::load("", &SecretPem::new("x".into()), &clock),
        Err(X509Error::Key(_))
    ));
    let server = site.root.issue_server(&["a"], 1).unwrap();
    assert!(matches!(
        SiteRoot::load(&server.certificate_pem, &server.key_pem, &clock),
        Err(X509Error::NotA { .. })
    ));

    let key = site.root.key_pem();
    let secret: String = key.expose().lines().nth(1).unwrap().to_owned();
    for shown in [
        format!("{:?}", site.root),
        format!("{key:?}"),
        format!("{server:?}"),
        format!("{:?}", PrivateKey::from_pem(&key)),
    ] {
        assert!(!shown.contains(&secret) && !shown.contains("PRIVATE"), "{shown}");
    }
}
