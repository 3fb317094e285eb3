//! A gateway for tests: real gRPC over loopback, hand-made answers, and commands that behave by name.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pact_schemas::error_code::ErrorCode;
use pact_schemas::v1;
use pact_schemas::v1::exec_input::Input;
use pact_schemas::v1::exec_output::Output;
use pact_schemas::v1::pact_server::{Pact, PactServer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use crate::site_data as data;
use crate::site_drift as drift;

type Reply<T> = Result<Response<T>, Status>;
type Stream<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

/// What the tests ask about afterwards.
#[derive(Default)]
pub struct Seen {
    /// Request ids of exec, in order.
    pub exec_requests: Mutex<Vec<String>>,
    pub invoked: Mutex<Vec<v1::InvokeRequest>>,
    pub statuses: Mutex<Vec<v1::StatusRequest>>,
    pub enrolled: Mutex<Vec<v1::EnrollNodeRequest>>,
    pub log_scopes: Mutex<Vec<Option<v1::Scope>>>,
    pub commits: Mutex<Vec<v1::CommitRequest>>,
    pub rollbacks: Mutex<Vec<v1::RollbackScopeRequest>>,
    pub promotes: Mutex<Vec<v1::PromoteRequest>>,
    /// Callers of `slow` that went away.
    pub cancelled: AtomicU32,
    /// Calls of `flaky` so far.
    pub flaky: AtomicU32,
    /// A change of the members that was given up.
    pub given_up: Mutex<bool>,
}

/// A running gateway; it ends with the value.
pub struct Site {
    pub endpoint: String,
    pub seen: Arc<Seen>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Site {
    pub fn start() -> Self {
        Self::serve(None)
    }

    pub fn start_with_tls(certificate: &str, key: &str) -> Self {
        Self::serve(Some(Identity::from_pem(certificate, key)))
    }

    fn serve(identity: Option<Identity>) -> Self {
        pact_runtime::install_crypto_provider();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let seen = Arc::new(Seen::default());
        let gateway = Gateway { seen: Arc::clone(&seen) };
        let scheme = if identity.is_some() { "https" } else { "http" };
        let address: SocketAddr = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut server = Server::builder();
            if let Some(identity) = identity {
                server = server.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
            }
            let router = server.add_service(PactServer::new(gateway));
            tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
            address
        });
        let endpoint = format!("{scheme}://127.0.0.1:{}", address.port());
        Self { endpoint, seen, runtime: Some(runtime) }
    }

    /// Ends all connections at once, like a killed process.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Gateway {
    seen: Arc<Seen>,
}

/// Tokens are `good`, `viewer` and everything else.
fn authenticate<T>(request: &Request<T>) -> Result<(), Status> {
    let header = request.metadata().get("authorization").and_then(|v| v.to_str().ok());
    match header {
        Some("Bearer good" | "Bearer viewer") => Ok(()),
        _ => Err(ErrorCode::Unauthenticated.error("the token is not accepted").into_status()),
    }
}

#[tonic::async_trait]
impl Pact for Gateway {
    type ExecStream = Stream<v1::ExecOutput>;
    type ReadOutputStream = Stream<v1::ReadOutputReply>;
    type WatchStream = Stream<v1::EntryRecord>;

    async fn whoami(&self, request: Request<v1::WhoamiRequest>) -> Reply<v1::WhoamiReply> {
        authenticate(&request)?;
        let principal = data::entries()[0].author.clone();
        Ok(Response::new(v1::WhoamiReply { principal, expires: data::time(3600) }))
    }

