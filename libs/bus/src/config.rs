//! Where the bus is, as whom we come, and whom we believe.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_nats::{Auth, AuthError, ServerAddr};
use nkeys::KeyPair;
use pact_runtime::SecretFileError;

use crate::error::BusError;

/// Everything that a connection needs to know. Has no secret in its `Debug`.
#[derive(Clone, Debug)]
pub struct BusConfig {
    /// `tls://host:port`, one for each server; tried in random order. Servers that the cluster announces are not
    /// added: their addresses need not be in any certificate.
    pub urls: Vec<String>,
    /// As whom we come.
    pub credentials: Credentials,
    /// The only CA that is believed (PEM). `None`: plain connections, see `allow_plaintext_loopback`.
    pub tls_ca: Option<PathBuf>,
    /// Where answers arrive: `_INBOX_s.<service instance>` or `_INBOX_n.<node>`.
    pub inbox_prefix: String,
    /// Our name in the server's list of connections.
    pub name: String,
    /// Development only: without `tls_ca`, connect in plain text, to loopback addresses and no others.
    pub allow_plaintext_loopback: bool,
}

/// Signs the server's nonce with a user nkey; the seed stays with whoever made this.
pub type SignCallback =
    Arc<dyn Fn(&[u8]) -> Result<Vec<u8>, nkeys::error::Error> + Send + Sync + 'static>;

/// As whom we come.
#[derive(Clone)]
pub enum Credentials {
    /// A `.creds` file of a service. Read again at each connect, so a replaced file is used from then on.
    File(PathBuf),
    /// A user JWT, and the key that it names.
    Jwt {
        /// The token; not a secret by itself.
        jwt: String,
        /// Signs with the user's key.
        sign: SignCallback,
    },
}

impl Credentials {
    /// The credentials of a `.creds` file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into())
    }

    /// A token and its key, as an agent holds them in memory.
    #[must_use]
    pub fn jwt(jwt: String, key: Arc<KeyPair>) -> Self {
        Self::Jwt { jwt, sign: Arc::new(move |nonce| key.sign(nonce)) }
    }

    /// What a connection answers to this nonce.
    pub(crate) fn answer(&self, nonce: &[u8]) -> Result<Auth, AuthError> {
        let (jwt, signature) = match self {
            Self::File(path) => {
                let (jwt, key) = read_creds(path).map_err(AuthError::new)?;
                (jwt, key.sign(nonce).map_err(AuthError::new)?)
            }
            Self::Jwt { jwt, sign } => (jwt.clone(), sign(nonce).map_err(AuthError::new)?),
        };
        let mut auth = Auth::new();
        auth.jwt = Some(jwt);
        auth.signature = Some(signature);
        Ok(auth)
    }

    fn check(&self) -> Result<(), BusError> {
        match self {
            Self::File(path) => read_creds(path)
                .map(drop)
                .map_err(|source| BusError::Credentials { path: path.clone(), source }),
            Self::Jwt { .. } => Ok(()),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Jwt { .. } => f.write_str("Jwt"),
        }
    }
}

impl BusConfig {
    /// Checks all that can be known before connecting.
    pub(crate) fn check(&self) -> Result<Vec<ServerAddr>, BusError> {
        if self.urls.is_empty() {
            return Err(BusError::NoUrls);
        }
        let prefix = &self.inbox_prefix;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if prefix.is_empty() || !prefix.bytes().all(plain) || prefix.split('.').any(str::is_empty) {
            return Err(BusError::InboxPrefix { prefix: prefix.clone() });
        }
        self.credentials.check()?;
        self.urls.iter().enumerate().map(|(at, url)| self.address(at + 1, url)).collect()
    }

