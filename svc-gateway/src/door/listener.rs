//! One port: TLS 1.3, and plaintext only where it is allowed and only to loopback.
//!
//! The two are told apart by the first byte: a TLS record begins with 22, HTTP/2 with `P`.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pact_runtime::{CancellationToken, Clock};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::config::KeyFiles;

/// Connections at once: under the limit of open files, with room for everything else.
const MAX_CONNECTIONS: usize = 8192;
/// A handshake that takes longer is a broken or hostile peer.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Accepted connections that wait for the server.
const ACCEPTED_QUEUE: usize = 64;
/// After an error of `accept` (such as too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// First byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 22;

/// Why the port cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address} (gateway.listen); if the port is taken, see `ss -ltnp`")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Certificate or key cannot be used.
    #[error("cannot use the certificate {} with its key", path.display())]
    Certificate {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// An accepted connection.
pub struct Socket {
    stream: Stream,
    peer: SocketAddr,
    _permit: OwnedSemaphorePermit,
}

enum Stream {
    Tls(Box<TlsStream<TcpStream>>),
    Plain(TcpStream),
}

/// The peer of a connection, in each request's extensions.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Connected for Socket {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer(self.peer)
    }
}

/// TLS 1.3 with this certificate.
///
/// # Errors
/// [`ListenError::Certificate`].
pub fn tls_config(files: &KeyFiles) -> Result<Arc<ServerConfig>, ListenError> {
    let failed = |source| ListenError::Certificate { path: files.cert.clone(), source };
    let chain = certificates(&files.cert).map_err(failed)?;
    let key = pact_runtime::read_secret_file(&files.key).map_err(|e| failed(e.into()))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|e| failed(e.into()))?;
    let mut config = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| failed(e.into()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, Box<dyn std::error::Error + Send + Sync>> {
    Ok(CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()?)
}

/// Takes the port.
///
/// # Errors
/// [`ListenError::Bind`].
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError::Bind { address, source })
}

/// Accepts until stopped; the sockets come out of the channel.
pub struct Acceptor {
    listener: TcpListener,
    tls: TlsAcceptor,
    plaintext_to_loopback: bool,
    clock: Clock,
    sockets: mpsc::Sender<io::Result<Socket>>,
}

impl Acceptor {
    /// An acceptor and the channel of its sockets.
    #[must_use]
    pub fn new(
        listener: TcpListener,
        tls: Arc<ServerConfig>,
        plaintext_to_loopback: bool,
        clock: Clock,
    ) -> (Self, mpsc::Receiver<io::Result<Socket>>) {
        let (sockets, receiver) = mpsc::channel(ACCEPTED_QUEUE);
        let tls = TlsAcceptor::from(tls);
        (Self { listener, tls, plaintext_to_loopback, clock, sockets }, receiver)
    }

    /// Accepts until `stop`.
    ///
    /// # Errors
    /// None; the signature is the supervisor's.
    pub async fn run(self, stop: CancellationToken) -> Result<(), io::Error> {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                // Cancel-safe.
                accepted = self.listener.accept() => accepted,
                // Cancel-safe.
                () = stop.cancelled() => return Ok(()),
            };
            let (tcp, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    self.clock.sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                metrics::counter!("pact_gateway_connections_refused_total").increment(1);
                continue;
            };
            let handshake = shake(tcp, peer, permit, self.tls.clone(), self.plaintext_to_loopback);
            let (clock, sockets) = (self.clock.clone(), self.sockets.clone());
            // Its failure concerns this peer alone.
            tokio::spawn(async move {
                let socket = match clock.timeout(HANDSHAKE_LIMIT, handshake).await {
                    Ok(Ok(socket)) => socket,
                    Ok(Err(error)) => return tracing::debug!(%peer, %error, "no connection"),
                    Err(_) => return tracing::debug!(%peer, "the handshake took too long"),
                };
                // A closed channel is a server that drains.
                let _draining = sockets.send(Ok(socket)).await;
            });
        }
    }
}

async fn shake(
    tcp: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
    tls: TlsAcceptor,
    plaintext_to_loopback: bool,
) -> io::Result<Socket> {
    tcp.set_nodelay(true)?;
    let mut first = [0_u8; 1];
    if tcp.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let stream = if first == [TLS_HANDSHAKE] {
        Stream::Tls(Box::new(tls.accept(tcp).await?))
    } else if plaintext_to_loopback && peer.ip().to_canonical().is_loopback() {
        Stream::Plain(tcp)
    } else {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "plaintext is refused"));
    };
    Ok(Socket { stream, peer, _permit: permit })
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
        }
    }
}