    async fn exec(&self, request: Request<Streaming<v1::ExecInput>>) -> Reply<Self::ExecStream> {
        authenticate(&request)?;
        let mut input = request.into_inner();
        let Some(Input::Begin(begin)) = input.message().await?.and_then(|m| m.input) else {
            return Err(Status::invalid_argument("begin"));
        };
        self.seen.exec_requests.lock().unwrap().push(begin.request_id.clone());
        if begin.argv[0] == "flaky" && self.seen.flaky.fetch_add(1, Ordering::SeqCst) == 0 {
            return Err(Status::unavailable("connection reset"));
        }
        if begin.targets == "node-404" {
            let error = ErrorCode::NotFound.error("node node-404 is not registered");
            return Err(error.into_status());
        }
        if begin.argv[0] == "forbidden" {
            return Err(ErrorCode::PolicyDenied.error("no exec on Sundays").into_status());
        }
        let (sender, receiver) = mpsc::channel(8);
        tokio::spawn(carry_out(begin, input, sender, Arc::clone(&self.seen)));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn log(&self, request: Request<v1::LogRequest>) -> Reply<v1::LogReply> {
        authenticate(&request)?;
        let request = request.into_inner();
        self.seen.log_scopes.lock().unwrap().push(request.scope);
        let mut entries: Vec<_> = data::entries().iter().map(data::record).collect();
        if request.count == 999 {
            entries[1].entry[9] ^= 1;
        }
        Ok(Response::new(v1::LogReply { entries, ..v1::LogReply::default() }))
    }

    async fn show_entry(
        &self,
        request: Request<v1::ShowEntryRequest>,
    ) -> Reply<v1::ShowEntryReply> {
        let entries = data::entries();
        let seq = request.into_inner().seq;
        let found = entries.iter().find(|e| e.seq == seq);
        let entry = found
            .ok_or_else(|| ErrorCode::NotFound.error(format!("no entry {seq}")).into_status())?;
        let outcomes = entries.iter().filter(|e| e.parent == Some(seq)).map(data::record).collect();
        Ok(Response::new(v1::ShowEntryReply {
            entry: Some(data::record(entry)),
            outcomes,
            change_chunks: data::chunks(seq),
        }))
    }

    async fn read_output(
        &self,
        _request: Request<v1::ReadOutputRequest>,
    ) -> Reply<Self::ReadOutputStream> {
        let piece = |stream: v1::OutputStream, bytes: &[u8]| {
            Ok(v1::ReadOutputReply {
                node: "node-042".into(),
                stream: stream.into(),
                data: bytes.to_vec(),
            })
        };
        let pieces = vec![
            piece(v1::OutputStream::Stdout, b"Linux \x1b[1m"),
            piece(v1::OutputStream::Stderr, b"oops\n"),
            piece(v1::OutputStream::Stdout, b"node-042\n"),
        ];
        Ok(Response::new(Box::pin(tokio_stream::iter(pieces))))
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Reply<Self::WatchStream> {
        authenticate(&request)?;
        let request = request.into_inner();
        let after = request.after.unwrap_or(0);
        let entries = data::entries().into_iter().filter(|entry| entry.seq > after);
        let mut items: Vec<_> = entries.map(|entry| Ok(data::record(&entry))).collect();
        let stops = Some(v1::scope::Scope::Vcluster("stops".to_owned()));
        if request.scope.and_then(|scope| scope.scope) == stops && after == 0 {
            items.truncate(1);
            items.push(Err(ErrorCode::Unreachable.error("the gateway is stopping").into_status()));
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(items))))
    }

    async fn status(&self, request: Request<v1::StatusRequest>) -> Reply<v1::StatusReply> {
        authenticate(&request)?;
        let request = request.into_inner();
        let names_nodes = !request.targets.is_empty();
        self.seen.statuses.lock().unwrap().push(request);
        let nodes = vec![
            data::status("node-042", v1::NodeState::Active),
            data::status("node-043", v1::NodeState::Inactive),
        ];
        let mut error = ErrorCode::Unreachable.error("no answer");
        error.node = "node-044".into();
        Ok(Response::new(v1::StatusReply {
            nodes,
            errors: if names_nodes { vec![] } else { vec![error] },
        }))
    }

    async fn capability(
        &self,
        _request: Request<v1::CapabilityRequest>,
    ) -> Reply<v1::CapabilityReply> {
        let report = br#"{"cpu":{"cores":64,"model":"x"},"memory":{"total_bytes":1024},"network":[{"name":"eth0"}]}"#;
        let node = v1::NodeCapability {
            node: "node-042".into(),
            state: v1::NodeState::Active.into(),
            report: report.to_vec(),
            reported: data::time(5),
        };
        Ok(Response::new(v1::CapabilityReply { nodes: vec![node], errors: vec![] }))
    }

