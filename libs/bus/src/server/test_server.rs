//! A nats-server for one test: a free port, a folder of its own, gone when dropped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pact_runtime::Clock;
use tempfile::TempDir;

use super::ServerConfig;

/// Until the server accepts connections, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Between two looks at whether it does.
const START_POLL: Duration = Duration::from_millis(10);

/// Why there is no test server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestServerError {
    /// The binary is not installed.
    #[error(
        "nats-server is not installed (on Debian and Ubuntu: apt-get install nats-server), or not where PACT_NATS_SERVER says"
    )]
    NotInstalled,
    /// A file or the process could not be made.
    #[error("cannot prepare or start nats-server: {what}")]
    Prepare {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// It ended or did not listen in time.
    #[error("nats-server does not accept connections; it says:\n{log}")]
    NotListening {
        /// The end of its log.
        log: String,
    },
}

/// A running nats-server in operator mode, killed when dropped.
#[derive(Debug)]
pub struct TestServer {
    folder: TempDir,
    config: ServerConfig,
    child: Option<Child>,
    clock: Clock,
}

impl TestServer {
    /// Starts a server with these JWTs and this TLS on a free loopback port, with everything that it stores in a
    /// temporary folder; `listen`, `resolver_dir`, `jetstream.store_dir`, `monitoring` and `log_file` are replaced.
    ///
    /// # Errors
    /// [`TestServerError`].
    pub async fn start(config: ServerConfig) -> Result<Self, TestServerError> {
        let folder = tempfile::Builder::new()
            .prefix("pact-nats-")
            .tempdir()
            .map_err(|source| TestServerError::Prepare { what: "temporary folder", source })?;
        let mut config = config;
        config.listen = free_address()?;
        config.resolver_dir = folder.path().join("resolver");
        if let Some(jetstream) = &mut config.jetstream {
            jetstream.store_dir = folder.path().join("jetstream");
        }
        config.monitoring = None;
        config.log_file = Some(folder.path().join("nats-server.log"));
        let mut server = Self { folder, config, child: None, clock: Clock::system() };
        server.restart().await?;
        Ok(server)
    }

    /// Where clients connect: `nats://127.0.0.1:<port>`, or `tls://localhost:<port>` with TLS.
    #[must_use]
    pub fn url(&self) -> String {
        match self.config.tls {
            Some(_) => format!("tls://localhost:{}", self.config.listen.port()),
            None => format!("nats://{}", self.config.listen),
        }
    }

    /// The server's folder, for what a test wants to keep beside it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills the server as `kill -9` does. Its port stays reserved for [`TestServer::restart`] by convention only.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when it is dead already.
            let _dead = child.kill();
            let _dead = child.wait();
        }
    }

    /// Starts the server (again), on the same port and with what it had stored.
    ///
    /// # Errors
    /// [`TestServerError`].
    pub async fn restart(&mut self) -> Result<(), TestServerError> {
        self.kill();
        let file = self.folder.path().join("nats-server.conf");
        std::fs::write(&file, self.config.render())
            .map_err(|source| TestServerError::Prepare { what: "configuration file", source })?;
        self.child = Some(spawn(&file)?);
        self.wait_until_listening().await
    }

    async fn wait_until_listening(&mut self) -> Result<(), TestServerError> {
        let (address, clock) = (self.config.listen, self.clock.clone());
        let listening = async {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                if self.has_ended() {
                    return false;
                }
                clock.sleep(START_POLL).await;
            }
            // Somebody else may have taken the port in the meantime.
            !self.has_ended()
        };
        match clock.timeout(START_LIMIT, listening).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(TestServerError::NotListening { log: self.log() }),
        }
    }

    fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// What the server has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        let file: Option<&PathBuf> = self.config.log_file.as_ref();
        file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_address() -> Result<SocketAddr, TestServerError> {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|source| TestServerError::Prepare { what: "free port", source })
}

fn spawn(config: &Path) -> Result<Child, TestServerError> {
    let started = Command::new(pact_runtime::nats_server())
        .arg("-c")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    started.map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => TestServerError::NotInstalled,
        _ => TestServerError::Prepare { what: "process", source },
    })
}
