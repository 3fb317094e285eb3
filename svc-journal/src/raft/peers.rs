//! The other members: where they are, whether they answer, what they understand.
//!
//! The table begins with the configured members and then follows Raft's membership, its addresses included.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use pact_runtime::Clock;
use pact_schemas::MemberId;
use pact_schemas::v1::RaftMessage;
use pact_schemas::v1::peer_client::PeerClient;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};

use super::members::{ClusterIds, Members};
use super::tls::{PeerConfigs, TlsError};
use crate::consensus::wire;

/// Longest message between members: far above a replication call and a batch.
pub(crate) const MAX_MESSAGE_BYTES: usize = 32 * 1024 * 1024;
/// How long a connection may take to come about, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection on which nothing comes back for this long is given up and made again.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// What a member says that it understands: 1 since members can be changed.
pub(crate) const PEER_VERSION: u32 = 1;
/// No answer has said it yet.
const NO_VERSION: u32 = u32::MAX;

/// In the refusal of a call of a member that was removed: the entry that says so.
const REMOVED_BY: &str = "pact-removed-by";

/// That this member was removed, as another one has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    /// Who has told.
    pub(crate) by: u64,
    /// The entry that says that it is removed.
    pub(crate) seq: u64,
}

/// The refusal of a call of a member that was removed by this entry.
pub(crate) fn removed(member: u64, seq: u64) -> Status {
    let text = format!("member {member} was removed from the journal by entry {seq}");
    let mut status = Status::permission_denied(text);
    status.metadata_mut().insert(REMOVED_BY, seq.into());
    status
}

fn removed_by(status: &Status) -> Option<u64> {
    status.metadata().get(REMOVED_BY)?.to_str().ok()?.parse().ok()
}

/// Channels to every other member. Clones are one.
#[derive(Clone)]
pub(crate) struct Peers {
    inner: Arc<Inner>,
}

struct Inner {
    ids: ClusterIds,
    own: u64,
    tls: Arc<PeerConfigs>,
    table: RwLock<BTreeMap<u64, Arc<Peer>>>,
    clock: Clock,
    told: watch::Sender<Option<Told>>,
}

struct Peer {
    address: String,
    channel: Channel,
    /// Whether the last call was answered; for the log, which tells changes only.
    answers: AtomicBool,
    /// Monotonic milliseconds of the last answer, and one; 0 before the first.
    answered: AtomicU64,
    /// Whether it is of a version that knows the cluster by its configured members alone.
    knows_list_only: AtomicBool,
    /// What it understands, once it has told.
    version: AtomicU32,
}

impl Peers {
    /// Channels that connect when they are first used, and again whenever they broke.
    pub(crate) fn new(
        members: &Members,
        ids: ClusterIds,
        tls: Arc<PeerConfigs>,
        clock: Clock,
    ) -> Result<Self, TlsError> {
        let inner = Inner {
            ids,
            own: members.own().get(),
            tls,
            table: RwLock::default(),
            clock,
            told: watch::Sender::new(None),
        };
        let peers = Self { inner: Arc::new(inner) };
        for (id, address) in members.iter() {
            peers.ensure(id, address)?;
        }
        Ok(peers)
    }

    fn peer(&self, member: u64) -> Option<Arc<Peer>> {
        // Nothing under this lock can panic half-way through a change.
        let table = self.inner.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(&member).cloned()
    }

    /// A channel to this member at this address.
    pub(crate) fn ensure(&self, id: u64, address: &str) -> Result<(), TlsError> {
        let is_there = || self.peer(id).is_some_and(|peer| peer.address == address);
        let Ok(target) = MemberId::new(id) else { return Ok(()) };
        if id == self.inner.own || is_there() {
            return Ok(());
        }
        let connector = TlsConnector::from(self.inner.tls.client(target)?);
        let peer = Peer {
            address: address.to_owned(),
            channel: channel(address, connector),
            answers: AtomicBool::new(true),
            answered: AtomicU64::new(0),
            knows_list_only: AtomicBool::new(false),
            version: AtomicU32::new(NO_VERSION),
        };
        let mut table = self.inner.table.write().unwrap_or_else(PoisonError::into_inner);
        table.insert(id, Arc::new(peer));
        Ok(())
    }