    async fn enroll_node(
        &self,
        request: Request<v1::EnrollNodeRequest>,
    ) -> Reply<v1::EnrollNodeReply> {
        self.seen.enrolled.lock().unwrap().push(request.into_inner());
        Ok(Response::new(v1::EnrollNodeReply { seq: 44 }))
    }

    async fn assign_node(
        &self,
        _request: Request<v1::AssignNodeRequest>,
    ) -> Reply<v1::AssignNodeReply> {
        let nodes = vec!["node-042".to_owned(), "node-043".to_owned()];
        Ok(Response::new(v1::AssignNodeReply { first_seq: 45, last_seq: 46, nodes }))
    }

    async fn list_nodes(
        &self,
        _request: Request<v1::ListNodesRequest>,
    ) -> Reply<v1::ListNodesReply> {
        let nodes = vec![
            data::node("node-042", v1::NodeState::Active),
            data::node("node-043", v1::NodeState::Registered),
        ];
        Ok(Response::new(v1::ListNodesReply { nodes }))
    }

    async fn complete(&self, request: Request<v1::CompleteRequest>) -> Reply<v1::CompleteReply> {
        let names = match request.into_inner().name() {
            v1::CompletedName::Node => vec!["node-042".to_owned(), "node-043".to_owned()],
            v1::CompletedName::Vcluster => vec![data::group().vcluster],
            v1::CompletedName::Unspecified => Vec::new(),
        };
        Ok(Response::new(v1::CompleteReply { names }))
    }

    async fn inspect_node(
        &self,
        request: Request<v1::InspectNodeRequest>,
    ) -> Reply<v1::InspectNodeReply> {
        let name = request.into_inner().node;
        if name == "node-404" {
            return Err(ErrorCode::NotFound.error("no such node").into_status());
        }
        let status = Some(data::status(&name, v1::NodeState::Active));
        Ok(Response::new(v1::InspectNodeReply { status }))
    }

    async fn list_groups(
        &self,
        _request: Request<v1::ListGroupsRequest>,
    ) -> Reply<v1::ListGroupsReply> {
        Ok(Response::new(v1::ListGroupsReply { groups: vec![data::group()] }))
    }

    async fn show_group(
        &self,
        _request: Request<v1::ShowGroupRequest>,
    ) -> Reply<v1::ShowGroupReply> {
        let nodes = ["node-041", "node-042", "node-043"].map(str::to_owned).to_vec();
        Ok(Response::new(v1::ShowGroupReply { group: Some(data::group()), nodes }))
    }

    async fn apply(&self, request: Request<v1::ApplyRequest>) -> Reply<v1::ApplyReply> {
        let request = request.into_inner();
        if request.spec.contains("nonsense") {
            let error = ErrorCode::InvalidSpec.error(format!("{}:1: nonsense", request.file_name));
            return Err(error.into_status());
        }
        if request.spec.contains("sysctl") {
            return Ok(Response::new(drift::applied(&request)));
        }
        if request.canary.is_some() {
            let error = ErrorCode::Unimplemented.error("apply --canary is not built yet");
            return Err(error.into_status());
        }
        let policy = Some(v1::VclusterPolicy { regulated: Some(true), ..Default::default() });
        let update = v1::PolicyUpdate { vcluster: "ml-training".into(), policy };
        let seq = if request.dry_run { 0 } else { 47 };
        Ok(Response::new(v1::ApplyReply {
            first_seq: seq,
            last_seq: seq,
            policies: vec![update],
            ..v1::ApplyReply::default()
        }))
    }

    async fn diff(&self, request: Request<v1::DiffNodesRequest>) -> Reply<v1::DiffNodesReply> {
        let request = request.into_inner();
        if request.targets == "late" {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
        }
        Ok(Response::new(drift::diff(&request)))
    }

