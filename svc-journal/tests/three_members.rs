//! Three members in one process: real stores, real TLS between them, real elections.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

#[path = "three_members/declared.rs"]
mod declared;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use pact_identity::x509::SiteRoot;
use pact_identity::{
    Attestation, DegradedGrants, Grant, GrantIssuer, InstanceName, Principal, Signer, SigningRole,
    Statement, Verifier,
};
use pact_runtime::{Clock, Supervisor};
use pact_schemas::operation::Operation;
use pact_schemas::v1::{self, action::Action, outcome::Outcome};
use pact_schemas::{ErrorCode, MemberId, NodeId, RequestId, SiteName};
use pact_svc_journal::context::Context;
use pact_svc_journal::{ConfiguredMember, Member, MemberConfig, Members, PeerTls, handlers};
use prost::Message as _;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

struct Running {
    context: Context,
    member: Member,
    supervisor: Supervisor,
}

struct Cluster {
    folder: TempDir,
    clock: Clock,
    root: SiteRoot,
    gateway: Signer,
    listed: Vec<ConfiguredMember>,
    running: BTreeMap<u64, Running>,
}

fn free_addresses(count: usize) -> Vec<String> {
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect()
}

impl Cluster {
    async fn start() -> Self {
        pact_runtime::install_crypto_provider();
        let clock = Clock::system();
        let site = SiteName::new("alps").unwrap();
        let root = SiteRoot::generate(&site, &clock).unwrap();
        let role = SigningRole::Gateway(InstanceName::new("gw-1").unwrap());
        let gateway = Signer::from_issued(&root.issue_signing(&role).unwrap()).unwrap();
        let addresses = free_addresses(3).into_iter().enumerate();
        let listed =
            addresses.map(|(i, address)| format!("{}:{address}", i + 1).parse().unwrap()).collect();
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = Self { folder, clock, root, gateway, listed, running: BTreeMap::new() };
        for id in 1..=3 {
            cluster.start_member(id).await;
        }
        cluster
    }

    fn data_dir(&self, id: u64) -> PathBuf {
        self.folder.path().join(id.to_string())
    }

    fn config(&self, id: u64) -> MemberConfig {
        let own = MemberId::new(id).unwrap();
        let peer = self.root.issue_peer(own, &["localhost"]).unwrap();
        let at = usize::try_from(id - 1).unwrap();
        MemberConfig {
            site: self.root.site().clone(),
            members: Members::new(own, &self.listed).unwrap(),
            data_dir: self.data_dir(id),
            listen: self.listed[at].address.parse().unwrap(),
            snapshot_interval: 10_000,
            tls: PeerTls {
                certificate_pem: peer.certificate_pem,
                key_pem: peer.key_pem.expose().to_owned(),
                ca_pem: self.root.certificate_pem().to_owned(),
            },
        }
    }

    async fn start_member(&mut self, id: u64) {
        let supervisor = Supervisor::new(self.clock.clone());
        // The last life's background threads may hold the database for a moment.
        let member = self
            .until("the member starts", async || {
                Box::pin(Member::start(self.config(id), self.clock.clone(), &supervisor)).await.ok()
            })
            .await;
        let grant =
            self.root.issue_signing(&SigningRole::Grant(MemberId::new(id).unwrap())).unwrap();
        let issuer = GrantIssuer::new(Signer::from_issued(&grant).unwrap()).unwrap();
        let verifier = Verifier::from_pem(self.root.certificate_pem()).unwrap();
        let context = Context::new(member.clone(), verifier, issuer, self.clock.clone());
        self.running.insert(id, Running { context, member, supervisor });
    }

    async fn stop_member(&mut self, id: u64) {
        let running = self.running.remove(&id).unwrap();
        running.supervisor.shutdown();
        running.member.halt();
        running.supervisor.run_until_shutdown(PATIENCE).await.unwrap();
    }

