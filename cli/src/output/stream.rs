//! Output that arrives in pieces, written as it comes.

use tokio::io::{AsyncWriteExt as _, Stderr, Stdout, stderr, stdout};

use super::write_failure;
use crate::failure::Failure;

/// Standard output and error. Writes wait on a thread of their own, so that a reader who pauses
/// stops neither Ctrl-C nor the connection.
pub(crate) struct StreamWriter {
    out: Stdout,
    err: Stderr,
}

impl StreamWriter {
    pub(crate) fn new() -> Self {
        Self { out: stdout(), err: stderr() }
    }

    /// Writes all of it and flushes.
    pub(crate) async fn write(&mut self, to_stderr: bool, bytes: &[u8]) -> Result<(), Failure> {
        let written = if to_stderr {
            write_all(&mut self.err, bytes).await
        } else {
            write_all(&mut self.out, bytes).await
        };
        written.map_err(|error| write_failure(&error))
    }
}

async fn write_all(
    sink: &mut (impl tokio::io::AsyncWrite + Unpin),
    bytes: &[u8],
) -> std::io::Result<()> {
    sink.write_all(bytes).await?;
    sink.flush().await
}
