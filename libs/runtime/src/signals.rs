//! The signals that a service obeys: SIGTERM and SIGINT stop it, SIGHUP reloads what can be reloaded.

use std::fmt;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The signal that asked a service to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM: systemd, containers, `kill`.
    Terminate,
    /// SIGINT: Ctrl-C.
    Interrupt,
}

impl StopSignal {
    /// The exit code of a process that ends at once because of this signal: 143 or 130.
    pub fn exit_code(self) -> i32 {
        match self {
            Self::Terminate => 128 + SignalKind::terminate().as_raw_value(),
            Self::Interrupt => 128 + SignalKind::interrupt().as_raw_value(),
        }
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        })
    }
}

/// The stop signals, from the moment this exists.
#[derive(Debug)]
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Takes the signals over from their default actions. Needs a runtime.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next stop signal. Cancel-safe.
    pub(crate) async fn next(&mut self) -> StopSignal {
        tokio::select! {
            // Both arms are cancel-safe: a signal not taken stays pending.
            Some(()) = self.terminate.recv() => StopSignal::Terminate,
            Some(()) = self.interrupt.recv() => StopSignal::Interrupt,
            // tokio never ends these streams; should it, nobody can stop us politely any more.
            else => std::future::pending().await,
        }
    }
}

/// Tells of each SIGHUP. Clones count for themselves; several signals in a row may become one.
#[derive(Clone, Debug)]
pub struct Reload {
    count: watch::Receiver<u64>,
}

impl Reload {
    /// Waits for the next SIGHUP after the last one seen by this clone. Cancel-safe. Pending for ever once the
    /// service is over.
    pub async fn requested(&mut self) {
        if self.count.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Takes over SIGHUP, so that it never ends the process, and passes it on. The future runs for the process's life.
pub(crate) fn reloads() -> io::Result<(Reload, impl Future<Output = io::Result<()>> + Send)> {
    let mut hangups = signal(SignalKind::hangup())?;
    let (sender, count) = watch::channel(0);
    let pass_on = async move {
        while hangups.recv().await.is_some() {
            tracing::info!("SIGHUP: reloading");
            sender.send_modify(|count| *count += 1);
        }
        Ok(())
    };
    Ok((Reload { count }, pass_on))
}