    /// From now on these are the members.
    pub(crate) fn follow(&self, members: &BTreeMap<u64, String>) {
        for (id, address) in members {
            if let Err(error) = self.ensure(*id, address) {
                tracing::error!(member = id, %error, "this member cannot be called");
            }
        }
        let mut table = self.inner.table.write().unwrap_or_else(PoisonError::into_inner);
        table.retain(|id, _| members.contains_key(id));
    }

    /// Whether another member has this number.
    pub(crate) fn contains(&self, member: u64) -> bool {
        self.peer(member).is_some()
    }

    /// Whether somebody who says this is of our cluster.
    pub(crate) fn is_ours(&self, cluster_id: &[u8]) -> bool {
        self.inner.ids.contains(cluster_id)
    }

    /// Site and configured members, hashed.
    pub(crate) fn founders(&self) -> Vec<u8> {
        self.inner.ids.listed.to_vec()
    }

    /// What tells this cluster from others, as this member understands it.
    pub(crate) fn cluster_id(&self, member: u64) -> Vec<u8> {
        let knows_list_only =
            self.peer(member).is_some_and(|peer| peer.knows_list_only.load(Ordering::Relaxed));
        if knows_list_only { self.inner.ids.listed } else { self.inner.ids.of_site }.to_vec()
    }

    /// A client for another member; `None` when there is no such member.
    pub(crate) fn client(&self, member: u64) -> Option<PeerClient<Channel>> {
        let client = PeerClient::new(self.peer(member)?.channel.clone());
        Some(
            client
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
    }

    /// The other members.
    pub(crate) fn ids(&self) -> Vec<u64> {
        let table = self.inner.table.read().unwrap_or_else(PoisonError::into_inner);
        table.keys().copied().collect()
    }

    /// How long ago another member answered; `None` when it never did.
    pub(crate) fn last_contact(&self, member: u64) -> Option<Duration> {
        let answered = self.peer(member)?.answered.load(Ordering::Relaxed);
        let at = Duration::from_millis(answered.checked_sub(1)?);
        Some(self.inner.clock.monotonic().saturating_sub(at))
    }

    /// What another member understands; `None` before it has told.
    pub(crate) fn version(&self, member: u64) -> Option<u32> {
        let version = self.peer(member)?.version.load(Ordering::Relaxed);
        Some(version).filter(|version| *version != NO_VERSION)
    }

    /// Takes note of what another member understands.
    pub(crate) fn set_version(&self, member: u64, version: u32) {
        if let Some(peer) = self.peer(member) {
            peer.version.store(version.min(NO_VERSION - 1), Ordering::Relaxed);
        }
    }

    /// Whether this member was told that it is removed.
    pub(crate) fn told(&self) -> watch::Receiver<Option<Told>> {
        self.inner.told.subscribe()
    }

    /// Takes note of whether a member answered a call that named the cluster like this.
    pub(crate) fn note(&self, member: u64, cluster_id: &[u8], failure: Option<&Status>) {
        let Some(peer) = self.peer(member) else { return };
        match failure {
            None => {
                let now = u64::try_from(self.inner.clock.monotonic().as_millis()).unwrap_or(0);
                peer.answered.store(now.saturating_add(1), Ordering::Relaxed);
            }
            Some(status) => {
                if let Some(seq) = removed_by(status) {
                    self.inner.told.send_replace(Some(Told { by: member, seq }));
                } else if status.code() == Code::PermissionDenied {
                    // The next call names it the other way: the member is of another version than we thought.
                    let named_list = cluster_id == self.inner.ids.listed;
                    peer.knows_list_only.store(!named_list, Ordering::Relaxed);
                }
            }
        }
        let answered = peer.answers.swap(failure.is_none(), Ordering::Relaxed);
        match (answered, failure) {
            (true, Some(status)) => tracing::warn!(member, %status, "a member does not answer"),
            (false, None) => tracing::info!(member, "a member answers again"),
            _ => {}
        }
    }

    /// The body of a message, if it is of this cluster and format.
    pub(crate) fn body(&self, message: RaftMessage) -> Result<Vec<u8>, Status> {
        if !self.is_ours(&message.cluster_id) {
            return Err(other_cluster());
        }
        if message.format != wire::FORMAT {
            return Err(Status::failed_precondition(format!(
                "format {} is not understood",
                message.format
            )));
        }
        Ok(message.body)
    }
}

/// The refusal of what is not of our cluster.
pub(crate) fn other_cluster() -> Status {
    Status::permission_denied("the call is of another cluster")
}

/// A message of the cluster with this id.
pub(crate) fn message(body: Vec<u8>, cluster_id: Vec<u8>) -> RaftMessage {
    RaftMessage { format: wire::FORMAT, body, cluster_id }
}

fn channel(address: &str, tls: TlsConnector) -> Channel {
    // The scheme says who does TLS: the connector below, not tonic. A member's address was checked and makes a valid URI;
    // the placeholder, which no valid address becomes, would only ever fail to connect.
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .unwrap_or_else(|_| Endpoint::from_static("http://invalid:1"));
    let address = address.to_owned();
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .keep_alive_while_idle(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            connect(address.clone(), tls.clone())
        }))
}

