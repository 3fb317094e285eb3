//! TLS: the site's CA and no other.

use std::path::Path;

use pact_bus::server::ServerTls;
use pact_bus::{Bus, BusError, ConnectionState};
use pact_runtime::Clock;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::support::{PATIENCE, World, connect};

/// Makes `<name>-ca.crt`, and a certificate for localhost that it signed.
fn site(folder: &Path, name: &str) -> (std::path::PathBuf, ServerTls) {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca = params.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::from_params(&params, &ca_key);
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let file = |end: &str| folder.join(format!("{name}{end}"));
    std::fs::write(file("-ca.crt"), ca.pem()).unwrap();
    std::fs::write(file(".crt"), leaf.pem()).unwrap();
    std::fs::write(file(".key"), key.serialize_pem()).unwrap();
    (file("-ca.crt"), ServerTls { cert_file: file(".crt"), key_file: file(".key") })
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_sites_own_ca_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, tls) = site(folder.path(), "ours");
    let (other_ca, _) = site(folder.path(), "theirs");
    let world = World::start_with(Some(tls), Some(ca)).await;
    let bus = connect(world.config("_INBOX_s.x", None)).await;
    assert_eq!(bus.state(), ConnectionState::Connected);

    let mut config = world.config("_INBOX_s.y", None);
    config.tls_ca = Some(other_ca);
    let stranger = Bus::connect(config.clone(), Clock::system(), None).await.unwrap();
    let refused = async {
        while stranger.last_problem().is_none() {
            tokio::task::yield_now().await;
        }
    };
    Clock::system().timeout(PATIENCE, refused).await.unwrap();
    assert_ne!(stranger.state(), ConnectionState::Connected);

    let empty = folder.path().join("empty.crt");
    std::fs::write(&empty, "").unwrap();
    config.tls_ca = Some(empty);
    let error = Bus::connect(config, Clock::system(), None).await.unwrap_err();
    assert!(matches!(error, BusError::Ca { .. }), "{error:?}");
}
