//! Connections of members, and of nobody else.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pact_runtime::{CancellationToken, Clock};
use pact_schemas::v1::peer_server::PeerServer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::PeerService;
use crate::raft::peers::{KEEP_ALIVE, MAX_MESSAGE_BYTES};
use crate::raft::tls::PeerConfigs;

/// Handshakes at once: members have one connection each, everything beyond is a mistake or an attack.
const MAX_HANDSHAKES: usize = 64;
/// Longest handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that are accepted and not yet served.
const ACCEPTED_QUEUE: usize = 16;
/// Pause after the system refused to accept, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The port for members, open.
pub(crate) struct PeerListener {
    listener: TcpListener,
    tls: Arc<PeerConfigs>,
    clock: Clock,
}

impl PeerListener {
    pub(crate) async fn bind(
        address: SocketAddr,
        tls: Arc<PeerConfigs>,
        clock: Clock,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener, tls, clock })
    }

    /// Serves until `stop`. Ends with an error only when the server itself is broken.
    pub(crate) async fn serve(
        self,
        service: PeerService,
        stop: CancellationToken,
    ) -> Result<(), tonic::transport::Error> {
        let (accepted, connections) = mpsc::channel(ACCEPTED_QUEUE);
        let accepting = stop.clone();
        let accept = async move {
            tokio::select! {
                () = accepting.cancelled() => {} // what is in its handshake is dropped; the member calls again
                () = self.accept(accepted) => {} // never ends
            }
        };
        let service = PeerServer::new(service)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let server = Server::builder()
            .tcp_nodelay(true)
            // A member that vanished says nothing: its calls, a snapshot on its way in among them, end with its connection.
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .http2_keepalive_timeout(Some(KEEP_ALIVE))
            .add_service(service)
            .serve_with_incoming_shutdown(ReceiverStream::new(connections), stop.cancelled_owned());
        let ((), served) = tokio::join!(accept, server);
        served
    }

    async fn accept(self, accepted: mpsc::Sender<io::Result<Connection>>) {
        let shared = Arc::new(self);
        let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        loop {
            let (stream, from) = match shared.listener.accept().await {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::warn!(%error, "a member's connection could not be accepted");
                    shared.clock.sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
                tracing::warn!(%from, "too many handshakes on the members' port");
                continue;
            };
            let (shared, accepted) = (Arc::clone(&shared), accepted.clone());
            // A handshake that fails is one connection less, and logged.
            drop(tokio::spawn(async move {
                let _permit = permit;
                match shared.handshake(stream).await {
                    Ok(stream) => drop(accepted.send(Ok(stream)).await),
                    Err(error) => {
                        tracing::warn!(%from, %error, "a connection to the members' port was refused")
                    }
                }
            }));
        }
    }

    async fn handshake(&self, stream: TcpStream) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        let acceptor = TlsAcceptor::from(Arc::clone(&self.tls.server));
        let stream = self.clock.timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
        let stream = stream.map_err(io::Error::other)??;
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        match self.tls.member_of(certificates) {
            Some(member) => Ok(Connection { stream, caller: Caller(member.get()) }),
            None => Err(io::Error::other("the certificate names no member of this site")),
        }
    }
}

/// The member that a connection's certificate names: with each of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caller(pub(super) u64);

/// A connection of a member.
struct Connection {
    stream: TlsStream<TcpStream>,
    caller: Caller,
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