    fn address(&self, position: usize, url: &str) -> Result<ServerAddr, BusError> {
        let address: ServerAddr = url
            .parse()
            .map_err(|source| BusError::InvalidUrl { position, source: Some(source) })?;
        if address.has_user_pass() || !matches!(address.scheme(), "tls" | "nats") {
            return Err(BusError::InvalidUrl { position, source: None });
        }
        if self.tls_ca.is_none() {
            let host = address.host().to_owned();
            let plain = address.scheme() == "nats";
            if !(self.allow_plaintext_loopback && plain && is_loopback(&host)) {
                return Err(BusError::PlaintextRefused { host });
            }
        }
        Ok(address)
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The token and key of a credentials file. Errors name the part that is missing, never what is there.
fn read_creds(path: &Path) -> std::io::Result<(String, KeyPair)> {
    let text = pact_runtime::read_secret_file(path).map_err(|error| match error {
        SecretFileError::Read { source, .. } => source,
        error => std::io::Error::new(std::io::ErrorKind::PermissionDenied, error),
    })?;
    let invalid = |what: &'static str| std::io::Error::new(std::io::ErrorKind::InvalidData, what);
    let jwt = armoured(&text, "NATS USER JWT").ok_or_else(|| invalid("no user JWT in the file"))?;
    let seed =
        armoured(&text, "USER NKEY SEED").ok_or_else(|| invalid("no user seed in the file"))?;
    let key = KeyPair::from_seed(seed).map_err(|_| invalid("the user seed is not an nkey seed"))?;
    Ok((jwt.to_owned(), key))
}

/// The line between `-----BEGIN <label>-----` and its end mark.
fn armoured<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    lines.by_ref().find(|line| {
        line.trim_matches('-').trim() == format!("BEGIN {label}") && line.starts_with("---")
    })?;
    lines.find(|line| !line.is_empty()).filter(|line| !line.starts_with("---"))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn config(url: &str) -> BusConfig {
        let key = Arc::new(KeyPair::new_user());
        BusConfig {
            urls: vec![url.to_owned()],
            credentials: Credentials::jwt("j.w.t".to_owned(), key),
            tls_ca: None,
            inbox_prefix: "_INBOX_s.x".to_owned(),
            name: "x".to_owned(),
            allow_plaintext_loopback: true,
        }
    }

    #[test]
    fn plain_connections_reach_loopback_only_and_only_when_allowed() {
        for url in ["nats://127.0.0.1:4222", "nats://localhost:4222", "nats://[::1]:4222"] {
            config(url).check().unwrap();
            let strict = BusConfig { allow_plaintext_loopback: false, ..config(url) };
            assert!(matches!(strict.check(), Err(BusError::PlaintextRefused { .. })), "{url}");
        }
        for url in ["nats://10.0.0.1:4222", "nats://bus-1:4222", "tls://127.0.0.1:4222"] {
            let refused = config(url).check();
            assert!(matches!(refused, Err(BusError::PlaintextRefused { .. })), "{url}");
        }
    }

    #[test]
    fn addresses_with_passwords_and_foreign_schemes_are_refused_and_not_shown() {
        for url in ["nats://user:hunter2@127.0.0.1", "ws://127.0.0.1:80", "http://x", "::::"] {
            let error = config(url).check().unwrap_err();
            assert!(matches!(error, BusError::InvalidUrl { position: 1, .. }), "{url}: {error:?}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_credentials_file_is_read_and_its_faults_are_named_without_its_contents() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.creds");
        let key = KeyPair::new_user();
        let seed = key.seed().unwrap();
        let text = format!(
            "-----BEGIN NATS USER JWT-----\na.b.c\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        private(&path, &text);
        let auth = Credentials::file(&path).answer(b"nonce").unwrap();
        assert_eq!(auth.jwt.as_deref(), Some("a.b.c"));
        key.verify(b"nonce", &auth.signature.unwrap()).unwrap();

        private(&path, &text.replace("SEED", "SHED"));
        let broken =
            BusConfig { credentials: Credentials::file(&path), ..config("nats://127.0.0.1:4222") };
        let error = broken.check().unwrap_err();
        assert!(matches!(error, BusError::Credentials { .. }));
        assert!(!format!("{error:?}").contains(&seed));

        private(&path, &text);
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = broken.check().unwrap_err();
        let BusError::Credentials { source, .. } = &error else { panic!("{error:?}") };
        assert!(source.to_string().contains("chmod 0600"), "{source}");
        assert!(!format!("{error:?}").contains(&seed));
    }

    fn private(path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }
}