async fn connect(address: String, tls: TlsConnector) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    // Not looked at: the member's name in its certificate counts.
    let name = ServerName::try_from("journal.pact.invalid").map_err(io::Error::other)?;
    Ok(TokioIo::new(tls.connect(name, stream).await?))
}

#[cfg(test)]
mod tests {
    use pact_identity::x509::SiteRoot;
    use pact_schemas::SiteName;

    use super::super::tls::PeerTls;
    use super::*;

    fn peers() -> Peers {
        pact_runtime::install_crypto_provider();
        let (clock, site) = (Clock::system(), SiteName::new("alps").unwrap());
        let root = SiteRoot::generate(&site, &clock).unwrap();
        let own = MemberId::new(1).unwrap();
        let issued = root.issue_peer(own, &["localhost"]).unwrap();
        let tls = PeerTls {
            certificate_pem: issued.certificate_pem,
            key_pem: issued.key_pem.expose().to_owned(),
            ca_pem: root.certificate_pem().to_owned(),
        };
        let listed = ["1:a:9444", "2:b:9444", "3:c:9444"].map(|text| text.parse().unwrap());
        let members = Members::new(own, &listed).unwrap();
        let tls = Arc::new(PeerConfigs::new(&tls, &site, own).unwrap());
        Peers::new(&members, members.cluster_ids(&site), tls, clock).unwrap()
    }

    #[tokio::test]
    async fn the_table_follows_the_membership() {
        let peers = peers();
        assert_eq!(peers.ids(), [2, 3]);
        peers.note(2, &peers.cluster_id(2), None);
        let members = [(1, "a:9444"), (2, "b:9444"), (4, "d:9444")];
        peers.follow(&members.map(|(id, address)| (id, address.to_owned())).into());
        assert_eq!(peers.ids(), [2, 4]);
        assert!(peers.client(3).is_none() && peers.client(4).is_some());
        assert!(peers.last_contact(2).is_some(), "the channel of who stays is kept");
        peers.ensure(2, "b2:9444").unwrap();
        assert!(peers.last_contact(2).is_none(), "another address is another channel");
    }

    #[tokio::test]
    async fn a_member_of_the_version_before_is_spoken_to_in_its_words_until_it_is_replaced() {
        let peers = peers();
        let (now, before) = (peers.cluster_id(2), peers.founders());
        assert_ne!(now, before);
        let refused = other_cluster();
        peers.note(2, &now, Some(&refused));
        assert_eq!((peers.cluster_id(2), peers.cluster_id(3)), (before.clone(), now.clone()));
        // Two calls that were under way at once change nothing more.
        peers.note(2, &now, Some(&refused));
        assert_eq!(peers.cluster_id(2), before);
        peers.note(2, &before, Some(&refused));
        assert_eq!(peers.cluster_id(2), now);
        peers.note(2, &now, Some(&Status::unavailable("down")));
        assert_eq!(peers.cluster_id(2), now);
        assert!(peers.body(message(vec![1], before)).is_ok());
        assert!(peers.body(message(vec![1], vec![0; 32])).is_err());
    }

    #[tokio::test]
    async fn who_was_removed_learns_by_which_entry() {
        let peers = peers();
        let told = peers.told();
        peers.note(3, &peers.cluster_id(3), Some(&Status::permission_denied("no")));
        assert_eq!(*told.borrow(), None);
        peers.note(3, &peers.cluster_id(3), Some(&removed(1, 77)));
        assert_eq!(*told.borrow(), Some(Told { by: 3, seq: 77 }));
    }
}
