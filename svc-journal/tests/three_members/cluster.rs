//! A journal of three members in this process, and what is asked of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use pact_identity::x509::SiteRoot;
use pact_identity::{
    Attestation, GrantIssuer, InstanceName, Principal, Signer, SigningRole, Statement, Verifier,
};
use pact_runtime::{Clock, Supervisor};
use pact_schemas::operation::Operation;
use pact_schemas::v1::{self, action::Action, outcome::Outcome};
use pact_schemas::{MemberId, RequestId, SiteName};
use pact_svc_journal::context::Context;
use pact_svc_journal::{ConfiguredMember, Member, MemberConfig, Members, PeerTls, handlers};
use prost::Message as _;
use tempfile::TempDir;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Running {
    pub(crate) context: Context,
    pub(crate) member: Member,
    pub(crate) supervisor: Supervisor,
}

pub(crate) struct Cluster {
    folder: TempDir,
    pub(crate) clock: Clock,
    clocks: BTreeMap<u64, Clock>,
    pub(crate) root: SiteRoot,
    gateway: Signer,
    listed: Vec<ConfiguredMember>,
    /// Of members that are not founders.
    lists: BTreeMap<u64, Vec<ConfiguredMember>>,
    /// Running, and not in the journal.
    pub(crate) aside: BTreeSet<u64>,
    pub(crate) running: BTreeMap<u64, Running>,
}

