//! TLS, failover and deadlines.

use std::net::TcpListener;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::run::Home;
use crate::site::Site;

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    fn server(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

#[test]
fn only_the_configured_authority_is_trusted() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (certificate, key) = ours.server("127.0.0.1");
    let site = Site::start_with_tls(&certificate, &key);
    let home = Home::new(&site.endpoint);
    home.file("ca.crt", &ours.issuer.pem());
    home.file("other.crt", &theirs.issuer.pem());
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();

    home.run(&["cluster", "--tls-ca", &path("ca.crt")]).exits(0);
    let run = home.run(&["cluster", "--tls-ca", &path("other.crt")]).exits(1);
    assert!(run.stderr.contains("error[PACT_TLS]: certificate verify failed"), "{}", run.stderr);
    let run = home.run(&["cluster", "--tls-ca", &path("none.crt")]).exits(1);
    assert!(run.stderr.contains("PACT_TLS_CA"), "{}", run.stderr);

    let (certificate, key) = ours.server("other.example");
    let site = Site::start_with_tls(&certificate, &key);
    let home = Home::new(&site.endpoint).with("PACT_TLS_CA", &path("ca.crt"));
    let run = home.run(&["cluster"]).exits(1);
    assert!(run.stderr.contains("certificate verify failed"), "{}", run.stderr);
}

#[test]
fn the_next_endpoint_is_tried_when_one_refuses() {
    let site = Site::start();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let both = format!("http://{closed},{}", site.endpoint);
    Home::new(&both).run(&["cluster"]).exits(0);
    let home = Home::new(&site.endpoint);
    home.run(&["--endpoint", &both, "cluster"]).exits(0);
    let none = format!("http://{closed},http://{closed}");
    assert!(
        home.run(&["--endpoint", &none, "cluster"]).exits(1).stderr.contains("connection refused")
    );
}

#[test]
fn a_gateway_that_accepts_and_is_silent_runs_into_the_deadline() {
    // Accepts by backlog, answers nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let home = Home::new(&format!("http://{}", silent.local_addr().unwrap()));
    home.file(".config/pact/cli.toml", "timeout_seconds = 1\n");
    let run = home.run(&["cluster"]).exits(5);
    assert!(run.stderr.contains("PACT_TIMEOUT"), "{}", run.stderr);
}

#[test]
fn a_host_that_does_not_resolve_exits_with_one() {
    let home = Home::new("https://no-such-host.invalid:9443");
    home.file("ca.crt", &Authority::new().issuer.pem());
    let ca = home.path().join("ca.crt");
    let run = home.run(&["--tls-ca", ca.to_str().unwrap(), "cluster"]).exits(1);
    assert!(run.stderr.contains("error[PACT_DNS]"), "{}", run.stderr);
}

#[test]
fn a_port_that_speaks_the_other_protocol_is_named_and_gets_no_token() {
    let authority = Authority::new();
    let (certificate, key) = authority.server("127.0.0.1");
    let site = Site::start_with_tls(&certificate, &key);
    let plain = site.endpoint.replace("https://", "http://");
    let run = Home::new(&plain).run(&["cluster"]).exits(1);
    let expected = format!("error[PACT_TLS]: {plain} speaks TLS, and the endpoint says http\n");
    assert!(run.stderr.starts_with(&expected), "{}", run.stderr);

    let site = Site::start();
    let tls = site.endpoint.replace("http://", "https://");
    let home = Home::new(&tls);
    home.file("ca.crt", &authority.issuer.pem());
    let ca = home.path().join("ca.crt").to_str().unwrap().to_owned();
    let run = home.run(&["cluster", "--tls-ca", &ca]).exits(1);
    let expected = format!("error[PACT_TLS]: {tls} does not speak TLS\n");
    assert!(run.stderr.starts_with(&expected), "{}", run.stderr);

    // An editor's mark in front of a certificate is what is wrong with it.
    home.file("ca.crt", &format!("\u{feff}{}", authority.issuer.pem()));
    let run = home.run(&["cluster", "--tls-ca", &ca]).exits(1);
    assert!(run.stderr.contains("byte order mark"), "{}", run.stderr);
}

#[test]
fn watch_goes_on_after_its_last_entry_when_its_gateway_stops() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    let whole = home.run(&["watch"]).exits(0).stdout;
    let run = home.run(&["watch", "--vcluster", "stops"]).exits(0);
    assert_eq!(run.stdout, whole, "nothing twice and nothing left out");
    assert_eq!(run.stderr, "warning: the connection was lost; connecting again\n");
}
