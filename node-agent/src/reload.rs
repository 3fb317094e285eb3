//! SIGHUP: the agent's file is read again, and what can change while the agent runs does.
//!
//! A file that is refused changes nothing: the last good one stays in force. Other keys than those of drift take effect with
//! the next start.

use pact_runtime::config::ConfigError;
use pact_runtime::{CancellationToken, Reload};

use crate::config::Config;
use crate::drift::Drift;
use crate::exec::causes;

/// Reads all layers of the configuration again.
pub type Reread = Box<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// Reloads until `stop`.
pub(crate) async fn run(mut reload: Reload, reread: Reread, drift: Drift, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return, // cancel-safe: a token
            () = reload.requested() => {} // cancel-safe
        }
        // A small file, read when a person asks for it.
        match reread() {
            Ok(config) => {
                drift.reload(config.drift_settings()).await;
                tracing::info!(
                    "blacklist, commit window and enforcement are those of the file now"
                );
            }
            Err(error) => tracing::error!(
                cause = causes(&error),
                "the configuration is refused, the last good one stays in force: {error}"
            ),
        }
    }
}
