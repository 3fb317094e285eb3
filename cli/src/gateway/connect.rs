//! Connecting: the first endpoint that accepts, with the configured CA and nothing else.

use std::error::Error;
use std::io;
use std::time::Duration;

use pact_runtime::causes::chain;
use pact_schemas::error_code::ErrorCode;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

use super::{Bearer, Client, Waiting, client, plain};
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::session::Session;
use crate::token;

/// Longest wait for one endpoint; a gateway that needs longer to accept is as good as gone, and
/// the next one may be well.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a silent connection is probed, so that a stream ends when its gateway died.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a probe may stay unanswered.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// A CA file holds a few certificates.
const MAX_CA_BYTES: u64 = 1024 * 1024;
/// Of UTF-8 and UTF-16. A PEM file with one is read as holding nothing.
const BYTE_ORDER_MARKS: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];

/// Connects to the first endpoint that accepts, with the token.
pub(crate) async fn connect(session: &Session, waiting: &Waiting<'_>) -> Result<Client, Failure> {
    waiting.on(None);
    let mut failures = Vec::new();
    for endpoint in &session.settings.endpoints {
        match connected(session, endpoint).await {
            Ok((channel, bearer)) => {
                waiting.on(Some(channel.clone()));
                return Ok(client(channel, bearer));
            }
            Err(failure) => {
                tracing::debug!(%endpoint, "cannot connect");
                failures.push(failure);
            }
        }
    }
    Err(unconnected(session, failures))
}

async fn connected(session: &Session, endpoint: &Endpoint) -> Result<(Channel, Bearer), Failure> {
    // Before connecting: a missing token is reported whether or not anything listens.
    let bearer = bearer(session, endpoint)?;
    Ok((channel(session, endpoint).await?, bearer))
}

/// Of the failures at each endpoint the one to report.
fn unconnected(session: &Session, mut failures: Vec<Failure>) -> Failure {
    let several = failures.len() > 1;
    let Some(last) = failures.pop() else {
        return Failure::new(ErrorCode::InvalidConfig, "no endpoint is set");
    };
    if session.settings.guesses_endpoint {
        return match failures.pop() {
            // It speaks TLS after all: what was wrong with that is what matters.
            Some(first) if last.code() == Some(ErrorCode::Tls) => first,
            _ if last.code() == Some(ErrorCode::ConnectionRefused) => {
                last.next("no endpoint is configured: set --endpoint, PACT_ENDPOINT or cli.toml")
            }
            _ => last,
        };
    }
    // What is wrong with the token is wrong everywhere.
    if !several || last.code() == Some(ErrorCode::Unauthenticated) {
        return last;
    }
    let tried: Vec<String> = session.settings.endpoints.iter().map(ToString::to_string).collect();
    last.next(format!("no endpoint of {} accepts; check each", tried.join(", ")))
}

/// Connects to the first endpoint that accepts within `limit`, for what can also be left undone. Each endpoint but the
/// last may take half of the time that is left: one that is gone must not hide the others.
pub(crate) async fn connect_within(session: &Session, limit: Duration) -> Option<Client> {
    let deadline = session.clock.monotonic() + limit;
    let mut endpoints = session.settings.endpoints.iter().peekable();
    while let Some(endpoint) = endpoints.next() {
        let left = deadline.saturating_sub(session.clock.monotonic());
        let limit = if endpoints.peek().is_some() { left / 2 } else { left };
        let bearer = bearer(session, endpoint).ok()?;
        if let Ok(Ok(channel)) = session.clock.timeout(limit, channel(session, endpoint)).await {
            return Some(client(channel, bearer));
        }
    }
    None
}

fn bearer(session: &Session, endpoint: &Endpoint) -> Result<Bearer, Failure> {
    let found = token::find(&session.settings, endpoint, &session.clock)?;
    if let Some(warning) = found.warning {
        session.screen.warn(&warning);
    }
    Bearer::new(&found.token).ok_or_else(|| {
        Failure::new(ErrorCode::Unauthenticated, "the token cannot be sent in a header")
    })
}

