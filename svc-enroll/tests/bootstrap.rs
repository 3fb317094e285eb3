//! The bootstrap: repeatable, completable, never over a key; and a nats-server that runs with what it made.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use pact_bus::{Bus, BusConfig, CallError, Credentials, Responder, Service};
use pact_identity::nats_jwt::{self, KeyPair};
use pact_runtime::Clock;
use pact_schemas::rpc;
use pact_schemas::{NodeId, Subject, v1};
use pact_svc_enroll::bootstrap::{self, BootstrapArgs, BootstrapError, Fate};
use tempfile::TempDir;

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    bootstrap: BootstrapArgs,
}

fn arguments(dir: &Path, more: &[&str]) -> BootstrapArgs {
    let words = [
        "x",
        "--dir",
        dir.to_str().unwrap(),
        "--site",
        "alps",
        "--bus-host",
        "localhost,127.0.0.1",
    ];
    Args::try_parse_from(words.iter().chain(more)).unwrap().bootstrap
}

const MORE: &[&str] = &[
    "--member",
    "1:journal-1:9444",
    "--gateway",
    "gateway-1:localhost",
    "--bus-listen",
    "127.0.0.1:4222",
];

fn run(dir: &Path) -> Result<bootstrap::Summary, BootstrapError> {
    bootstrap::run(&arguments(dir, MORE), &Clock::system())
}

/// Every file with its bytes.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => drop(found.insert(entry.path(), std::fs::read(entry.path()).unwrap())),
            }
        }
    }
    found.retain(|path, _| path.file_name().unwrap() != ".lock");
    found
}

fn is_secret(path: &Path) -> bool {
    ["key", "nk", "creds"].iter().any(|end| path.extension().is_some_and(|found| found == *end))
}

#[test]
fn the_second_run_keeps_every_byte_and_secrets_are_the_owners_alone() {
    let dir = TempDir::new().unwrap();
    let site = dir.path().join("site");
    let first = run(&site).unwrap();
    assert_eq!(first.files(Fate::Kept).count(), 0);
    let before = contents(&site);
    let second = run(&site).unwrap();
    assert_eq!(second.files(Fate::Made).count(), 0, "{second}");
    assert_eq!(contents(&site), before);
    for (path, bytes) in &before {
        let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder =
            std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777;
        let text = String::from_utf8_lossy(bytes);
        let holds_secret = text.contains("PRIVATE KEY") || text.contains("SEED") || is_secret(path);
        assert_eq!(mode, if holds_secret { 0o600 } else { 0o644 }, "{path:?}");
        assert_eq!(folder, 0o700, "{path:?}");
        for (secret, seed) in before.iter().filter(|(other, _)| is_secret(other)) {
            let seed = String::from_utf8_lossy(seed);
            let shown = format!("{first}{second}");
            assert!(!shown.contains(seed.trim()), "{secret:?} is in the summary");
        }
    }
}

#[test]
fn a_run_that_was_cut_off_anywhere_is_completed_and_keeps_what_it_had() {
    let dir = TempDir::new().unwrap();
    let whole = dir.path().join("whole");
    run(&whole).unwrap();
    let mut in_order: Vec<PathBuf> = contents(&whole).into_keys().collect();
    in_order.sort_by_key(|path| std::fs::metadata(path).unwrap().modified().unwrap());
    assert!(in_order[0].ends_with("SITE") && in_order[1].ends_with("root.key"));
    // The root is the one thing that comes from a file of both halves, see the next test.
    for cut in (1..in_order.len()).filter(|cut| *cut != 2) {
        let part = dir.path().join(format!("cut-{cut}"));
        copy(&in_order[..cut], &whole, &part);
        let before = contents(&part);
        run(&part).unwrap_or_else(|error| panic!("cut after {:?}: {error}", in_order[cut - 1]));
        let after = contents(&part);
        assert_eq!(after.len(), in_order.len());
        for (path, bytes) in before.iter().filter(|(path, _)| is_secret(path)) {
            assert_eq!(&after[path], bytes, "{path:?}");
        }
        assert_eq!(run(&part).unwrap().files(Fate::Made).count(), 0);
    }
}

