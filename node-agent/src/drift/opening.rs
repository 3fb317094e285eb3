//! Everything about drift that is opened before the first look.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pact_runtime::Clock;
use pact_schemas::resource::{Dimension, KeyPattern, KeyPatterns};

use super::engine::{Engine, EngineParts};
use super::providers::Providers;
use super::report::SpoolReports;
use super::sessions::Sessions;
use super::settings::FileSettings;
use super::store::StoreError;
use crate::boot::BootId;
use crate::declared::{Cache, Watching};
use crate::owner::Owner;
use crate::provider::abilities::Powers;
use crate::provider::files::{self, Files};
use crate::provider::kernel;
use crate::provider::{self, Provider, ProviderError};
use crate::spool::Spool;
use crate::time::PlaneClock;

/// Why drift cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What an earlier run left cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A dimension cannot be watched.
    #[error("{dimension} cannot be watched")]
    Provider {
        /// Which.
        dimension: Dimension,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No thread.
    #[error("cannot start the thread that watches the node")]
    Thread(#[source] io::Error),
}

/// What is needed for it.
pub(crate) struct Opening<'a> {
    pub(crate) state: &'a Path,
    /// What the agent writes elsewhere.
    pub(crate) own: Vec<PathBuf>,
    /// Folders under watch.
    pub(crate) roots: Vec<PathBuf>,
    /// What never leaves the node.
    pub(crate) secret: KeyPatterns,
    pub(crate) file: FileSettings,
    pub(crate) cache: &'a Cache,
    pub(crate) watching: &'a Watching,
    pub(crate) spool: &'a Spool,
    pub(crate) plane: &'a PlaneClock,
    pub(crate) clock: &'a Clock,
    pub(crate) boot: &'a BootId,
    pub(crate) sessions: &'a Sessions,
}

impl Opening<'_> {
    /// Opens providers and engine and gives them their thread. Call within the runtime; nothing is looked at yet.
    pub(crate) fn open(self) -> Result<Owner<Engine>, OpenError> {
        let declared = self.watching.now().declared;
        let ignored = self.file.blacklist.iter().chain(declared.blacklist()).cloned();
        let ignored: KeyPatterns = ignored.collect::<Vec<KeyPattern>>().into();
        let reports = SpoolReports::new(
            tokio::runtime::Handle::current(),
            self.spool.clone(),
            self.plane.clone(),
        );
        let engine = Engine::open(EngineParts {
            providers: Providers::new(self.providers(ignored)?, self.clock)
                .map_err(OpenError::Thread)?,
            declared: Arc::clone(&declared),
            contents: self.cache.contents(),
            folder: self.state.join("drift"),
            reports: Box::new(reports),
            sessions: self.sessions.clone(),
            clock: self.clock.clone(),
            plane: self.plane.clone(),
            boot: self.boot.clone(),
            powers: Powers::find(provider::built()),
            file: self.file,
        })?;
        Owner::spawn("drift", engine).map_err(OpenError::Thread)
    }

    fn providers(&self, ignored: KeyPatterns) -> Result<Vec<Box<dyn Provider>>, OpenError> {
        let files = Files::open(files::Options {
            roots: self.roots.clone(),
            secret: self.secret.clone(),
            ignored: ignored.clone(),
            folder: self.state.join("files"),
            own: std::iter::once(self.state.to_owned()).chain(self.own.iter().cloned()).collect(),
            clock: self.clock.clone(),
            plane_now: Arc::new({
                let plane = self.plane.clone();
                move || plane.now().map(|time| time.now)
            }),
        });
        let files = files.map_err(|error| failed(Dimension::Files, error))?;
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let kernel = kernel::open(kernel::Options {
            proc: PathBuf::from("/proc"),
            modules: Path::new("/lib/modules").join(release.trim()),
            modprobe: PathBuf::from("/sbin/modprobe"),
            secret: self.secret.clone(),
            ignored: ignored.clone(),
            folder: self.state.join("kernel"),
            clock: self.clock.clone(),
        });
        let kernel = kernel.map_err(|error| failed(Dimension::Kernel, error))?;
        Ok(vec![Box::new(files), Box::new(kernel)])
    }
}

fn failed(dimension: Dimension, error: ProviderError) -> OpenError {
    OpenError::Provider { dimension, source: Box::new(error) }
}