async fn channel(session: &Session, endpoint: &Endpoint) -> Result<Channel, Failure> {
    let invalid = |error: tonic::transport::Error| {
        Failure::new(ErrorCode::Tls, format!("no connection to {endpoint} can be set up"))
            .because(innermost(&error))
    };
    let mut builder = Channel::from_shared(endpoint.to_string())
        .map_err(|_uri| Failure::new(ErrorCode::InvalidConfig, format!("endpoint {endpoint}")))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    if !endpoint.is_tls() {
        plain::check(session, endpoint).await?;
    } else {
        let ca = read_ca(session)?;
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        builder = builder.tls_config(tls).map_err(invalid)?;
    }
    let limit = CONNECT_TIMEOUT.min(session.settings.timeout);
    match session.clock.timeout(limit, builder.connect()).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(classify(endpoint, &error, session)),
        Err(_late) => Err(timed_out(endpoint, limit)),
    }
}

fn read_ca(session: &Session) -> Result<String, Failure> {
    let path = &session.settings.tls_ca;
    let refuse = |cause: String| {
        let what = format!("the CA file {} cannot be used", path.display());
        Failure::new(ErrorCode::Tls, what)
            .because(cause)
            .next("set PACT_TLS_CA, --tls-ca or tls_ca to the site's CA file")
    };
    let size = std::fs::metadata(path).map_err(|e| refuse(e.to_string()))?.len();
    if size > MAX_CA_BYTES {
        return Err(refuse(format!("it has {size} bytes; at most {MAX_CA_BYTES} are accepted")));
    }
    let bytes = std::fs::read(path).map_err(|e| refuse(e.to_string()))?;
    if BYTE_ORDER_MARKS.iter().any(|mark| bytes.starts_with(mark)) {
        return Err(refuse(
            "it begins with a byte order mark (BOM), as some editors write it".into(),
        )
        .next("save it as plain text without a byte order mark"));
    }
    let text = String::from_utf8(bytes).map_err(|_| refuse("it is no text".to_owned()))?;
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        return Err(refuse("it holds no certificate in PEM form".to_owned()));
    }
    Ok(text)
}

fn timed_out(endpoint: &Endpoint, limit: Duration) -> Failure {
    Failure::new(
        ErrorCode::Timeout,
        format!("connecting to {endpoint} took longer than {} s", limit.as_secs()),
    )
    .next("check the endpoint, and the network and firewall on the way to it")
}

/// What went wrong below gRPC, from the chain of causes.
fn classify(endpoint: &Endpoint, error: &(dyn Error + 'static), session: &Session) -> Failure {
    let cause = innermost(error);
    for link in chain(error) {
        let io = link.downcast_ref::<io::Error>();
        let within = io.and_then(|io| io.get_ref()).and_then(|inner| inner.downcast_ref());
        match link.downcast_ref::<rustls::Error>().or(within) {
            Some(rustls::Error::InvalidMessage(_)) => return speaks_no_tls(endpoint),
            Some(_) => return tls_failure(endpoint, &cause, session),
            None => {}
        }
        let Some(io) = io else { continue };
        match io.kind() {
            io::ErrorKind::ConnectionRefused => {
                return Failure::new(
                    ErrorCode::ConnectionRefused,
                    format!("connection refused by {endpoint}"),
                )
                .because("nothing listens there")
                .next("check that the gateway runs there, and the endpoint (--endpoint, PACT_ENDPOINT, cli.toml)");
            }
            io::ErrorKind::TimedOut => return timed_out(endpoint, CONNECT_TIMEOUT),
            _ => {}
        }
    }
    if chain(error).any(|link| link.to_string().contains("dns error")) {
        return Failure::new(
            ErrorCode::Dns,
            format!("the host name of {endpoint} does not resolve"),
        )
        .because(cause)
        .next("check the endpoint and the name service of this machine");
    }
    let failure =
        Failure::new(ErrorCode::ConnectionRefused, format!("{endpoint} cannot be reached"))
            .because(cause);
    if endpoint.is_tls() {
        failure.next("check the network, and whether the gateway speaks TLS on this port")
    } else {
        failure.next("check the network, and whether the gateway wants https on this port")
    }
}

fn tls_failure(endpoint: &Endpoint, cause: &str, session: &Session) -> Failure {
    let ca = session.settings.tls_ca.display();
    Failure::new(ErrorCode::Tls, format!("certificate verify failed for {endpoint}"))
        .because(cause)
        .next(format!("check that {ca} is the CA of this site and that the endpoint names the host in the certificate"))
}

fn speaks_no_tls(endpoint: &Endpoint) -> Failure {
    Failure::new(ErrorCode::Tls, format!("{endpoint} does not speak TLS"))
        .because("what answers there is no TLS server; nothing was sent, the token neither")
        .next("check host and port; a gateway of this machine without TLS is named with http://")
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}
