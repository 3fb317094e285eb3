//! A site with its keys, a bus, an enrolment endpoint and a journal's ears, and the agent process under test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pact_bus::server::{ServerTls, TestServer};
use pact_bus::stream::StreamReceiver;
use pact_bus::{Bus, CallError};
use pact_identity::signing::Signer;
use pact_identity::uri::SigningRole;
use pact_identity::x509::{Intermediate, SiteRoot};
use pact_identity::{GrantIssuer, ServiceRole};
use pact_runtime::{Clock, Timestamp};
use pact_schemas::v1::enrollment_server::EnrollmentServer;
use pact_schemas::v1::{self, stream_frame::Body};
use pact_schemas::{
    ErrorCode, MemberId, MethodName, NodeId, RequestId, SiteName, StreamId, Subject, convert,
};
use tonic::transport::{Identity, Server, ServerTlsConfig};

use crate::bus::{listen, listen_for_nodes, service_bus, start_bus};
use crate::enroller::Enroller;
use crate::told::Told;

/// Long enough for a busy machine; a test that needs it all has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const SITE: &str = "test-site";
const NODE: &str = "node-1";
pub(crate) const MAC: &str = "02:00:00:00:00:01";

/// Waits on a condition.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let clock = Clock::system();
    let started = clock.monotonic();
    while !holds() {
        assert!(clock.monotonic() - started < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Everything around the agent.
pub(crate) struct Plane {
    pub(crate) node: NodeId,
    pub(crate) nats: TestServer,
    pub(crate) told: Arc<Mutex<Told>>,
    pub(crate) refusal: Arc<Mutex<Option<ErrorCode>>>,
    pub(crate) gateway: Bus,
    pub(crate) journal: Bus,
    issuer: GrantIssuer,
    clock: Clock,
    folder: tempfile::TempDir,
    endpoint: SocketAddr,
}

impl Plane {
    pub(crate) async fn start() -> Self {
        pact_runtime::install_crypto_provider();
        let clock = Clock::system();
        let folder = tempfile::tempdir().unwrap();
        let root = SiteRoot::generate(&SiteName::new(SITE).unwrap(), &clock).unwrap();
        let ca = folder.path().join("ca.crt");
        std::fs::write(&ca, root.certificate_pem()).unwrap();
        let server = root.issue_server(&["localhost", "127.0.0.1"], 1).unwrap();
        let (cert_file, key_file) = (folder.path().join("s.crt"), folder.path().join("s.key"));
        std::fs::write(&cert_file, &server.certificate_pem).unwrap();
        std::fs::write(&key_file, server.key_pem.expose()).unwrap();
        let (nats, keys) = start_bus(&clock, ServerTls { cert_file, key_file }).await;

        let told = Arc::new(Mutex::new(Told::default()));
        told.lock().unwrap().register(&NODE.parse().unwrap());
        let member = SigningRole::Grant(MemberId::new(1).unwrap());
        let signer = || Signer::from_issued(&root.issue_signing(&member).unwrap()).unwrap();
        let journal = service_bus(&nats, &keys, &ca, ServiceRole::Journal, &clock).await;
        listen(&journal, &told, signer(), &clock).await;
        let enroll = service_bus(&nats, &keys, &ca, ServiceRole::Enroll, &clock).await;
        let gateway = service_bus(&nats, &keys, &ca, ServiceRole::Gateway, &clock).await;

        let refusal = Arc::new(Mutex::new(None));
        let enroller = Enroller {
            node_mac: MAC,
            site: SITE,
            intermediate: Intermediate::generate(&root).unwrap(),
            agents: keys.agents,
            account: keys.account.public_key(),
            bus_url: nats.url(),
            refusal: Arc::clone(&refusal),
        };
        let enroller = Arc::new(enroller);
        listen_for_nodes(&enroll, &told, &enroller).await;
        let identity = Identity::from_pem(&server.certificate_pem, server.key_pem.expose());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap();
        let tls = ServerTlsConfig::new().identity(identity);
        let serving = Server::builder()
            .tls_config(tls)
            .unwrap()
            .add_service(EnrollmentServer::from_arc(enroller))
            .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener));
        tokio::spawn(async move {
            let _enroll = enroll;
            serving.await.unwrap();
        });
        Self {
            node: NODE.parse().unwrap(),
            nats,
            told,
            refusal,
            gateway,
            journal,
            issuer: GrantIssuer::new(signer()).unwrap(),
            clock,
            folder,
            endpoint,
        }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The folder that the agent watches.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("node")
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the agent; returns when it has said hello and knows the time.
    pub(crate) async fn agent(&self, whitelist_mode: &str) -> Agent {
        let before = self.told.lock().unwrap().hellos.len();
        let is_known = self.state().join("plane-time.json").exists();
        let agent = self.launch(whitelist_mode);
        until("hello", || self.told.lock().unwrap().hellos.len() > before).await;
        until("time fix", || is_known || agent.log().contains("the plane's time is known")).await;
        agent
    }

    /// Writes the agent's file; `more` are keys of `[agent]`.
    pub(crate) fn configure(&self, whitelist_mode: &str, more: &str) -> PathBuf {
        let folder = self.folder.path().display();
        std::fs::create_dir_all(self.root()).unwrap();
        // The default blacklist has /tmp, where the folder is; and no test writes parameters of this machine.
        let drift = format!(
            "[agent.observer]\nroots = [\"{folder}/node\"]\nsecret = [\"{folder}/node/secret/**\"]\n\
             [agent.blacklist]\npatterns = [\"sysctl/**\", \"module/**\"]\n"
        );
        let config = format!(
            "[agent]\nnode_id = \"{NODE}\"\nenforce_keys = [\"{folder}/node/**\"]\nstate_dir = \"{folder}/state\"\n\
             run_dir = \"{folder}/run\"\ncertificate_path = \"{folder}/agent.crt\"\n\
             {more}\n[agent.journal]\nendpoints = [\"localhost:{}\"]\ntls_ca = \"{folder}/ca.crt\"\n\
             {drift}[agent.shell]\nwhitelist_mode = \"{whitelist_mode}\"\n\
             [agent.identity]\nmacs = [\"{MAC}\"]\n",
            self.endpoint.port()
        );
        let path = self.folder.path().join("agent.toml");
        std::fs::write(&path, config).unwrap();
        path
    }

    /// Starts the agent.
    pub(crate) fn launch(&self, whitelist_mode: &str) -> Agent {
        let path = self.configure(whitelist_mode, "");
        let log = self.folder.path().join("agent.log");
        let stderr = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_pact-agent"))
            .arg("--config")
            .arg(path)
            .stdin(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Agent { child, log }
    }

    /// A grant as the journal would sign it.
    pub(crate) fn payload(&self, seq: u64, argv: &[&str]) -> v1::GrantPayload {
        let now = self.clock.now();
        let time = |time: Timestamp| Some(convert::timestamp(time.unix_nanos()));
        let role = "pact-platform-admin".to_owned();
        v1::GrantPayload {
            version: 1,
            site: SITE.to_owned(),
            seq,
            request_id: RequestId::new(self.clock.new_uuid_v7()).unwrap().to_string(),
            principal: Some(v1::Principal {
                subject: "alice".to_owned(),
                issuer: "https://idp.example".to_owned(),
                kind: v1::PrincipalKind::Human.into(),
                roles: vec![role.clone()],
            }),
            acting_role: role,
            operation: "exec".to_owned(),
            targets: NODE.to_owned(),
            policy_ref: "default".to_owned(),
            approval: None,
            emergency: None,
            issued: time(now),
            expires: time(now.checked_add(Duration::from_secs(60)).unwrap()),
            degraded: false,
            action: Some(v1::grant_payload::Action::Exec(v1::ExecAction {
                argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
                stdin: false,
                timeout_seconds: 60,
                output_limit_bytes: 10 << 20,
                exec_whitelist: Vec::new(),
                require_strict: false,
            })),
        }
    }

    pub(crate) fn sign(&self, payload: &v1::GrantPayload) -> v1::SignedGrant {
        self.issuer.sign(payload).unwrap()
    }

    /// Presents a grant as the gateway does.
    pub(crate) async fn present(
        &self,
        grant: v1::SignedGrant,
    ) -> (StreamReceiver, Result<v1::ExecAccepted, CallError>) {
        let stream: StreamId = self.clock.new_uuid_v7().simple().to_string().parse().unwrap();
        let receiver = StreamReceiver::open(&self.gateway, &self.node, &stream).await.unwrap();
        let start = v1::ExecStart {
            grant: Some(grant),
            stream_id: stream.to_string(),
            initial_credit_bytes: StreamReceiver::initial_credit_bytes(),
        };
        let subject =
            Subject::NodeRpc { node: self.node.clone(), method: MethodName::new("exec").unwrap() };
        let reply = self.gateway.request(&subject, &start, PATIENCE).await;
        (receiver, reply)
    }

    /// Runs a command to its end: what was shown, and the last frame.
    pub(crate) async fn run(&self, payload: &v1::GrantPayload) -> (Vec<u8>, v1::ExecFinished) {
        let (mut receiver, reply) = self.present(self.sign(payload)).await;
        reply.unwrap();
        rest(&mut receiver).await
    }

    /// The code with which a grant is refused.
    pub(crate) async fn refused(&self, grant: v1::SignedGrant) -> ErrorCode {
        match self.present(grant).await.1 {
            Err(CallError::Service(error)) => error.known_code(),
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Waits for the one outcome of a grant.
    pub(crate) async fn outcome(&self, seq: u64) -> v1::ExecFinished {
        until("the outcome", || !self.told.lock().unwrap().outcomes(seq).is_empty()).await;
        let outcomes = self.told.lock().unwrap().outcomes(seq);
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        outcomes.into_iter().next().unwrap()
    }
}

/// What is left of a stream.
pub(crate) async fn rest(receiver: &mut StreamReceiver) -> (Vec<u8>, v1::ExecFinished) {
    let mut shown = Vec::new();
    loop {
        match receiver.recv().await.unwrap() {
            Some(Body::Output(output)) => shown.extend(output.data),
            Some(Body::Finished(finished)) => return (shown, finished),
            None => panic!("a stream without end"),
        }
    }
}

/// The agent process; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    log: PathBuf,
}

impl Agent {
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn terminate(&self) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let mut status = None;
        until("the agent's end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().code()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _dead = self.child.kill();
        let _dead = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// The command of a grant.
pub(crate) fn exec(payload: &mut v1::GrantPayload) -> &mut v1::ExecAction {
    match &mut payload.action {
        Some(v1::grant_payload::Action::Exec(exec)) => exec,
        other => panic!("{other:?}"),
    }
}

/// Whether a process runs.
pub(crate) fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie waits for an init that this container may not have.
    !stat.is_empty() && !stat.contains(") Z ")
}