#[test]
fn a_root_whose_files_were_not_both_written_is_the_same_root_afterwards() {
    let dir = TempDir::new().unwrap();
    let whole = dir.path().join("whole");
    run(&whole).unwrap();
    let (key, certificate) = (whole.join("root.key"), whole.join("ca.crt"));
    let both = [std::fs::read(&key).unwrap(), std::fs::read(&certificate).unwrap()];
    for kept in [vec!["SITE"], vec!["SITE", "root.key"], vec!["SITE", "root.key", "ca.crt"]] {
        let part = dir.path().join(format!("part-{}", kept.len()));
        let files: Vec<PathBuf> = kept.iter().map(|name| whole.join(name)).collect();
        copy(&files, &whole, &part);
        let pending = part.join(".root.pending");
        std::fs::write(&pending, both.concat()).unwrap();
        std::fs::set_permissions(&pending, std::fs::Permissions::from_mode(0o600)).unwrap();
        run(&part).unwrap();
        assert_eq!(std::fs::read(part.join("root.key")).unwrap(), both[0]);
        assert_eq!(std::fs::read(part.join("ca.crt")).unwrap(), both[1]);
        assert!(!pending.exists());
    }
}

#[test]
fn any_one_missing_file_is_made_again_or_named_and_no_key_changes() {
    let dir = TempDir::new().unwrap();
    let whole = dir.path().join("whole");
    run(&whole).unwrap();
    let files: Vec<PathBuf> = contents(&whole).into_keys().collect();
    for (number, file) in files.iter().enumerate() {
        let site = dir.path().join(number.to_string());
        let rest: Vec<PathBuf> = files.iter().filter(|other| *other != file).cloned().collect();
        copy(&rest, &whole, &site);
        let name = file.strip_prefix(&whole).unwrap();
        let before = contents(&site);
        match run(&site) {
            Ok(summary) => {
                assert_eq!(summary.fate(name.to_str().unwrap()), Some(Fate::Made));
                let (mut after, mut before) = (contents(&site), before);
                after.retain(|path, _| is_secret(path) && !path.ends_with(name));
                before.retain(|path, _| is_secret(path));
                assert_eq!(after, before, "{name:?}");
            }
            Err(error) => {
                let named = match &error {
                    BootstrapError::HalfMissing { missing, .. } => missing.ends_with(name),
                    BootstrapError::NotASite { .. } => name == Path::new("SITE"),
                    _ => false,
                };
                assert!(named, "{name:?}: {error}");
                assert_eq!(contents(&site), before, "{name:?}");
            }
        }
    }
}

fn copy(files: &[PathBuf], from: &Path, to: &Path) {
    for file in files {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(file, target).unwrap(); // permissions too
    }
}