    async fn until<T>(&self, what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
        let waited = self.clock.timeout(PATIENCE, async {
            loop {
                if let Some(found) = check().await {
                    return found;
                }
                self.clock.sleep(Duration::from_millis(20)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
    }

    async fn leader(&self) -> u64 {
        self.until("all members follow one leader", async || {
            let leaders: Vec<_> = self.running.values().map(|r| r.member.leader()).collect();
            let first = leaders[0]?;
            let agreed = leaders.iter().all(|leader| *leader == Some(first));
            (agreed && self.running.contains_key(&first)).then_some(first)
        })
        .await
    }

    fn proposal(&self, operation: &str, action: Action, id: RequestId) -> v1::Proposal {
        let signer = &self.gateway;
        let action = v1::Action { action: Some(action) }.encode_to_vec();
        let principal = Principal::of_signer(signer);
        let statement = Statement {
            principal: &principal,
            acting_role: None,
            operation: Operation::find(operation).unwrap(),
            request_id: id,
            action: &action,
            policy_ref: "test",
        };
        let signed =
            Attestation::sign(signer, &statement, self.clock.now(), Duration::from_secs(30))
                .unwrap();
        v1::Proposal { attestation: Some(signed), action }
    }

    fn id(&self) -> RequestId {
        RequestId::new(self.clock.new_uuid_v7()).unwrap()
    }

    /// What the gateway does: follow the hint, retry with the same id.
    async fn propose(&self, proposal: v1::Proposal) -> v1::ProposalResult {
        self.until("the proposal is committed", async || {
            let leader = self.leader().await;
            let request = v1::ProposeRequest { proposals: vec![proposal.clone()] };
            let reply = handlers::propose(&self.running[&leader].context, request).await.ok()?;
            reply.results.into_iter().next()
        })
        .await
    }

    /// Every member has applied as much as the furthest, and it is the same.
    async fn same_head(&self) -> (u64, [u8; 32]) {
        self.until("all members have the same head", async || {
            let heads: Vec<_> = self.running.values().map(|r| r.member.head()).collect();
            heads.iter().all(|head| *head == heads[0]).then_some(heads[0])
        })
        .await
    }
}

fn register(node: &str, mac: u8) -> Action {
    let identity = v1::HardwareIdentity {
        macs: vec![format!("0c:42:a1:00:00:{mac:02x}")],
        ..Default::default()
    };
    Action::RegisterNode(v1::RegisterNode {
        node: node.to_owned(),
        identity: Some(identity),
        replace: false,
    })
}

fn exec(targets: &str) -> Action {
    Action::ExecRequest(v1::ExecRequest {
        targets: targets.to_owned(),
        argv: vec!["uname".to_owned(), "-a".to_owned()],
        stdin: false,
        timeout_seconds: 60,
        output_limit_bytes: 1 << 20,
    })
}

fn committed(result: &v1::ProposalResult) -> v1::Committed {
    match result.outcome.clone().unwrap().outcome.unwrap() {
        Outcome::Committed(committed) => committed,
        Outcome::Rejected(error) => panic!("{error}"),
    }
}

fn capability(number: u64) -> v1::NodeEvent {
    let report = vec![v1::BlobRef { sha256: vec![7; 32], size_bytes: 1 }];
    v1::NodeEvent {
        node: "somebody-else".to_owned(),
        spool_id: "a".repeat(32),
        number,
        recorded: Some(pact_schemas::convert::timestamp(1)),
        body: Some(v1::node_event::Body::CapabilityChange(v1::CapabilityChange {
            node: String::new(),
            report,
        })),
    }
}

fn everything(after: u64) -> v1::EntriesRequest {
    v1::EntriesRequest { after, ..Default::default() }
}

async fn all_entries(context: &Context) -> Vec<v1::EntryRecord> {
    let (mut after, mut found) = (0, Vec::new());
    loop {
        let reply = handlers::entries(context, everything(after)).await.unwrap();
        found.extend(reply.entries);
        after = reply.next_after;
        if after >= reply.head_seq {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_through_every_member_and_survive_each() {
    let mut cluster = Box::pin(Cluster::start()).await;
    let node = NodeId::new("node-1").unwrap();
    committed(
        &cluster
            .propose(cluster.proposal("node.enroll", register("node-1", 1), cluster.id()))
            .await,
    );

    // Only the leader takes proposals; the others name it.
    let leader = cluster.leader().await;
    let follower = cluster.running.keys().copied().find(|id| *id != leader).unwrap();
    let request = v1::ProposeRequest {
        proposals: vec![cluster.proposal("exec", exec("node-1"), cluster.id())],
    };
    let hint = handlers::propose(&cluster.running[&follower].context, request).await.unwrap_err();
    assert_eq!((hint.known_code(), hint.leader), (ErrorCode::NotLeader, Some(leader)));

    // Nodes may ask anyone, and are who the subject says.
    for (number, running) in (1..).zip(cluster.running.values()) {
        let ack = handlers::event(&running.context, &node, capability(number)).await.unwrap();
        assert_eq!(ack.committed_number, number);
    }
    let any = &cluster.running[&follower].context;
    assert_eq!(handlers::event(any, &node, capability(3)).await.unwrap().committed_number, 3);
    let gap = handlers::event(any, &node, capability(9)).await.unwrap_err();
    assert_eq!((gap.known_code(), gap.expected_number), (ErrorCode::SpoolGap, Some(4)));

    // Each member is stopped in turn, the leader among them; what was acknowledged is there afterwards.
    let mut acknowledged = Vec::new();
    for id in 1..=3 {
        cluster.stop_member(id).await;
        for _ in 0..5 {
            let result =
                cluster.propose(cluster.proposal("exec", exec("node-1"), cluster.id())).await;
            acknowledged.push(committed(&result).first_seq);
        }
        cluster.start_member(id).await;
        // A linearizable read of the member that was away sees all of it.
        let entries = all_entries(&cluster.running[&id].context).await;
        let seqs: Vec<u64> =
            entries.iter().map(|r| v1::Entry::decode(r.entry.as_slice()).unwrap().seq).collect();
        assert!(acknowledged.iter().all(|seq| seqs.contains(seq)), "{acknowledged:?} in {seqs:?}");
    }
    let (head, _) = cluster.same_head().await;
    let logs: Vec<_> = {
        let mut logs = Vec::new();
        for running in cluster.running.values() {
            logs.push(all_entries(&running.context).await);
        }
        logs
    };
    assert_eq!(u64::try_from(logs[0].len()).unwrap(), head);
    assert!(logs.iter().all(|log| *log == logs[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_of_an_exec_gets_the_same_grant_which_a_node_believes() {
    let cluster = Box::pin(Cluster::start()).await;
    let node = NodeId::new("node-1").unwrap();
    committed(
        &cluster
            .propose(cluster.proposal("node.enroll", register("node-1", 1), cluster.id()))
            .await,
    );
    let id = cluster.id();
    let first = cluster.propose(cluster.proposal("exec", exec("node-1"), id)).await;
    let again = cluster.propose(cluster.proposal("exec", exec("node-1"), id)).await;
    assert_eq!(committed(&first).first_seq, committed(&again).first_seq);
    assert!(!committed(&first).repeated_request && committed(&again).repeated_request);
    let grant = first.grant.clone().unwrap();
    assert_eq!(grant.payload, again.grant.unwrap().payload);

    let verifier = Verifier::from_pem(cluster.root.certificate_pem()).unwrap();
    let issued = v1::GrantPayload::decode(grant.payload.as_slice()).unwrap().issued.unwrap();
    let issued = pact_schemas::convert::unix_nanos(Some(&issued), "issued").unwrap();
    let issued = pact_runtime::Timestamp::from_unix_nanos(issued);
    let granted =
        Grant::verify(&grant, &verifier, &node, issued, issued, DegradedGrants::Refuse).unwrap();
    assert_eq!(granted.seq().get(), committed(&first).first_seq);

    // An attestation for one thing carries no other, and what only nodes report is nobody's to propose.
    let result = cluster.propose(cluster.proposal("status", exec("node-1"), cluster.id())).await;
    assert!(
        matches!(result.outcome.unwrap().outcome, Some(Outcome::Rejected(e)) if e.known_code() == ErrorCode::NotAuthorised)
    );
    let mut altered = cluster.proposal("exec", exec("node-1"), cluster.id());
    altered.action = v1::Action { action: Some(exec("node-2")) }.encode_to_vec();
    let result = cluster.propose(altered).await;
    assert!(
        matches!(result.outcome.unwrap().outcome, Some(Outcome::Rejected(e)) if e.known_code() == ErrorCode::BadSignature)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_away_for_too_long_gets_a_snapshot() {
    let mut cluster = Box::pin(Cluster::start()).await;
    committed(
        &cluster
            .propose(cluster.proposal("node.enroll", register("node-1", 1), cluster.id()))
            .await,
    );
    let leader = cluster.leader().await;
    let away = cluster.running.keys().copied().find(|id| *id != leader).unwrap();
    cluster.stop_member(away).await;
    for _ in 0..20 {
        committed(&cluster.propose(cluster.proposal("exec", exec("node-1"), cluster.id())).await);
    }
    for running in cluster.running.values() {
        running.member.compact().await.unwrap();
    }
    committed(&cluster.propose(cluster.proposal("exec", exec("node-1"), cluster.id())).await);
    cluster.start_member(away).await;
    let (head, _) = cluster.same_head().await;
    assert!(head >= 22);
    let state = cluster.data_dir(away).join("state");
    assert_eq!(
        std::fs::read_to_string(state.join("CURRENT")).unwrap(),
        "2\n",
        "the state came as a snapshot"
    );
    // It starts from what it was given, and goes on.
    cluster.stop_member(away).await;
    cluster.start_member(away).await;
    committed(&cluster.propose(cluster.proposal("exec", exec("node-1"), cluster.id())).await);
    assert!(cluster.same_head().await.0 > head);
    let entries = all_entries(&cluster.running[&away].context).await;
    assert_eq!(u64::try_from(entries.len()).unwrap(), cluster.same_head().await.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_members_folder_is_refused_and_left_alone() {
    let mut cluster = Box::pin(Cluster::start()).await;
    cluster.stop_member(1).await;
    let before = std::fs::read(cluster.data_dir(1).join("IDENTITY")).unwrap();
    cluster.stop_member(2).await;
    let config = MemberConfig { data_dir: cluster.data_dir(1), ..cluster.config(2) };
    let supervisor = Supervisor::new(cluster.clock.clone());
    let error =
        Box::pin(Member::start(config, cluster.clock.clone(), &supervisor)).await.err().unwrap();
    assert!(matches!(error, pact_svc_journal::StartError::Identity(_)), "{error}");
    assert_eq!(std::fs::read(cluster.data_dir(1).join("IDENTITY")).unwrap(), before);
}
