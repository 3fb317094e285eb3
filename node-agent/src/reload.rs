//! SIGHUP: the configuration is read again, and what can change in a running agent changes.
//!
//! A file that is refused changes nothing: the last good configuration stays in force, and the log says so as an error. What is
//! read and cannot change while the agent runs is named in the log; it counts from the next start on.

use std::fmt;
use std::sync::Arc;

use pact_commands::Mode;
use pact_runtime::config::ConfigError;
use pact_runtime::{CancellationToken, Reload, causes};
use tokio::sync::watch;

use crate::config::Config;
use crate::drift::Drift;

/// The keys that count at once: [`Live`], and what `drift` is told.
const LIVE_KEYS: [&str; 7] = [
    "agent.shell.whitelist_mode",
    "agent.enforcement_mode",
    "agent.enforce_keys",
    "agent.commit_window.base_window_seconds",
    "agent.commit_window.min_window_seconds",
    "agent.commit_window.drift_sensitivity",
    "agent.blacklist.patterns",
];

/// What can change while the agent runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Live {
    /// Which commands run; each command is judged by the mode of its moment.
    pub(crate) whitelist_mode: Mode,
}

/// Where the configuration comes from: the same layers as at the start.
#[derive(Clone)]
pub struct Source(Arc<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>);

impl Source {
    /// Reads the configuration with `load`, which may block on the disk.
    pub fn new(load: impl Fn() -> Result<Config, ConfigError> + Send + Sync + 'static) -> Self {
        Self(Arc::new(load))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

/// Reads the configuration again when asked to; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Reloader {
    source: Source,
    requests: Reload,
    /// As the agent was started: what is not live is still so.
    started: Arc<Config>,
    live: Arc<watch::Sender<Live>>,
}

impl Live {
    fn of(config: &Config) -> Self {
        Self { whitelist_mode: config.agent.shell.whitelist_mode }
    }
}

impl Reloader {
    /// Begins with the configuration of the start.
    pub(crate) fn new(source: Source, requests: Reload, started: Config) -> Self {
        let live = Arc::new(watch::Sender::new(Live::of(&started)));
        Self { source, requests, started: Arc::new(started), live }
    }

    /// The live settings and their changes.
    pub(crate) fn live(&self) -> watch::Receiver<Live> {
        self.live.subscribe()
    }

    /// Reloads at each request, until `stop`.
    pub(crate) async fn run(mut self, drift: Drift, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return, // cancel-safe: a token
                () = self.requests.requested() => {} // cancel-safe
            }
            let source = self.source.clone();
            let Ok(loaded) = tokio::task::spawn_blocking(move || source.0()).await else { return };
            match loaded {
                Ok(config) => {
                    drift.reload(config.drift_settings()).await;
                    self.take(&config);
                }
                Err(error) => {
                    let cause = causes(&error);
                    tracing::error!(
                        cause,
                        "the new configuration is refused and the last good one stays in force: {error}"
                    );
                }
            }
        }
    }

    fn take(&self, config: &Config) {
        warn_without_effect(config);
        for key in for_the_next_start(&self.started, config) {
            tracing::warn!(
                key,
                "this key has changed and takes effect when the agent is started again"
            );
        }
        let live = Live::of(config);
        tracing::info!(
            whitelist_mode = live.whitelist_mode.as_str(),
            enforcement_mode = %config.agent.enforcement_mode,
            "the configuration was read again"
        );
        self.live.send_if_modified(|present| {
            let is_other = *present != live;
            *present = live;
            is_other
        });
    }
}

/// Names the keys that somebody set although nothing reads them yet.
pub(crate) fn warn_without_effect(config: &Config) {
    for key in &config.without_effect {
        tracing::warn!(
            key,
            "this key is set and has no effect yet: its part of the agent is not built"
        );
    }
}

/// The keys whose values differ and cannot change in a running agent.
fn for_the_next_start<'a>(started: &'a Config, now: &'a Config) -> Vec<&'a str> {
    let keys = started.values.keys().chain(now.values.keys());
    let mut changed: Vec<&str> = keys
        .filter(|key| started.values.get(*key) != now.values.get(*key))
        .map(String::as_str)
        .filter(|key| !LIVE_KEYS.contains(key) && !now.without_effect.contains(key))
        .collect();
    changed.sort_unstable();
    changed.dedup();
    changed
}

#[cfg(test)]
mod tests {
    use pact_runtime::config::Loader;

    use super::*;
    use crate::config::SCHEMA;

    fn config(more: &[(&str, &str)]) -> Config {
        let least = [
            ("agent.node_id", "n1"),
            ("agent.journal.endpoints", "gw:9443"),
            ("agent.journal.tls_ca", "/etc/pact/ca.crt"),
            ("agent.shell.whitelist_mode", "strict"),
            ("agent.observer.roots", "/etc"),
        ];
        let loader = Loader::new(&SCHEMA);
        let set = least.iter().chain(more);
        let loaded = set.fold(loader, |loader, (key, value)| loader.flag(*key, *value)).load();
        Config::new(&loaded.unwrap()).unwrap()
    }

    #[test]
    fn what_needs_a_restart_is_named_and_what_is_live_is_not() {
        let started = config(&[("agent.bus.url", "tls://a:4222")]);
        let now = config(&[
            ("agent.run_dir", "/run/other"),
            ("agent.shell.whitelist_mode", "learning"),
            ("agent.enforcement_mode", "enforce"),
        ]);
        assert_eq!(for_the_next_start(&started, &now), ["agent.bus.url", "agent.run_dir"]);
        assert_eq!(for_the_next_start(&now, &now), [""; 0]);
        assert_ne!(Live::of(&started), Live::of(&now));
    }

    #[test]
    fn every_live_key_is_a_key() {
        let known = |key: &&str| SCHEMA.keys.iter().any(|known| known.path == *key);
        assert!(LIVE_KEYS.iter().all(known));
    }
}