#[test]
fn what_is_another_sites_or_does_not_belong_is_refused_and_left_alone() {
    let dir = TempDir::new().unwrap();
    let (site, other) = (dir.path().join("site"), dir.path().join("other"));
    run(&site).unwrap();
    run(&other).unwrap();
    let before = contents(&site);
    let mut wrong = arguments(&site, MORE);
    wrong.site = "jura".parse().unwrap();
    let error = bootstrap::run(&wrong, &Clock::system()).unwrap_err();
    assert!(matches!(error, BootstrapError::OtherSite { .. }), "{error}");
    let mut wrong = arguments(&site, MORE);
    wrong.members = vec!["1:journal-1:9445".parse().unwrap()];
    let error = bootstrap::run(&wrong, &Clock::system()).unwrap_err();
    assert!(matches!(error, BootstrapError::OtherMembers { .. }), "{error}");
    wrong.members.push("2:journal-2:9444".parse().unwrap());
    let error = bootstrap::run(&wrong, &Clock::system()).unwrap_err();
    assert!(matches!(error, BootstrapError::MemberCount { count: 2 }), "{error}");
    let error = run(Path::new("/usr")).unwrap_err();
    assert!(matches!(error, BootstrapError::NotASite { .. }), "{error}");
    assert_eq!(contents(&site), before);

    // A file of another site, in each place where it could do harm.
    for name in [
        "root.key",
        "tls/bus.key",
        "signing/grant-1.key",
        "bus/pact.nk",
        "bus/operator.jwt",
        "creds/gateway-1.creds",
    ] {
        std::fs::copy(other.join(name), site.join(name)).unwrap();
        let error = run(&site).unwrap_err();
        let text = format!("{error}");
        assert!(text.contains(site.to_str().unwrap()), "{name}: {text}");
        std::fs::write(site.join(name), &before[&site.canonicalize().unwrap().join(name)]).unwrap();
    }
    run(&site).unwrap();

    let key = site.join("root.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = run(&site).unwrap_err();
    assert!(matches!(error, BootstrapError::Exposed { mode: 0o640, .. }), "{error}");
}

#[test]
fn a_member_that_is_added_gets_what_it_needs_and_nothing_else_changes() {
    let dir = TempDir::new().unwrap();
    let site = dir.path().join("site");
    let before = {
        run(&site).unwrap();
        contents(&site)
    };
    let with = |more: &[&str]| arguments(&site, &[MORE, more].concat());
    let add = |more: &[&str]| bootstrap::run(&with(more), &Clock::system());
    let added = add(&["--add-member", "4:journal-1:9444"]).unwrap();
    let mut made: Vec<&str> = added.files(Fate::Made).collect();
    made.sort_unstable();
    let expected = [
        "SITE",
        "creds/journal-4.creds",
        "signing/grant-4.crt",
        "signing/grant-4.key",
        "tls/journal-4.crt",
        "tls/journal-4.key",
    ];
    assert_eq!(made, expected);
    let after = contents(&site);
    let site_file = site.canonicalize().unwrap().join("SITE");
    for (path, bytes) in before.iter().filter(|(path, _)| **path != site_file) {
        assert_eq!(&after[path], bytes, "{path:?}");
    }
    // Again, without it, and with one more: what is recorded stays.
    for more in [&["--add-member", "4:journal-1:9444"][..], &[]] {
        assert_eq!(add(more).unwrap().files(Fate::Made).count(), 0);
    }
    assert_eq!(contents(&site), after);
    std::fs::remove_file(site.join("tls/journal-4.key")).unwrap();
    let completed = add(&[]).unwrap();
    assert_eq!(completed.fate("tls/journal-4.key"), Some(Fate::Made));
    add(&["--add-member", "6:journal-6:9444"]).unwrap();
    let text = std::fs::read_to_string(&site_file).unwrap();
    assert!(text.contains(r#"added_members = ["4:journal-1:9444", "6:journal-6:9444"]"#), "{text}");

    // A number is one member's for good.
    let before = contents(&site);
    for taken in ["4:journal-4:9444", "1:journal-1:9444", "1:journal-9:9444"] {
        let error = match add(&["--add-member", taken]) {
            Err(error) => error,
            Ok(summary) => panic!("{taken}: {summary}"),
        };
        let is_named = matches!(error, BootstrapError::NumberTaken { .. })
            || matches!(error, BootstrapError::Twice { what: "member" });
        assert!(is_named, "{taken}: {error}");
    }
    assert_eq!(contents(&site), before);
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _dead = self.0.kill();
        let _dead = self.0.wait();
    }
}

fn bus_config(site: &Path, port: u16, credentials: Credentials, inbox: &str) -> BusConfig {
    BusConfig {
        urls: vec![format!("tls://127.0.0.1:{port}")],
        credentials,
        tls_ca: Some(site.join("ca.crt")),
        inbox_prefix: inbox.to_owned(),
        name: inbox.to_owned(),
        allow_plaintext_loopback: false,
    }
}

async fn connect(config: BusConfig) -> Bus {
    let bus = Bus::connect(config, Clock::system(), None).await.unwrap();
    let connected = bus.wait_connected(Duration::from_secs(20)).await;
    connected.unwrap_or_else(|error| panic!("{error}: {:?}", bus.last_problem()));
    bus
}

async fn service(site: &Path, port: u16, name: &str) -> Bus {
    let creds = Credentials::file(site.join(format!("creds/{name}.creds")));
    connect(bus_config(site, port, creds, &format!("_INBOX_s.{name}"))).await
}

/// An agent with credentials as svc-enroll mints them.
async fn agent(site: &Path, port: u16, node: &str) -> Bus {
    let seed = |name: &str| std::fs::read_to_string(site.join(name)).unwrap();
    let scoped = KeyPair::from_seed(seed("bus/pact-agents.nk").trim()).unwrap();
    let account = KeyPair::from_seed(seed("bus/pact.nk").trim()).unwrap().public_key();
    let key = Arc::new(KeyPair::new_user());
    let node: NodeId = node.parse().unwrap();
    let now = u64::try_from(Clock::system().now().unix_seconds()).unwrap();
    let claims = nats_jwt::agent_user(&node, &key.public_key(), &account, now, now + 600);
    let jwt = nats_jwt::encode_user(&claims, &scoped).unwrap();
    let inbox = nats_jwt::agent_inbox_prefix(&node);
    connect(bus_config(site, port, Credentials::jwt(jwt, key), &inbox)).await
}

fn up(node: &str, method: &str) -> Subject {
    format!("pact.v1.node.{node}.up.{method}").parse().unwrap()
}

fn rpc(node: &str, method: &str) -> Subject {
    format!("pact.v1.node.{node}.rpc.{method}").parse().unwrap()
}

const SOON: Duration = Duration::from_secs(10);
/// For what must not arrive: a violation is dropped by the server without a word to the caller.
const NEVER: Duration = Duration::from_millis(500);

#[tokio::test]
async fn nats_server_runs_with_it_and_everybody_has_exactly_their_rights() {
    pact_runtime::install_crypto_provider();
    let dir = TempDir::new().unwrap();
    let site = dir.path().join("site");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("127.0.0.1:{port}");
    let more =
        ["--member", "1:journal-1:9444", "--gateway", "1:localhost", "--bus-listen", &listen];
    bootstrap::run(&arguments(&site, &more), &Clock::system()).unwrap();
    let binary = pact_runtime::nats_server();
    let config = site.join("bus/nats-server.conf");
    let null = Stdio::null;
    let _server = Server(
        Command::new(binary).arg("-c").arg(config).stderr(null()).stdout(null()).spawn().unwrap(),
    );

    let enroll = service(&site, port, "enroll-1").await;
    enroll
        .serve(Service::new("enroll", "0.1.0", "enroll-1").on_up(
            rpc::up::Hello,
            |(), context, _: v1::Hello| async move {
                assert!(context.node.is_some_and(|node| node.as_str() == "node-a"));
                Ok(v1::HelloReply {})
            },
        ))
        .await
        .unwrap();
    let (a, b) = (agent(&site, port, "node-a").await, agent(&site, port, "node-b").await);

    // Its own subject reaches the service, another node's does not.
    a.request::<_, v1::HelloReply>(&up("node-a", "hello"), &v1::Hello::default(), SOON)
        .await
        .unwrap();
    let forged =
        a.request::<_, v1::HelloReply>(&up("node-b", "hello"), &v1::Hello::default(), NEVER).await;
    assert!(matches!(forged, Err(CallError::Timeout { .. })), "{forged:?}");

    // An agent that listens as another node hears nothing: the ping finds nobody.
    let eavesdropper: NodeId = "node-b".parse().unwrap();
    let answer = || {
        Responder::node(&eavesdropper)
            .on(rpc::node::Ping, |(), _, _: v1::PingRequest| async { Ok(v1::PingReply::default()) })
    };
    a.respond(answer()).await.unwrap();
    let ping =
        enroll.request::<_, v1::PingReply>(&rpc("node-b", "ping"), &v1::PingRequest {}, SOON).await;
    assert!(matches!(ping, Err(CallError::NoResponders { .. })), "{ping:?}");
    b.respond(answer()).await.unwrap();
    enroll
        .request::<_, v1::PingReply>(&rpc("node-b", "ping"), &v1::PingRequest {}, SOON)
        .await
        .unwrap();

    // A service has its own rights and no more: enroll may ping a node and not command it, the gateway may.
    let exec = v1::ExecStart::default();
    let refused = enroll.request::<_, v1::ExecAccepted>(&rpc("node-b", "exec"), &exec, NEVER).await;
    assert!(matches!(refused, Err(CallError::Timeout { .. })), "{refused:?}");
    let gateway = service(&site, port, "gateway-1").await;
    let reached = gateway.request::<_, v1::ExecAccepted>(&rpc("node-b", "exec"), &exec, SOON).await;
    assert!(
        matches!(&reached, Err(CallError::Service(error)) if error.code == "PACT_UNIMPLEMENTED"),
        "{reached:?}"
    );
    for name in ["journal-1", "approval-1", "bridge-1"] {
        service(&site, port, name).await;
    }

    // The system user may look up accounts; nobody else may.
    let account =
        KeyPair::from_seed(std::fs::read_to_string(site.join("bus/pact.nk")).unwrap().trim())
            .unwrap()
            .public_key();
    let lookup = format!("$SYS.REQ.ACCOUNT.{account}.CLAIMS.LOOKUP");
    let creds = Credentials::file(site.join("creds/enroll-sys.creds"));
    let system = connect(bus_config(&site, port, creds, "_INBOX_s.enroll-1")).await;
    let token = system.request_bytes(&lookup, Default::default(), SOON).await.unwrap();
    assert_eq!(token, std::fs::read_to_string(site.join("bus/pact.jwt")).unwrap().trim());
    assert!(enroll.request_bytes(&lookup, Default::default(), NEVER).await.is_err());
}
