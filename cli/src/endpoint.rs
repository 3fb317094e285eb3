//! Where a gateway listens, checked.

use std::fmt;
use std::net::IpAddr;

use pact_schemas::error_code::ErrorCode;
use ring::digest::{SHA256, digest};
use tonic::transport::Uri;

use crate::failure::Failure;

/// Bytes of the server hash in file names: 16 hex digits.
const SERVER_HASH_BYTES: usize = 8;

/// `https://host:port`, or `http://` to this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    tls: bool,
    host: String,
    port: u16,
}

impl Endpoint {
    /// Parses a URL without path, query or user.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let refuse = |why: &str| {
            Failure::new(ErrorCode::InvalidConfig, format!("endpoint {:?}: {why}", shown(text)))
                .next("give it like https://journal.example.com:9443")
        };
        let uri: Uri = text.trim().parse().map_err(|_parse| refuse("it is not a URL"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(refuse("it must begin with https:// or http://")),
        };
        if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err(refuse("it names a user; who you are is said by the token alone"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(refuse("only scheme, host and port are accepted"));
        }
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| refuse("it has no host"))?.to_owned();
        let authority = uri.authority().map_or("", |a| a.as_str());
        let port = match authority.strip_prefix(host.as_str()).unwrap_or_default() {
            "" if tls => 443,
            "" => 80,
            port => number(port).ok_or_else(|| refuse("its port is no number from 1 to 65535"))?,
        };
        let endpoint = Self { tls, host, port };
        if !tls && !endpoint.is_loopback() {
            return Err(refuse("plain http is accepted for this machine only"));
        }
        Ok(endpoint)
    }

    /// Host and port, to connect to.
    pub(crate) fn address(&self) -> (&str, u16) {
        (self.bare_host(), self.port)
    }

    fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Whether the connection is encrypted.
    pub(crate) const fn is_tls(&self) -> bool {
        self.tls
    }

    fn is_loopback(&self) -> bool {
        let bare = self.bare_host();
        bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// The first 16 hex digits of SHA-256 of `scheme://host:port`.
    pub(crate) fn server_hash(&self) -> String {
        let hash = digest(&SHA256, self.to_string().as_bytes());
        let head = hash.as_ref().get(..SERVER_HASH_BYTES).unwrap_or_default();
        data_encoding::HEXLOWER.encode(head)
    }
}

/// The port of `:9443`.
fn number(port: &str) -> Option<u16> {
    let digits = port.strip_prefix(':').filter(|p| p.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse().ok().filter(|port| *port > 0)
}

/// What was written, without what may be secret in it: a user, a password, a query.
fn shown(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let separator = if scheme.is_empty() { "" } else { "://" };
    let rest =
        rest.rsplit_once('@').map_or_else(|| rest.to_owned(), |(_, host)| format!("…@{host}"));
    let rest = rest.split_once(['?', '#']).map_or(rest.clone(), |(host, _)| format!("{host}?…"));
    format!("{scheme}{separator}{rest}")
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_reaches_this_machine_only() {
        for good in [
            "http://localhost:9443",
            "http://127.0.0.1:9443",
            "http://127.8.8.8:1",
            "http://[::1]:9443",
            "https://j.example:9443/",
        ] {
            Endpoint::parse(good).unwrap();
        }
        for bad in [
            "http://10.0.0.1:9443",
            "http://j.example:9443",
            "http://localhost.example:9443",
            "http://127.0.0.1.example:9443",
            "http://user@localhost:9443",
            "ftp://localhost",
            "j.example:9443",
            "https://j.example/path",
            "https://j.example/?q",
            "https://j.example:",
            "https://j.example:0",
            "https://j.example:65536",
            "https://j.example:+1",
            "https://:9443",
            "https://a b:9443",
            "",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_secret_of_an_endpoint_is_said() {
        for text in [
            "https://alice:hunter2@j:9443",
            "https://hunter2@j",
            "alice:hunter2@j:9443",
            "https://j/?token=hunter2",
            "https://j:9443/a b?hunter2",
            "https://alice:hun@ter2@j",
            "ftp://u:hunter2@j",
        ] {
            let failure = format!("{:?}", Endpoint::parse(text).unwrap_err());
            assert!(!failure.contains("hunter2") && !failure.contains("ter2"), "{failure}");
        }
        let Failure::Reported(error) = Endpoint::parse("https://u:p@j:9443").unwrap_err() else {
            panic!("not reported")
        };
        assert!(error.message.starts_with("endpoint \"https://…@j:9443\": it names a user"));
    }

    #[test]
    fn the_server_hash_is_that_of_scheme_host_and_port() {
        let endpoint = Endpoint::parse("https://j:9443").unwrap();
        // printf 'https://j:9443' | sha256sum
        assert_eq!(endpoint.server_hash(), "c029042d7fae3c00");
        assert_eq!(
            Endpoint::parse("https://j:9443/").unwrap().server_hash(),
            endpoint.server_hash()
        );
        assert_ne!(
            Endpoint::parse("https://j:9444").unwrap().server_hash(),
            endpoint.server_hash()
        );
    }
}