    async fn commit(&self, request: Request<v1::CommitRequest>) -> Reply<v1::CommitReply> {
        let request = request.into_inner();
        self.seen.commits.lock().unwrap().push(request.clone());
        Ok(Response::new(drift::commit(&request)))
    }

    async fn rollback(
        &self,
        request: Request<v1::RollbackScopeRequest>,
    ) -> Reply<v1::RollbackScopeReply> {
        let request = request.into_inner();
        self.seen.rollbacks.lock().unwrap().push(request.clone());
        Ok(Response::new(drift::rollback(&request)))
    }

    async fn extend(
        &self,
        request: Request<v1::ExtendWindowRequest>,
    ) -> Reply<v1::ExtendWindowReply> {
        let request = request.into_inner();
        Ok(Response::new(drift::extend(&request)))
    }

    async fn promote(&self, request: Request<v1::PromoteRequest>) -> Reply<v1::PromoteReply> {
        let request = request.into_inner();
        self.seen.promotes.lock().unwrap().push(request.clone());
        Ok(Response::new(drift::promote(&request)))
    }

    async fn set_policy(
        &self,
        request: Request<v1::SetPolicyRequest>,
    ) -> Reply<v1::SetPolicyReply> {
        let policy =
            Some(v1::VclusterPolicy { drift_sensitivity: Some(3.0), ..Default::default() });
        let update = v1::PolicyUpdate { vcluster: request.into_inner().group, policy };
        Ok(Response::new(v1::SetPolicyReply { seq: 53, policy: Some(update) }))
    }

    async fn blacklist_list(
        &self,
        request: Request<v1::BlacklistListRequest>,
    ) -> Reply<v1::BlacklistListReply> {
        let request = request.into_inner();
        Ok(Response::new(drift::blacklist(&request)))
    }

    async fn blacklist_add(
        &self,
        request: Request<v1::BlacklistChangeRequest>,
    ) -> Reply<v1::BlacklistChangeReply> {
        let patterns = vec![request.into_inner().pattern];
        Ok(Response::new(v1::BlacklistChangeReply { seq: 54, patterns }))
    }

    async fn blacklist_remove(
        &self,
        _: Request<v1::BlacklistChangeRequest>,
    ) -> Reply<v1::BlacklistChangeReply> {
        Ok(Response::new(v1::BlacklistChangeReply::default()))
    }

    async fn cluster(
        &self,
        _request: Request<v1::ClusterStatusRequest>,
    ) -> Reply<v1::ClusterStatusReply> {
        let lattice = v1::HealthItem {
            name: "lattice".into(),
            state: v1::HealthState::NotConfigured.into(),
            detail: String::new(),
        };
        let mut journal = data::cluster();
        if *self.seen.given_up.lock().unwrap() {
            journal.ended.as_mut().unwrap().failure = "nobody at journal-6 answers".to_owned();
        }
        let reply = v1::ClusterStatusReply { journal: Some(journal), lattice: Some(lattice) };
        Ok(Response::new(reply))
    }

    async fn cluster_add(
        &self,
        request: Request<v1::ClusterAddRequest>,
    ) -> Reply<v1::ClusterChangeReply> {
        // Member 4 is added, member 6 given up; another change has come after that of member 5.
        let member = request.into_inner().member;
        *self.seen.given_up.lock().unwrap() = member == 6;
        let seq = if member == 5 { 55 } else { 56 };
        Ok(Response::new(v1::ClusterChangeReply { seq }))
    }

    async fn cluster_remove(
        &self,
        _: Request<v1::ClusterRemoveRequest>,
    ) -> Reply<v1::ClusterChangeReply> {
        Ok(Response::new(v1::ClusterChangeReply { seq: 56 }))
    }

    async fn health(&self, _request: Request<v1::HealthRequest>) -> Reply<v1::HealthReply> {
        Ok(Response::new(v1::HealthReply { items: data::health() }))
    }

