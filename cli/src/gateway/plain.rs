//! Plain http, to this machine alone: not even there is a token sent to a port that expects TLS.

use std::time::Duration;

use pact_schemas::error_code::ErrorCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::session::Session;

/// How HTTP/2 begins: the preface and empty settings. There is nothing secret in it.
const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The first byte of a TLS alert, which is how a TLS server answers it. HTTP/2 answers with settings of its own.
const TLS_ALERT: u8 = 0x15;
/// How long an answer is waited for: it comes from this machine. One that is silent is asked as usual.
const ANSWER: Duration = Duration::from_millis(300);

/// Refuses a port that speaks TLS.
pub(super) async fn check(session: &Session, endpoint: &Endpoint) -> Result<(), Failure> {
    let asked = session.clock.timeout(ANSWER, first_byte(endpoint)).await;
    match asked {
        Ok(Ok(TLS_ALERT)) => Err(speaks_tls(endpoint)),
        // What else may be wrong is found out by connecting.
        Ok(_) | Err(_) => Ok(()),
    }
}

async fn first_byte(endpoint: &Endpoint) -> std::io::Result<u8> {
    let mut stream = TcpStream::connect(endpoint.address()).await?;
    stream.write_all(BEGINNING).await?;
    stream.read_u8().await
}

fn speaks_tls(endpoint: &Endpoint) -> Failure {
    Failure::new(ErrorCode::Tls, format!("{endpoint} speaks TLS, and the endpoint says http"))
        .because("nothing was sent there, the token neither")
        .next("write https:// and the name that the gateway's certificate has")
}
