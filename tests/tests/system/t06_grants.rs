//! An agent runs what a journal member signed for it, once, and nothing else.

use std::time::Duration;

use pact_bus::{Bus, BusConfig, CallError, Credentials};
use pact_identity::signing::{Signer, domain};
use pact_identity::x509::SecretPem;
use pact_runtime::{Clock, Timestamp};
use pact_schemas::convert::timestamp;
use pact_schemas::{NodeId, Subject, v1};
use pact_tests::site::{Role, Site};
use prost::Message as _;

const DEADLINE: Duration = Duration::from_secs(10);

fn signer(site: &Site, name: &str) -> Signer {
    let read = |suffix: &str| {
        std::fs::read_to_string(site.site_dir().join(format!("signing/{name}.{suffix}"))).unwrap()
    };
    Signer::from_pem(&read("crt"), &SecretPem::new(read("key"))).unwrap()
}

fn payload(seq: u64, node: &str, now: Timestamp) -> v1::GrantPayload {
    let clock = Clock::system();
    v1::GrantPayload {
        version: 1,
        site: "test".to_owned(),
        seq,
        request_id: clock.new_uuid_v7().to_string(),
        principal: Some(v1::Principal {
            subject: "ops".to_owned(),
            issuer: "pact-development".to_owned(),
            kind: v1::PrincipalKind::Human.into(),
            roles: vec!["pact-ops-ml".to_owned()],
        }),
        acting_role: "pact-ops-ml".to_owned(),
        operation: "exec".to_owned(),
        targets: node.to_owned(),
        policy_ref: "test".to_owned(),
        issued: Some(timestamp(now.unix_nanos())),
        expires: Some(timestamp(now.unix_nanos() + 60_000_000_000)),
        action: Some(v1::grant_payload::Action::Exec(v1::ExecAction {
            argv: vec!["true".to_owned()],
            stdin: false,
            timeout_seconds: 10,
            output_limit_bytes: 1 << 20,
            exec_whitelist: Vec::new(),
            require_strict: false,
        })),
        ..v1::GrantPayload::default()
    }
}

fn sign(signer: &Signer, payload: &v1::GrantPayload) -> v1::SignedGrant {
    let blob = signer.sign(domain::GRANT, &payload.encode_to_vec());
    v1::SignedGrant {
        payload: blob.payload,
        signature: blob.signature,
        certificate: blob.certificate,
    }
}

/// Sends a grant to the node; the code of the refusal.
async fn ask(bus: &Bus, node: &str, grant: &v1::SignedGrant) -> Result<(), String> {
    let subject =
        Subject::NodeRpc { node: NodeId::new(node).unwrap(), method: "exec".parse().unwrap() };
    let start = v1::ExecStart {
        grant: Some(grant.clone()),
        stream_id: Clock::system().random_bytes::<16>().map(|b| format!("{b:02x}")).concat(),
        initial_credit_bytes: 65_536,
    };
    match bus.request::<_, v1::ExecAccepted>(&subject, &start, DEADLINE).await {
        Ok(_) => Ok(()),
        Err(CallError::Service(error)) => Err(error.code),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_grant_is_good_for_one_run_on_its_node_in_its_minute() {
    pact_runtime::install_crypto_provider();
    let mut site = Site::with_nodes(1, &["n1", "n2"]);
    site.pact_ok(Role::Ops, &["exec", "n1", "--", "true"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let clock = Clock::system();
    let bus = runtime.block_on(async {
        let bus = Bus::connect(
            BusConfig {
                urls: vec![site.bus_url()],
                credentials: Credentials::file(site.site_dir().join("creds/gateway-1.creds")),
                tls_ca: Some(site.site_dir().join("ca.crt")),
                inbox_prefix: "_INBOX_s.gateway-1".to_owned(),
                name: "grants-test".to_owned(),
                allow_plaintext_loopback: false,
            },
            clock.clone(),
            None,
        )
        .await
        .unwrap();
        bus.wait_connected(DEADLINE).await.unwrap();
        bus
    });
    let ask = |node: &str, grant: &v1::SignedGrant| runtime.block_on(ask(&bus, node, grant));
    let refused = |code: &str| Err(code.to_owned());
    let member = signer(&site, "grant-1");
    let now = clock.now();

    let good = sign(&member, &payload(1_000_001, "n1", now));
    assert_eq!(ask("n1", &good), Ok(()));
    assert_eq!(ask("n1", &good), refused("PACT_GRANT_REPLAYED"));
    assert_eq!(ask("n2", &good), refused("PACT_GRANT_FOR_OTHER"));

    let mut altered = sign(&member, &payload(1_000_002, "n1", now));
    *altered.payload.last_mut().unwrap() ^= 1;
    assert_eq!(ask("n1", &altered), refused("PACT_BAD_SIGNATURE"));
    let mut unsigned = sign(&member, &payload(1_000_003, "n1", now));
    unsigned.signature = vec![0; 64];
    assert_eq!(ask("n1", &unsigned), refused("PACT_BAD_SIGNATURE"));

    let past = Timestamp::from_unix_nanos(now.unix_nanos() - 600_000_000_000);
    let expired = sign(&member, &payload(1_000_004, "n1", past));
    assert!(ask("n1", &expired).is_err(), "ten minutes old");

    let of_gateway = sign(&signer(&site, "gateway-1"), &payload(1_000_005, "n1", now));
    assert_eq!(ask("n1", &of_gateway), refused("PACT_BAD_SIGNATURE"));

    site.part("n1").kill();
    site.restart_agent("n1");
    pact_tests::wait::until("the agent answers again", pact_tests::site::READY, || {
        site.pact(Role::Ops, &["exec", "n1", "--", "true"]).status.success().then_some(())
    });
    assert_eq!(ask("n1", &good), refused("PACT_GRANT_REPLAYED"), "also after a restart");
}