    async fn invoke(&self, request: Request<v1::InvokeRequest>) -> Reply<v1::InvokeReply> {
        authenticate(&request)?;
        let request = request.into_inner();
        let error =
            ErrorCode::Unimplemented.error(format!("{} is not built yet", request.operation));
        self.seen.invoked.lock().unwrap().push(request);
        Err(error.into_status())
    }
}

/// Sends outputs of one command until its caller goes away.
struct Caller(mpsc::Sender<Result<v1::ExecOutput, Status>>);

impl Caller {
    async fn send(&self, node: &str, output: Output) -> bool {
        self.0.send(Ok(v1::ExecOutput { node: node.into(), output: Some(output) })).await.is_ok()
    }

    async fn bytes(&self, node: &str, stream: v1::OutputStream, data: &[u8]) -> bool {
        let bytes = v1::ExecBytes { stream: stream.into(), data: data.to_vec() };
        self.send(node, Output::Bytes(bytes)).await
    }

    async fn out(&self, node: &str, data: &[u8]) -> bool {
        self.bytes(node, v1::OutputStream::Stdout, data).await
    }

    async fn finish(&self, node: &str, finished: v1::ExecFinished) {
        self.send(node, Output::Finished(finished)).await;
    }
}

pub fn exited(status: i32) -> v1::ExecFinished {
    v1::ExecFinished {
        outcome: v1::ExecOutcome::Exited.into(),
        exit_status: Some(status),
        started: data::time(0),
        finished: data::time(1),
        ..Default::default()
    }
}

async fn carry_out(
    begin: v1::ExecBegin,
    input: Streaming<v1::ExecInput>,
    sender: mpsc::Sender<Result<v1::ExecOutput, Status>>,
    seen: Arc<Seen>,
) {
    let caller = Caller(sender);
    let nodes = match begin.targets.as_str() {
        "node-[1-2]" => vec!["node-1".to_owned(), "node-2".to_owned()],
        single => vec![single.to_owned()],
    };
    let accepted = v1::ExecAcceptedBy { seq: 40, nodes: nodes.clone() };
    caller.send("", Output::Accepted(accepted)).await;
    for node in &nodes {
        one_node(&caller, node, &begin, &seen).await;
    }
    if begin.argv[0] == "cat" {
        echo_input(&caller, &nodes[0], input).await;
    }
}

async fn one_node(caller: &Caller, node: &str, begin: &v1::ExecBegin, seen: &Seen) {
    let mut finished = exited(0);
    match begin.argv[0].as_str() {
        "cat" => return,
        "binary" => {
            let all: Vec<u8> = (0..=255).collect();
            caller.out(node, &all).await;
        }
        "fail" => {
            caller.bytes(node, v1::OutputStream::Stderr, b"no\n").await;
            finished = exited(3);
        }
        "differ" => finished = exited(i32::from(node == "node-2")),
        "vi" => {
            finished.outcome = v1::ExecOutcome::Refused.into();
            finished.exit_status = None;
            finished.code = "PACT_NOT_WHITELISTED".into();
        }
        "gone" => {
            let error = ErrorCode::Unreachable.error("the node does not answer");
            caller.send(node, Output::Error(error)).await;
            return;
        }
        "cut" => {
            caller.out(node, b"much\n").await;
            finished.output_bytes = 50_000_000;
            finished.discarded_bytes = 39_514_240;
        }
        "same" => {
            caller.out(node, b"alike\n").await;
        }
        "slow" => {
            while caller.out(node, b"tick\n").await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            seen.cancelled.fetch_add(1, Ordering::SeqCst);
            return;
        }
        _ => {
            let line = format!("{}\nfrom {node}", begin.argv.join(" "));
            caller.out(node, line.as_bytes()).await;
        }
    }
    caller.finish(node, finished).await;
}

async fn echo_input(caller: &Caller, node: &str, mut input: Streaming<v1::ExecInput>) {
    while let Ok(Some(message)) = input.message().await {
        match message.input {
            Some(Input::Stdin(bytes)) => {
                caller.out(node, &bytes).await;
            }
            Some(Input::StdinClosed(_)) => break,
            Some(Input::Begin(_)) | None => {}
        }
    }
    caller.finish(node, exited(0)).await;
}