pub(crate) fn free_addresses(count: usize) -> Vec<String> {
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect()
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let clock = Clock::system();
        Box::pin(Self::start_with([clock.clone(), clock.clone(), clock])).await
    }

    /// With a clock for each member.
    pub(crate) async fn start_with(clocks: [Clock; 3]) -> Self {
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
        let clocks = (1..).zip(clocks).collect();
        let mut cluster = Self {
            folder,
            clock,
            clocks,
            root,
            gateway,
            listed,
            lists: BTreeMap::new(),
            aside: BTreeSet::new(),
            running: BTreeMap::new(),
        };
        for id in 1..=3 {
            cluster.start_member(id).await;
        }
        cluster
    }

    pub(crate) fn data_dir(&self, id: u64) -> PathBuf {
        self.folder.path().join(id.to_string())
    }

    pub(crate) fn config(&self, id: u64) -> MemberConfig {
        let own = MemberId::new(id).unwrap();
        let peer = self.root.issue_peer(own, &["localhost"]).unwrap();
        let list = self.lists.get(&id).unwrap_or(&self.listed);
        MemberConfig {
            site: self.root.site().clone(),
            members: Members::new(own, list).unwrap(),
            data_dir: self.data_dir(id),
            listen: self.address(id).parse().unwrap(),
            snapshot_interval: 10_000,
            tls: PeerTls {
                certificate_pem: peer.certificate_pem,
                key_pem: peer.key_pem.expose().to_owned(),
                ca_pem: self.root.certificate_pem().to_owned(),
            },
        }
    }

    pub(crate) fn address(&self, id: u64) -> String {
        let list = self.lists.get(&id).unwrap_or(&self.listed);
        list.iter().find(|member| member.id.get() == id).unwrap().address.clone()
    }

    /// A member that is to take the place of another one, or none, and finds the journal at the others.
    pub(crate) fn make_member(&mut self, id: u64, instead_of: Option<u64>, address: &str) {
        let stays = |member: &&ConfiguredMember| Some(member.id.get()) != instead_of;
        let mut list: Vec<_> = self.listed.iter().filter(stays).cloned().collect();
        list.push(format!("{id}:{address}").parse().unwrap());
        self.lists.insert(id, list);
    }

    /// A list as a member of a journal of one has it.
    pub(crate) fn name_alone(&mut self, id: u64) {
        let own = |member: &&ConfiguredMember| member.id.get() == id;
        self.lists.insert(id, self.listed.iter().filter(own).cloned().collect());
    }

    pub(crate) async fn start_member(&mut self, id: u64) {
        let clock = self.clocks.get(&id).unwrap_or(&self.clock).clone();
        let supervisor = Supervisor::new(self.clock.clone());
        // The last life's background threads may hold the database for a moment.
        let member = self
            .until("the member starts", async || {
                Box::pin(Member::start(self.config(id), clock.clone(), &supervisor)).await.ok()
            })
            .await;
        let grant =
            self.root.issue_signing(&SigningRole::Grant(MemberId::new(id).unwrap())).unwrap();
        let issuer = GrantIssuer::new(Signer::from_issued(&grant).unwrap()).unwrap();
        let verifier = Verifier::from_pem(self.root.certificate_pem()).unwrap();
        let context = Context::new(member.clone(), verifier, issuer, clock);
        self.running.insert(id, Running { context, member, supervisor });
    }

    pub(crate) async fn stop_member(&mut self, id: u64) {
        let running = self.running.remove(&id).unwrap();
        running.supervisor.shutdown();
        running.member.halt();
        running.supervisor.run_until_shutdown(PATIENCE).await.unwrap();
    }

    pub(crate) async fn until<T>(
        &self,
        what: &str,
        mut check: impl AsyncFnMut() -> Option<T>,
    ) -> T {
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

    fn members(&self) -> impl Iterator<Item = &Running> {
        self.running.iter().filter(|(id, _)| !self.aside.contains(id)).map(|(_, running)| running)
    }

    pub(crate) async fn leader(&self) -> u64 {
        self.until("all members follow one leader", async || {
            let leaders: Vec<_> = self.members().map(|r| r.member.leader()).collect();
            let first = leaders[0]?;
            let agreed = leaders.iter().all(|leader| *leader == Some(first));
            (agreed && self.running.contains_key(&first)).then_some(first)
        })
        .await
    }

    pub(crate) fn proposal(&self, operation: &str, action: Action, id: RequestId) -> v1::Proposal {
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

    pub(crate) fn id(&self) -> RequestId {
        RequestId::new(self.clock.new_uuid_v7()).unwrap()
    }

    /// What the gateway does: follow the hint, retry with the same id.
    pub(crate) async fn propose(&self, proposal: v1::Proposal) -> v1::ProposalResult {
        self.until("the proposal is committed", async || {
            let leader = self.leader().await;
            let request = v1::ProposeRequest { proposals: vec![proposal.clone()] };
            let reply = handlers::propose(&self.running[&leader].context, request).await.ok()?;
            reply.results.into_iter().next()
        })
        .await
    }

    /// Every member has applied as much as the furthest, and it is the same.
    pub(crate) async fn same_head(&self) -> (u64, [u8; 32]) {
        self.until("all members have the same head", async || {
            let heads: Vec<_> = self.members().map(|r| r.member.head()).collect();
            heads.iter().all(|head| *head == heads[0]).then_some(heads[0])
        })
        .await
    }
}

/// What a member says when it ends, from the outermost error to its first cause.
pub(crate) async fn last_words(running: Running) -> String {
    running.member.halt();
    let error = running.supervisor.run_until_shutdown(PATIENCE).await.unwrap_err();
    format!("{error}: {}", pact_runtime::causes(&error))
}

pub(crate) fn register(node: &str, mac: u8) -> Action {
    let identity = v1::HardwareIdentity {
        macs: vec![format!("0c:42:a1:00:00:{mac:02x}")],
        ..Default::default()
    };
    Action::RegisterNode(v1::RegisterNode {
        node: node.to_owned(),
        identity: Some(identity),
        replace: false,
        judged: judged(None, node),
    })
}

/// All of the targets in one vCluster, or in none.
pub(crate) fn judged(vcluster: Option<&str>, targets: &str) -> Vec<v1::JudgedScope> {
    vec![v1::JudgedScope { vcluster: vcluster.map(str::to_owned), targets: targets.to_owned() }]
}

pub(crate) fn exec(targets: &str) -> Action {
    Action::ExecRequest(v1::ExecRequest {
        targets: targets.to_owned(),
        argv: vec!["uname".to_owned(), "-a".to_owned()],
        stdin: false,
        timeout_seconds: 60,
        output_limit_bytes: 1 << 20,
        judged: judged(None, targets),
    })
}

pub(crate) fn committed(result: &v1::ProposalResult) -> v1::Committed {
    match result.outcome.clone().unwrap().outcome.unwrap() {
        Outcome::Committed(committed) => committed,
        Outcome::Rejected(error) => panic!("{error}"),
    }
}

/// What [`capability`] names.
pub(crate) fn report_chunk() -> v1::PutBlob {
    let plain = b"{}";
    v1::PutBlob {
        sha256: ring::digest::digest(&ring::digest::SHA256, plain).as_ref().to_vec(),
        compressed: zstd::bulk::compress(plain, 1).unwrap(),
        size_bytes: 2,
    }
}

pub(crate) fn capability(number: u64) -> v1::NodeEvent {
    let report = vec![v1::BlobRef { sha256: report_chunk().sha256, size_bytes: 2 }];
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

pub(crate) fn everything(after: u64) -> v1::EntriesRequest {
    v1::EntriesRequest { after, ..Default::default() }
}

pub(crate) async fn all_entries(context: &Context) -> Vec<v1::EntryRecord> {
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
