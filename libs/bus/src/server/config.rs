//! `nats-server.conf` in operator mode.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The largest message in bytes, headers included; also nats-server's default, made explicit because limits depend on it.
const MAX_PAYLOAD: u32 = 1024 * 1024;

/// Connections of one server: 100,000 nodes over four servers, and the second connection of each renewal.
const MAX_CONNECTIONS: u32 = 65_536;

/// A configuration of one server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Unique among the servers of a cluster.
    pub server_name: String,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Certificate and key; `None` for loopback in a development setup.
    pub tls: Option<ServerTls>,
    /// Who may sign accounts, and the accounts.
    pub authority: Authority,
    /// Folder where the resolver keeps account JWTs, so that a pushed revocation survives a restart.
    pub resolver_dir: PathBuf,
    /// JetStream; `None` turns it off.
    pub jetstream: Option<JetStream>,
    /// Monitoring over HTTP, without any authentication: loopback only.
    pub monitoring: Option<SocketAddr>,
    /// Log to this file instead of stderr.
    pub log_file: Option<PathBuf>,
}

/// TLS of client connections. Client certificates are not asked for: users prove themselves with their nkey.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Leaf and intermediates, PEM.
    pub cert_file: PathBuf,
    /// Its key, PEM, mode 0600.
    pub key_file: PathBuf,
}

/// The root of all bus rights.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The operator's JWT, as text.
    pub operator_jwt: String,
    /// Public key of the system account.
    pub system_account: String,
    /// The accounts that the server knows from its first start on, the system account among them.
    pub accounts: Accounts,
}

/// Account JWTs by the account's public key, in order.
pub type Accounts = std::collections::BTreeMap<String, String>;

/// JetStream's place and bounds.
#[derive(Clone, Debug)]
pub struct JetStream {
    /// Folder of the streams.
    pub store_dir: PathBuf,
    /// Disk that streams may use; `None` lets the server choose (three quarters of what is free).
    pub max_file_bytes: Option<u64>,
}

impl ServerConfig {
    /// The text of `nats-server.conf`.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::from("# Written by pact; changes are overwritten.\n");
        let mut line = |args: std::fmt::Arguments<'_>| {
            // Writing into a String cannot fail.
            let _never = text.write_fmt(args).and_then(|()| text.write_char('\n'));
        };
        line(format_args!("server_name: {}", quoted(&self.server_name)));
        line(format_args!("listen: {}", quoted(&self.listen.to_string())));
        if let Some(tls) = &self.tls {
            let (cert, key) = (path(&tls.cert_file), path(&tls.key_file));
            line(format_args!("tls {{\n  cert_file: {cert}\n  key_file: {key}\n  timeout: 5\n}}"));
        }
        if let Some(address) = self.monitoring {
            line(format_args!("http: {}", quoted(&address.to_string())));
        }
        if let Some(file) = &self.log_file {
            line(format_args!("log_file: {}", path(file)));
        }
        line(format_args!(
            "\n# A dead peer is found within 15 s: before it has noticed itself (20 to 30 s) and connected anew, or requests would go to \
             its old connection too.\n\
             ping_interval: \"5s\"\nping_max: 2\nwrite_deadline: \"10s\"\n\
             max_payload: {MAX_PAYLOAD}\nmax_connections: {MAX_CONNECTIONS}"
        ));
        if let Some(jetstream) = &self.jetstream {
            let store = path(&jetstream.store_dir);
            let max = jetstream.max_file_bytes.map(|bytes| format!("\n  max_file_store: {bytes}"));
            line(format_args!(
                "\njetstream {{\n  store_dir: {store}{}\n}}",
                max.unwrap_or_default()
            ));
        }
        let authority = &self.authority;
        line(format_args!("\noperator: {}", quoted(&authority.operator_jwt)));
        line(format_args!("system_account: {}", quoted(&authority.system_account)));
        line(format_args!(
            "resolver {{\n  type: full\n  dir: {}\n  allow_delete: false\n  interval: \"2m\"\n}}",
            path(&self.resolver_dir)
        ));
        line(format_args!("resolver_preload {{"));
        for (account, jwt) in &authority.accounts {
            line(format_args!("  {account}: {}", quoted(jwt)));
        }
        line(format_args!("}}"));
        text
    }
}

fn path(path: &std::path::Path) -> String {
    quoted(&path.to_string_lossy())
}

/// A quoted string of nats-server's configuration language: only `\t \n \r \" \\` and `\xHH` are escapes.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_leave_its_quotes() {
        assert_eq!(quoted("a\"}\nhttp: 0.0.0.0:1 \\"), "\"a\\\"}\\nhttp: 0.0.0.0:1 \\\\\"");
    }
}
